//! `podlink doctor`: network configs checked before a pod meets them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::doctor::{Document, Facts, Finding};
use lexopt::{Arg, Parser};

use crate::command::{self, Failure};
use crate::install::BIN_DIR;
use crate::plugins;

pub(crate) const USAGE: &str = "\
podlink doctor: check network configs, before a pod meets them

  podlink doctor PATH [--bin-dir DIR] [--json]

PATH is a *.conflist or *.conf file, which is checked against the others of its directory, too, or such a directory.

      --bin-dir DIR  the runtime's directory of plugins (/opt/cni/bin)
      --json         an array of findings: severity, file, plugin, type, key, what, advice

Nothing is changed. Errors, warnings and notes are printed; the exit code is 1 when there is an error. Without root, what the kernel
can do is not checked.
";

/// Carries it out.
pub(crate) fn run(mut arguments: Parser) -> Result<ExitCode, Failure> {
    let (mut path, mut bin_dir, mut json) = (None, PathBuf::from(BIN_DIR), false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("bin-dir") => bin_dir = arguments.value()?.into(),
            Arg::Long("json") => json = true,
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            argument => return Err(command::other(argument)),
        }
    }
    let path = path.ok_or_else(|| Failure::Usage("name a config, or a directory of configs".to_owned()))?;
    let findings = findings(&path, &Facts::gather(&bin_dir))?;
    if json {
        command::print(format_args!("{}\n", serde_json::to_string_pretty(&findings).map_err(Failure::failed)?));
    } else if findings.is_empty() {
        command::print(format_args!("{}: nothing to complain of\n", path.display()));
    } else {
        command::print(::doctor::text(&findings));
    }
    Ok(if findings.iter().any(Finding::is_error) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn findings(path: &Path, facts: &Facts) -> Result<Vec<Finding>, Failure> {
    let told = |error| Failure::Failed(format!("cannot read the directory {}: {error}", path.display()));
    if path.is_dir() {
        let documents = ::doctor::documents(path).map_err(told)?;
        if documents.is_empty() {
            return Err(Failure::Failed(format!("{} has no *.conflist, *.conf or *.json in it", path.display())));
        }
        return Ok(::doctor::check(&documents, &|_| true, facts, plugins::named));
    }
    // Its neighbours matter, too; that they cannot be read does not keep it from being checked.
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or(path.as_os_str());
    let mut documents = ::doctor::documents(dir).unwrap_or_default();
    documents.retain(|document| document.file.file_name() != Some(name));
    documents.push(Document::read(path.to_owned()));
    documents.sort_by(|one, other| one.file.file_name().cmp(&other.file.file_name()));
    Ok(::doctor::check(&documents, &|file| file == path, facts, plugins::named))
}
