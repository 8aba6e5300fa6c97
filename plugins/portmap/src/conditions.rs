//! Conditions in nft's words (`conditionsV4`, `conditionsV6`): read here, since there is no `nft` process to read them.
//!
//! The reference puts the words before a rule's verdict. What is understood:
//!
//! | words | values |
//! | --- | --- |
//! | `ip saddr`, `ip daddr` (`ip6 …` in `conditionsV6`) | an address, a prefix or a range |
//! | `tcp`, `udp`, `sctp` or `th`, then `sport` or `dport` | a port or a range |
//! | `iifname`, `meta iifname` | an interface; `eth*` for all that begin so |
//! | `meta l4proto` | `tcp`, `udp`, `sctp` or a number |
//! | `meta mark`, `meta mark & 0xff` | a number |
//!
//! Each with `==` (which may be left out) or `!=`, and with a set `{ a, b }` but for marks and for `eth*`. Several in a row
//! must all hold.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nft::Value;

use crate::mapping::Protocol;

/// The longest name of an interface.
const MAX_IFNAME: usize = 15;

/// Conditions of one family, all of which must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The words, in the one way to write them that counts.
    words: String,
    /// What they mean.
    pub tests: Vec<Test>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// What of a packet is looked at.
    pub field: Field,
    /// False for `!=`.
    pub equal: bool,
    /// What it is compared with, the first and the last of each range; of addresses and ports in order, and apart.
    pub values: Vec<(Value, Value)>,
}

/// What of a packet is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// `saddr`.
    Source,
    /// `daddr`.
    Destination,
    /// `sport`, of this protocol only if there is one.
    SourcePort(Option<Protocol>),
    /// `dport`.
    DestinationPort(Option<Protocol>),
    /// `iifname`.
    Interface,
    /// `iifname` with `*` at the end: what names begin with.
    Interfaces(String),
    /// `meta l4proto`.
    Protocol,
    /// `meta mark`, these bits of it.
    Mark(u32),
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Conditions {
    /// Reads the words of `conditionsV4` (`v4`) or `conditionsV6`.
    ///
    /// # Errors
    /// What is not understood, and what would be.
    pub fn read(words: &[String], v4: bool) -> Result<Conditions, String> {
        let text = words.join(" ");
        let mut words = Words { rest: split(&text)?, v4 };
        let mut tests = Vec::new();
        while !words.rest.is_empty() {
            tests.push(words.test()?);
        }
        Ok(Conditions { words: split(&text)?.join(" "), tests })
    }
}

/// Words and signs. A quoted name comes without its quotes.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
            continue;
        }
        let mut spaced = part.to_owned();
        for sign in ["{", "}", ",", "!=", "==", "&"] {
            spaced = spaced.replace(sign, &format!(" {sign} "));
        }
        words.extend(spaced.split_whitespace().map(str::to_owned));
    }
    if text.matches('"').count() % 2 == 1 {
        return Err("a quotation mark is never closed".to_owned());
    }
    Ok(words)
}

struct Words {
    rest: Vec<String>,
    v4: bool,
}

impl Words {
    fn next(&mut self) -> Result<String, String> {
        if self.rest.is_empty() { Err("it ends in the middle".to_owned()) } else { Ok(self.rest.remove(0)) }
    }

    /// Takes the next word if it is one of these.
    fn take(&mut self, words: &[&str]) -> bool {
        let taken = self.rest.first().is_some_and(|next| words.contains(&next.as_str()));
        if taken {
            self.rest.remove(0);
        }
        taken
    }

    fn test(&mut self) -> Result<Test, String> {
        let mut field = self.field()?;
        let equal = !self.take(&["!=", "ne"]);
        if equal {
            self.take(&["==", "eq"]);
        }
        let mut values = Vec::new();
        if self.take(&["{"]) {
            while !self.take(&["}"]) {
                values.push(self.value(&mut field)?);
                if !self.take(&[","]) && self.rest.first().is_none_or(|next| next != "}") {
                    return Err("a set is never closed".to_owned());
                }
            }
        } else {
            values.push(self.value(&mut field)?);
        }
        if values.is_empty() {
            return Err("a set is empty".to_owned());
        }
        if values.len() > 1 && matches!(field, Field::Mark(_) | Field::Interfaces(_)) {
            return Err("sets are not supported for marks and for names with \"*\"".to_owned());
        }
        Ok(Test { field, equal, values: apart(values) })
    }

