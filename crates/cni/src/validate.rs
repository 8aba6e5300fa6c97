//! Names, as the specification and libcni restrict them.

/// The longest interface name the kernel takes: `IFNAMSIZ` less the closing zero, in bytes.
pub const MAX_INTERFACE_NAME: usize = 15;

/// Whether `text` is a container ID or network name: an alphanumeric, then alphanumerics, `_`, `.` or `-`
/// (specification, "Parameters" and "Network configuration format").
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Checks an interface name: at most 15 bytes, not empty, `.` or `..`, no `/`, `:` or white space.
///
/// # Errors
/// The rule that is broken, as a phrase.
pub fn interface_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("is empty")
    } else if name.len() > MAX_INTERFACE_NAME {
        Err("is longer than 15 bytes")
    } else if name == "." || name == ".." {
        Err("is . or ..")
    } else if name.chars().any(|c| c == '/' || c == ':' || c == '\0' || c.is_whitespace()) {
        Err("has a '/', ':', white space or a zero byte in it")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for good in ["a", "0", "cbr0", "a_b.c-d", "3f9c"] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", "../x", "-a", ".a", "_a", "a/b", "a b", "a\n", "ä", "a\0"] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
    }

    #[test]
    fn interface_names() {
        for good in ["eth0", "a", "123456789012345", "eth0.100", "ä", "..."] {
            assert_eq!(interface_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\u{a0}b", "1234567890123456", "a\0b"] {
            assert!(interface_name(bad).is_err(), "{bad:?}");
        }
    }
}
