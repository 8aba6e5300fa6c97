//! The node's list of sysctls that configs may set.

use std::io::ErrorKind;

use cni::{Error, ErrorCode};
use regex_lite::Regex;

use crate::config::SysctlSetting;

/// Where it is. As for the reference, no config can name another place: it is there to hold configs in check.
const FILE: &str = "/etc/cni/tuning/allowlist.conf";

/// Regular expressions, one a line; a key is allowed that one of them matches somewhere.
#[derive(Debug)]
pub struct AllowList {
    patterns: Vec<Regex>,
}

impl AllowList {
    /// Checks every key as the config spells it. Without the file, all are allowed.
    ///
    /// # Errors
    /// The key that is not allowed, or a file that cannot be used.
    pub fn check(settings: &[SysctlSetting]) -> Result<(), Error> {
        if settings.is_empty() {
            return Ok(());
        }
        match std::fs::read_to_string(FILE) {
            Ok(text) => AllowList::parse(&text)?.check_keys(settings),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::new(ErrorCode::IO, format!("reading the list of allowed sysctls {FILE}: {e}"))),
        }
    }

    fn parse(text: &str) -> Result<AllowList, Error> {
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
        let patterns = lines.map(|(at, line)| {
            Regex::new(line).map_err(|e| {
                let msg = format!("{FILE}, line {}: {line:?} is no regular expression", at + 1);
                Error::new(ErrorCode::INTERNAL, msg).with_details(e.to_string())
            })
        });
        Ok(AllowList { patterns: patterns.collect::<Result<_, _>>()? })
    }

    fn check_keys(&self, settings: &[SysctlSetting]) -> Result<(), Error> {
        let allowed = |key: &str| self.patterns.iter().any(|pattern| pattern.is_match(key));
        let Some(refused) = settings.iter().find(|setting| !allowed(&setting.key)) else { return Ok(()) };
        let patterns: Vec<&str> = self.patterns.iter().map(Regex::as_str).collect();
        Err(Error::new(ErrorCode::INVALID_CONFIG, format!("sysctl {} is not allowed on this node", refused.key))
            .with_details(format!("only the following sysctls are allowed by {FILE}: {}", patterns.join(" "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, key: &str) -> Result<(), Error> {
        let setting = SysctlSetting { key: key.to_owned(), path: String::new(), value: String::new() };
        AllowList::parse(list)?.check_keys(&[setting])
    }

    #[test]
    fn a_key_needs_one_line_that_matches() {
        let list = "\n  ^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$ \n^net.core.somaxconn$\n";
        assert_eq!(check(list, "net.ipv4.conf.IFNAME.arp_notify"), Ok(()));
        assert_eq!(check(list, "net.core.somaxconn"), Ok(()));
        let error = check(list, "net.ipv4.ip_forward").unwrap_err();
        assert!(
            error.to_string().contains("net.ipv4.ip_forward") && error.to_string().contains("somaxconn"),
            "{error}"
        );
        assert!(check("", "net.core.somaxconn").is_err());
    }

    #[test]
    fn a_line_that_is_no_expression_is_named() {
        let error = check("net\n[z", "net.x").unwrap_err();
        assert!(error.msg.contains("line 2"), "{error}");
    }
}
