//! Tables, chains, sets: made, found, removed.

use nft::{
    Chain, ChainType, Element, Error, Family, FieldType, Hook, Policy, Set, Table, Transaction, Value, priority,
};

use crate::harness::{Namespace, T, with_table};

#[test]
fn every_family_takes_a_table_and_a_chain() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    for family in Family::ALL {
        assert!(nft.supports(family).unwrap(), "{family}");
    }
    assert_eq!(nft.tables(None).unwrap(), [], "the probe leaves nothing");
    let mut tx = Transaction::new();
    for family in Family::ALL {
        let table = Table::new(family, "t");
        tx.add_table(&table).add_chain(&table, Chain::regular("c").comment("why"));
    }
    nft.commit(&tx).unwrap();
    let mut tables = nft.tables(None).unwrap();
    tables.sort_by_key(|table| table.to_string());
    let names: Vec<String> = tables.iter().map(Table::to_string).collect();
    assert_eq!(names, ["bridge t", "inet t", "ip t", "ip6 t", "netdev t"]);
    assert_eq!(nft.tables(Some(Family::Ip6)).unwrap(), [Table::new(Family::Ip6, "t")]);
    for family in Family::ALL {
        assert!(
            ns.ruleset().contains(&format!("table {family} t {{\nchain c {{\ncomment \"why\"\n")),
            "{}",
            ns.ruleset()
        );
    }
    assert!(nft.has_table(&tables[0]).unwrap());
    assert!(!nft.has_table(&T).unwrap());
}

#[test]
fn base_chains_hang_where_they_should() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let netdev = Table::new(Family::Netdev, "dev");
    let nat = Chain::base("post", ChainType::Nat, Hook::Postrouting, priority::SRCNAT).comment("masq");
    let forward = Chain::base("fwd", ChainType::Filter, Hook::Forward, priority::FILTER - 5).policy(Policy::Drop);
    let route = Chain::base("out", ChainType::Route, Hook::Output, priority::MANGLE);
    let ingress = Chain::base("in", ChainType::Filter, Hook::Ingress, 0).device("lo");
    let mut tx = with_table(|tx| {
        tx.add_chain(&T, nat.clone()).add_chain(&T, forward.clone()).add_chain(&T, route);
        tx.add_table(&netdev).add_chain(&netdev, ingress.clone());
    });
    nft.commit(&tx).unwrap();
    let shown = ns.ruleset();
    for line in [
        "type nat hook postrouting priority srcnat; policy accept;",
        "type filter hook forward priority filter - 5; policy drop;",
        "type route hook output priority mangle; policy accept;",
        "type filter hook ingress device \"lo\" priority filter; policy accept;",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    let found = nft.chain(&T, "post").unwrap().unwrap();
    assert_eq!((found.base, found.comment), (nat.base, nat.comment));
    assert_eq!(nft.chains(&T).unwrap().len(), 3);
    assert_eq!(nft.chains(&netdev).unwrap()[0].base, ingress.base);
    assert_eq!(nft.chain(&T, "nothing").unwrap(), None);

    // A chain that is there takes over the policy and keeps its rules.
    tx = Transaction::new();
    tx.add_chain(&T, forward.policy(Policy::Accept));
    nft.commit(&tx).unwrap();
    assert!(ns.ruleset().contains("priority filter - 5; policy accept;"));

    tx = Transaction::new();
    tx.add_chain(&T, Chain::base("fwd", ChainType::Filter, Hook::Input, priority::FILTER));
    let error = nft.commit(&tx).unwrap_err();
    assert!(error.is_exists(), "the same name at another hook: {error:?}");
    tx = Transaction::new();
    tx.add_set(&T, Set::new("s", [FieldType::Ipv4Addr])).add_set(&T, Set::new("s", [FieldType::IfName]));
    assert!(nft.commit(&tx).unwrap_err().is_exists(), "the same name with another type");
}

