use std::slice::from_ref;

use pod::Owner;

use super::*;

fn target(owner: &str, address: &str, fence: Option<Fence>) -> Target {
    Target { owner: owner.to_owned(), addresses: vec![address.parse().unwrap()], fence }
}

fn fence(isolated: bool) -> Option<Fence> {
    Some(Fence { bridges: vec!["br0".to_owned()], ports: vec!["veth1".to_owned()], isolated })
}

fn records(targets: &[Target]) -> Vec<Record> {
    let of = |target: &Target| {
        let owner = Owner::from_alias(&target.owner).unwrap();
        let records = owned(target).into_iter().flat_map(|(set, elements)| elements.into_iter().map(move |e| (set, e)));
        records.map(|(set, element)| Record { set, key: element.key, owner: owner.clone() }).collect::<Vec<_>>()
    };
    targets.iter().flat_map(of).collect()
}

fn unshared(gone: &[Target], kept: &[Target]) -> String {
    let mut tx = Transaction::new();
    unshare(&mut tx, &records(gone), &records(kept));
    tx.to_string()
}

#[test]
fn a_pod_is_an_element_with_its_owner() {
    let mut tx = Transaction::new();
    let mut both = target("podlink:net/c1/eth0", "10.1.0.2", None);
    both.addresses.push("fd00::2".parse().unwrap());
    for (set, elements) in owned(&both) {
        tx.create_elements(&set.table, set.name, elements);
    }
    share(&mut tx, &both);
    assert_eq!(
        tx.to_string(),
        "create element inet podlink_filter pods4 { 10.1.0.2 comment \"podlink:net/c1/eth0\" }\n\
         create element inet podlink_filter pods6 { fd00::2 comment \"podlink:net/c1/eth0\" }\n"
    );
}

#[test]
fn a_fence_goes_with_the_last_pod_that_needs_it() {
    let a = target("podlink:net/a/eth0", "10.1.0.2", fence(false));
    let b = target("podlink:net/b/eth0", "10.1.0.3", fence(false));
    let isolated = target("podlink:other/c/eth0", "10.1.0.4", fence(true));
    assert_eq!(unshared(from_ref(&a), from_ref(&b)), "");
    let fenced = "destroy element inet podlink_filter fenced { \"br0\" }\n";
    let same = "destroy element inet podlink_filter same_bridge { \"br0\" . \"br0\" }\n";
    let within = "destroy element inet podlink_filter isolated { \"br0\" . \"br0\" }\n";
    assert_eq!(unshared(&[a.clone(), b.clone()], &[]), format!("{fenced}{same}"));
    // The bridge stays fenced for the other policy's pods.
    assert_eq!(unshared(from_ref(&a), from_ref(&isolated)), same);
    assert_eq!(unshared(&[isolated], &[a, b]), within);
}
