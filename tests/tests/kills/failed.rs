//! ADD and DEL with a system call that fails: either they succeed all the same, or say what is wrong; nothing is lost.

use nix::errno::Errno;
use podlink_tests::Output;
use podlink_tests::tracer::{Calls, Disturbed, Fault};

use crate::scene::{Scene, assert_same};
use crate::scenes::{self, Make, Node1st};
use crate::tell;

/// In turns; all of them at each point with `PODLINK_TEST_EVERY_CALL`.
const ERRORS: [Errno; 4] = [Errno::ENOSPC, Errno::EIO, Errno::ENOMEM, Errno::EROFS];

fn with_an_error(name: &str, make: Make) {
    let scene = make(Node1st::Used);
    let before = scene.left();
    for verb in ["ADD", "DEL"] {
        let rounds = if std::env::var_os("PODLINK_TEST_EVERY_CALL").is_some() { ERRORS.len() } else { 1 };
        let mut count = 0;
        for (round, first) in (0..rounds).map(|round| (round, verb == "DEL")) {
            for nth in 1.. {
                if first {
                    scene.call().add().success();
                }
                let errno = ERRORS[(nth + round) % ERRORS.len()];
                let disturbed = scene.call().disturbed(verb, Calls::Effects, nth, Fault::Fail(errno));
                let Some(hit) = disturbed.hit.clone() else {
                    Output::of(disturbed.finished).success();
                    break;
                };
                count += 1;
                let what = format!("{name}: {verb} with {errno} at point {nth}, {hit}");
                assert_answer(disturbed, &hit, &what);
                recovers(&scene, nth, &what);
                assert_same(&scene.left(), &before, &format!("{what}: after DEL"));
            }
            scene.del(0);
        }
        tell(&format!("{name}: {verb} with a failed call"), count);
    }
    assert_same(&scene.left(), &before, &format!("{name}: at the end"));
}

/// Success, or a CNI error that tells whom and what it is about.
#[track_caller]
fn assert_answer(disturbed: Disturbed, hit: &str, what: &str) {
    let finished = &disturbed.finished;
    assert!(!finished.stderr.contains("panicked"), "{what}: {finished}");
    // A thread that cannot go back to its own namespace must do nothing any more: it ends the process.
    if finished.code.is_none() && hit.ends_with(" setns") {
        assert!(finished.stderr.contains("cannot enter network namespace"), "{what}: {finished}");
        return;
    }
    assert!(finished.code.is_some(), "{what}: {finished}");
    if finished.code == Some(0) {
        return;
    }
    let text = Output::of(disturbed.finished).failure().text;
    // It is of one file only, which everybody knows.
    if hit.ends_with(" write") && text.contains("stdout") {
        return;
    }
    assert!(!text.contains("panic"), "{what}: {text}");
    assert!(text.contains("pod-a"), "{what}: does not name the container: {text}");
}

/// DEL cleans, and ADD works.
#[track_caller]
fn recovers(scene: &Scene, turn: usize, what: &str) {
    scene.del(turn);
    scene.assert_held(&scene.call().add().success(), what);
    scene.del(0);
}

fn interrupted(name: &str, make: Make) {
    let scene = make(Node1st::Used);
    let before = scene.left();
    for verb in ["ADD", "DEL"] {
        let mut failed = Vec::new();
        let mut count = 0;
        for nth in 1.. {
            if verb == "DEL" {
                scene.call().add().success();
            }
            let fault = Fault::Fail(Errno::EINTR);
            let disturbed = scene.call().disturbed(verb, Calls::Waiting, nth, fault);
            if disturbed.finished.code != Some(0) {
                failed.push(format!("{nth}, {:?}: {}", disturbed.hit, disturbed.finished));
            }
            scene.del(0);
            if disturbed.hit.is_none() {
                break;
            }
            count += 1;
        }
        assert!(failed.is_empty(), "{name}: {verb} does not survive EINTR:\n{}", failed.join("\n"));
        tell(&format!("{name}: {verb} interrupted"), count);
    }
    assert_same(&scene.left(), &before, &format!("{name}: at the end"));
}

macro_rules! tests {
    ($($name:ident)*) => {
        mod error {
            $(#[test] fn $name() { super::with_an_error(stringify!($name), super::scenes::$name) })*
        }
        mod eintr {
            $(#[test] fn $name() { super::interrupted(stringify!($name), super::scenes::$name) })*
        }
    };
}

tests! { bridge bridge_in_one host_local portmap firewall firewall_iptables }
