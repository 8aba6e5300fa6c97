//! The network configurations that tests start from.

use serde_json::{Value, json};

/// The bridge network `net` in the newest version, with `keys` added.
pub fn bridge(keys: Value) -> Value {
    with(json!({ "cniVersion": "1.1.0", "name": "net", "type": "bridge" }), keys)
}

/// The same with `isGateway`, and an address from each of `subnets` by host-local.
pub fn gateway(subnets: &[&str], keys: Value) -> Value {
    with(bridge(json!({ "isGateway": true, "ipam": host_local(subnets) })), keys)
}

/// An `ipam` section with a range set for each of `subnets`.
pub fn host_local(subnets: &[&str]) -> Value {
    let sets: Vec<Value> = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    json!({ "type": "host-local", "ranges": sets })
}

/// `base` with the top-level keys of `keys` added or replaced.
pub fn with(mut base: Value, keys: Value) -> Value {
    let Value::Object(keys) = keys else { panic!("keys to add must be an object: {keys}") };
    for (key, value) in keys {
        base[&key] = value;
    }
    base
}
