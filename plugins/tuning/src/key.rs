//! Names of sysctls, and what they may lead to.

/// Stands for the pod's interface in a key.
pub const PLACEHOLDER: &str = "IFNAME";

/// The path of `key` below /proc/sys/net, with `ifname` for [`PLACEHOLDER`].
///
/// As in sysctl(8): the separator that comes first, `.` or `/`, separates; the other one is then a `.` in a name, as
/// that of the interface `eth0.100` in `net/ipv4/conf/eth0.100/arp_notify` or `net.ipv4.conf.eth0/100.arp_notify`.
///
/// # Errors
/// The rule that is broken, as a phrase: the key must begin with `net`, which alone belongs to the pod, and stay there.
pub fn path(key: &str, ifname: &str) -> Result<String, String> {
    let separator = key.find(['.', '/']).map_or('.', |at| if key[at..].starts_with('/') { '/' } else { '.' });
    let mut parts = key.split(separator);
    if parts.next() != Some("net") {
        return Err("it does not begin with net. or net/, and only those belong to the pod".to_owned());
    }
    let mut path = Vec::new();
    for part in parts {
        let part = part.replace('/', ".");
        if part.is_empty() || part == "." || part == ".." || part.contains('\0') {
            return Err("it has an empty part, or a . or .. that would lead elsewhere".to_owned());
        }
        path.push(part.replacen(PLACEHOLDER, ifname, 1));
    }
    if path.is_empty() {
        return Err("it names a directory".to_owned());
    }
    Ok(path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_lead_to_one_place() {
        for (key, expected) in [
            ("net.ipv4.ip_forward", "ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "ipv4/ip_forward"),
            ("net.ipv4.conf.IFNAME.arp_notify", "ipv4/conf/eth0.1/arp_notify"),
            ("net/ipv4/conf/IFNAME/arp_notify", "ipv4/conf/eth0.1/arp_notify"),
            ("net/ipv4/conf/eth0.100/arp_notify", "ipv4/conf/eth0.100/arp_notify"),
            ("net.ipv4.conf.eth0/100.arp_notify", "ipv4/conf/eth0.100/arp_notify"),
        ] {
            assert_eq!(path(key, "eth0.1").as_deref(), Ok(expected), "{key}");
        }
    }

    #[test]
    fn nothing_leads_out_of_net() {
        for key in [
            "",
            "net",
            "net.",
            "net/",
            "kernel.shmmax",
            "/net/ipv4/ip_forward",
            "netx.y",
            "net/../kernel/shmmax",
            "net/ipv4/../../kernel/shmmax",
            "net/./ipv4",
            "net..ipv4",
            "net//ipv4",
            "../net/ipv4/x",
            ".net.x",
            "net.a/../b",
            "net/a\0",
            "net.ipv4.",
            "Net.ipv4.x",
        ] {
            assert!(path(key, "eth0").is_err(), "{key:?}");
        }
    }
}
