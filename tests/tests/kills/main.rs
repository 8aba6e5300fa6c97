//! Every plugin's ADD, DEL and GC killed at each of its system calls, and with each of them failing: DEL succeeds
//! afterwards, nothing is left, the next ADD works, and no two pods hold one address.
//!
//! By default the calls that can have an effect are points, which is enough: killed at any other, a process leaves the
//! same as at the next of these. `PODLINK_TEST_EVERY_CALL=1` takes all of them.

mod add;
mod del;
mod failed;
mod gc;
mod scene;
mod scenes;
mod storage;

use std::io::Write;

use podlink_tests::tracer::Calls;

/// The calls that are points.
fn points() -> Calls<'static> {
    if std::env::var_os("PODLINK_TEST_EVERY_CALL").is_some() { Calls::Every } else { Calls::Effects }
}

/// Says how many points there were, also where the output of tests that pass is not shown.
fn tell(what: &str, points: usize) {
    let _ = writeln!(std::io::stderr(), "{what}: {points} points");
    assert!(points > 0, "{what}: no point was reached");
}
