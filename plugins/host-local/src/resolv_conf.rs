//! Reading resolv.conf(5) for the DNS settings of a result.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

use cni::Dns;

/// What the C library uses of it (`MAXNS`).
const MOST_NAMESERVERS: usize = 3;

/// Far above any real file; keeps a wrong path from filling the memory.
const LARGEST: u64 = 1 << 20;

/// Reads a file. Lines that mean nothing to a resolver are passed over.
///
/// # Errors
/// There is no such file, it is not a regular one, or it cannot be read.
pub(crate) fn read(path: &Path) -> io::Result<Dns> {
    // Before it is opened: opening a named pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// `search` and `options` add up over several lines and the last `domain` wins, as in the reference.
fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let Some(keyword) = words.next() else { continue };
        match keyword.as_str() {
            "nameserver" => dns.nameservers.extend(words.next().filter(|server| is_server(server))),
            "domain" => dns.domain = words.next().unwrap_or(dns.domain),
            "search" => dns.search.extend(words),
            "options" => dns.options.extend(words),
            _ => {}
        }
    }
    dns.nameservers.truncate(MOST_NAMESERVERS);
    dns
}

/// An address; a link-local one may name its interface (`fe80::1%eth0`).
fn is_server(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_keyword() {
        let dns = parse(
            "# comment\n; another\n\nnameserver 192.0.2.1\n  nameserver\tfe80::1%eth0 \ndomain a.example\n\
             search b.example c.example\nsearch d.example\noptions ndots:5 edns0\noptions rotate\ndomain e.example\r\n",
        );
        assert_eq!(dns.nameservers, strings(&["192.0.2.1", "fe80::1%eth0"]));
        assert_eq!(dns.domain, "e.example");
        assert_eq!(dns.search, strings(&["b.example", "c.example", "d.example"]));
        assert_eq!(dns.options, strings(&["ndots:5", "edns0", "rotate"]));
    }

    #[test]
    fn junk_is_passed_over() {
        let dns =
            parse("nameserver\nnameserver localhost\nnameserver 1.2.3\n\0\u{fffd}\nsortlist 1.2.3.4\ndomain\nsearch");
        assert!(dns.is_empty(), "{dns:?}");
    }

    #[test]
    fn a_resolver_uses_three_servers() {
        let dns =
            parse("nameserver 10.0.0.1\nnameserver bad\nnameserver ::1\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n");
        assert_eq!(dns.nameservers, strings(&["10.0.0.1", "::1", "10.0.0.3"]));
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&dir.path().join("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(read(dir.path()).unwrap_err().to_string().contains("not a regular file"));
        fs::write(dir.path().join("binary"), b"\xff\xfe\nnameserver 10.0.0.1\n").unwrap();
        assert_eq!(read(&dir.path().join("binary")).unwrap().nameservers, strings(&["10.0.0.1"]));
    }
}
