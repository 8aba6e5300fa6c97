use super::*;

fn wanted<'a>(fence: Option<&'a Fence>) -> Wanted<'a> {
    Wanted { admin: "CNI-ADMIN", addresses: vec!["10.1.0.2".parse().unwrap()], owner: None, fence }
}

fn fence(bridge: &str, isolated: bool) -> Fence {
    Fence { bridges: vec![bridge.to_owned()], ports: Vec::new(), isolated }
}

/// What `iptables-save` would print after the script ran on `before`.
fn after(before: &Ruleset, lines: &[String]) -> Ruleset {
    let mut ruleset = before.clone();
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let (verb, chain, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        let line = |spec: &str| iptables::Line { chain: chain.to_owned(), spec: spec.to_owned() };
        match verb {
            "-N" => {
                assert!(!ruleset.chains.contains(&chain.to_owned()), "{chain} made twice");
                ruleset.chains.push(chain.to_owned());
            }
            "-A" => ruleset.rules.push(line(rest)),
            "-I" => ruleset.rules.insert(0, line(rest.strip_prefix("1 ").unwrap())),
            "-D" => {
                let position = ruleset.rules.iter().position(|rule| *rule == line(rest)).expect("a rule to delete");
                ruleset.rules.remove(position);
            }
            other => panic!("{other}"),
        }
    }
    ruleset
}

fn in_chain<'a>(ruleset: &'a Ruleset, chain: &str) -> Vec<&'a str> {
    ruleset.rules.iter().filter(|rule| rule.chain == chain).map(|rule| rule.spec.as_str()).collect()
}

#[test]
fn on_an_empty_table_the_references_rules_in_its_order() {
    let ruleset = after(&Ruleset::default(), &wanted(None).missing(&Ruleset::default()));
    assert_eq!(in_chain(&ruleset, "FORWARD"), [r#"-m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD"#]);
    assert_eq!(
        in_chain(&ruleset, "CNI-FORWARD"),
        [
            r#"-m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN"#,
            "-d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-s 10.1.0.2/32 -j ACCEPT",
        ]
    );
    assert_eq!(wanted(None).missing(&ruleset), [""; 0], "twice adds nothing");
}

#[test]
fn fences_come_first_and_end_in_a_return() {
    let (a, b) = (fence("br0", false), fence("br1", true));
    let first = after(&Ruleset::default(), &wanted(Some(&a)).missing(&Ruleset::default()));
    let both = after(&first, &wanted(Some(&b)).missing(&first));
    assert!(in_chain(&both, "FORWARD")[0].ends_with("-j CNI-ISOLATION-STAGE-1"), "{both:?}");
    let comment = r#"-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)""#;
    let isolated = r#"-m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)""#;
    assert_eq!(
        in_chain(&both, STAGE1),
        [
            format!("-i br1 -o br1 {isolated} -j DROP"),
            format!("-i br1 ! -o br1 {comment} -j CNI-ISOLATION-STAGE-2"),
            format!("-i br0 ! -o br0 {comment} -j CNI-ISOLATION-STAGE-2"),
            format!("{comment} -j RETURN"),
        ]
    );
    assert_eq!(
        in_chain(&both, STAGE2),
        [format!("-o br1 {comment} -j DROP"), format!("-o br0 {comment} -j DROP"), format!("{comment} -j RETURN"),]
    );
    assert!(wanted(Some(&a)).missing(&both).is_empty() && wanted(Some(&b)).missing(&both).is_empty());
}

#[test]
fn fences_behind_the_pods_rules_are_put_first_again() {
    let fence = fence("br0", false);
    let whole = after(&Ruleset::default(), &wanted(Some(&fence)).missing(&Ruleset::default()));
    let is_forward = |rule: &&iptables::Line| rule.chain == "FORWARD";
    let mut reversed = whole.clone();
    reversed.rules.retain(|rule| !is_forward(&rule));
    reversed.rules.extend(whole.rules.iter().filter(is_forward).rev().cloned());
    let mut without_jump = whole.clone();
    without_jump.rules.retain(|rule| !(is_forward(&rule) && rule.spec.ends_with("CNI-FORWARD")));
    for drifted in [reversed, without_jump] {
        let repaired = after(&drifted, &wanted(Some(&fence)).missing(&drifted));
        assert_eq!(in_chain(&repaired, "FORWARD"), in_chain(&whole, "FORWARD"));
    }
}

#[test]
fn surplus_is_what_is_exactly_the_addresses_or_names_who_is_gone() {
    let mut named = wanted(None);
    (named.owner, named.addresses) = (Some("podlink:net/c1/eth0"), vec!["10.1.0.9".parse().unwrap()]);
    let ruleset = after(&Ruleset::default(), &wanted(None).missing(&Ruleset::default()));
    let mut ruleset = after(&ruleset, &named.missing(&ruleset));
    // An address that begins alike, a rule of the administrator's, and a double.
    for spec in ["-s 10.1.0.20/32 -j ACCEPT", "-s 10.1.0.2/32 -p tcp -j ACCEPT", "-s 10.1.0.2/32 -j ACCEPT"] {
        ruleset.rules.push(iptables::Line { chain: PRIVATE.to_owned(), spec: spec.to_owned() });
    }
    let lines = surplus(&ruleset, &["10.1.0.2".parse().unwrap()], &|_| false);
    assert_eq!(
        lines,
        [
            "-D CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-D CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT",
            "-D CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT",
        ]
    );
    let lines = surplus(&ruleset, &[], &|owner| owner.attachment.container_id == "c1");
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.contains("10.1.0.9/32")), "{lines:?}");
}

#[test]
fn a_fence_is_dead_when_its_bridge_is_gone() {
    let (a, b) = (fence("br0", false), fence("br1", true));
    let first = after(&Ruleset::default(), &wanted(Some(&a)).missing(&Ruleset::default()));
    let mut both = after(&first, &wanted(Some(&b)).missing(&first));
    let own = "-i br1 ! -o br1 -j DROP".to_owned();
    both.rules.push(iptables::Line { chain: STAGE1.to_owned(), spec: own.clone() });
    let rest = after(&both, &dead_fences(&both, &|bridge| bridge == "br1"));
    let mut expected = first;
    expected.rules.push(iptables::Line { chain: STAGE1.to_owned(), spec: own });
    let sorted = |ruleset: &Ruleset| {
        let mut specs: Vec<String> = ruleset.rules.iter().map(|rule| format!("{} {}", rule.chain, rule.spec)).collect();
        specs.sort();
        specs
    };
    assert_eq!(sorted(&rest), sorted(&expected));
    assert_eq!(dead_fences(&both, &|_| false), [""; 0]);
}