    fn field(&mut self) -> Result<Field, String> {
        let (own, other) = if self.v4 { ("ip", "ip6") } else { ("ip6", "ip") };
        let first = self.next()?;
        let unknown = |words: &str| {
            format!(
                "{words:?} is not supported; there are {own} saddr and daddr, sport and dport of tcp, udp, sctp and th, \
                 iifname, meta l4proto and meta mark"
            )
        };
        match first.as_str() {
            "iifname" => Ok(Field::Interface),
            "mark" => self.mark(),
            word if word == other => Err(format!("no packet that this is about has {other:?}")),
            word if word == own => match self.next()?.as_str() {
                "saddr" => Ok(Field::Source),
                "daddr" => Ok(Field::Destination),
                second => Err(unknown(&format!("{first} {second}"))),
            },
            "tcp" | "udp" | "sctp" | "th" => match self.next()?.as_str() {
                "sport" => Ok(Field::SourcePort(Protocol::parse(&first))),
                "dport" => Ok(Field::DestinationPort(Protocol::parse(&first))),
                second => Err(unknown(&format!("{first} {second}"))),
            },
            "meta" => match self.next()?.as_str() {
                "iifname" => Ok(Field::Interface),
                "l4proto" => Ok(Field::Protocol),
                "mark" => self.mark(),
                second => Err(unknown(&format!("{first} {second}"))),
            },
            _ => Err(unknown(&first)),
        }
    }

    fn mark(&mut self) -> Result<Field, String> {
        if self.take(&["&", "and"]) { number(&self.next()?).map(Field::Mark) } else { Ok(Field::Mark(u32::MAX)) }
    }

    fn value(&mut self, field: &mut Field) -> Result<(Value, Value), String> {
        let word = self.next()?;
        match field {
            Field::Source | Field::Destination => self.addresses(&word),
            Field::SourcePort(_) | Field::DestinationPort(_) => {
                let (first, last) = word.split_once('-').unwrap_or((&word, &word));
                let port = |text: &str| text.parse().map_err(|_| format!("{text:?} is no port"));
                ordered(&word, port(first)?, port(last)?, Value::Port)
            }
            Field::Interface | Field::Interfaces(_) => {
                let name = word.strip_suffix('*').unwrap_or(&word);
                let odd = |c: char| c == '*' || c == '/' || c == '\\' || c.is_control() || c.is_whitespace();
                if name.is_empty() || name.len() > MAX_IFNAME || name.contains(odd) {
                    return Err(format!("{word:?} is no name of an interface"));
                }
                if name != word {
                    *field = Field::Interfaces(name.to_owned());
                }
                Ok((name.into(), name.into()))
            }
            Field::Protocol => {
                let named = Protocol::parse(&word).map(Protocol::number);
                let protocol = named.or_else(|| word.parse().ok()).ok_or_else(|| format!("{word:?} is no protocol"))?;
                Ok((Value::Proto(protocol), Value::Proto(protocol)))
            }
            Field::Mark(_) => number(&word).map(|mark| (Value::Mark(mark), Value::Mark(mark))),
        }
    }

    fn addresses(&self, word: &str) -> Result<(Value, Value), String> {
        let family = if self.v4 { "IPv4" } else { "IPv6" };
        let wrong = || format!("{word:?} is no {family} address, prefix or range of addresses");
        let address = |text: &str| -> Result<IpAddr, String> {
            let address: Result<IpAddr, _> = text.parse();
            address.ok().filter(|address| address.is_ipv4() == self.v4).ok_or_else(wrong)
        };
        if let Some((first, last)) = word.split_once('-') {
            return ordered(word, address(first)?, address(last)?, Value::from);
        }
        let (first, length) = match word.split_once('/') {
            Some((first, length)) => (address(first)?, length.parse().map_err(|_| wrong())?),
            None => (address(word)?, if self.v4 { 32 } else { 128 }),
        };
        let prefix = IpNetwork::new(first, length).map_err(|_| wrong())?;
        Ok((prefix.network().into(), last_of(prefix).into()))
    }
}

fn last_of(prefix: IpNetwork) -> IpAddr {
    let host = |bits: u8| u128::MAX.checked_shr(128 - u32::from(bits - prefix.prefix())).unwrap_or(0);
    match prefix.network() {
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() | host(32) as u32).into()),
        IpAddr::V6(first) => IpAddr::V6((first.to_bits() | host(128)).into()),
    }
}

