//! GC, killed.

use podlink_tests::tracer::Fault;

use crate::scene::assert_same;
use crate::scenes::{self, Make, Node1st};
use crate::{points, tell};

/// What a killed GC has left is removed by the next GC, or by a DEL.
fn at_each_call(name: &str, make: Make) {
    let scene = make(Node1st::Used);
    let before = scene.left_on_the_node();
    let mut count = 0;
    for nth in 1.. {
        scene.call().add().success();
        let disturbed = scene.gc_call().disturbed("GC", points(), nth, Fault::KillAll);
        let Some(hit) = disturbed.hit else {
            assert_eq!(disturbed.finished.code, Some(0), "{}", disturbed.finished);
            break;
        };
        count += 1;
        let what = format!("{name}: GC killed at point {nth}, {hit}");
        if nth % 2 == 0 {
            scene.del(nth);
        } else {
            scene.gc_call().run("GC").success();
        }
        assert_same(&scene.left_on_the_node(), &before, &format!("{what}: after the next GC or DEL"));
    }
    assert_same(&scene.left_on_the_node(), &before, &format!("{name}: at the end"));
    tell(&format!("{name}: GC killed"), count);
}

macro_rules! tests {
    ($($name:ident)*) => { $(#[test] fn $name() { at_each_call(stringify!($name), scenes::$name) })* };
}

// loopback's changes nothing.
tests! { bridge bridge_iptables bridge_in_one host_local portmap portmap_iptables firewall firewall_iptables tuning bandwidth }
