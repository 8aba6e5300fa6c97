//! DEL, killed.

use podlink_tests::tracer::Fault;

use crate::add::no_address_twice;
use crate::scene::assert_same;
use crate::scenes::{self, Make, Node1st};
use crate::{points, tell};

fn at_each_call(name: &str, make: Make) {
    let scene = make(Node1st::Used);
    let before = scene.left();
    let mut count = 0;
    for nth in 1.. {
        scene.assert_held(&scene.call().add().success(), name);
        let disturbed = scene.call().disturbed("DEL", points(), nth, Fault::KillAll);
        let Some(hit) = disturbed.hit else {
            assert_eq!(disturbed.finished.code, Some(0), "{}", disturbed.finished);
            break;
        };
        count += 1;
        let what = format!("{name}: DEL killed at point {nth}, {hit}");
        if nth % 2 == 0 {
            no_address_twice(&scene, &what);
        }
        scene.del(nth);
        assert_same(&scene.left(), &before, &format!("{what}: after the next DEL"));
    }
    assert_same(&scene.left(), &before, &format!("{name}: at the end"));
    tell(&format!("{name}: DEL killed"), count);
}

macro_rules! tests {
    ($($name:ident)*) => { $(#[test] fn $name() { at_each_call(stringify!($name), scenes::$name) })* };
}

tests! { bridge bridge_iptables bridge_in_one host_local portmap portmap_iptables firewall firewall_iptables tuning bandwidth loopback }
