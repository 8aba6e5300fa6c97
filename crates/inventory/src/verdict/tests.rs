use super::*;

const OLD: Option<Duration> = Some(Duration::from_secs(3600));
const NEW: Option<Duration> = Some(Duration::from_secs(2));

fn carrier() -> Carrier {
    Carrier { namespace: "/run/netns/a".into(), ifname: "eth0".into() }
}

fn gone() -> LinkState {
    LinkState::Gone { name: "veth1".into() }
}

fn alone() -> LinkState {
    LinkState::Alone { name: "veth1".into() }
}

fn no_record() -> RecordState {
    RecordState::Gone { file: "/var/lib/cni/results/net-c1-eth0".into() }
}

fn namespace_gone() -> RecordState {
    RecordState::NamespaceGone { path: "/run/netns/a".into() }
}

fn namespace_there() -> RecordState {
    RecordState::NamespaceThere { path: "/run/netns/a".into() }
}

/// An hour old, made by podlink's bridge, no trace of it anywhere, and no runtime that keeps records.
fn lost() -> OfAddress {
    OfAddress {
        content: Content::Holder,
        boot: Boot::This,
        age: OLD,
        carrier: None,
        scan: Scan { read: 7, complete: true },
        link: gone(),
        record: RecordState::NotKept,
    }
}

/// The same of another plugin that tells nothing about itself.
fn lost_foreign() -> OfAddress {
    OfAddress { boot: Boot::Unknown, link: LinkState::Unknown, ..lost() }
}

#[test]
fn one_proof_is_never_enough() {
    assert_eq!(address(&lost()).verdict, Verdict::Dead);
    assert_eq!(address(&OfAddress { scan: Scan { read: 7, complete: false }, ..lost() }).verdict, Verdict::Unknown);
    assert_eq!(address(&OfAddress { link: LinkState::Unknown, ..lost() }).verdict, Verdict::Unknown);
    assert_eq!(address(&lost_foreign()).verdict, Verdict::Unknown);
    assert_eq!(address(&OfAddress { record: no_record(), ..lost_foreign() }).verdict, Verdict::Dead);
    assert_eq!(address(&OfAddress { record: namespace_gone(), ..lost_foreign() }).verdict, Verdict::Dead);
    assert_eq!(address(&OfAddress { boot: Boot::Earlier, ..lost_foreign() }).verdict, Verdict::Dead);
    let only_earlier = OfAddress { boot: Boot::Earlier, scan: Scan { read: 0, complete: false }, ..lost_foreign() };
    assert_eq!(address(&only_earlier).verdict, Verdict::Unknown);
}

#[test]
fn any_sign_of_life_outweighs_all_proofs() {
    let damning = || OfAddress { boot: Boot::Earlier, record: namespace_gone(), ..lost() };
    assert_eq!(address(&damning()).verdict, Verdict::Dead);
    assert_eq!(address(&OfAddress { carrier: Some(carrier()), ..damning() }).verdict, Verdict::Alive);
    let paired = LinkState::Paired { name: "veth1".into(), peer: carrier() };
    assert_eq!(address(&OfAddress { link: paired, ..damning() }).verdict, Verdict::Alive);
    // What may be alive is not dead.
    assert_eq!(address(&OfAddress { record: namespace_there(), ..damning() }).verdict, Verdict::Unknown);
    assert_eq!(address(&OfAddress { content: Content::Foreign, ..damning() }).verdict, Verdict::Unknown);
    assert_eq!(address(&OfAddress { link: alone(), record: no_record(), ..damning() }).verdict, Verdict::Unknown);
}

#[test]
fn an_add_under_way_is_not_dead() {
    // Another plugin reserves first: no interface, no record yet.
    for age in [NEW, None] {
        let of = OfAddress { age, record: no_record(), ..lost_foreign() };
        assert_eq!(address(&of).verdict, Verdict::Unknown, "{age:?}");
    }
    // podlink's host-local below a plugin whose interface names are not known.
    let of = OfAddress { age: NEW, link: LinkState::Unknown, record: no_record(), ..lost() };
    assert_eq!(address(&of).verdict, Verdict::Unknown);
    // The reference's bridge makes names at random: that ours is not there says nothing.
    let of = OfAddress { age: NEW, boot: Boot::Unknown, record: no_record(), ..lost() };
    assert_eq!(address(&of).verdict, Verdict::Unknown);
    let of = OfAddress { boot: Boot::Unknown, ..lost() };
    assert_eq!(address(&of).verdict, Verdict::Unknown);
    // podlink's host-local may work below the reference's bridge.
    assert_eq!(address(&OfAddress { age: NEW, ..lost() }).verdict, Verdict::Unknown);
    // The record may be of the ADD before.
    let of = OfAddress { age: NEW, record: namespace_gone(), ..lost() };
    assert_eq!(address(&of).verdict, Verdict::Unknown);
    // No ADD goes on after a reboot.
    assert_eq!(address(&OfAddress { age: NEW, boot: Boot::Earlier, ..lost_foreign() }).verdict, Verdict::Dead);
}

