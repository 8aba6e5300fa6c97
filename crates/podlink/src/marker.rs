//! How a file is recognised as podlink, of whatever version and under whatever name: by a mark that each build has in it. A list of
//! what was installed could be lost, or be out of date after a kill.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// Begins with a byte that no text has, which is what is searched for.
#[used]
static MARKER: [u8; 40] = *b"\xfepodlink, every plugin in one program\xfd\xfc\xfb";

/// Whether the file is podlink. A file that is not there is not.
pub(crate) fn is_podlink(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() => contains_marker(&mut BufReader::with_capacity(1 << 16, File::open(path)?)),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn contains_marker(file: &mut impl BufRead) -> io::Result<bool> {
    // What of the marker the bytes before end with. Its first byte is nowhere else in it, so one count is enough.
    let mut matched = 0;
    loop {
        if matched == 0 {
            if file.skip_until(MARKER[0])? == 0 {
                return Ok(false);
            }
            matched = 1;
        }
        // At the end of the file the byte before need not have been the searched one; what follows settles it.
        let Some(byte) = file.fill_buf()?.first().copied() else { return Ok(false) };
        if byte == MARKER[matched] {
            matched += 1;
            file.consume(1);
        } else {
            matched = 0;
        }
        if matched == MARKER.len() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> bool {
        // A buffer that the marker does not fit into.
        contains_marker(&mut BufReader::with_capacity(3, bytes)).unwrap()
    }

    #[test]
    fn the_marker_is_found_wherever_it_is_and_nothing_else_is() {
        let with = |before: &[u8], after: &[u8]| [before, &MARKER, after].concat();
        assert!(found(&with(b"", b"")) && found(&with(b"\xfe\xfepodlink", b"x")) && found(&with(&[0xfe; 9], b"\xfe")));
        assert!(!found(b"") && !found(b"\xfe") && !found(&MARKER[..39]) && !found(&MARKER[1..]));
        assert!(!found(&[&MARKER[..20], &MARKER[21..]].concat()));
    }

    #[test]
    fn this_program_has_it() {
        assert!(is_podlink(Path::new("/proc/self/exe").canonicalize().unwrap().as_path()).unwrap());
        assert!(!is_podlink(Path::new("/etc/hostname")).unwrap() && !is_podlink(Path::new("/nowhere")).unwrap());
    }
}
