//! Elements: keys, data, owners, and many of them.

use std::net::{Ipv4Addr, Ipv6Addr};

use nft::{Chain, Data, Element, FieldType, Key, RawData, Set, Transaction, Value, Verdict, proto};

use crate::harness::{Namespace, T, with_table};

fn ip(last: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + last)
}

#[test]
fn every_type_of_key_and_data_is_stored_and_read_back() {
    use FieldType as F;
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let mac = Value::Ether([0x0a, 0x58, 0, 0, 0, 9]);
    let sets = [
        Set::new("a4", [F::Ipv4Addr]),
        Set::new("a6", [F::Ipv6Addr]),
        Set::new("names", [F::IfName]),
        Set::new("macs", [F::IfName, F::EtherAddr]),
        Set::new("marks", [F::Mark]),
        Set::new("ports", [F::InetService]),
        Set::new("jumps", [F::Ipv4Addr]).to_verdicts(),
        Set::new("dnat4", [F::InetProto, F::InetService]).to_values([F::Ipv4Addr, F::InetService]),
        Set::new("dnat6", [F::Ipv6Addr, F::InetProto, F::InetService]).to_values([F::Ipv6Addr, F::InetService]),
    ];
    let tcp80 = || [Value::Proto(proto::TCP), Value::Port(80)];
    let elements = [
        ("a4", Element::new(ip(1)), "10.0.0.1"),
        ("a6", Element::new(Ipv6Addr::LOCALHOST), "::1"),
        ("names", Element::new("veth0"), "\"veth0\""),
        ("macs", Element::new([Value::from("veth0"), mac.clone()]), "\"veth0\" . 0a:58:00:00:00:09"),
        ("marks", Element::new(Value::Mark(0x2000)), "0x00002000"),
        ("ports", Element::new(Value::Port(8080)), "8080"),
        ("jumps", Element::new(ip(1)).verdict(Verdict::Jump("c".into())), "10.0.0.1 comment \"net/c1/eth0\" : jump c"),
        ("jumps", Element::new(ip(2)).verdict(Verdict::Goto("c".into())), "10.0.0.2 comment \"net/c1/eth0\" : goto c"),
        ("jumps", Element::new(ip(3)).verdict(Verdict::Drop), "10.0.0.3 comment \"net/c1/eth0\" : drop"),
        ("jumps", Element::new(ip(4)).verdict(Verdict::Return), "10.0.0.4 comment \"net/c1/eth0\" : return"),
        (
            "dnat4",
            Element::new(tcp80()).value([Value::Ipv4(ip(9)), Value::Port(8080)]),
            "tcp . 80 comment \"net/c1/eth0\" : 10.0.0.9 . 8080",
        ),
        (
            "dnat6",
            Element::new(Key::concat([Value::Ipv6(Ipv6Addr::LOCALHOST)].into_iter().chain(tcp80())))
                .value([Value::Ipv6(Ipv6Addr::UNSPECIFIED), Value::Port(1)]),
            "::1 . tcp . 80 comment \"net/c1/eth0\" : :: . 1",
        ),
    ];
    let tx = with_table(|tx| {
        tx.add_chain(&T, Chain::regular("c"));
        for set in sets.clone() {
            tx.add_set(&T, set);
        }
        for (set, element, _) in &elements {
            tx.add_element(&T, *set, element.clone().owner("net/c1/eth0"));
        }
    });
    nft.commit(&tx).unwrap();
    let shown = ns.ruleset();
    for (set, element, text) in elements {
        assert!(shown.contains(text), "{text} in {shown}");
        let element = element.owner("net/c1/eth0");
        let found = nft.element(&T, set, element.key.clone()).unwrap().unwrap();
        assert!(found.is(&element), "{found:?} {element:?}");
        assert!(nft.elements(&T, set).unwrap().iter().any(|found| found.is(&element)));
        let types = &sets.iter().find(|candidate| candidate.name == set).unwrap().key;
        assert_eq!(Key::from_bytes(types, &found.key), Some(element.key.clone()));
        assert!(!found.is(&element.clone().owner("someone else")));
        let other = Element { data: Some(Data::Verdict(Verdict::Accept)), ..element };
        assert!(!found.is(&other));
    }
}

#[test]
fn ranges_and_prefixes() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let tx = with_table(|tx| {
        tx.add_set(&T, Set::new("nets", [FieldType::Ipv4Addr]).interval());
        tx.add_element(&T, "nets", Element::new(ip(0)).to(ip(255)));
        tx.add_element(&T, "nets", Element::new(Ipv4Addr::new(255, 255, 255, 0)).to(Ipv4Addr::BROADCAST));
        tx.add_set(&T, Set::new("both", [FieldType::Ipv4Addr, FieldType::InetService]).interval());
        let end = [Value::Ipv4(ip(255)), Value::Port(90)];
        tx.add_element(&T, "both", Element::new([Value::Ipv4(ip(0)), Value::Port(80)]).to(end));
    });
    nft.commit(&tx).unwrap();
    let shown = ns.ruleset();
    assert!(shown.contains("elements = { 10.0.0.0/24, 255.255.255.0/24 }"), "{shown}");
    assert!(shown.contains("elements = { 10.0.0.0/24 . 80-90 }"), "{shown}");
    let mut tx = Transaction::new();
    tx.delete_elements(&T, "nets", vec![Element::new(ip(0)).to(ip(255))]);
    nft.commit(&tx).unwrap();
    assert!(ns.ruleset().contains("elements = { 255.255.255.0/24 }"), "{}", ns.ruleset());
    let found = nft.elements(&T, "both").unwrap();
    assert_eq!(found[0].to, Some(Key::concat([Value::Ipv4(ip(255)), Value::Port(90)]).to_bytes()));
}

