//! What flanneld says about this node: the file of variables that it writes when it has leased a subnet.

use std::path::Path;
use std::str::FromStr;

use cni::{Cidr, Error, ErrorCode};
use serde_json::{Value, json};

/// The node's part of the cluster's network (`/run/flannel/subnet.env`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// `FLANNEL_NETWORK`, then `FLANNEL_IPV6_NETWORK`: where other nodes' pods are. Each may be several, separated by ','.
    pub(crate) networks: Vec<Cidr>,
    /// `FLANNEL_SUBNET`, then `FLANNEL_IPV6_SUBNET`: what this node's pods get.
    pub(crate) subnets: Vec<Cidr>,
    /// `FLANNEL_MTU`, in bytes: what fits into flannel's own packets.
    pub(crate) mtu: u32,
    /// `FLANNEL_IPMASQ`: whether flanneld masquerades what leaves the cluster's network.
    pub(crate) masquerades: bool,
}

impl Subnet {
    /// Reads the file.
    ///
    /// # Errors
    /// Code 11 where there is no such file, since flanneld will write it; code 7 for one that is not as flanneld writes it.
    pub(crate) fn read(path: &Path) -> Result<Subnet, Error> {
        let failed = |code, msg: String| Error::new(code, format!("subnetFile {}: {msg}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => failed(ErrorCode::TRY_AGAIN_LATER, "there is no such file".to_owned())
                .with_details("flanneld writes it when it has leased a subnet: see whether flanneld runs on this node, and its log"),
            _ => failed(ErrorCode::IO, format!("cannot be read: {e}")),
        })?;
        Subnet::parse(&text).map_err(|msg| {
            failed(ErrorCode::INVALID_CONFIG, msg)
                .with_details("flanneld writes the file: restart it to have it written anew")
        })
    }

    fn parse(text: &str) -> Result<Subnet, String> {
        // Of a variable that is set twice the last counts, as in a shell.
        let value = |name: &str| text.lines().rev().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        let mut networks = Vec::new();
        for name in ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"] {
            for network in value(name).into_iter().flat_map(|list| list.split(',')) {
                let network = whole(parse::<Cidr>(name, network)?);
                if !networks.contains(&network) {
                    networks.push(network);
                }
            }
        }
        let subnets = ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"].into_iter();
        let subnets: Vec<Cidr> =
            subnets.filter_map(|name| Some(parse(name, value(name)?).map(whole))).collect::<Result<_, _>>()?;
        let (mtu, masquerades) = (value("FLANNEL_MTU"), value("FLANNEL_IPMASQ"));
        let missing = [
            (networks.is_empty(), "FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK"),
            (subnets.is_empty(), "FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET"),
            (mtu.is_none(), "FLANNEL_MTU"),
            (masquerades.is_none(), "FLANNEL_IPMASQ"),
        ];
        let missing: Vec<&str> = missing.into_iter().filter_map(|(gone, name)| gone.then_some(name)).collect();
        if !missing.is_empty() {
            return Err(format!("it is missing {}", missing.join(", ")));
        }
        let mtu = parse("FLANNEL_MTU", mtu.unwrap_or_default())?;
        Ok(Subnet { networks, subnets, mtu, masquerades: masquerades == Some("true") })
    }

    /// `ipam.ranges` for host-local: one set for each subnet.
    pub(crate) fn ranges(&self) -> Value {
        self.subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect()
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{name}={text}: {text:?} is not what this variable holds"))
}

/// The network of which the address is one: flanneld writes `FLANNEL_SUBNET=10.244.1.1/24`.
fn whole(cidr: Cidr) -> Cidr {
    let network = cidr.0.network();
    format!("{network}/{}", cidr.0.prefix()).parse().unwrap_or(cidr)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUAL: &str = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_IPV6_NETWORK=fd00:244::/56\n\
                        FLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    fn texts(cidrs: &[Cidr]) -> Vec<String> {
        cidrs.iter().map(Cidr::to_string).collect()
    }

    #[test]
    fn what_flanneld_writes() {
        let subnet = Subnet::parse(DUAL).unwrap();
        assert_eq!(texts(&subnet.networks), ["10.244.0.0/16", "fd00:244::/56"]);
        assert_eq!(texts(&subnet.subnets), ["10.244.1.0/24", "fd00:244:0:1::/64"]);
        assert_eq!((subnet.mtu, subnet.masquerades), (1450, true));
        let ranges = json!([[{ "subnet": "10.244.1.0/24" }], [{ "subnet": "fd00:244:0:1::/64" }]]);
        assert_eq!(subnet.ranges(), ranges);
        let several =
            DUAL.replace("10.244.0.0/16", "10.244.0.0/16,10.96.0.0/12,10.244.0.0/16").replace("=true", "=false");
        let several = Subnet::parse(&several).unwrap();
        assert_eq!(texts(&several.networks), ["10.244.0.0/16", "10.96.0.0/12", "fd00:244::/56"]);
        assert!(!several.masquerades);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (text, words) in [
            (
                "",
                "FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ",
            ),
            ("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450", "missing FLANNEL_IPMASQ"),
            (&DUAL.replace("1450", "large"), "FLANNEL_MTU=large"),
            (&DUAL.replace("10.244.1.1/24", "10.244.1.1"), "FLANNEL_SUBNET=10.244.1.1"),
        ] {
            let error = Subnet::parse(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let error = Subnet::read(Path::new("/nonexistent/subnet.env")).unwrap_err();
        assert!(error.code == ErrorCode::TRY_AGAIN_LATER && error.details.contains("flanneld"), "{error}");
    }
}
