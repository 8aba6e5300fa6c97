//! Whether two files are the same.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether both are there and have the same bytes.
pub(crate) fn has_same_content(one: &Path, other: &Path) -> io::Result<bool> {
    if is_same_file(one, other) {
        return Ok(true);
    }
    let open = |path: &Path| match File::open(path) {
        Ok(file) => file.metadata().map(|meta| meta.is_file().then_some((file, meta.len()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let (Some((mut one, length)), Some((mut other, other_length))) = (open(one)?, open(other)?) else {
        return Ok(false);
    };
    if length != other_length {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let got = one.read(&mut left)?;
        if got == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut right[..got]) {
            Ok(()) if left[..got] == right[..got] => {}
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(false),
        }
    }
}

/// Whether both are names of one file.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.symlink_metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_compared_to_the_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let mut long = vec![7; (1 << 18) + 5];
        let (one, same) = (file("one", &long), file("same", &long));
        *long.last_mut().unwrap() = 8;
        let other = file("other", &long);
        assert!(has_same_content(&one, &same).unwrap() && !has_same_content(&one, &other).unwrap());
        assert!(!has_same_content(&one, &file("short", b"7")).unwrap());
        assert!(!has_same_content(&one, &dir.path().join("absent")).unwrap());
        assert!(!has_same_content(&one, dir.path()).unwrap());
    }
}
