//! `CNI_ARGS`: a value is found by its key or the text is refused.
#![no_main]

use cni::{CniArgs, NetworkCall};
use libfuzzer_sys::fuzz_target;

const CONFIG: &[u8] =
    br#"{"cniVersion":"1.1.0","name":"net","type":"host-local","ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}"#;

fuzz_target!(|text: &str| {
    if let Ok(args) = CniArgs::parse(text) {
        let pairs: Vec<_> = text.split(';').filter_map(|pair| pair.split_once('=')).collect();
        for (key, _) in &pairs {
            let last = pairs.iter().rev().find(|(other, _)| other == key).map(|(_, value)| *value);
            assert_eq!(args.get(key), last.filter(|value| !value.is_empty()), "{key:?}");
        }
        let _ = args.reject_unknown();
    }
    let _ = NetworkCall::from_parts(CONFIG.to_vec(), text);
});
