//! Settings of the calling thread's network namespace under `/proc/sys/net`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::libc;

use crate::Error;

/// One setting under `/proc/sys/net`. The kernel shows each thread its own namespace's: use
/// [`Namespace::run`](crate::Namespace::run) for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    path: PathBuf,
}

/// What became of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// There is none: the kernel lacks the feature (IPv6, most often), or the interface is gone.
    Missing,
    /// It was so already; nothing was written.
    AlreadySet,
    /// It was written.
    Written,
}

impl Sysctl {
    /// `net/ipv4/conf/<interface>/<key>`. Dots in the interface's name need no care here.
    ///
    /// # Errors
    /// [`Error::InvalidName`] for a name that would lead elsewhere.
    pub fn ipv4(interface: &str, key: &str) -> Result<Sysctl, Error> {
        Sysctl::conf("ipv4", interface, key)
    }

    /// `net/ipv6/conf/<interface>/<key>`.
    ///
    /// # Errors
    /// As [`Sysctl::ipv4`].
    pub fn ipv6(interface: &str, key: &str) -> Result<Sysctl, Error> {
        Sysctl::conf("ipv6", interface, key)
    }

    /// Any other: `ipv4/ip_forward`.
    ///
    /// # Errors
    /// [`Error::InvalidName`] for a path that would lead out of `/proc/sys/net`.
    pub fn net(key: &str) -> Result<Sysctl, Error> {
        let mut path = PathBuf::from("/proc/sys/net");
        for component in key.split('/') {
            check_component(component)?;
            path.push(component);
        }
        Ok(Sysctl { path })
    }

    fn conf(family: &str, interface: &str, key: &str) -> Result<Sysctl, Error> {
        check_component(interface)?;
        check_component(key)?;
        Ok(Sysctl { path: ["/proc/sys/net", family, "conf", interface, key].iter().collect() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its value without the line end; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self) -> Result<Option<String>, Error> {
        match fs::read_to_string(&self.path) {
            Ok(value) => Ok(Some(value.trim_end().to_owned())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.failed("read", "", error)),
        }
    }

    /// Sets it. Reads first and writes only what differs: reading costs no lock in the kernel, and works where
    /// `/proc/sys` is mounted read-only.
    ///
    /// # Errors
    /// [`Error::Io`], with the path.
    pub fn set(&self, value: &str) -> Result<Setting, Error> {
        match self.read()? {
            None => Ok(Setting::Missing),
            Some(current) if current == value => Ok(Setting::AlreadySet),
            Some(_) => self.write(value),
        }
    }

    /// Sets it without reading it first, for those that can only be written (`ipv4/route/flush`).
    ///
    /// # Errors
    /// As [`Sysctl::set`].
    pub fn write(&self, value: &str) -> Result<Setting, Error> {
        let file = fs::OpenOptions::new().write(true).open(&self.path);
        match file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes())) {
            Ok(()) => Ok(Setting::Written),
            Err(error) if is_missing(&error) => Ok(Setting::Missing),
            Err(error) => Err(self.failed("set", &format!(" to {value:?}"), error)),
        }
    }

    fn failed(&self, verb: &str, to: &str, error: io::Error) -> Error {
        let hint = match error.raw_os_error() {
            Some(libc::EROFS) => " (/proc/sys is mounted read-only)",
            Some(libc::EACCES | libc::EPERM) => " (needs root in the namespace's user namespace)",
            _ => "",
        };
        Error::io(format!("{verb} sysctl {}{to}{hint}", self.path.display()), error)
    }
}

/// An interface that vanishes between our open and read gives `ENODEV`.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ENODEV))
}

fn check_component(component: &str) -> Result<(), Error> {
    if component.is_empty() || component == "." || component == ".." || component.contains(['/', '\0']) {
        let reason = "it would lead out of its place under /proc/sys/net";
        return Err(Error::InvalidName { name: component.to_owned(), reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_a_name_stay_in_it_and_slashes_are_refused() {
        let sysctl = Sysctl::ipv4("eth0.100", "arp_notify").unwrap();
        assert_eq!(sysctl.path(), Path::new("/proc/sys/net/ipv4/conf/eth0.100/arp_notify"));
        for name in ["", ".", "..", "../all", "a/b", "/etc", "a\0"] {
            assert!(matches!(Sysctl::ipv6(name, "accept_ra"), Err(Error::InvalidName { .. })), "{name:?}");
        }
        assert!(Sysctl::net("ipv4/../../kernel/core_pattern").is_err());
        assert_eq!(Sysctl::net("ipv4/ip_forward").unwrap().path(), Path::new("/proc/sys/net/ipv4/ip_forward"));
    }

    #[test]
    fn what_the_kernel_lacks_is_missing_not_wrong() {
        let sysctl = Sysctl::ipv4("lo", "no_such_key").unwrap();
        assert_eq!(sysctl.read().unwrap(), None);
        assert_eq!(sysctl.set("1").unwrap(), Setting::Missing);
    }
}