#[test]
fn a_pair_that_nobody_can_reach_is_dead_only_with_its_path() {
    let of = OfAddress { link: alone(), record: namespace_gone(), ..lost() };
    assert_eq!(address(&of).verdict, Verdict::Dead);
    assert_eq!(address(&OfAddress { link: alone(), ..lost() }).verdict, Verdict::Unknown);
    let unread = OfAddress { scan: Scan { read: 7, complete: false }, ..of };
    assert_eq!(address(&unread).verdict, Verdict::Unknown);
}

#[test]
fn a_damaged_file_is_dead_once_no_writer_can_be_at_it() {
    let of = OfAddress { content: Content::Damaged, ..lost_foreign() };
    assert_eq!(address(&of).verdict, Verdict::Dead);
    assert_eq!(address(&OfAddress { age: NEW, ..of.clone() }).verdict, Verdict::Unknown);
    assert_eq!(address(&OfAddress { carrier: Some(carrier()), ..of }).verdict, Verdict::Alive);
}

fn rules() -> OfOther {
    OfOther {
        network: "net".into(),
        reserved: Reserved::Nothing,
        scan: Scan { read: 7, complete: true },
        link: gone(),
        record: RecordState::NotKept,
    }
}

#[test]
fn rules_follow_the_address_of_their_owner() {
    assert_eq!(other(&rules()).verdict, Verdict::Dead);
    assert_eq!(other(&OfOther { link: LinkState::Unknown, ..rules() }).verdict, Verdict::Unknown);
    let alive = Reserved::NotDead { address: "10.1.0.2".into(), verdict: Verdict::Alive };
    assert_eq!(other(&OfOther { reserved: alive, record: namespace_gone(), ..rules() }).verdict, Verdict::Alive);
    let doubtful = Reserved::NotDead { address: "10.1.0.2".into(), verdict: Verdict::Unknown };
    assert_eq!(other(&OfOther { reserved: doubtful, record: namespace_gone(), ..rules() }).verdict, Verdict::Unknown);
    let dead = Reserved::Dead(address(&lost()).proofs);
    assert_eq!(other(&OfOther { reserved: dead, ..rules() }).verdict, Verdict::Dead);
}

#[test]
fn without_addresses_of_this_node_rules_need_the_runtimes_word() {
    // Addresses by another IPAM plugin, the pair under another name: this is also what an ADD under way looks like.
    let of = OfOther { reserved: Reserved::Unknown, record: no_record(), ..rules() };
    assert_eq!(other(&of).verdict, Verdict::Unknown);
    assert_eq!(other(&OfOther { record: namespace_gone(), ..of }).verdict, Verdict::Dead);
}

#[test]
fn a_pair_of_an_add_under_way_is_not_dead() {
    // The pair is made before anything else.
    let of = OfOther { link: alone(), record: no_record(), ..rules() };
    assert_eq!(other(&of).verdict, Verdict::Unknown);
    assert_eq!(other(&OfOther { record: namespace_gone(), ..of }).verdict, Verdict::Dead);
}

#[test]
fn the_worst_address_of_an_owner_does_not_hide_the_best() {
    let (dead, unknown) = (address(&lost()), address(&lost_foreign()));
    let alive = address(&OfAddress { carrier: Some(carrier()), ..lost() });
    for order in [[&dead, &unknown, &alive], [&alive, &unknown, &dead], [&unknown, &alive, &dead]] {
        let all = order.iter().fold(Reserved::Nothing, |all, one| all.and("10.1.0.2", one));
        assert!(matches!(all, Reserved::NotDead { verdict: Verdict::Alive, .. }), "{all:?}");
    }
    let without = [&dead, &unknown, &dead].iter().fold(Reserved::Nothing, |all, one| all.and("10.1.0.2", one));
    assert!(matches!(without, Reserved::NotDead { verdict: Verdict::Unknown, .. }), "{without:?}");
}

#[test]
fn the_evidence_is_told_in_words() {
    assert_eq!(
        address(&lost()).evidence(),
        ["no network namespace has the address (7 looked into)", "the interface veth1 on the node is gone"]
    );
    let alive = address(&OfAddress { carrier: Some(carrier()), ..lost() });
    assert_eq!(alive.evidence(), ["eth0 in /run/netns/a has the address"]);
}
