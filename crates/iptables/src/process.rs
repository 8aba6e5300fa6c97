//! Running iptables' programs.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{Error, Family, Make};

/// Where the programs are when PATH, which a runtime may have cut short, does not tell.
const ALWAYS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"];
/// How long to wait for another program's lock on the tables, in seconds; longer than any of them should hold it.
const LOCK_SECONDS: &str = "30";

/// The programs that are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// Those of the plain names, whatever they are on this node.
    Plain,
    /// Those of one make: by the names of that make (`iptables-nft-restore`), or the plain ones if they are of it.
    Of(Make),
}

impl Programs {
    /// Those that the node's administrator has chosen: the plain ones, with their make where it can be told.
    pub fn of_node(family: Family) -> Programs {
        let program = find(&family.program("-restore")).ok();
        program.and_then(|program| Make::of_program(&program)).map_or(Programs::Plain, Programs::Of)
    }

    /// Applies a script of `iptables-restore` to what is there already, as a whole or not at all per table.
    ///
    /// # Errors
    /// That the program is missing, or what it said.
    pub fn restore(self, family: Family, script: &str) -> Result<(), Error> {
        run(&self.find(family, "-restore")?, &["--noflush", "-w", LOCK_SECONDS], script).map(drop)
    }

    /// The rules of a table as `iptables-save` prints them.
    ///
    /// # Errors
    /// As [`Programs::restore`].
    pub fn save(self, family: Family, table: &str) -> Result<String, Error> {
        let output = run(&self.find(family, "-save")?, &["-t", table], "")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The name of what `iptables-restore` is here, for messages.
    pub fn name(self, family: Family) -> String {
        match self {
            Programs::Plain => family.program(""),
            Programs::Of(make) => family.program(&format!("-{}", make.name())),
        }
    }

    fn find(self, family: Family, end: &str) -> Result<PathBuf, Error> {
        let Programs::Of(make) = self else { return find(&family.program(end)) };
        find(&family.program(&format!("-{}{end}", make.name()))).or_else(|missing| {
            let plain = find(&family.program(end)).ok();
            // What somebody has put there of his own may be of either make.
            plain.filter(|program| Make::of_program(program).is_none_or(|of| of == make)).ok_or(missing)
        })
    }
}

/// Keeps other calls of ours from reading and changing rules at the same time, until it is dropped or the process ends. `path` names
/// what it is for.
///
/// # Errors
/// The file's.
pub fn lock(path: &str) -> std::io::Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    loop {
        match file.lock() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            done => return done.map(|()| file),
        }
    }
}

/// [`Programs::restore`] with the plain programs.
///
/// # Errors
/// As there.
pub fn restore(family: Family, script: &str) -> Result<(), Error> {
    Programs::Plain.restore(family, script)
}

/// [`Programs::save`] with the plain programs.
///
/// # Errors
/// As there.
pub fn save(family: Family, table: &str) -> Result<String, Error> {
    Programs::Plain.save(family, table)
}

/// Whether iptables can be run at all.
///
/// # Errors
/// The first program that is missing.
pub fn installed() -> Result<(), Error> {
    Family::ALL.into_iter().try_for_each(|family| find(&family.program("-restore")).map(drop))
}

fn run(program: &Path, arguments: &[&str], script: &str) -> Result<Output, Error> {
    let failed = |source| Error::Run { program: program.display().to_string(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading tells why by itself. It reads to the end before it prints anything.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::Failed {
        program: program.display().to_string(),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        script: script.to_owned(),
    })
}

fn find(program: &str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(ALWAYS.map(PathBuf::from));
    places.find_map(|dir| Some(dir.join(program)).filter(|file| file.is_file())).ok_or_else(|| Error::Missing {
        program: program.to_owned(),
        path: format!("PATH ({}) or {}", path.to_string_lossy(), ALWAYS.join(", ")),
    })
}