#[test]
fn twenty_thousand_elements_are_one_atomic_batch() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let owner = "x".repeat(100);
    let all: Vec<Element> = (1..=20_000).map(|n| Element::new(ip(n)).owner(owner.clone())).collect();
    let mut tx = with_table(|tx| {
        tx.add_set(&T, Set::new("pods", [FieldType::Ipv4Addr])).add_elements(&T, "pods", all.clone());
    });
    assert!(tx.to_bytes().len() > 2_000_000);
    // The last of them cannot be done: none is.
    tx.add_element(&T, "missing", Element::new(ip(1)));
    assert!(nft.commit(&tx).unwrap_err().is_not_found());
    assert_eq!(ns.ruleset(), "");

    tx = with_table(|tx| {
        tx.add_set(&T, Set::new("pods", [FieldType::Ipv4Addr])).add_elements(&T, "pods", all.clone());
    });
    nft.commit(&tx).unwrap();
    let found = nft.elements(&T, "pods").unwrap();
    assert_eq!(found.len(), 20_000);
    assert!(found.iter().all(|element| element.owner.as_deref() == Some(owner.as_str())));
    tx = Transaction::new();
    tx.delete_elements(&T, "pods", all[1..].to_vec());
    nft.commit(&tx).unwrap();
    assert_eq!(nft.elements(&T, "pods").unwrap().len(), 1);
}

#[test]
fn a_taken_key_tells_its_owner() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let key = || [Value::Proto(proto::TCP), Value::Port(80)];
    let to = |last| [Value::Ipv4(ip(last)), Value::Port(8080)];
    let ours = Element::new(key()).value(to(1)).owner("net/c1/eth0");
    let tx = with_table(|tx| {
        let types = [FieldType::InetProto, FieldType::InetService];
        tx.add_set(&T, Set::new("ports", types).to_values([FieldType::Ipv4Addr, FieldType::InetService]));
        tx.add_element(&T, "ports", ours.clone());
    });
    nft.commit(&tx).unwrap();
    nft.commit(&tx).expect("the same again is no change");

    let mut tx = Transaction::new();
    tx.add_element(&T, "ports", Element::new(key()).value(to(2)).owner("net/c2/eth0"));
    let error = nft.commit(&tx).unwrap_err();
    assert!(error.is_exists(), "{error:?}");
    assert!(error.to_string().contains("{ tcp . 80 comment \"net/c2/eth0\" : 10.0.0.2 . 8080 }"), "{error}");
    let holder = nft.element(&T, "ports", key()).unwrap().unwrap();
    assert_eq!(holder.owner.as_deref(), Some("net/c1/eth0"));
    assert_eq!(holder.data, Some(RawData::Value(Key::concat(to(1)).to_bytes())));

    let mut tx = Transaction::new();
    tx.create_elements(&T, "ports", vec![ours]);
    assert!(nft.commit(&tx).unwrap_err().is_exists(), "exclusive also where the data is the same");
}

#[test]
fn some_of_the_elements_to_destroy_are_missing() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let elements = |range: std::ops::Range<u32>| range.map(|n| Element::new(ip(n))).collect::<Vec<_>>();
    let tx = with_table(|tx| {
        tx.add_set(&T, Set::new("pods", [FieldType::Ipv4Addr])).add_elements(&T, "pods", elements(1..6));
    });
    nft.commit(&tx).unwrap();
    let mut tx = Transaction::new();
    tx.destroy_elements(&T, "nothing", elements(1..3)).destroy_elements(&T, "pods", elements(4..300));
    nft.commit(&tx).unwrap();
    assert_eq!(nft.elements(&T, "pods").unwrap().len(), 3);

    let mut tx = Transaction::new();
    tx.delete_elements(&T, "pods", elements(1..5));
    let error = nft.commit(&tx).unwrap_err();
    assert_eq!(error.missing(), Some(nft::Missing::Element));
    assert!(error.to_string().contains("{ 10.0.0.4 }"), "names the one that is missing: {error}");
    assert_eq!(nft.elements(&T, "pods").unwrap().len(), 3, "and none is deleted");
}

#[test]
fn dumps_are_whole_while_others_change_the_rules() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let all: Vec<Element> = (1..=5_000).map(|n| Element::new(ip(n))).collect();
    nft.commit(&with_table(|tx| {
        tx.add_set(&T, Set::new("pods", [FieldType::Ipv4Addr])).add_elements(&T, "pods", all);
    }))
    .unwrap();
    let mut other = ns.nft();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut tx = Transaction::new();
                // In pairs: a dump that is not interrupted has seen both or neither.
                n += 1;
                let pair = vec![Element::new(ip(100_000 + 2 * n)), Element::new(ip(100_001 + 2 * n))];
                tx.add_elements(&T, "pods", pair.clone());
                other.commit(&tx).unwrap();
                let mut tx = Transaction::new();
                tx.delete_elements(&T, "pods", pair);
                other.commit(&tx).unwrap();
                // The reader needs a pause in the changes at least as long as a dump.
                for _ in 0..40 {
                    std::thread::yield_now();
                    let _ = other.generation().unwrap();
                }
            }
        });
        let found: Vec<_> = (0..20).map(|_| nft.elements(&T, "pods")).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for elements in found {
            match elements {
                Ok(found) => assert_eq!(found.len() % 2, 0),
                Err(error) => assert!(matches!(error, nft::Error::Busy(_)), "{error}"),
            }
        }
    });
}
