//! A directory of CNI plugin binaries: ours, or the reference's.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Node;

/// Where plugin binaries of one implementation are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinDir {
    path: PathBuf,
}

impl BinDir {
    /// The plugins under test: `$PODLINK_BIN_DIR`, or else the directory the running test was built into
    /// (`target/<triple>/<profile>`, two levels above the test executable).
    pub fn ours() -> Self {
        Self::from_env_or("PODLINK_BIN_DIR", built_dir)
    }

    /// The Go reference: `$PODLINK_REFERENCE_DIR`, or else `/usr/lib/cni` (Debian's containernetworking-plugins).
    pub fn reference() -> Self {
        let dir = Self::from_env_or("PODLINK_REFERENCE_DIR", || PathBuf::from("/usr/lib/cni"));
        assert!(
            dir.path.join("bridge").is_file(),
            "no reference plugins in {}: apt-get install containernetworking-plugins, or set PODLINK_REFERENCE_DIR",
            dir.path.display()
        );
        dir
    }

    /// Any directory, for a test that makes its own plugins.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// A directory of `node` with the plugin `name` in it, a shell script; plugins made there before stay.
    pub fn with_script(node: &Node, name: &str, script: &str) -> Self {
        let dir = node.dir().join("plugins");
        crate::files::make_dir(&dir);
        // Written by another process: a file that this one had open may still be open in a child that another test is
        // just starting, and then cannot be executed (ETXTBSY).
        let mut writer = Command::new("sh");
        writer.args(["-c", r#"cat >"$0" && chmod 755 "$0""#]).arg(dir.join(name));
        node.finish(&mut writer, format!("#!/bin/sh\n{script}\n").as_bytes()).success();
        Self::at(dir)
    }

    /// A directory of `node` in which our one program has these names, which are one file.
    pub fn of_one_program(node: &Node, names: &[&str]) -> Self {
        let dir = node.dir().join("suite");
        crate::files::make_dir(&dir);
        let [first, others @ ..] = names else { panic!("a program without a name") };
        crate::files::copy_program(&BinDir::ours().plugin("podlink"), &dir.join(first));
        for name in others {
            std::fs::hard_link(dir.join(first), dir.join(name)).unwrap_or_else(|e| panic!("linking {name}: {e}"));
        }
        Self::at(dir)
    }

    fn from_env_or(variable: &str, default: impl FnOnce() -> PathBuf) -> Self {
        let path = std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(default);
        let path =
            path.canonicalize().unwrap_or_else(|e| panic!("plugin directory {} ({variable}): {e}", path.display()));
        Self { path }
    }

    /// The directory itself, for `CNI_PATH` and a runtime's `bin_dir`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The binary of the plugin `name`. Panics, saying how to build it, when the directory does not have it.
    pub fn plugin(&self, name: &str) -> PathBuf {
        let file = self.path.join(name);
        assert!(
            file.is_file(),
            "no plugin `{name}` in {}: build the workspace's binaries first (cargo build --workspace --bins), \
             or point PODLINK_BIN_DIR at a directory that has it",
            self.path.display()
        );
        file
    }

    /// Panics unless every one of `names` is there. For tests in which a runtime starts the plugins.
    pub fn require(&self, names: &[&str]) {
        for name in names {
            self.plugin(name);
        }
    }
}

/// The directory cargo put binaries of this build into.
fn built_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|e| panic!("path of the running test: {e}"));
    let mut dir = test.parent();
    if dir.is_some_and(|d| d.ends_with("deps")) {
        dir = dir.and_then(Path::parent);
    }
    dir.unwrap_or_else(|| panic!("{} has no parent directory", test.display())).to_path_buf()
}
