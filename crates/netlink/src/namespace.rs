//! Network namespaces: opening, comparing, entering.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    panic,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use nix::{
    libc,
    sched::{CloneFlags, setns},
};

use crate::{Error, Netlink, Refusal};

/// An open network namespace. It lives at least as long as this value; clones share the descriptor.
#[derive(Debug, Clone)]
pub struct Namespace {
    file: Arc<File>,
    path: Arc<Path>,
}

impl Namespace {
    /// Opens the namespace a path leads to: `/run/netns/x`, `/proc/<pid>/ns/net`.
    ///
    /// # Errors
    /// [`Error::NamespaceGone`] where there is no such file, [`Error::NotANamespace`] where it is something else,
    /// [`Error::Io`] where it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Namespace, Error> {
        let path = path.as_ref();
        // The path comes from outside and may be anything: a FIFO must not block us, a terminal not adopt us.
        let open = || OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        let file = match open() {
            // Also what is said of a process that ends on the way to its namespace; the next look finds none.
            Err(denied) if denied.kind() == io::ErrorKind::PermissionDenied => open(),
            opened => opened,
        };
        let file = file.map_err(|source| open_error(path, source))?;
        check_type(path, &file)?;
        Ok(Namespace { file: Arc::new(file), path: path.into() })
    }

    /// The calling thread's own namespace.
    ///
    /// # Errors
    /// [`Error::Io`] where `/proc` is not mounted.
    pub fn current() -> Result<Namespace, Error> {
        Namespace::open("/proc/thread-self/ns/net")
    }

    /// Whether both are one namespace.
    ///
    /// # Errors
    /// As [`Namespace::identity`].
    pub fn same_as(&self, other: &Namespace) -> Result<bool, Error> {
        Ok(self.identity()? == other.identity()?)
    }

    /// The device and inode number, which tell namespaces apart while they live (namespaces(7)).
    ///
    /// # Errors
    /// [`Error::Io`] where the kernel does not tell.
    pub fn identity(&self) -> Result<(u64, u64), Error> {
        let metadata = self.file.metadata().map_err(|source| {
            Error::io(format!("read the identity of network namespace {}", self.path.display()), source)
        })?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// The path it was opened by. Another namespace may be mounted there by now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` inside the namespace, on a thread of its own that ends afterwards: the calling thread never leaves
    /// its namespace, whatever happens. A panic of `f` goes on in the caller.
    ///
    /// # Errors
    /// [`Error::Denied`] without CAP_SYS_ADMIN, [`Error::Io`] where no thread can be started.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            let inside = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, || self.enter().map(|()| f()))
                .map_err(|source| Error::io("start a thread to enter a network namespace", source))?;
            inside.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// A netlink socket that lives in this namespace. The calling thread is there while it is opened, no longer.
    ///
    /// # Errors
    /// As [`Namespace::run`] and [`Netlink::new`].
    pub fn netlink(&self) -> Result<Netlink, Error> {
        Netlink::open(Some(self.clone()))
    }

    /// Runs `f` with the calling thread in the namespace, then takes the thread back. For a system call or two that
    /// [`Namespace::run`] would cost 0.2 ms for, most of it waiting for the other thread's processor.
    pub(crate) fn visit<T>(&self, f: impl FnOnce() -> T) -> Result<T, Error> {
        let _back = Return(Namespace::current()?);
        self.enter()?;
        Ok(f())
    }

    fn enter(&self) -> Result<(), Error> {
        setns(&*self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| {
            Error::refused(Refusal {
                operation: format!("enter network namespace {}", self.path.display()),
                errno: errno as i32,
                detail: None,
            })
        })
    }
}

/// Takes the thread back to its own namespace when it goes out of scope.
struct Return(Namespace);

impl Drop for Return {
    fn drop(&mut self) {
        // What let the thread out lets it back in. If not, everything after this line would be done to the wrong
        // network; a process that ends here has done nothing that DEL does not clean up.
        if let Err(error) = self.0.enter() {
            // The one thing that can be told from here: a runtime that gets no result shows what is on stderr.
            let why =
                "the namespace of this process, which ends before it changes another network; call DEL and try again";
            let _ = writeln!(io::stderr(), "podlink: {error}: {why}");
            std::process::abort();
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open_error(path: &Path, source: io::Error) -> Error {
    match source.raw_os_error() {
        // ESRCH and ENOENT: the process of /proc/<pid>/ns/net has ended.
        Some(libc::ENOENT | libc::ENOTDIR | libc::ESRCH) => Error::NamespaceGone { path: PathBuf::from(path) },
        // A socket cannot be opened at all.
        Some(libc::ENXIO) => {
            Error::NotANamespace { path: PathBuf::from(path), found: "it is a socket or a device".into() }
        }
        _ => Error::io(format!("open network namespace {}", path.display()), source),
    }
}

/// `NS_GET_NSTYPE` (ioctl_ns(2)) answers for namespace files only, whatever the path looks like.
fn check_type(path: &Path, file: &File) -> Result<(), Error> {
    // SAFETY: the descriptor is open for the length of the call, and this ioctl takes no argument, so that the
    // kernel reads and writes no memory of ours.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), libc::NS_GET_NSTYPE) };
    if kind == libc::CLONE_NEWNET {
        return Ok(());
    }
    let found = if kind > 0 {
        "it is a namespace of another kind".to_owned()
    } else {
        file.metadata().map_or_else(|error| error.to_string(), |metadata| describe(&metadata))
    };
    Err(Error::NotANamespace { path: PathBuf::from(path), found })
}

fn describe(metadata: &std::fs::Metadata) -> String {
    let kind = metadata.file_type();
    if kind.is_file() {
        format!("it is a plain file of {} bytes (has the namespace been unmounted?)", metadata.len())
    } else if kind.is_dir() {
        "it is a directory".to_owned()
    } else if kind.is_fifo() {
        "it is a FIFO".to_owned()
    } else {
        "it is a device".to_owned()
    }
}
