//! Files a test writes and reads. What cannot be written panics with its path.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::process;

/// Makes a directory and those above it; one that is there is fine.
pub fn make_dir(path: &Path) {
    std::fs::create_dir_all(path).unwrap_or_else(|e| panic!("making {}: {e}", path.display()));
}

/// Writes a file whole.
pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|e| panic!("writing {}: {e}", path.display()));
}

/// Copies a program that is to be run. By another process: a file that this one had open for writing may still be open in a child
/// that another test is just starting, and then cannot be executed (ETXTBSY).
pub fn copy_program(from: &Path, to: &Path) {
    process::run(Command::new("cp").args([from, to]), b"", process::DEADLINE).success();
}

/// Path (from `dir`) and content of each file in `dir` and the directories below; empty when there is no `dir`.
///
/// Directories whose name begins with a dot are caches, and left out.
pub fn below(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let content = std::fs::read(entry.path()).unwrap_or_default();
            files.insert(name, String::from_utf8_lossy(&content).into_owned());
        } else if !name.starts_with('.') {
            files.extend(below(&entry.path()).into_iter().map(|(file, text)| (format!("{name}/{file}"), text)));
        }
    }
    files
}
