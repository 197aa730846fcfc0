use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::Request;
use tests::bed::{Bed, Namespace};

/// Makes a pod with an image of this name and waits until it looks so.
#[track_caller]
fn becomes<T>(bed: &Bed, namespace: &Namespace<'_>, image: &str, looks: impl Fn(&Value) -> Option<T>) -> T {
    let container = json!({"name": "model", "image": image, "ports": [{"name": "http", "containerPort": 9000}]});
    let name = image.rsplit('/').next().unwrap().replace(':', "-");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace.name},
        "spec": {"containers": [container]}});
    bed.apply(&pod.to_string());
    bed.until(image, (&namespace.name, "pod"), |object| {
        (object["metadata"]["name"] == name).then(|| looks(object)).flatten()
    })
}

fn waiting(pod: &Value, reason: &str) -> Option<Value> {
    let container = &pod["status"]["containerStatuses"][0];
    (container["state"]["waiting"]["reason"] == reason).then(|| container.clone())
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[test]
fn a_word_in_the_image_decides_what_becomes_of_a_pod() {
    let bed = Bed::shared();
    let namespace = bed.namespace("pods");
    let missing = becomes(&bed, &namespace, "registry.example/a:1-missing", |pod| waiting(pod, "ImagePullBackOff"));
    let message = &missing["state"]["waiting"]["message"];
    assert_eq!(message, "Back-off pulling image \"registry.example/a:1-missing\"");
    let crashing = becomes(&bed, &namespace, "registry.example/a:1-crashing", |pod| waiting(pod, "CrashLoopBackOff"));
    assert_eq!(crashing["lastState"]["terminated"]["message"], "ValueError: model needs 13 features");
    becomes(&bed, &namespace, "registry.example/a:1-held", |pod| waiting(pod, "ContainerCreating"));
    let unready = becomes(&bed, &namespace, "registry.example/a:1-unready", |pod| {
        (pod["status"]["phase"] == "Running" && pod["status"]["podIP"].is_string()).then(|| pod.clone())
    });
    assert!(!is_ready(&unready), "{unready:#}");
    becomes(&bed, &namespace, "registry.example/a:1-slow", |pod| is_ready(pod).then_some(()));
}

#[test]
fn a_pod_recovers_by_an_annotation_and_becomes_unready_by_another() {
    let bed = Bed::shared();
    let namespace = bed.namespace("recovery");
    becomes(&bed, &namespace, "registry.example/b:1-crashing", |pod| waiting(pod, "CrashLoopBackOff"));
    let annotate = |annotation: &str| {
        bed.ask(&["--namespace", &namespace.name, "annotate", "pod", "b-1-crashing", annotation]);
    };
    let ready = |wanted: bool| {
        let seen = |pod: &Value| (is_ready(pod) == wanted).then_some(());
        bed.until("readiness", (&namespace.name, "pod"), seen);
    };
    annotate("bed/go=yes");
    ready(true);
    annotate("bed/go-");
    annotate("bed/pod=unready");
    ready(false);
    annotate("bed/go=yes");
    ready(true);
}

#[test]
fn a_pod_that_asks_for_more_than_there_is_is_unschedulable() {
    let bed = Bed::shared();
    let namespace = bed.namespace("unschedulable");
    let container =
        json!({"name": "model", "image": "registry.example/c:1", "resources": {"requests": {"cpu": "100"}}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c", "namespace": namespace.name},
        "spec": {"containers": [container]}});
    bed.apply(&pod.to_string());
    let message = bed.until("the scheduler's verdict", (&namespace.name, "pod"), |pod| {
        let conditions = pod["status"]["conditions"].as_array()?;
        let verdict = conditions.iter().find(|condition| condition["reason"] == "Unschedulable")?;
        Some(verdict["message"].as_str()?.to_owned())
    });
    assert!(message.contains("Insufficient cpu"), "{message}");
}

/// Asks a pod at its own address until somebody answers there, or nobody does.
#[track_caller]
fn asked_until(address: SocketAddr, answers: bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Request::new("GET", "/").try_send(address).is_ok() != answers {
        assert!(Instant::now() < deadline, "an answer at {address}: {}", !answers);
    }
}

#[test]
fn a_ready_pod_is_answered_for_and_one_that_is_gone_is_not() {
    let bed = Bed::shared();
    let namespace = bed.namespace("served");
    let address = becomes(&bed, &namespace, "registry.example/d:1", |pod| {
        is_ready(pod).then(|| pod["status"]["podIP"].as_str().unwrap().to_owned())
    });
    let address = SocketAddr::new(address.parse().unwrap(), 9000);
    asked_until(address, true);
    let answer = Request::new("POST", "/v2/models/model/infer").send(address).json();
    assert_eq!(answer["pod"], "d-1");
    bed.ask(&["--namespace", &namespace.name, "delete", "pod", "d-1"]);
    asked_until(address, false);
}

#[test]
fn what_the_tests_ask_the_api_server_for_stands_in_its_audit_log() {
    let bed = Bed::shared();
    let namespace = bed.namespace("audited");
    bed.list(&namespace.name, "configmaps");
    let log = bed.log("audit");
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = events.filter(|event| event["objectRef"]["namespace"] == namespace.name.as_str());
    let asked: Vec<Value> =
        ours.map(|event| json!([event["user"]["username"], event["verb"], event["objectRef"]["resource"]])).collect();
    assert!(asked.contains(&json!(["tests", "list", "configmaps"])), "{asked:?}");
}
