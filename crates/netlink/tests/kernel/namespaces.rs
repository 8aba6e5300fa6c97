//! Opening and entering namespaces.

use std::{fs, os::unix::fs::symlink};

use netlink::{Error, Namespace, Netlink};
use nix::libc;

use crate::harness::{bridge, namespace};

#[test]
fn what_is_no_namespace_is_told_from_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("plain"), "").unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    nix::sys::stat::mknod(&path("fifo"), nix::sys::stat::SFlag::S_IFIFO, nix::sys::stat::Mode::S_IRUSR, 0).unwrap();

    for gone in [path("missing"), path("dangling"), path("plain/below"), "/proc/4194305/ns/net".into()] {
        let error = Namespace::open(&gone).unwrap_err();
        assert!(error.is_namespace_gone(), "{}: {error}", gone.display());
        assert!(error.to_string().contains(gone.to_str().unwrap()), "{error}");
    }
    for (other, words) in [
        (path("plain"), "plain file"),
        (path("fifo"), "FIFO"),
        (dir.path().to_owned(), "directory"),
        ("/proc/self/ns/mnt".into(), "another kind"),
        ("/dev/null".into(), "device"),
    ] {
        let error = Namespace::open(&other).unwrap_err();
        assert!(matches!(error, Error::NotANamespace { .. }), "{}: {error}", other.display());
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn identity_is_the_namespaces_not_the_files() {
    let (a, b) = (namespace(), namespace());
    assert!(a.same_as(&a.clone()).unwrap());
    assert!(!a.same_as(&b).unwrap());
    assert!(Namespace::current().unwrap().same_as(&Namespace::open("/proc/self/ns/net").unwrap()).unwrap());
}

#[test]
fn run_enters_and_the_caller_stays() {
    let (before, other) = (Namespace::current().unwrap(), namespace());
    let inside = other.run(|| Namespace::current().unwrap()).unwrap();
    assert!(inside.same_as(&other).unwrap());
    assert!(Namespace::current().unwrap().same_as(&before).unwrap());

    let panicked = std::panic::catch_unwind(|| other.run(|| -> () { panic!("inside") }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"inside"));
    assert!(Namespace::current().unwrap().same_as(&before).unwrap());
}

#[test]
fn a_netlink_stays_in_the_namespace_it_was_opened_for() {
    let (a, b) = (namespace(), namespace());
    let (in_a, in_b) = (a.netlink().unwrap(), b.netlink().unwrap());
    in_a.create_bridge(&bridge("cni0")).unwrap();
    assert!(in_a.link("cni0").unwrap().is_some());
    assert!(in_b.link("cni0").unwrap().is_none());
    let there = a.run(|| Netlink::new().unwrap().link("cni0").unwrap()).unwrap();
    assert!(there.is_some());
}

#[test]
fn without_the_right_the_error_names_it() {
    let node = namespace();
    let error = node
        .run(|| {
            drop_capabilities();
            Netlink::new().unwrap().create_bridge(&bridge("cni0")).unwrap_err()
        })
        .unwrap();
    assert!(matches!(error, Error::Denied(_)), "{error}");
    assert!(error.to_string().contains("create bridge cni0") && error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}

/// For the calling thread alone.
fn drop_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let data = [0_u32; 6];
    // SAFETY: version 3 of capset(2) reads a header of two words and two sets of three, which both arrays are.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    assert_eq!(result, 0);
}
