//! The pod of a component: what the operator adds to the containers that a SeldonDeployment has.

use serde_json::{Value, json};

/// Where a container finds its model.
pub(super) const MODELS: &str = concat!("/mnt", "/models");

/// What fetches a model; tests/node has an image of this name.
const INITIALIZER: &str = "stand-in/storage-initializer:1";

/// Where that finds whom it may ask, unless the graph says so: `defaultEnvSecretRefName` of `gitops-repo/platform/seldon-core/values.yaml`.
const SECRET: &str = "kmlflow-storage";

/// MLServer's class for what the operator calls an implementation; kmlflow renders this one only.
const MLFLOW: (&str, &str) = ("MLFLOW_SERVER", "mlserver_mlflow.MLflowRuntime");

/// Who its containers run as, unless its manifest says so.
const USER: u64 = 8888;

/// Whose pod it is.
pub(super) struct Place<'a> {
    pub(super) release: &'a str,
    pub(super) predictor: &'a Value,
    /// The port of metrics of a container that names none.
    pub(super) metrics: u64,
}

/// The pod of a component: its containers with every port, what tells them who they are, and what fetches the model where a URI names one.
pub(super) fn pod(component: &Value, place: &Place<'_>) -> Value {
    let mut pod = component["spec"].clone();
    pod["terminationGracePeriodSeconds"] = 20.into();
    if pod["securityContext"].is_null() {
        pod["securityContext"] = json!({"runAsUser": USER});
    }
    for container in containers(&mut pod) {
        for (name, number) in [("http", 9000), ("grpc", 9500), ("metrics", place.metrics)] {
            if items(&container["ports"]).iter().all(|port| port["name"] != name) {
                push(container, "ports", json!({"name": name, "containerPort": number, "protocol": "TCP"}));
            }
        }
        if container["lifecycle"].is_null() {
            let command = ["/bin/sh", "-c", "/bin/sleep 10"];
            container["lifecycle"] = json!({"preStop": {"exec": {"command": command}}});
        }
        for (name, value) in who_it_is(container, place) {
            push(container, "env", json!({"name": name, "value": value}));
        }
    }
    if let Some(uri) = place.predictor["graph"]["modelUri"].as_str() {
        fetch(&mut pod, &place.predictor["graph"], uri);
    }
    pod
}

/// What a container is told by its environment, in the words of the operator and in those of MLServer.
fn who_it_is(container: &Value, place: &Place<'_>) -> Vec<(&'static str, String)> {
    let of = |name| port(container, name).to_string();
    let name = text(&container["name"]);
    vec![
        ("PREDICTIVE_UNIT_SERVICE_PORT", of("http")),
        ("PREDICTIVE_UNIT_HTTP_SERVICE_PORT", of("http")),
        ("MLSERVER_HTTP_PORT", of("http")),
        ("PREDICTIVE_UNIT_GRPC_SERVICE_PORT", of("grpc")),
        ("MLSERVER_GRPC_PORT", of("grpc")),
        ("PREDICTIVE_UNIT_METRICS_SERVICE_PORT", of("metrics")),
        ("MLSERVER_METRICS_PORT", of("metrics")),
        ("PREDICTIVE_UNIT_METRICS_ENDPOINT", "/prometheus".to_owned()),
        ("MLSERVER_METRICS_ENDPOINT", "/prometheus".to_owned()),
        ("PREDICTIVE_UNIT_ID", name.clone()),
        ("MLSERVER_MODEL_NAME", name),
        ("PREDICTIVE_UNIT_IMAGE", text(&container["image"])),
        ("PREDICTOR_ID", text(&place.predictor["name"])),
        ("SELDON_DEPLOYMENT_ID", place.release.to_owned()),
    ]
}

/// Has the model fetched before the container of the graph's node starts, and that one told where it is and looked at by its own path of health.
fn fetch(pod: &mut Value, graph: &Value, uri: &str) {
    let model = text(&graph["name"]);
    let mount = json!({"name": format!("{model}-provision-location"), "mountPath": MODELS});
    let secret = graph["envSecretRefName"].as_str().unwrap_or(SECRET);
    let first = json!({"name": format!("{model}-model-initializer"), "image": INITIALIZER, "args": [uri, MODELS],
        "volumeMounts": [mount], "envFrom": [{"secretRef": {"name": secret}}]});
    push(pod, "initContainers", first);
    push(pod, "volumes", json!({"name": mount["name"], "emptyDir": {}}));
    for container in containers(pod).filter(|container| container["name"] == graph["name"]) {
        push(container, "volumeMounts", mount.clone());
        push(container, "env", json!({"name": "MLSERVER_MODEL_URI", "value": MODELS}));
        if graph["implementation"] == MLFLOW.0 {
            push(container, "env", json!({"name": "MLSERVER_MODEL_IMPLEMENTATION", "value": MLFLOW.1}));
            let health = json!({"path": "/v2/health/ready", "port": "http"});
            container["readinessProbe"] = json!({"httpGet": health, "initialDelaySeconds": 20, "periodSeconds": 5});
        }
    }
}

fn containers(pod: &mut Value) -> impl Iterator<Item = &mut Value> {
    pod["containers"].as_array_mut().expect("the containers").iter_mut()
}

/// The number of a container's port of this name.
pub(super) fn port(container: &Value, name: &str) -> u64 {
    let found = items(&container["ports"]).iter().find(|port| port["name"] == name);
    found.and_then(|port| port["containerPort"].as_u64()).unwrap_or_default()
}

fn push(into: &mut Value, list: &str, item: Value) {
    if into[list].is_null() {
        into[list] = json!([]);
    }
    into[list].as_array_mut().expect("a list").push(item);
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
