use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn range(subnet: &str, start: &str, end: &str, gateway: &str) -> Result<Range, RangeError> {
    let bound = |text: &str| (!text.is_empty()).then(|| ip(text));
    Range::new(subnet.parse().unwrap(), bound(start), bound(end), bound(gateway))
}

#[test]
fn defaults_are_the_references() {
    let v4 = range("10.1.0.0/24", "", "", "").unwrap();
    assert_eq!((v4.start(), v4.end(), v4.gateway()), (ip("10.1.0.1"), ip("10.1.0.254"), ip("10.1.0.1")));
    let v6 = range("2001:db8::/64", "", "", "").unwrap();
    let end = ip("2001:db8::ffff:ffff:ffff:ffff");
    assert_eq!((v6.start(), v6.end(), v6.gateway()), (ip("2001:db8::1"), end, ip("2001:db8::1")));
}

#[test]
fn capacity_leaves_out_what_is_never_given() {
    for (subnet, start, end, gateway, capacity) in [
        ("10.1.0.0/24", "", "", "", 253),
        ("10.1.0.0/24", "10.1.0.0", "10.1.0.255", "", 253),
        ("10.1.0.0/24", "10.1.0.10", "10.1.0.19", "", 10),
        ("10.1.0.0/24", "10.1.0.10", "10.1.0.19", "10.1.0.12", 9),
        ("10.1.0.0/30", "", "", "", 1),
        ("10.1.0.0/30", "10.1.0.1", "10.1.0.1", "", 0),
        ("10.1.0.0/24", "10.1.0.0", "10.1.0.9", "10.1.0.0", 9),
        ("2001:db8::/126", "", "", "", 2),
        ("2001:db8::/126", "2001:db8::", "", "", 2),
        ("10.1.0.0/24", "", "", "169.254.1.1", 254),
        ("2001:db8::/126", "", "", "fe80::1", 3),
        ("::/0", "::", "", "", u128::MAX - 2),
    ] {
        assert_eq!(range(subnet, start, end, gateway).unwrap().capacity(), capacity, "{subnet} {start} {end}");
    }
}

#[test]
fn inconsistent_ranges_are_refused() {
    for (subnet, start, end, gateway, message) in [
        ("10.1.0.0/31", "", "", "", "subnet 10.1.0.0/31 is too small"),
        ("10.1.0.0/32", "", "", "", "too small"),
        ("2001:db8::/127", "", "", "", "too small"),
        ("2001:db8::/128", "", "", "", "too small"),
        ("10.1.0.5/24", "", "", "", "has host bits set: for this prefix length the network address is 10.1.0.0"),
        ("10.1.0.0/24", "10.2.0.1", "", "", "rangeStart 10.2.0.1 is not in subnet 10.1.0.0/24"),
        ("10.1.0.0/24", "", "10.2.0.1", "", "rangeEnd 10.2.0.1 is not in subnet"),
        ("10.1.0.0/24", "10.1.0.9", "10.1.0.8", "", "rangeStart 10.1.0.9 comes after rangeEnd 10.1.0.8"),
        ("10.1.0.0/24", "", "", "fe80::1", "gateway fe80::1 is not of the address family"),
        ("2001:db8::/64", "10.1.0.1", "", "", "rangeStart 10.1.0.1 is not of the address family"),
        ("::ffff:10.1.0.0/120", "", "", "", "subnet ::ffff:10.1.0.0 is an IPv4 address written as IPv6"),
        ("10.1.0.0/24", "::ffff:10.1.0.9", "", "", "rangeStart ::ffff:10.1.0.9 is an IPv4 address written as IPv6"),
    ] {
        let error = range(subnet, start, end, gateway).unwrap_err().to_string();
        assert!(error.contains(message), "{subnet} {start} {end} {gateway}: {error}");
    }
}

#[test]
fn roles() {
    let range = range("10.1.0.0/24", "10.1.0.0", "10.1.0.255", "10.1.0.9").unwrap();
    assert_eq!(range.role(ip("10.1.0.9")), Some(Role::Gateway));
    assert_eq!(range.role(ip("10.1.0.0")), Some(Role::Network));
    assert_eq!(range.role(ip("10.1.0.255")), Some(Role::Broadcast));
    assert_eq!(range.role(ip("10.1.0.1")), None);
}

#[test]
fn the_other_family_is_never_contained() {
    let v4 = range("0.0.0.0/0", "", "", "").unwrap();
    let v6 = range("::/0", "", "", "").unwrap();
    assert!(!v4.contains(ip("::1")) && !v6.contains(ip("1.2.3.4")) && !v4.overlaps(&v6) && !v6.overlaps(&v4));
}
