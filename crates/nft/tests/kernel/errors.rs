//! Which operation failed, why, and what its error says.

use std::net::Ipv4Addr;

use nft::{Chain, Element, Error, FieldType, Missing, Nft, Rule, Selector, Set, Transaction, Verdict};

use crate::harness::{Namespace, T, with_table};

fn refused(nft: &mut Nft, build: impl FnOnce(&mut Transaction)) -> Error {
    let mut tx = Transaction::new();
    build(&mut tx);
    nft.commit(&tx).unwrap_err()
}

#[test]
fn what_is_missing_is_told_apart() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let element = || Element::new(Ipv4Addr::LOCALHOST);
    let add = |tx: &mut Transaction| _ = tx.add_element(&T, "s", element());
    assert_eq!(refused(&mut nft, add).missing(), Some(Missing::Table));
    assert_eq!(nft.elements(&T, "s").unwrap_err().missing(), Some(Missing::Table));
    assert_eq!(nft.element(&T, "s", Ipv4Addr::LOCALHOST).unwrap_err().missing(), Some(Missing::Table));
    assert_eq!(nft.rules(&T, "c").unwrap(), []);

    nft.commit(&with_table(|tx| _ = tx.add_set(&T, Set::new("v", [FieldType::Ipv4Addr]).to_verdicts()))).unwrap();
    let error = refused(&mut nft, add);
    assert_eq!(error.missing(), Some(Missing::Set));
    assert!(error.to_string().contains("add element inet podlink_test s { 127.0.0.1 }"), "{error}");
    assert!(error.to_string().contains("(the set is missing)"), "{error}");
    assert_eq!(nft.elements(&T, "s").unwrap_err().missing(), Some(Missing::Set));
    assert_eq!(nft.element(&T, "v", Ipv4Addr::LOCALHOST).unwrap(), None);

    let jump = |tx: &mut Transaction| {
        tx.add_element(&T, "v", element().verdict(Verdict::Jump("nowhere".into())));
    };
    assert_eq!(refused(&mut nft, jump).missing(), Some(Missing::Element));
    let rule = |tx: &mut Transaction| _ = tx.add_rule(&T, "c", Rule::new().accept());
    assert_eq!(refused(&mut nft, rule).missing(), Some(Missing::Chain));
    assert_eq!(refused(&mut nft, |tx| _ = tx.delete_chain(&T, "c")).missing(), Some(Missing::Chain));
    assert_eq!(refused(&mut nft, |tx| _ = tx.delete_set(&T, "s")).missing(), Some(Missing::Set));
    nft.commit(&with_table(|tx| _ = tx.add_chain(&T, Chain::regular("c")))).unwrap();
    let lookup = |tx: &mut Transaction| {
        tx.add_rule(&T, "c", Rule::new().in_set(&[Selector::IpSaddr], "nothing").accept());
    };
    assert_eq!(refused(&mut nft, lookup).missing(), Some(Missing::Rule));
    assert_eq!(refused(&mut nft, |tx| _ = tx.delete_rule(&T, "c", 4711)).missing(), Some(Missing::Rule));
}

#[test]
fn the_failing_operation_is_named_by_number_and_text() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let error = refused(&mut nft, |tx| {
        tx.add_table(&T).add_chain(&T, Chain::regular("c")).delete_chain(&T, "d").add_chain(&T, Chain::regular("e"));
    });
    let Error::NotFound { refusal, .. } = &error else { panic!("{error:?}") };
    assert_eq!((refusal.index, refusal.operation.as_str()), (Some(2), "delete chain inet podlink_test d"));
    assert_eq!(ns.ruleset(), "", "nothing of it was done");
}

#[test]
fn busy_and_exists() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    nft.commit(&with_table(|tx| {
        tx.add_chain(&T, Chain::regular("a")).add_chain(&T, Chain::regular("b"));
        tx.add_rule(&T, "a", Rule::new().jump("b"));
    }))
    .unwrap();
    assert!(matches!(refused(&mut nft, |tx| _ = tx.delete_chain(&T, "b")), Error::Busy(_)));
    assert!(matches!(refused(&mut nft, |tx| _ = tx.destroy_chain(&T, "b")), Error::Busy(_)));
    assert!(refused(&mut nft, |tx| _ = tx.create_table(&T)).is_exists());
    assert!(refused(&mut nft, |tx| _ = tx.create_chain(&T, Chain::regular("a"))).is_exists());
}

#[test]
fn without_the_capability_it_says_so() {
    let ns = Namespace::new();
    let error = ns.run(|| {
        // Effective capabilities are the thread's own; this one ends with the test.
        std::thread::spawn(|| {
            let mut nft = Nft::open().unwrap();
            drop_capabilities();
            let table = with_table(|_| {});
            (nft.commit(&table).unwrap_err().to_string(), nft.generation().unwrap_err().to_string())
        })
        .join()
        .unwrap()
    });
    assert!(error.0.contains("CAP_NET_ADMIN") && error.0.contains("add table inet podlink_test"), "{error:?}");
    assert!(error.1.contains("CAP_NET_ADMIN"), "{error:?}");
}

fn drop_capabilities() {
    let header: [u32; 2] = [0x2008_0522, 0];
    let data = [0u32; 6];
    // SAFETY: capset(2) reads a header of two words and, for version 3, six words of data; both outlive the call.
    let result = unsafe { nix::libc::syscall(nix::libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    assert_eq!(result, 0);
}

#[test]
fn what_cannot_be_is_refused_before_it_is_sent() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let long = "x".repeat(300);
    type Build = Box<dyn Fn(&mut Transaction)>;
    let cases: Vec<(Build, &str)> = vec![
        (Box::new(|tx| _ = tx.add_chain(&T, Chain::regular(""))), "the chain has no name"),
        (Box::new(move |tx| _ = tx.add_chain(&T, Chain::regular(long.clone()))), "is 300 bytes long"),
        (
            Box::new(|tx| _ = tx.add_element(&T, "s", Element::new("interface-name-too-long"))),
            "cannot name an interface",
        ),
        (
            Box::new(|tx| _ = tx.add_element(&T, "s", Element::new("eth0").owner("o".repeat(251)))),
            "the owner is 251 bytes long, at most 250",
        ),
        (
            Box::new(|tx| _ = tx.add_rule(&T, "c", Rule::new().eq(Selector::IpSaddr, "eth0"))),
            "ip saddr is of type ipv4_addr, it was compared with ifname",
        ),
        (
            Box::new(|tx| _ = tx.add_rule(&T, "c", Rule::new().in_prefix(Selector::IpSaddr, [10, 0, 0, 0], 33))),
            "a prefix of 33 bits is longer",
        ),
    ];
    for (build, reason) in cases {
        let error = refused(&mut nft, build);
        assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains(reason), "{error}");
    }
    // The longest owner that is allowed is kept whole.
    let owner = "o".repeat(nft::MAX_COMMENT);
    let whole = owner.clone();
    nft.commit(&with_table(|tx| {
        tx.add_set(&T, Set::new("s", [FieldType::IfName])).add_element(&T, "s", Element::new("eth0").owner(owner));
    }))
    .unwrap();
    assert_eq!(nft.element(&T, "s", "eth0").unwrap().unwrap().owner, Some(whole));
}
