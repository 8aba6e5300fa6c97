//! A directory whose files are replaced one by one, each in a single step, and which remembers what was there before.
//!
//! ```text
//! <dir>/NAME                       ours, whole at every moment
//! <dir>/.podlink-replaced/NAME     what was there before, for `uninstall`
//! <dir>/.podlink-installed/NAME    a config as we put it there, to tell it from one that was changed since
//! <dir>/.podlink-new               being made; of a killed call, and removed by the next
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::same::{has_same_content, is_same_file};

/// No runtime takes it for a plugin or a config.
const NEW: &str = ".podlink-new";
const REPLACED: &str = ".podlink-replaced";
const INSTALLED: &str = ".podlink-installed";

/// The directory, locked against other installations for as long as this lives.
pub(crate) struct Place {
    path: PathBuf,
    /// The directory itself: the lock, and what is synced.
    dir: File,
}

impl Place {
    /// Opens the directory, and makes it if it is not there.
    pub(crate) fn make(path: &Path) -> Result<Place, String> {
        std::fs::create_dir_all(path).map_err(|e| format!("cannot make the directory {}: {e}", path.display()))?;
        Place::open(path)?.ok_or_else(|| format!("the directory {} went away", path.display()))
    }

    /// Opens the directory; `None` if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Option<Place>, String> {
        let dir = match File::open(path) {
            Ok(dir) => dir,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot open the directory {}: {error}", path.display())),
        };
        match dir.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("another podlink is working in {}; try again when it has ended", path.display()));
            }
            Err(TryLockError::Error(error)) => return Err(format!("cannot lock {}: {error}", path.display())),
        }
        let place = Place { path: path.to_owned(), dir };
        // With the lock held, it belongs to a call that was killed.
        for dir in [place.path.clone(), place.path.join(REPLACED), place.path.join(INSTALLED)] {
            remove(&dir.join(NEW))?;
        }
        Ok(Some(place))
    }

    /// Where the file of this name is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What was at this name before us, if anything was kept.
    pub(crate) fn replaced(&self, name: &str) -> PathBuf {
        self.path.join(REPLACED).join(name)
    }

    /// The config of this name as we put it there.
    pub(crate) fn record(&self, name: &str) -> PathBuf {
        self.path.join(INSTALLED).join(name)
    }

    /// The names of the configs that we put there, and of whatever was replaced.
    pub(crate) fn names(&self) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        for dir in [self.path.join(REPLACED), self.path.join(INSTALLED)] {
            let told = |error: io::Error| format!("cannot read the directory {}: {error}", dir.display());
            match std::fs::read_dir(&dir) {
                Ok(entries) => {
                    for entry in entries {
                        names.push(entry.map_err(told)?.file_name().to_string_lossy().into_owned());
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(told(error)),
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Writes a file of this content, which is on the disk when it appears under its name.
    pub(crate) fn write(&self, name: &str, mode: u32, content: &mut impl Read) -> Result<(), String> {
        self.write_to(&self.file(name), mode, content)
    }

    /// Remembers a config as ours, before it appears.
    pub(crate) fn write_record(&self, name: &str, content: &[u8]) -> Result<(), String> {
        self.make_hidden(INSTALLED)?;
        self.write_to(&self.record(name), 0o644, &mut &content[..])?;
        sync(&self.path.join(INSTALLED))
    }

    /// Makes `name` another name of the file `of` in the same directory, or a copy where the file system knows only one name a
    /// file.
    pub(crate) fn link(&self, of: &str, name: &str) -> Result<(), String> {
        self.link_to(&self.file(of), &self.file(name))
    }

    /// Keeps what is at this name, which it stays at. What was kept before goes: this is newer.
    pub(crate) fn keep(&self, name: &str) -> Result<(), String> {
        self.make_hidden(REPLACED)?;
        self.link_to(&self.file(name), &self.replaced(name))?;
        sync(&self.path.join(REPLACED))
    }

    /// Whether what was kept is what is there: a call was killed before it put anything in its place.
    pub(crate) fn is_untouched(&self, name: &str) -> Result<bool, String> {
        let (file, kept) = (self.file(name), self.replaced(name));
        has_same_content(&file, &kept)
            .map_err(|error| format!("cannot compare {} with {}: {error}", file.display(), kept.display()))
    }

    /// Puts what was kept over what is there, or removes that if nothing was. True when something was put back.
    pub(crate) fn put_back(&self, name: &str) -> Result<bool, String> {
        let (file, kept) = (self.file(name), self.replaced(name));
        if is_same_file(&file, &kept) {
            return remove(&kept).map(|()| true);
        }
        match std::fs::rename(&kept, &file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => remove(&file).map(|()| false),
            Err(error) => Err(format!("cannot put {} back to {}: {error}", kept.display(), file.display())),
        }
    }

    /// Forgets that the config of this name is ours.
    pub(crate) fn forget(&self, name: &str) -> Result<(), String> {
        remove(&self.record(name))
    }

    /// Makes the names as they are now outlive a power cut.
    pub(crate) fn sync(&self) -> Result<(), String> {
        self.dir.sync_all().map_err(|e| format!("cannot sync the directory {}: {e}", self.path.display()))
    }

    /// Removes what this type made for itself, as far as it is empty.
    pub(crate) fn tidy(&self) -> Result<(), String> {
        for dir in [self.path.join(REPLACED), self.path.join(INSTALLED)] {
            match std::fs::remove_dir(&dir) {
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                    return Err(format!("cannot remove the directory {}: {error}", dir.display()));
                }
                _ => {}
            }
        }
        self.sync()
    }

    fn make_hidden(&self, name: &str) -> Result<(), String> {
        let dir = self.path.join(name);
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(format!("cannot make the directory {}: {error}", dir.display()))
            }
            _ => self.sync(),
        }
    }

    /// Of a file, the kernel copies the content: `impl` keeps that known.
    fn write_to(&self, file: &Path, mode: u32, content: &mut impl Read) -> Result<(), String> {
        let new = file.with_file_name(NEW);
        let mut write = || {
            let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
            io::copy(content, &mut out)?;
            // The umask must not keep the runtime from it.
            out.set_permissions(std::fs::Permissions::from_mode(mode))?;
            out.flush()?;
            out.sync_all()?;
            std::fs::rename(&new, file)
        };
        write().map_err(|error| self.failed(&new, file, &error))
    }

    fn link_to(&self, of: &Path, name: &Path) -> Result<(), String> {
        // To rename one name of a file to another of its names does nothing, and would leave the first.
        if is_same_file(of, name) {
            return Ok(());
        }
        let new = name.with_file_name(NEW);
        match std::fs::hard_link(of, &new) {
            Ok(()) => std::fs::rename(&new, name).map_err(|error| self.failed(&new, name, &error)),
            Err(error) if has_no_links(error.kind()) => {
                let mode = of.metadata().map_or(0o755, |meta| meta.permissions().mode() & 0o7777);
                let mut content = File::open(of).map_err(|error| format!("cannot read {}: {error}", of.display()))?;
                self.write_to(name, mode, &mut content)
            }
            Err(error) => Err(self.failed(&new, name, &error)),
        }
    }

    /// Takes away what was being made. That this works cannot be hoped for where the disk does not; the next call tries again.
    fn failed(&self, new: &Path, file: &Path, error: &io::Error) -> String {
        let _ = remove(new);
        format!("cannot put {} in place: {error}; what was there before is still there", file.display())
    }
}

