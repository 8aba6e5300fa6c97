//! ADD, killed.

use podlink_tests::tracer::Fault;
use podlink_tests::{Output, Pod};
use serde_json::Value;

use crate::scene::{Kind, Scene, assert_same, on_eth0};
use crate::scenes::{self, Make, Node1st};
use crate::{points, tell};

/// At each call of ADD on a node where the plugin was used before.
fn on_a_used_node(name: &str, make: Make) {
    let scene = make(Node1st::Used);
    let before = scene.left();
    // Where more than one process runs, one may die alone.
    let faults: &[Fault] =
        if scene.kind == Kind::Interface { &[Fault::Kill, Fault::KillAll] } else { &[Fault::KillAll] };
    let count = faults.iter().map(|fault| killed(name, &scene, &before, *fault)).sum();
    assert_same(&scene.left(), &before, &format!("{name}: at the end"));
    tell(&format!("{name}: ADD killed"), count);
}

/// At each call, in this way; the number of points.
fn killed(name: &str, scene: &Scene, before: &Value, fault: Fault) -> usize {
    for nth in 1.. {
        let disturbed = scene.call().disturbed("ADD", points(), nth, fault);
        let Some(hit) = disturbed.hit else {
            assert_eq!(disturbed.finished.code, Some(0), "{}", disturbed.finished);
            scene.del(0);
            return nth - 1;
        };
        let what = format!("{name}: ADD, {fault:?} at point {nth}, {hit}");
        // It lives when only its delegate was killed.
        if disturbed.finished.code.is_some_and(|code| code != 0) {
            Output::of(disturbed.finished).failure();
        }
        if nth % 2 == 0 {
            no_address_twice(scene, &what);
        }
        scene.del(nth);
        assert_same(&scene.left(), before, &format!("{what}: after DEL"));
        scene.assert_held(&scene.call().add().success(), &what);
        scene.del(0);
    }
    0
}

/// What an unfinished call has left does not let another pod have an address that is still on pod `a`'s interface.
pub fn no_address_twice(scene: &Scene, what: &str) {
    if scene.kind != Kind::Interface {
        return;
    }
    let third: Pod = scene.node.pod("c");
    let call = scene.call().pod(&third);
    let result = call.add().success();
    let held: Vec<String> = [&scene.a, &scene.b].into_iter().flat_map(|pod| on_eth0(pod)).collect();
    for ip in result["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["address"].as_str()) {
        assert!(!held.iter().any(|other| other == ip), "{what}: {ip} was given out twice");
    }
    call.del().success();
}

/// At each call of the first ADD on a node: what is made once for all pods is half made, too.
fn on_a_fresh_node(name: &str, make: Make) {
    let finished = |scene: &Scene| -> Value {
        scene.call().add().success();
        scene.del(0);
        scene.left()
    };
    let undisturbed = comparable(finished(&make(Node1st::Fresh)));
    let mut count = 0;
    for nth in 1.. {
        let scene = make(Node1st::Fresh);
        let before = scene.left();
        let Some(hit) = scene.call().disturbed("ADD", points(), nth, Fault::KillAll).hit else { break };
        count += 1;
        let what = format!("{name}: first ADD killed at point {nth}, {hit}");
        scene.del(nth);
        let after = scene.left();
        for same in ["a", "b", "files"] {
            assert_same(&after[same], &before[same], &format!("{what}: after DEL, {same}"));
        }
        let of_pods = scene.node.rules_of_pods(&["pod-a"]);
        assert_eq!(of_pods, [""; 0], "{what}: after DEL");
        scene.assert_held(&scene.call().add().success(), &what);
        scene.del(0);
        assert_same(&comparable(scene.left()), &undisturbed, &format!("{what}: after the next ADD and DEL"));
    }
    tell(&format!("{name}: first ADD killed"), count);
}

/// Without MACs, which are other ones on each node.
fn comparable(mut left: Value) -> Value {
    for place in ["node", "a", "b"] {
        for link in left[place]["links"].as_array_mut().into_iter().flatten() {
            link["mac"] = Value::Null;
        }
    }
    left
}

macro_rules! tests {
    ($($name:ident)*) => {
        mod used {
            $(#[test] fn $name() { super::on_a_used_node(stringify!($name), super::scenes::$name) })*
        }
        mod fresh {
            $(#[test] fn $name() { super::on_a_fresh_node(stringify!($name), super::scenes::$name) })*
        }
    };
}

tests! { bridge bridge_iptables bridge_in_one host_local portmap portmap_iptables firewall firewall_iptables tuning bandwidth loopback }
