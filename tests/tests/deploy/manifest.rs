//! The manifests, against the types of the Kubernetes API (crate k8s-openapi, generated from the API server's own schema).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The directory of the manifests in this checkout.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The objects of a manifest.
pub fn objects(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(dir().join(file)).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|document| Value::deserialize(document).unwrap_or_else(|e| panic!("{file}: {e}"))).collect()
}

/// The first object of a kind, as its type.
pub fn object<T: DeserializeOwned>(file: &str, kind: &str) -> T {
    let object = objects(file).into_iter().find(|object| object["kind"] == kind);
    serde_json::from_value(object.unwrap_or_else(|| panic!("{file}: no {kind}")))
        .unwrap_or_else(|e| panic!("{kind}: {e}"))
}

/// The pods of the manifest's DaemonSet.
pub fn pod(file: &str) -> PodSpec {
    object::<DaemonSet>(file, "DaemonSet").spec.unwrap().template.spec.unwrap()
}

const FILES: [&str; 2] = ["podlink.yaml", "podlink-with-api.yaml"];

/// Panics unless every field is one that the type has, with a value of the right type: what the type does not know is not
/// there when it is written again.
fn known<T: DeserializeOwned + serde::Serialize>(file: &str, object: &Value) {
    let read: T = serde_json::from_value(object.clone()).unwrap_or_else(|e| panic!("{file}: {e}: {object:#}"));
    assert_eq!(&serde_json::to_value(read).unwrap(), object, "{file}: a field that Kubernetes does not know");
}

#[test]
fn kubernetes_knows_every_field() {
    for file in FILES {
        for object in objects(file) {
            match (object["apiVersion"].as_str(), object["kind"].as_str()) {
                (Some("apps/v1"), Some("DaemonSet")) => known::<DaemonSet>(file, &object),
                (Some("v1"), Some("ServiceAccount")) => known::<ServiceAccount>(file, &object),
                (Some("v1"), Some("ConfigMap")) => known::<ConfigMap>(file, &object),
                (Some("rbac.authorization.k8s.io/v1"), Some("ClusterRole")) => known::<ClusterRole>(file, &object),
                (Some("rbac.authorization.k8s.io/v1"), Some("ClusterRoleBinding")) => {
                    known::<ClusterRoleBinding>(file, &object);
                }
                other => panic!("{file}: {other:?}"),
            }
        }
    }
}

#[test]
#[should_panic(expected = "Kubernetes does not know")]
fn a_mistyped_field_is_found() {
    let mut object = objects("podlink.yaml").remove(0);
    object["spec"]["template"]["spec"]["tolerationz"] = json!([]);
    known::<DaemonSet>("podlink.yaml", &object);
}

#[test]
fn it_runs_on_every_node_before_there_is_a_pod_network() {
    for file in FILES {
        let daemon_set: DaemonSet = object(file, "DaemonSet");
        assert_eq!(daemon_set.metadata.namespace.as_deref(), Some("kube-system"), "{file}");
        let spec = daemon_set.spec.unwrap();
        let labels = spec.template.metadata.unwrap().labels;
        assert_eq!(spec.selector.match_labels, labels, "{file}");
        let pod = spec.template.spec.unwrap();
        assert_eq!((pod.host_network, pod.priority_class_name.as_deref()), (Some(true), Some("system-node-critical")));
        let tolerations = pod.tolerations.clone().unwrap();
        assert!(
            tolerations
                .iter()
                .any(|t| t.operator.as_deref() == Some("Exists") && t.key.is_none() && t.effect.is_none())
        );
        let volumes: BTreeSet<String> = pod.volumes.iter().flatten().map(|volume| volume.name.clone()).collect();
        let containers: Vec<&Container> = pod.init_containers.iter().flatten().chain(&pod.containers).collect();
        let mounts = containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
        assert_eq!(mounts.map(|mount| mount.name.clone()).collect::<BTreeSet<_>>(), volumes, "{file}");
        for container in containers {
            let context = container.security_context.clone().unwrap();
            assert_ne!(context.privileged, Some(true));
            assert_eq!(context.capabilities.unwrap().drop.unwrap(), ["ALL"], "{file}: {}", container.name);
            assert_eq!(
                (context.read_only_root_filesystem, context.allow_privilege_escalation),
                (Some(true), Some(false))
            );
        }
    }
}

#[test]
fn the_rights_are_as_small_as_can_be() {
    let kinds =
        |file| objects(file).iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds("podlink.yaml"), ["DaemonSet"]);
    assert_eq!(pod("podlink.yaml").automount_service_account_token, Some(false));
    let role: ClusterRole = object("podlink-with-api.yaml", "ClusterRole");
    let [rule] = &role.rules.unwrap()[..] else { panic!("one rule") };
    let expected = json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] });
    assert_eq!(serde_json::to_value(rule).unwrap(), expected);
    let binding: ClusterRoleBinding = object("podlink-with-api.yaml", "ClusterRoleBinding");
    let account: ServiceAccount = object("podlink-with-api.yaml", "ServiceAccount");
    assert_eq!(
        (&binding.role_ref.kind, Some(&binding.role_ref.name)),
        (&"ClusterRole".to_owned(), role.metadata.name.as_ref())
    );
    let [subject] = &binding.subjects.unwrap()[..] else { panic!("one subject") };
    assert_eq!(
        (Some(&subject.name), &subject.namespace),
        (account.metadata.name.as_ref(), &account.metadata.namespace)
    );
    assert_eq!(pod("podlink-with-api.yaml").service_account_name, account.metadata.name);
}
