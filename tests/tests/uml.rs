//! VLANs, inside user-mode-linux: the machine's own kernel may lack bridge VLAN filtering.

use std::path::Path;

use podlink_tests::{BinDir, scenario, uml};

#[test]
fn our_bridge_sets_vlans() {
    every_case_holds("run", &BinDir::ours());
}

/// Proves the rig itself: the cases are right about what the reference does.
#[test]
fn the_reference_bridge_sets_vlans() {
    every_case_holds("reference", &BinDir::reference());
}

fn every_case_holds(which: &str, bins: &BinDir) {
    bins.require(&["bridge", "host-local"]);
    let finished = uml::run(bins, Path::new(env!("CARGO_BIN_EXE_uml-scenario")), &[which]);
    let account = finished.to_string();
    let verdicts = scenario::read(&finished.success());
    assert!(!verdicts.is_empty(), "no case ran: {account}");
    let failed: Vec<_> = verdicts.iter().filter(|v| v.failure.is_some()).collect();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}\n{account}", failed.len(), verdicts.len());
}
