//! `CNI_ARGS`: key and value pairs that come with one invocation.

use crate::error::{Error, ErrorCode};

/// Keys that one of our plugins understands; none of them is an error for the others.
const KNOWN: [&str; 4] = ["IgnoreUnknown", "IP", "GATEWAY", "MAC"];

/// The pairs of `CNI_ARGS`, such as `IP=10.1.2.3;MAC=02:00:00:00:00:01;IgnoreUnknown=1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniArgs {
    pairs: Vec<(String, String)>,
}

impl CniArgs {
    /// Splits `text` at `;` and each pair at `=`.
    ///
    /// # Errors
    /// Code 4 for a piece that is not one `key=value`.
    pub fn parse(text: &str) -> Result<CniArgs, Error> {
        let pairs = text.split(';').filter(|_| !text.is_empty()).map(|pair| match pair.split_once('=') {
            Some((key, value)) if !value.contains('=') => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Error::new(ErrorCode::INVALID_ENVIRONMENT, format!("CNI_ARGS: invalid pair {pair:?}"))
                .with_details("expected key=value pairs separated by ';'")),
        });
        Ok(CniArgs { pairs: pairs.collect::<Result<_, _>>()? })
    }

    /// The last value given for `key`; an empty one counts as none.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().rev().find(|(k, _)| k == key)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// Refuses keys that no plugin of ours knows, unless `IgnoreUnknown` is true.
    ///
    /// # Errors
    /// Code 4 that names the keys, or an `IgnoreUnknown` that is neither true nor false.
    pub fn reject_unknown(&self) -> Result<(), Error> {
        let ignore = match self.get("IgnoreUnknown").unwrap_or("false").to_ascii_lowercase().as_str() {
            "1" | "true" => true,
            "0" | "false" => false,
            other => {
                let msg = format!("CNI_ARGS: IgnoreUnknown is {other:?}, expected 1, true, 0 or false");
                return Err(Error::new(ErrorCode::INVALID_ENVIRONMENT, msg));
            }
        };
        let unknown: Vec<&str> =
            self.pairs.iter().map(|(key, _)| key.as_str()).filter(|key| !KNOWN.contains(key)).collect();
        if ignore || unknown.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::INVALID_ENVIRONMENT, format!("CNI_ARGS: unknown args {unknown:?}"))
            .with_details("add IgnoreUnknown=1 to CNI_ARGS to have them ignored"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let args = CniArgs::parse("IP=10.0.0.1;MAC=;IgnoreUnknown=1;K8S_POD_NAME=x").unwrap();
        assert_eq!((args.get("IP"), args.get("MAC"), args.get("GATEWAY")), (Some("10.0.0.1"), None, None));
        assert_eq!(args.reject_unknown(), Ok(()));
        assert_eq!(CniArgs::parse("").unwrap(), CniArgs::default());
        for bad in ["IP", "IP=a=b", ";", "IP=a;"] {
            assert_eq!(CniArgs::parse(bad).unwrap_err().code, ErrorCode::INVALID_ENVIRONMENT, "{bad}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_unless_told_otherwise() {
        assert_eq!(CniArgs::parse("IP=10.0.0.1;MAC=x").unwrap().reject_unknown(), Ok(()));
        for (text, named) in [("A=1;B=2", "\"A\", \"B\""), ("A=1;IgnoreUnknown=0", "A"), ("IgnoreUnknown=yes", "yes")] {
            let error = CniArgs::parse(text).unwrap().reject_unknown().unwrap_err();
            assert!(error.msg.contains(named), "{text}: {error}");
        }
    }
}