#[test]
fn sets_and_maps_are_of_the_types_asked_for() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    use FieldType::*;
    let tx = with_table(|tx| {
        tx.add_set(&T, Set::new("a4", [Ipv4Addr]).comment("pods"))
            .add_set(&T, Set::new("a6", [Ipv6Addr]))
            .add_set(&T, Set::new("if", [IfName]))
            .add_set(&T, Set::new("mac", [IfName, EtherAddr]))
            .add_set(&T, Set::new("marks", [Mark]))
            .add_set(&T, Set::new("svc", [InetProto, InetService]))
            .add_set(&T, Set::new("nets", [Ipv4Addr]).interval())
            .add_set(&T, Set::new("netports", [Ipv4Addr, InetService]).interval())
            .add_set(&T, Set::new("vm", [Ipv4Addr]).to_verdicts())
            .add_set(&T, Set::new("dn", [Ipv4Addr, InetProto, InetService]).to_values([Ipv4Addr, InetService]));
    });
    nft.commit(&tx).unwrap();
    let shown = ns.ruleset();
    for text in [
        "set a4 {\ntype ipv4_addr\ncomment \"pods\"\n",
        "set a6 {\ntype ipv6_addr\n",
        "set if {\ntype ifname\n",
        "set mac {\ntype ifname . ether_addr\n",
        "set marks {\ntype mark\n",
        "set svc {\ntype inet_proto . inet_service\n",
        "set nets {\ntype ipv4_addr\nflags interval\n",
        "set netports {\ntype ipv4_addr . inet_service\nflags interval\n",
        "map vm {\ntype ipv4_addr : verdict\n",
        "map dn {\ntype ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service\n",
    ] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    let sets = nft.sets(&T).unwrap();
    let dn = sets.iter().find(|set| set.name == "dn").unwrap();
    assert_eq!((dn.map, dn.anonymous, dn.key_length), (true, false, 12));
    assert_eq!(sets.iter().find(|set| set.name == "a4").unwrap().comment.as_deref(), Some("pods"));
    assert_eq!(nft.sets(&Table::new(Family::Ip, "none")).unwrap(), []);
}

#[test]
fn removing_needs_the_object_and_destroying_does_not() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let destroy_all = |nft: &mut nft::Nft| {
        let mut tx = Transaction::new();
        tx.destroy_rule(&T, "c", 77)
            .destroy_chain(&T, "c")
            .destroy_element(&T, "s", std::net::Ipv4Addr::LOCALHOST)
            .destroy_set(&T, "s")
            .destroy_table(&T);
        nft.commit(&tx)
    };
    destroy_all(&mut nft).expect("nothing is there, not even the table");
    let tx = with_table(|tx| {
        tx.add_chain(&T, Chain::regular("c")).add_set(&T, Set::new("s", [FieldType::Ipv4Addr]));
        tx.add_element(&T, "s", Element::new(Value::Ipv4(std::net::Ipv4Addr::LOCALHOST)));
    });
    nft.commit(&tx).unwrap();
    destroy_all(&mut nft).unwrap();
    assert_eq!(ns.ruleset(), "");
    let mut tx = Transaction::new();
    tx.delete_table(&T);
    assert!(matches!(nft.commit(&tx), Err(Error::NotFound { missing: nft::Missing::Table, .. })));
}

#[test]
fn a_generation_that_has_passed_stops_the_commit() {
    let ns = Namespace::new();
    let (mut ours, mut theirs) = (ns.nft(), ns.nft());
    let read = ours.generation().unwrap();
    theirs.commit(&with_table(|_| {})).unwrap();
    let mut tx = Transaction::new();
    tx.delete_table(&T).if_generation(read);
    assert!(matches!(ours.commit(&tx), Err(Error::Changed(_))));
    let now = ours.generation().unwrap();
    assert_ne!(read, now);
    tx.if_generation(now);
    ours.commit(&tx).unwrap();
    assert_eq!(ns.ruleset(), "");
}

#[test]
fn a_dry_run_changes_nothing_and_finds_the_same_faults() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    nft.dry_run(&with_table(|_| {})).unwrap();
    assert_eq!(ns.ruleset(), "");
    let mut tx = Transaction::new();
    tx.delete_table(&T);
    assert!(nft.dry_run(&tx).unwrap_err().is_not_found());
}
