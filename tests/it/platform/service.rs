//! What runs the release service in a cluster.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, PodSpec, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

use super::{documents, manifests, object, text};

/// Kinds of others' groups, which the API server of the tier `cluster` judges.
const OF_OTHERS: [&str; 14] = [
    "AppProject",
    "Application",
    "ApplicationSet",
    // Bootstrap reads it, and refuses a field that it does not know.
    "Catalogue",
    "Certificate",
    "EnvoyProxy",
    "Gateway",
    "GatewayClass",
    "HTTPRoute",
    "Issuer",
    "PodMonitor",
    "PrometheusRule",
    "SecurityPolicy",
    "ServiceMonitor",
];

/// What a typed object has kept of a document must be all of it: a field that the type does not know is dropped without a word.
fn keeps<T: DeserializeOwned + Serialize>(document: &Value) -> Result<(), String> {
    let typed: T = serde_yaml::from_value(document.clone()).map_err(|error| error.to_string())?;
    let again = serde_yaml::to_value(&typed).map_err(|error| error.to_string())?;
    lost("", document, &again).map_or(Ok(()), |path| Err(format!("`{path}` is not a field of it")))
}

/// The first field of a document that another one does not have.
fn lost(path: &str, document: &Value, again: &Value) -> Option<String> {
    match (document, again) {
        (Value::Mapping(fields), Value::Mapping(kept)) => fields.iter().find_map(|(key, value)| {
            let path = format!("{path}/{}", key.as_str().unwrap_or_default());
            kept.get(key).map_or(Some(path.clone()), |kept| lost(&path, value, kept))
        }),
        (Value::Sequence(items), Value::Sequence(kept)) if items.len() == kept.len() => {
            items.iter().zip(kept).enumerate().find_map(|(at, (item, kept))| lost(&format!("{path}/{at}"), item, kept))
        }
        _ => (document != again).then(|| path.to_owned()),
    }
}

/// Whether a document is an object of its kind; `None` for a kind of somebody else.
fn is_typed(document: &Value) -> Option<Result<(), String>> {
    Some(match document["kind"].as_str()? {
        "ClusterRole" => keeps::<ClusterRole>(document),
        "ClusterRoleBinding" => keeps::<ClusterRoleBinding>(document),
        "ConfigMap" => keeps::<ConfigMap>(document),
        "Deployment" => keeps::<Deployment>(document),
        "Job" => keeps::<Job>(document),
        "Namespace" => keeps::<Namespace>(document),
        "NetworkPolicy" => keeps::<NetworkPolicy>(document),
        "PersistentVolumeClaim" => keeps::<PersistentVolumeClaim>(document),
        "PodDisruptionBudget" => keeps::<PodDisruptionBudget>(document),
        "Role" => keeps::<Role>(document),
        "RoleBinding" => keeps::<RoleBinding>(document),
        "Service" => keeps::<Service>(document),
        "ServiceAccount" => keeps::<ServiceAccount>(document),
        "StatefulSet" => keeps::<StatefulSet>(document),
        kind if OF_OTHERS.contains(&kind) => return None,
        kind => Err(format!("nobody has said how a {kind} is checked")),
    })
}

/// Whether a file names only what it changes of an object elsewhere.
fn is_patch(file: &str) -> bool {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let kustomization =
        tests::environment::repository_root().join("gitops-repo/platform").join(folder).join("kustomization.yaml");
    std::fs::read_to_string(kustomization).is_ok_and(|text| text.lines().any(|line| line == format!("- path: {name}")))
}

fn pod() -> PodSpec {
    let set: StatefulSet = serde_yaml::from_value(object("kmlflow/statefulset.yaml", "StatefulSet")).unwrap();
    set.spec.template.spec.unwrap()
}

