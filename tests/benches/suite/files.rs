//! Where the results go: a directory, and the part of BENCHMARKS.md between its two marks.

use std::path::{Path, PathBuf};

/// What the tool writes of BENCHMARKS.md is between these lines; the rest is a person's.
const MARKS: [&str; 2] = ["<!-- measured: scripts/bench.sh writes this -->", "<!-- end of measured -->"];

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The plots and raw numbers that BENCHMARKS.md shows, below the repository.
pub const NEWEST: &str = "tests/benches/newest";

/// Writes each file, by its name, into the directory `at`, or into `target/bench`.
pub fn write(at: Option<&Path>, files: &[(String, String)]) -> Result<PathBuf, String> {
    let dir = at.map_or_else(|| root().join("target/bench"), Path::to_path_buf);
    let failed = |path: &Path, e: std::io::Error| format!("writing {}: {e}", path.display());
    std::fs::create_dir_all(&dir).map_err(|e| failed(&dir, e))?;
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|e| failed(&path, e))?;
    }
    Ok(dir.canonicalize().unwrap_or(dir))
}

/// Puts `text` between the marks of BENCHMARKS.md, and what it shows beside.
pub fn publish(text: &str, files: &[(String, String)]) -> Result<(), String> {
    let shown: Vec<_> = files.iter().filter(|(name, _)| !name.ends_with(".md")).cloned().collect();
    write(Some(&root().join(NEWEST)), &shown)?;
    let path = root().join("BENCHMARKS.md");
    let page = std::fs::read_to_string(&path).map_err(|e| format!("reading {}: {e}", path.display()))?;
    let page = between(&page, text).ok_or_else(|| format!("{} has lost its lines {MARKS:?}", path.display()))?;
    std::fs::write(&path, page).map_err(|e| format!("writing {}: {e}", path.display()))
}

fn between(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some([before, MARKS[0], "\n\n", text.trim_end(), "\n\n", MARKS[1], after].concat())
}
