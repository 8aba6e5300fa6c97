//! Who holds an address, and how an address file says so.

use std::fmt;

/// Between container ID and interface name in an address file, on every operating system.
const LINE_BREAK: &str = "\r\n";

/// One interface of one container: what CNI calls an attachment (`CNI_CONTAINERID`, `CNI_IFNAME`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attachment {
    container_id: String,
    ifname: String,
}

impl Attachment {
    /// An attachment. White space around the container ID is dropped, as the reference does before it writes one.
    pub fn new(container_id: &str, ifname: &str) -> Self {
        Self { container_id: container_id.trim().to_owned(), ifname: ifname.to_owned() }
    }

    /// The container ID, without white space around it.
    pub fn container_id(&self) -> &str {
        &self.container_id
    }

    /// The name of the interface inside the container.
    pub fn ifname(&self) -> &str {
        &self.ifname
    }

    /// The content of an address file of this attachment.
    pub(crate) fn file_content(&self) -> String {
        format!("{}{LINE_BREAK}{}", self.container_id, self.ifname)
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {} interface {}", self.container_id, self.ifname)
    }
}

/// What an address file says about its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The normal case.
    Attachment(Attachment),
    /// A container ID alone: the format before interface names were recorded (reference 0.7 and older).
    Container(String),
    /// Nothing to be made out: empty, blank or binary. This is what a power cut or a writer killed half-way leaves.
    Nobody,
    /// Text, or something that cannot be read, which no CNI plugin wrote. People block an address this way, so it counts
    /// as taken and nothing but its author removes it.
    Foreign(String),
}

impl Holder {
    /// Reads the content of an address file.
    pub(crate) fn parse(content: &[u8]) -> Self {
        let text = match std::str::from_utf8(content).map(str::trim) {
            Ok("") | Err(_) => return Self::Nobody,
            Ok(text) => text,
        };
        if text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
            return Self::Nobody;
        }
        match text.split_once(LINE_BREAK) {
            Some((container_id, ifname)) if is_word(container_id) && is_word(ifname) => {
                Self::Attachment(Attachment { container_id: container_id.to_owned(), ifname: ifname.to_owned() })
            }
            None if is_word(text) => Self::Container(text.to_owned()),
            _ => Self::Foreign(format!("text {text:?}")),
        }
    }

    /// Whether a file of this holder stands for the attachment: its own, or an old one with its container ID alone.
    pub fn is(&self, attachment: &Attachment) -> bool {
        match self {
            Self::Attachment(held) => held == attachment,
            Self::Container(id) => *id == attachment.container_id,
            Self::Nobody | Self::Foreign(_) => false,
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attachment(attachment) => attachment.fmt(f),
            Self::Container(id) => write!(f, "container {id} (old format, interface not recorded)"),
            Self::Nobody => f.write_str("nobody (the file is empty or damaged)"),
            Self::Foreign(what) => write!(f, "something that is no CNI reservation ({what})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_references() {
        assert_eq!(Attachment::new(" abc\n", "eth0").file_content(), "abc\r\neth0");
    }

    #[test]
    fn reads_every_format() {
        let own = Holder::Attachment(Attachment::new("abc", "eth0"));
        assert_eq!(Holder::parse(b"abc\r\neth0"), own);
        assert_eq!(Holder::parse(b"  abc\r\neth0\n"), own, "the reference trims what it reads");
        assert_eq!(Holder::parse(b"abc"), Holder::Container("abc".into()));
        assert_eq!(Holder::parse(b"abc\r\n"), Holder::Container("abc".into()));
        for garbage in [&b""[..], b" \r\n", b"\0\0\0\0", b"abc\0\0", b"\xff\xfe"] {
            assert_eq!(Holder::parse(garbage), Holder::Nobody, "{garbage:?}");
        }
        for foreign in [&b"kept for the printer"[..], b"abc\neth0", b"a\r\nb\r\nc"] {
            assert!(matches!(Holder::parse(foreign), Holder::Foreign(_)), "{foreign:?}");
        }
    }

    #[test]
    fn old_format_stands_for_each_interface_of_the_container() {
        let old = Holder::parse(b"abc");
        assert!(old.is(&Attachment::new("abc", "eth0")) && old.is(&Attachment::new("abc", "net1")));
        assert!(!old.is(&Attachment::new("abcd", "eth0")));
        assert!(!Holder::parse(b"abc\r\neth1").is(&Attachment::new("abc", "eth0")));
    }
}
