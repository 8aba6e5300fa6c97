//! The Go reference on the same node, before and after us.

use podlink_tests::{BinDir, Node, conf};
use serde_json::json;

use crate::{Make, Net, all_elements};

#[test]
fn what_the_reference_made_is_checked_and_removed_and_the_other_way_round() {
    for make in [Make::Nft, Make::Legacy] {
        let node = Node::new();
        let keys = json!({ "cniVersion": "1.0.0", "ingressPolicy": "same-bridge" });
        let net = Net::new(conf::with(keys, json!({})));
        let config = conf::with(net.firewall.clone(), json!({ "cniVersion": "1.0.0", "backend": "iptables" }));
        let pods = ["a", "b", "c"].map(|name| node.pod(name));
        let results = pods.each_ref().map(|pod| {
            let bridge = conf::with(net.bridge.clone(), json!({ "cniVersion": "1.0.0" }));
            node.typed(&bridge).pod(pod).add().success()
        });
        let theirs = |i: usize| {
            let call = node.plugin(&BinDir::reference(), "firewall").config(&config).pod(&pods[i]);
            make.of(&node, call.prev_result(&results[i]))
        };
        let ours = |i: usize| make.of(&node, node.typed(&config).pod(&pods[i]).prev_result(&results[i]));
        let rules = || {
            let chains = ["FORWARD", "CNI-FORWARD", "CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"];
            ["iptables", "ip6tables"].map(|family| chains.map(|chain| make.rules(&node, family, chain)))
        };
        // The same rules in the same order.
        theirs(0).add().success();
        let made_by_them = rules();
        theirs(0).del().success();
        for family in ["iptables", "ip6tables"] {
            make.sh(&node, family, &["-F"]);
            make.sh(&node, family, &["-X"]);
        }
        ours(0).add().success();
        assert_eq!(rules(), made_by_them, "{make:?}");

        // They find ours good, and remove it; we remove theirs, in a config that names no backend.
        theirs(0).check().success();
        theirs(1).add().success();
        let upgraded = conf::with(config.clone(), json!({ "backend": null }));
        make.of(&node, node.typed(&upgraded).pod(&pods[2]).prev_result(&results[2])).add().success();
        assert_eq!(rules()[0][1].len(), 7, "pod c joins the rest in iptables");
        theirs(0).del().success();
        make.of(&node, node.typed(&upgraded).pod(&pods[1]).prev_result(&results[1])).del().success();
        let left = rules();
        assert_eq!((left[0][1].len(), left[1][1].len()), (3, 3), "{make:?}: only pod c's are left: {left:?}");
        // What they left of ours goes when ours is asked, too.
        ours(0).del().success();
        ours(2).del().success();
        assert_eq!(all_elements(&node), [json!(null); 0]);
    }
}