fn ordered<T: Ord>(word: &str, first: T, last: T, value: impl Fn(T) -> Value) -> Result<(Value, Value), String> {
    if first > last {
        Err(format!("the range {word:?} ends before it begins"))
    } else {
        Ok((value(first), value(last)))
    }
}

fn number(word: &str) -> Result<u32, String> {
    let parsed = word.strip_prefix("0x").map_or_else(|| word.parse(), |digits| u32::from_str_radix(digits, 16));
    parsed.map_err(|_| format!("{word:?} is no number of 32 bits"))
}

/// In order and apart: the kernel refuses what overlaps.
fn apart(mut values: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    values.sort_by_key(|(first, last)| (first.to_bytes(), last.to_bytes()));
    let mut apart: Vec<(Value, Value)> = Vec::with_capacity(values.len());
    for (first, last) in values {
        match apart.last_mut() {
            Some(before) if first.to_bytes() <= before.1.to_bytes() => {
                if last.to_bytes() > before.1.to_bytes() {
                    before.1 = last;
                }
            }
            _ => apart.push((first, last)),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, v4: bool) -> Result<String, String> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let tests = Conditions::read(&words, v4)?.tests.into_iter().map(|test| {
            let range = |(first, last): &(Value, Value)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            };
            let values: Vec<String> = test.values.iter().map(range).collect();
            format!("{:?} {} {}", test.field, if test.equal { "is" } else { "is not" }, values.join(", "))
        });
        Ok(tests.collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn the_usual_ones_are_understood() {
        for (words, v4, meaning) in [
            ("ip saddr 10.0.0.0/8", true, "Source is 10.0.0.0-10.255.255.255"),
            ("ip daddr != 192.0.2.1", true, "Destination is not 192.0.2.1"),
            ("ip saddr { 10.1.0.0/16, 10.0.0.0/8 ,192.0.2.1 } ", true, "Source is 10.0.0.0-10.255.255.255, 192.0.2.1"),
            ("ip saddr != {10.0.0.1-10.0.0.9}", true, "Source is not 10.0.0.1-10.0.0.9"),
            ("ip saddr 0.0.0.0/0", true, "Source is 0.0.0.0-255.255.255.255"),
            ("ip6 saddr eq fd00::/16", false, "Source is fd00::-fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("tcp sport 1024-65535", true, "SourcePort(Some(Tcp)) is 1024-65535"),
            ("th dport != { 80, 443 }", true, "DestinationPort(None) is not 80, 443"),
            ("iifname \"eth0\" ip daddr 1.2.3.4", true, "Interface is \"eth0\"; Destination is 1.2.3.4"),
            ("meta iifname != docker*", false, "Interfaces(\"docker\") is not \"docker\""),
            ("meta mark & 0x2000 != 0x2000", true, "Mark(8192) is not 0x00002000"),
            ("meta mark 7", true, "Mark(4294967295) is 0x00000007"),
            ("meta l4proto { tcp, 17 }", true, "Protocol is tcp, udp"),
        ] {
            assert_eq!(read(words, v4), Ok(meaning.to_owned()), "{words}");
        }
    }

    #[test]
    fn what_is_not_understood_says_so() {
        for (words, v4, part) in [
            ("ct state new", true, "\"ct\" is not supported"),
            ("ip protocol tcp", true, "\"ip protocol\" is not supported"),
            ("ip6 saddr ::1", true, "no packet"),
            ("ip saddr ::1", true, "\"::1\" is no IPv4"),
            ("ip saddr 10.0.0.0/33", true, "10.0.0.0/33"),
            ("ip saddr 10.0.0.9-10.0.0.1", true, "ends before"),
            ("ip saddr { 10.0.0.1", true, "never closed"),
            ("ip saddr { }", true, "empty"),
            ("ip saddr @office", true, "@office"),
            ("ip saddr", true, "ends in the middle"),
            ("iifname \"eth0", true, "quotation"),
            ("iifname e*h0", true, "e*h0"),
            ("tcp dport 70000", true, "70000"),
            ("tcp flags syn", true, "tcp flags"),
            ("meta mark { 1, 2 }", true, "sets are not supported"),
            ("jump elsewhere", true, "\"jump\""),
        ] {
            let error = read(words, v4).unwrap_err();
            assert!(error.contains(part), "{words}: {error}");
        }
    }
}
