//! A result of any version: what is read can be written in each version, and reads back as the same.
#![no_main]

use cni::{CniResult, SpecVersion};
use libfuzzer_sys::fuzz_target;

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = serde_json::from_slice(bytes) else { return };
    for version in VERSIONS {
        let version: SpecVersion = version.parse().expect("one of ours");
        let Ok(result) = CniResult::from_value(&value, version) else { continue };
        for other in VERSIONS {
            let _ = result.to_value(other.parse().expect("one of ours"));
        }
        let newest: SpecVersion = "1.1.0".parse().expect("one of ours");
        let written = result.to_value(newest);
        let again = CniResult::from_value(&written, newest).expect("what we write, we read");
        assert_eq!(again.to_value(newest), written);
    }
});
