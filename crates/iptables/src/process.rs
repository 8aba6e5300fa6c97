//! Running iptables' programs.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::{Error, Family};

/// Where the programs are when PATH, which a runtime may have cut short, does not tell.
const ALWAYS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"];
/// How long to wait for another program's lock on the tables, in seconds; longer than any of them should hold it.
const LOCK_SECONDS: &str = "30";

/// Applies a script of `iptables-restore` to what is there already, as a whole or not at all per table.
///
/// # Errors
/// That the program is missing, or what it said.
pub fn restore(family: Family, script: &str) -> Result<(), Error> {
    let program = format!("{}-restore", family.program());
    run(&program, &["--noflush", "-w", LOCK_SECONDS], script).map(drop)
}

/// The rules of a table as `iptables-save` prints them.
///
/// # Errors
/// As [`restore`].
pub fn save(family: Family, table: &str) -> Result<String, Error> {
    let output = run(&format!("{}-save", family.program()), &["-t", table], "")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether iptables can be run at all.
///
/// # Errors
/// The first program that is missing.
pub fn installed() -> Result<(), Error> {
    Family::ALL.into_iter().try_for_each(|family| find(&format!("{}-restore", family.program())).map(drop))
}

fn run(program: &str, arguments: &[&str], script: &str) -> Result<Output, Error> {
    let failed = |source| Error::Run { program: program.to_owned(), source };
    let mut child = Command::new(find(program)?)
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
        program: program.to_owned(),
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
