//! What the real operator 1.17.1 was seen to do, of whichever operator the bed has.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::bed::{Bed, Namespace};

/// Predictors with this name and image each, all requests to the first.
pub(super) fn seldon(namespace: &Namespace<'_>, predictors: &[(&str, &str)]) -> Value {
    let predictors = predictors.iter().enumerate().map(|(index, (name, image))| {
        let ports = [("http", 9000), ("grpc", 9500), ("metrics", 6000)];
        let ports = ports.map(|(name, port)| json!({"name": name, "containerPort": port, "protocol": "TCP"}));
        let container = json!({"name": "model", "image": format!("registry.example/{image}"), "ports": ports});
        json!({"name": name, "replicas": 1, "traffic": if index == 0 { 100 } else { 0 }, "annotations": {"seldon.io/no-engine": "true"},
            "graph": {"name": "model", "type": "MODEL"}, "componentSpecs": [{"spec": {"containers": [container]}}]})
    });
    json!({"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment",
        "metadata": {"name": "wine", "namespace": namespace.name},
        "spec": {"protocol": "v2", "predictors": predictors.collect::<Vec<_>>()}})
}

#[track_caller]
pub(super) fn until_state(bed: &Bed, namespace: &Namespace<'_>, state: &str) -> Value {
    let kind = (namespace.name.as_str(), "seldondeployment");
    bed.until(state, kind, |object| (object["status"]["state"] == state).then(|| object["status"].clone()))
}

fn names(bed: &Bed, namespace: &Namespace<'_>, kind: &str) -> Vec<String> {
    let objects = bed.list(&namespace.name, kind);
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_seldon_deployment_becomes_deployments_services_and_a_status_without_a_generation() {
    let bed = Bed::shared();
    let namespace = bed.namespace("children");
    bed.apply(&seldon(&namespace, &[("v7", "wine:7"), ("v8", "wine:8")]).to_string());
    let status = until_state(&bed, &namespace, "Available");
    assert_eq!(names(&bed, &namespace, "deployments"), ["wine-v7-0-model", "wine-v8-0-model"]);
    assert_eq!(names(&bed, &namespace, "services"), ["wine-v7", "wine-v7-model", "wine-v8", "wine-v8-model"]);
    assert_eq!(status.get("observedGeneration"), None);
    assert_eq!(status["deploymentStatus"]["wine-v8-0-model"], json!({"availableReplicas": 1, "replicas": 1}));
    let url = format!("http://wine-v7.{}.svc.cluster.local:9000/v2/models/model/infer", namespace.name);
    assert_eq!(status["address"]["url"], url);
}

#[test]
fn a_predictor_that_is_replaced_stays_until_the_new_one_is_ready() {
    let bed = Bed::shared();
    let namespace = bed.namespace("replaced");
    bed.apply(&seldon(&namespace, &[("v7", "wine:7")]).to_string());
    until_state(&bed, &namespace, "Available");
    bed.apply(&seldon(&namespace, &[("v8", "wine:8-held")]).to_string());
    until_state(&bed, &namespace, "Creating");
    let pod = bed.until("the new pod", (&namespace.name, "pod"), |pod| {
        let is_new = pod["metadata"]["labels"]["version"] == "v8" && pod["status"]["phase"] == "Pending";
        is_new.then(|| pod["metadata"]["name"].as_str().unwrap().to_owned())
    });
    assert_eq!(names(&bed, &namespace, "deployments"), ["wine-v7-0-model", "wine-v8-0-model"]);
    bed.ask(&["--namespace", &namespace.name, "annotate", "pod", &pod, "bed/go=yes"]);
    until_state(&bed, &namespace, "Available");
    bed.ask(&["--namespace", &namespace.name, "wait", "--for=delete", "deployment/wine-v7-0-model", "--timeout=60s"]);
    bed.ask(&["--namespace", &namespace.name, "wait", "--for=delete", "service/wine-v7", "--timeout=60s"]);
}

#[test]
fn a_bad_image_in_a_predictor_that_serves_never_fails_and_says_available_before_it_says_creating() {
    let bed = Bed::shared();
    let namespace = bed.namespace("flapping");
    bed.apply(&seldon(&namespace, &[("v7", "wine:7")]).to_string());
    until_state(&bed, &namespace, "Available");
    let mut watch = bed.watch(&namespace.name, "seldondeployment");
    bed.apply(&seldon(&namespace, &[("v7", "wine:8-missing")]).to_string());
    // The new generation with the old word, then the right one.
    let mut states = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while states.last().is_none_or(|state| state != "Creating") {
        let object = watch.next_before(deadline).expect("it says `Creating`");
        if object["metadata"]["generation"] == 2 {
            states.push(object["status"]["state"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(states.first().map(String::as_str), Some("Available"));
    let status = until_state(&bed, &namespace, "Creating");
    let ready =
        status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "DeploymentsReady");
    assert_eq!(ready.unwrap()["status"], "True");
}

#[test]
fn while_the_operator_is_paused_the_status_of_the_old_generation_stays() {
    let bed = Bed::alone();
    let namespace = bed.namespace("paused");
    bed.apply(&seldon(&namespace, &[("v7", "wine:7")]).to_string());
    until_state(&bed, &namespace, "Available");
    let paused = bed.pause("seldon-operator");
    bed.apply(&seldon(&namespace, &[("v8", "wine:8-missing")]).to_string());
    let mut watch = bed.watch(&namespace.name, "seldondeployment");
    let deadline = Instant::now() + Duration::from_secs(3);
    let seen: Vec<Value> = std::iter::from_fn(|| watch.next_before(deadline)).collect();
    assert!(!seen.is_empty() && seen.iter().all(|object| object["status"]["state"] == "Available"), "{seen:?}");
    assert_eq!(names(&bed, &namespace, "deployments"), ["wine-v7-0-model"]);
    drop(paused);
    until_state(&bed, &namespace, "Creating");
}

#[test]
fn traffic_that_does_not_sum_to_100_is_refused_in_the_operators_words() {
    let bed = Bed::shared();
    let namespace = bed.namespace("traffic");
    let mut object = seldon(&namespace, &[("v7", "wine:7"), ("v8", "wine:8")]);
    object["spec"]["predictors"][1]["traffic"] = 5.into();
    let refused = bed.try_apply(&object.to_string(), &["--server-side"]).unwrap_err();
    assert!(refused.contains("Traffic must sum to 100 for multiple predictors"), "{refused}");
}

#[test]
fn a_model_that_is_not_there_fails_in_the_storage_initializer() {
    let bed = Bed::shared();
    let namespace = bed.namespace("absent");
    let mut object = seldon(&namespace, &[("v7", "runtime:1")]);
    object["spec"]["predictors"][0]["graph"]["modelUri"] = "s3://models/absent".into();
    bed.apply(&object.to_string());
    let message = bed.until("the initializer fails", (&namespace.name, "pod"), |pod| {
        let container = &pod["status"]["initContainerStatuses"][0];
        let is_crashing = container["state"]["waiting"]["reason"] == "CrashLoopBackOff";
        is_crashing.then(|| container["lastState"]["terminated"]["message"].as_str().unwrap().to_owned())
    });
    assert!(message.contains("s3://models/absent"), "{message}");
}