/// What `link` fails with on file systems that have no hard links, or no more of them for this file.
fn has_no_links(kind: ErrorKind) -> bool {
    use ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(kind, CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

fn remove(file: &Path) -> Result<(), String> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("cannot remove {}: {error}", file.display())),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> Result<(), String> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| format!("cannot sync the directory {}: {error}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_kept_and_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::make(&dir.path().join("a/b")).unwrap();
        let text = |path: PathBuf| std::fs::read_to_string(path).ok();
        std::fs::write(place.file("bridge"), "theirs").unwrap();
        place.write("podlink", 0o755, &mut &b"ours"[..]).unwrap();
        place.keep("bridge").unwrap();
        place.keep("bridge").unwrap();
        place.link("podlink", "bridge").unwrap();
        place.link("podlink", "bridge").unwrap();
        place.link("podlink", "loopback").unwrap();
        assert!(is_same_file(&place.file("bridge"), &place.file("loopback")));
        assert_eq!(text(place.replaced("bridge")).as_deref(), Some("theirs"));
        assert_eq!(place.file("podlink").metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!place.file(NEW).exists() && !place.replaced(NEW).exists());

        assert_eq!(place.put_back("bridge"), Ok(true));
        assert_eq!(place.put_back("loopback"), Ok(false));
        assert_eq!(text(place.file("bridge")).as_deref(), Some("theirs"));
        place.tidy().unwrap();
        assert!(!place.file("loopback").exists() && !place.file(REPLACED).exists());
    }

    #[test]
    fn two_do_not_work_at_once_and_what_a_killed_one_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let first = Place::make(dir.path()).unwrap();
        assert!(Place::make(dir.path()).err().unwrap().contains("another podlink"));
        std::fs::write(first.file(NEW), "half").unwrap();
        drop(first);
        let second = Place::open(dir.path()).unwrap().unwrap();
        assert!(!second.file(NEW).exists());
        assert!(Place::open(&dir.path().join("absent")).unwrap().is_none());
    }
}
