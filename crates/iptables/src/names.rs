//! The reference's names, which other tools parse and which an upgrade of a running node depends on.

use sha2::{Digest, Sha512};

/// The longest chain name the reference makes; iptables takes 28 characters.
const MAX_CHAIN: usize = 28;

/// The name of an attachment's own chain: `CNI-`, then `prefix` (`DN-` in portmap, none for masquerading), then as much of
/// a hash of network and container ID as fits.
pub fn chain_name(prefix: &str, network: &str, container_id: &str) -> String {
    let hash = Sha512::new().chain_update(network).chain_update(container_id).finalize();
    let mut name = format!("CNI-{prefix}");
    for byte in hash {
        name.push_str(&format!("{byte:02x}"));
    }
    name.truncate(MAX_CHAIN);
    name
}

/// The comment on an attachment's rules, without the quotes of a script: `name: "net" id: "c1"`.
pub fn comment(network: &str, container_id: &str) -> String {
    format!("name: {network:?} id: {container_id:?}")
}

/// Network and container ID out of a rule that [`comment`] marks, as `iptables-save` prints it.
pub fn owner(spec: &str) -> Option<(String, String)> {
    let (_, rest) = spec.split_once(r#""name: \""#)?;
    let (network, rest) = rest.split_once(r#"\" id: \""#)?;
    let (container_id, _) = rest.split_once(r#"\"""#)?;
    Some((network.to_owned(), container_id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_references() {
        // From the reference's own tests (pkg/utils/utils_test.go).
        assert_eq!(chain_name("", "test", "1234"), "CNI-2bbe0c48b91a7d1b8a6753a8");
        assert_eq!(chain_name("PREFIX-", "test", "1234"), "CNI-PREFIX-2bbe0c48b91a7d1b8");
        assert_eq!(comment("net", "c1"), r#"name: "net" id: "c1""#);
        let spec = r#"-s 10.1.2.3/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-abc"#;
        assert_eq!(owner(spec), Some(("net".to_owned(), "c1".to_owned())));
        assert_eq!(owner("-j CNI-abc"), None);
    }
}