#[test]
fn every_object_is_one_of_its_kind_with_no_field_that_is_not() {
    let mut typed = 0;
    for file in manifests().iter().filter(|file| !is_patch(file)) {
        for document in documents(file) {
            if let Some(outcome) = is_typed(&document) {
                outcome.unwrap_or_else(|error| panic!("{file}: {}: {error}", document["kind"].as_str().unwrap()));
                typed += 1;
            }
        }
    }
    assert!(typed >= 10, "{typed}");
    let mut wrong = object("kmlflow/statefulset.yaml", "StatefulSet");
    wrong["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = Value::Null;
    assert!(is_typed(&wrong).unwrap().unwrap_err().contains("redinessProbe"));
}

#[test]
fn nothing_secret_lies_in_the_repository() {
    for file in manifests() {
        assert!(documents(&file).iter().all(|document| document["kind"] != "Secret"), "{file}");
    }
}

#[test]
fn the_pod_can_do_nothing_that_it_need_not() {
    let pod = pod();
    let of_pod = pod.security_context.unwrap();
    assert_eq!(
        (of_pod.run_as_non_root, of_pod.seccomp_profile.unwrap().type_.as_str()),
        (Some(true), "RuntimeDefault")
    );
    let [container] = pod.containers.as_slice() else { panic!("one container") };
    let own = container.security_context.clone().unwrap();
    assert_eq!((own.allow_privilege_escalation, own.read_only_root_filesystem), (Some(false), Some(true)));
    assert_eq!(own.capabilities.unwrap().drop.unwrap(), ["ALL"]);
    let resources = container.resources.clone().unwrap();
    assert!(resources.limits.unwrap().contains_key("memory") && resources.requests.unwrap().len() == 2);
    // Pod security holds the namespace to the same.
    let namespace = object("kmlflow/namespace.yaml", "Namespace");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn what_is_written_to_is_a_volume_and_the_data_lies_below_it() {
    let pod = pod();
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    let writable: Vec<&str> =
        mounts.iter().filter(|m| m.read_only != Some(true)).map(|m| m.mount_path.as_str()).collect();
    assert_eq!(writable, ["/var/lib/kmlflow", "/tmp"]);
    let configuration: Value = serde_yaml::from_str(&text("gitops-repo/platform/kmlflow/kmlflow.yaml")).unwrap();
    let data_dir = configuration["data_dir"].as_str().unwrap();
    // The volume itself belongs to root, and the service closes its directory, which only its owner can.
    assert!(data_dir.starts_with("/var/lib/kmlflow/"), "{data_dir}");
    let secrets =
        ["mlflow", "generic", "github"].map(|door| configuration["webhooks"][door]["secret_files"][0].clone());
    let webhooks = mounts.iter().find(|mount| mount.name == "webhooks").unwrap();
    assert!(secrets.iter().all(|file| file.as_str().unwrap().starts_with(&webhooks.mount_path)), "{secrets:?}");
}

#[test]
fn probes_and_metrics_have_a_port_of_their_own_which_only_prometheus_reaches() {
    let pod = pod();
    let ports = pod.containers[0].ports.clone().unwrap();
    let port = |name: &str| ports.iter().find(|port| port.name.as_deref() == Some(name)).unwrap().container_port;
    let configuration: Value = serde_yaml::from_str(&text("gitops-repo/platform/kmlflow/kmlflow.yaml")).unwrap();
    assert_eq!(configuration["listen"], format!("0.0.0.0:{}", port("http")));
    assert_eq!(configuration["internal_listen"], format!("0.0.0.0:{}", port("metrics")));
    let network = object("kmlflow/network.yaml", "NetworkPolicy");
    let rules = network["spec"]["ingress"].as_sequence().unwrap();
    let of_metrics: Vec<&Value> = rules.iter().filter(|rule| rule["ports"][0]["port"] == "metrics").collect();
    assert_eq!(of_metrics.len(), 1);
    let from = &of_metrics[0]["from"][0]["namespaceSelector"]["matchLabels"];
    assert_eq!(from["kubernetes.io/metadata.name"], "monitoring");
    assert!(rules.iter().all(|rule| rule.get("from").is_some()), "from everywhere");
    assert_eq!(object("kmlflow/monitoring.yaml", "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"], "metrics");
}

#[test]
fn it_is_given_longer_to_end_than_it_takes() {
    let pod = pod();
    let lifecycle = pod.containers[0].lifecycle.clone().unwrap();
    let before = lifecycle.pre_stop.unwrap().sleep.unwrap().seconds;
    // `tests/e2e/ending.rs` shows the ten seconds.
    assert!(before + 10 < pod.termination_grace_period_seconds.unwrap());
}

#[test]
fn an_alert_of_the_platform_names_the_namespaces_that_releases_may_not_go_to() {
    let project = object("releases/project.yaml", "AppProject");
    let closed: Vec<String> = project["spec"]["destinations"]
        .as_sequence()
        .unwrap()
        .iter()
        .filter_map(|place| place["namespace"].as_str()?.strip_prefix('!').map(str::to_owned))
        .collect();
    for namespace in ["argocd", "k5w", "monitoring", "seldon-system", "gateway", "storage", "kube-*"] {
        assert!(closed.iter().any(|found| found == namespace), "{namespace}");
    }
}

#[test]
fn no_release_may_change_a_namespace_that_it_may_not_go_to() {
    let spec = object("releases/project.yaml", "AppProject")["spec"].clone();
    let texts = |list: &Value, key: &str| -> Vec<String> {
        list.as_sequence().unwrap().iter().filter_map(|item| item[key].as_str().map(str::to_owned)).collect()
    };
    let closed = texts(&spec["destinations"], "namespace");
    let closed: Vec<&str> = closed.iter().filter_map(|namespace| namespace.strip_prefix('!')).collect();
    assert_eq!(texts(&spec["clusterResourceBlacklist"], "name"), closed);
    // Argo CD makes the namespaces of releases by the same list.
    assert_eq!(texts(&spec["clusterResourceWhitelist"], "kind"), ["Namespace"]);
}

#[test]
fn a_release_may_be_made_of_what_is_rendered_and_of_nothing_else() {
    let project = object("releases/project.yaml", "AppProject");
    let allowed: Vec<&str> = project["spec"]["namespaceResourceWhitelist"]
        .as_sequence()
        .unwrap()
        .iter()
        .map(|kind| kind["kind"].as_str().unwrap())
        .collect();
    let golden =
        std::fs::read_dir(tests::environment::repository_root().join("service/core/src/render/golden")).unwrap();
    let texts = golden.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect::<String>();
    let mut rendered: Vec<&str> = texts.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    rendered.sort_unstable();
    rendered.dedup();
    rendered.retain(|kind| *kind != "Kustomization");
    let mut sorted = allowed.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, rendered);
}
