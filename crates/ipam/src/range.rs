//! One run of addresses in one subnet.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::address::{from_bits, is_mapped, to_bits};

/// A run of addresses in one subnet, both ends included, with the gateway its users get.
///
/// Consistent by construction: see [`Range::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    subnet: IpNetwork,
    start: IpAddr,
    end: IpAddr,
    gateway: IpAddr,
}

/// Which end of a range, or its gateway, an error is about. Prints as the config key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `subnet`
    Subnet,
    /// `rangeStart`
    Start,
    /// `rangeEnd`
    End,
    /// `gateway`
    Gateway,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subnet => "subnet",
            Self::Start => "rangeStart",
            Self::End => "rangeEnd",
            Self::Gateway => "gateway",
        })
    }
}

/// Why an address inside a range is never given to an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The range's gateway.
    Gateway,
    /// The first address of the subnet: the network itself (IPv4), the subnet-router anycast address (IPv6, RFC 4291).
    Network,
    /// The last address of an IPv4 subnet.
    Broadcast,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "gateway",
            Self::Network => "network address",
            Self::Broadcast => "broadcast address",
        })
    }
}

/// What is wrong with one range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// An IPv4-mapped IPv6 address.
    #[error("{bound} {address} is an IPv4 address written as IPv6: write it as IPv4")]
    Mapped {
        /// The value at fault.
        bound: Bound,
        /// The address found.
        address: IpAddr,
    },
    /// /31 and /32, /127 and /128: nothing is left beside network, gateway and broadcast address.
    #[error("subnet {subnet} is too small to allocate from: it needs at least 2 host bits")]
    TooSmall {
        /// The subnet as given.
        subnet: IpNetwork,
    },
    /// The subnet is an address in a subnet.
    #[error("subnet {subnet} has host bits set: for this prefix length the network address is {network}")]
    HostBits {
        /// The subnet as given.
        subnet: IpNetwork,
        /// The subnet it lies in.
        network: IpAddr,
    },
    /// A bound or the gateway is of the other family than the subnet.
    #[error("{bound} {address} is not of the address family of subnet {subnet}")]
    Family {
        /// The value at fault.
        bound: Bound,
        /// The address found.
        address: IpAddr,
        /// The subnet it should belong to.
        subnet: IpNetwork,
    },
    /// A bound lies outside of the subnet.
    #[error("{bound} {address} is not in subnet {subnet}")]
    Outside {
        /// The value at fault.
        bound: Bound,
        /// The address found.
        address: IpAddr,
        /// The subnet it should belong to.
        subnet: IpNetwork,
    },
    /// The range is upside down.
    #[error("rangeStart {start} comes after rangeEnd {end}")]
    Reversed {
        /// The first address.
        start: IpAddr,
        /// The last address.
        end: IpAddr,
    },
}

impl Range {
    /// Checks a range and fills in what is missing with the reference's defaults: `gateway` and `start` are the first
    /// address after the network's (the gateway is skipped when addresses are given out), `end` is the last address,
    /// without the broadcast address for IPv4.
    ///
    /// # Errors
    /// The subnet has host bits set or fewer than two host bits; `start` or `end` is outside of it, or any value of the
    /// other family; `start` comes after `end`; any of them is an IPv4-mapped IPv6 address.
    pub fn new(
        subnet: IpNetwork,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, RangeError> {
        let network = subnet.network();
        if is_mapped(subnet.ip()) {
            return Err(RangeError::Mapped { bound: Bound::Subnet, address: subnet.ip() });
        }
        let host_bits = if subnet.is_ipv4() { 32 } else { 128 } - subnet.prefix();
        if host_bits < 2 {
            return Err(RangeError::TooSmall { subnet });
        }
        if subnet.ip() != network {
            return Err(RangeError::HostBits { subnet, network });
        }
        let of_family = |bound, address: Option<IpAddr>, default: IpAddr| match address {
            None => Ok(default),
            Some(address) if is_mapped(address) => Err(RangeError::Mapped { bound, address }),
            Some(address) if address.is_ipv4() != subnet.is_ipv4() => {
                Err(RangeError::Family { bound, address, subnet })
            }
            Some(address) => Ok(address),
        };
        let inside = |bound, address, default| match of_family(bound, address, default)? {
            address if subnet.contains(address) => Ok(address),
            address => Err(RangeError::Outside { bound, address, subnet }),
        };
        let first = from_bits(network, to_bits(network) + 1);
        // Of an IPv6 subnet the last address is an ordinary one.
        let last = from_bits(network, to_bits(subnet.broadcast()) - u128::from(subnet.is_ipv4()));
        // A gateway outside of the subnet has its use: a link-local one, such as fe80::1 or 169.254.1.1.
        let gateway = of_family(Bound::Gateway, gateway, first)?;
        let start = inside(Bound::Start, start, first)?;
        let end = inside(Bound::End, end, last)?;
        if start > end {
            return Err(RangeError::Reversed { start, end });
        }
        Ok(Self { subnet, start, end, gateway })
    }

    /// The subnet, host bits zero.
    pub fn subnet(&self) -> IpNetwork {
        self.subnet
    }

    /// The first address, included.
    pub fn start(&self) -> IpAddr {
        self.start
    }

    /// The last address, included.
    pub fn end(&self) -> IpAddr {
        self.end
    }

    /// The gateway that users of this range get.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Whether the address lies between start and end, whatever its role.
    pub fn contains(&self, address: IpAddr) -> bool {
        // Addresses of different families compare by family, so the other family is never in between.
        self.start <= address && address <= self.end
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// Why the address is not to be given out, if so.
    pub fn role(&self, address: IpAddr) -> Option<Role> {
        if address == self.gateway {
            Some(Role::Gateway)
        } else if address == self.subnet.ip() {
            Some(Role::Network)
        } else if address.is_ipv4() && address == self.subnet.broadcast() {
            Some(Role::Broadcast)
        } else {
            None
        }
    }

    /// An address of this range with the prefix length of its subnet.
    pub fn with_prefix(&self, address: IpAddr) -> IpNetwork {
        // The length is valid, since the subnet has it; so the address alone is never what comes out.
        IpNetwork::new(address, self.subnet.prefix()).unwrap_or_else(|_| address.into())
    }

    /// How many addresses can be given out, stopping at `u128::MAX`.
    pub fn capacity(&self) -> u128 {
        let kept = [self.subnet.ip(), self.gateway, self.subnet.broadcast()];
        let mut kept: Vec<_> = kept.into_iter().filter(|a| self.contains(*a) && self.role(*a).is_some()).collect();
        kept.sort_unstable();
        kept.dedup();
        let span = to_bits(self.end) - to_bits(self.start);
        span.saturating_add(1) - kept.len() as u128
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests;
