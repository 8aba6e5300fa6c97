//! `podlink install`: this program into the plugins' directory, under the name of each plugin, then network configs.
//!
//! Killed anywhere, each name is what it was or what it is to be, and running it again brings the rest to its end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};

use crate::command::{self, Failure};
use crate::marker::is_podlink;
use crate::place::Place;
use crate::plugins;
use crate::same::has_same_content;

/// The name of the program itself, whose other names the plugins are.
pub(crate) const PROGRAM: &str = "podlink";
/// Where runtimes look for plugins unless told otherwise.
pub(crate) const BIN_DIR: &str = "/opt/cni/bin";
/// Where runtimes look for configs unless told otherwise.
pub(crate) const CONF_DIR: &str = "/etc/cni/net.d";
/// The running file, also if its name has been given to another since.
const SELF: &str = "/proc/self/exe";
/// What libcni reads as a config.
const SUFFIXES: [&str; 3] = [".conflist", ".conf", ".json"];

pub(crate) const USAGE: &str = "\
podlink install: put this program where the runtime finds it, under the name of each plugin

  podlink install [--bin-dir DIR] [--only NAMES] [--conf FILE]... [--conf-dir DIR]

      --bin-dir DIR   the runtime's directory of plugins (/opt/cni/bin)
      --only NAMES    only these plugins, separated by ','
      --conf FILE     then put this network config into the configs' directory, if `podlink doctor` finds no error in it;
                      may be repeated
      --conf-dir DIR  the runtime's directory of configs (/etc/cni/net.d)

No pod is disturbed: a plugin that is running keeps running, and each file is there at every moment. Plugins of others are
kept in DIR/.podlink-replaced, from where `podlink uninstall` puts them back. To upgrade, install again.
";

struct Options {
    bin_dir: PathBuf,
    conf_dir: PathBuf,
    confs: Vec<PathBuf>,
    plugins: BTreeSet<&'static str>,
}

/// Carries it out.
pub(crate) fn run(arguments: Parser) -> Result<ExitCode, Failure> {
    let options = read(arguments)?;
    let confs = options.confs.iter().map(|path| checked(path)).collect::<Result<Vec<_>, _>>()?;
    let place = Place::make(&options.bin_dir).map_err(Failure::Failed)?;
    let done = put_plugins(&place, &options.plugins).map_err(Failure::Failed)?;
    command::print(done);
    // A runtime that sees a config uses it at once: its plugins must be there.
    if !confs.is_empty() {
        let place = Place::make(&options.conf_dir).map_err(Failure::Failed)?;
        for (name, content) in confs {
            let what = put_conf(&place, &name, &content).map_err(Failure::Failed)?;
            command::print(format_args!("{}: {what}\n", place.file(&name).display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(mut arguments: Parser) -> Result<Options, Failure> {
    let mut options =
        Options { bin_dir: BIN_DIR.into(), conf_dir: CONF_DIR.into(), confs: Vec::new(), plugins: BTreeSet::new() };
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("bin-dir") => options.bin_dir = arguments.value()?.into(),
            Arg::Long("conf-dir") => options.conf_dir = arguments.value()?.into(),
            Arg::Long("conf") => options.confs.push(arguments.value()?.into()),
            Arg::Long("only") => {
                for name in arguments.value()?.string()?.split(',').filter(|name| !name.is_empty()) {
                    options.plugins.insert(plugin(name)?);
                }
            }
            argument => return Err(command::other(argument)),
        }
    }
    if options.plugins.is_empty() {
        options.plugins = plugins::names().collect();
    }
    Ok(options)
}

fn plugin(name: &str) -> Result<&'static str, Failure> {
    plugins::names().find(|known| *known == name).ok_or_else(|| {
        let near = ::doctor::nearest(name, plugins::names());
        let hint = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
        let known = plugins::names().collect::<Vec<_>>().join(", ");
        Failure::Usage(format!("--only: podlink has no plugin {name:?}{hint} (it has {known})"))
    })
}

/// The name and the content of a config that may be installed.
fn checked(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    if name.starts_with('.') || !SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        let msg =
            format!("--conf {}: a runtime reads only files whose names end in {}", path.display(), SUFFIXES.join(", "));
        return Err(Failure::Usage(msg));
    }
    let content = std::fs::read(path).map_err(|e| Failure::Failed(format!("cannot read {}: {e}", path.display())))?;
    let findings = ::doctor::check_one(path, &content, plugins::named);
    if findings.iter().any(::doctor::Finding::is_error) {
        command::print(::doctor::text(&findings));
        return Err(Failure::Failed(format!("{} has errors; nothing was installed", path.display())));
    }
    Ok((name, content))
}

/// Puts the program and its names into the directory; returns what was done, in lines.
fn put_plugins(place: &Place, names: &BTreeSet<&'static str>) -> Result<String, String> {
    let names = || std::iter::once(PROGRAM).chain(names.iter().copied());
    // What is there is kept first, so that the disk has it before anything takes its name.
    let mut replaced = BTreeSet::new();
    for name in names() {
        let file = place.file(name);
        let told = |error: io::Error| format!("cannot read {}: {error}", file.display());
        match file.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(told(error)),
            Ok(meta) if meta.is_dir() => {
                return Err(format!("{} is a directory; move it away, a plugin has to be there", file.display()));
            }
            Ok(_) if is_podlink(&file).map_err(told)? => {}
            Ok(_) => {
                place.keep(name)?;
                replaced.insert(name);
            }
        }
    }
    let program = place.file(PROGRAM);
    let unreadable = |error: io::Error| format!("cannot compare {SELF} with {}: {error}", program.display());
    let is_new = !has_same_content(Path::new(SELF), &program).map_err(unreadable)?
        || replaced.contains(PROGRAM)
        || !is_executable(&program);
    if is_new {
        let mut content = File::open(SELF).map_err(|e| format!("cannot read {SELF}: {e}"))?;
        place.write(PROGRAM, 0o755, &mut content)?;
    }
    let mut lines = String::new();
    for name in names() {
        let file = place.file(name);
        let unreadable =
            |error: io::Error| format!("cannot compare {} with {}: {error}", program.display(), file.display());
        let is_there = has_same_content(&program, &file).map_err(unreadable)? && is_executable(&file);
        if !is_there {
            place.link(PROGRAM, name)?;
        }
        let what = match (replaced.contains(name), is_there && !(is_new && name == PROGRAM)) {
            (true, _) => format!("installed, what was there is {}", place.replaced(name).display()),
            (false, false) => "installed".to_owned(),
            (false, true) => "is there already".to_owned(),
        };
        lines += &format!("{}: {what}\n", file.display());
    }
    place.sync()?;
    Ok(lines)
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    // A link to a file elsewhere would change with that one, or break.
    file.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o555 == 0o555)
}

/// Puts a config in place; returns what was done.
fn put_conf(place: &Place, name: &str, content: &[u8]) -> Result<String, String> {
    let file = place.file(name);
    let old = match std::fs::read(&file) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
    };
    if old.as_deref() == Some(content) {
        return Ok("is there already".to_owned());
    }
    let ours = std::fs::read(place.record(name)).ok();
    let is_foreign = old.is_some() && old != ours;
    if is_foreign {
        place.keep(name)?;
    }
    // First the record: a config of ours without one would never be taken away again.
    place.write_record(name, content)?;
    place.write(name, 0o644, &mut &content[..])?;
    place.sync()?;
    Ok(if is_foreign {
        format!("installed, what was there is {}", place.replaced(name).display())
    } else {
        "installed".to_owned()
    })
}
