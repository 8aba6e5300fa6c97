//! Files a test writes. What cannot be written panics with its path.

use std::path::Path;

/// Makes a directory and those above it; one that is there is fine.
pub fn make_dir(path: &Path) {
    std::fs::create_dir_all(path).unwrap_or_else(|e| panic!("making {}: {e}", path.display()));
}

/// Writes a file whole.
pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|e| panic!("writing {}: {e}", path.display()));
}
