use serde_json::{Value, json};

use super::*;
use cni::{NetworkCall, SpecVersion};

fn config(keys: Value) -> Config {
    let mut config = json!({"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "host-local"}});
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    Config::read(&NetworkCall::from_parts(config.to_string().into_bytes(), "").unwrap()).unwrap()
}

fn completed(keys: Value, result: Value) -> Result<CniResult, Error> {
    let mut result = CniResult::from_value(&result, SpecVersion::LATEST).unwrap();
    complete(&mut result, &config(keys)).map(|()| result)
}

fn routes(result: &CniResult) -> Vec<(String, Option<String>)> {
    result.routes.iter().map(|route| (route.dst.to_string(), route.gw.map(|gw| gw.to_string()))).collect()
}

#[test]
fn the_gateway_is_ipams_or_the_first_address() {
    let ips = json!({"ips": [{"address": "10.1.2.9/24", "gateway": "10.1.2.254"}, {"address": "fd00::9/64"}]});
    let result = completed(json!({"isGateway": true}), ips.clone()).unwrap();
    let found = gateways(&result).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(found, ["10.1.2.254/24", "fd00::1/64"]);
    assert!(result.ips.iter().all(|ip| ip.interface == Some(POD_INTERFACE)));
    assert_eq!(completed(json!({}), ips).unwrap().ips[1].gateway, None);
}

#[test]
fn several_addresses_of_a_subnet_have_one_gateway() {
    let ips = json!({"ips": [{"address": "10.1.2.9/24"}, {"address": "10.1.2.10/24"}, {"address": "10.1.3.9/24"}]});
    assert_eq!(gateways(&completed(json!({"isGateway": true}), ips).unwrap()).len(), 2);
}

#[test]
fn each_family_gets_one_default_route_unless_it_has_one() {
    let ips = json!([{"address": "10.1.2.9/24"}, {"address": "10.1.2.10/24"}, {"address": "fd00::9/64"}]);
    let result = completed(json!({"isDefaultGateway": true}), json!({"ips": ips})).unwrap();
    let (v4, v6) =
        (("0.0.0.0/0".to_owned(), Some("10.1.2.1".to_owned())), ("::/0".to_owned(), Some("fd00::1".to_owned())));
    assert_eq!(routes(&result), [v4, v6.clone()]);
    let given = json!({"ips": ips, "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.7"}]});
    let result = completed(json!({"isDefaultGateway": true}), given).unwrap();
    assert_eq!(routes(&result), [("0.0.0.0/0".to_owned(), Some("10.1.2.7".to_owned())), v6]);
}

#[test]
fn what_ipam_returned_and_cannot_work_is_refused() {
    assert!(completed(json!({}), json!({})).unwrap_err().msg.contains("missing IP config"));
    let tiny = json!({"ips": [{"address": "10.1.2.9/32"}]});
    assert!(completed(json!({"isGateway": true}), tiny.clone()).unwrap_err().msg.contains("no room"));
    assert!(completed(json!({}), tiny).is_ok());
    let v6 = json!({"ips": [{"address": "fd00::9/64"}]});
    assert!(completed(json!({"mtu": 1279}), v6.clone()).unwrap_err().to_string().contains("1280"));
    assert!(completed(json!({"mtu": 1280}), v6).is_ok());
}
