//! The service follows its commits on the real control plane: what it says is live answers, and what is not never counts as such.

use std::time::Duration;

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::{Bed, Namespace};
use tests::http::Request;
use tests::server::Server;

use crate::{by, image};

/// Each step takes seconds, and more where two cores have much else to do; this only ends a hanging test.
const WITHIN: Duration = Duration::from_secs(180);

/// A service that watches the bed.
pub(super) fn watching<'a>(bed: &Bed, environment: &'a TestEnvironment) -> Server<'a> {
    let kubeconfig = bed.kubeconfig();
    environment.server().env("KMLFLOW__KUBERNETES__KUBECONFIG", kubeconfig.to_str().unwrap()).start()
}

pub(super) fn release(namespace: &Namespace<'_>) -> String {
    format!("production/{}/fraud", namespace.name)
}

pub(super) fn view(server: &Server<'_>, release: &str) -> Value {
    server.get(&format!("/releases/{release}"))
}

/// Waits until the service says so of the release.
pub(super) fn until(server: &Server<'_>, release: &str, what: &str, claim: impl Fn(&Value) -> bool) -> Value {
    server.until_within(WITHIN, what, || Some(view(server, release)).filter(|view| claim(view)))
}

pub(super) fn is_live_in(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |view: &Value| view["status"]["state"] == "live" && view["rollout"]["phase"] == phase
}

/// A namespace whose release serves version 7 and is live.
pub(super) fn with_seven<'b>(bed: &'b Bed, server: &Server<'_>, name: &str) -> Namespace<'b> {
    let namespace = bed.namespace(name);
    namespace.follow(server);
    let release = release(&namespace);
    server.put(&release, &image("fraud", "7")).expect(201);
    until(server, &release, "v7 is live", is_live_in("settled"));
    namespace
}

#[test]
fn a_canary_goes_by_what_is_seen_and_what_is_live_answers() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = with_seven(&bed, &server, "canary");
    let release = release(&namespace);
    let host = format!("fraud-{}.k5w.localhost", namespace.name);
    bed.predict_until(&host, |answer| answer.status == 200);
    let entered = server.put(&release, &by("canary", "fraud", "8", json!({"steps": [10, 50]}))).expect(200).json();
    assert_eq!(entered["release"]["rollout"]["phase"], "entering", "whatever `blind_delay` is");
    until(&server, &release, "the first step is live", is_live_in("running"));
    server.act(&release, "promote", None).expect(200);
    until(&server, &release, "v8 alone is live", is_live_in("settled"));
    let answer = bed.predict_until(&host, |answer| answer.json()["predictor"] == "v8");
    assert_eq!(answer.status, 200);
    let deployments = bed.list(&namespace.name, "deployment");
    assert_eq!(deployments.len(), 1, "{deployments:#?}");
    let events = server.get(&format!("/releases/{release}/events"));
    let lives = events["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "live").count();
    assert!(lives >= 4, "{events:#}");
    // Each step of a commit has its time, and they are in their order.
    let newest_first = events["items"].as_array().unwrap();
    let first = newest_first.iter().rfind(|item| item["kind"] == "commit").unwrap()["commit"].clone();
    let of_first = newest_first.iter().rev().filter(|item| item["commit"] == first);
    let kinds: Vec<&str> = of_first.map(|item| item["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"delivery") && kinds.contains(&"commit"), "{events:#}");
    assert!(kinds.ends_with(&["sync", "pods", "live"]), "{events:#}");
    let metrics = Request::new("GET", "/metrics").send(server.address()).expect(200).text();
    assert!(metrics.contains("kmlflow_sync_duration_seconds_count"), "{metrics}");
}

#[test]
fn a_candidate_that_cannot_start_is_named_and_taken_back_and_traffic_never_leaves_the_old_one() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = with_seven(&bed, &server, "stalled");
    let release = release(&namespace);
    let host = format!("fraud-{}.k5w.localhost", namespace.name);
    bed.predict_until(&host, |answer| answer.status == 200);
    let missing = json!({"model": "fraud", "version": "8", "strategy": "canary", "image": "registry.example/missing:8", "deadline": "20s"});
    server.put(&release, &missing).expect(200);
    let named = until(&server, &release, "the reason is named", |view| {
        view["status"]["reason"].as_str().unwrap().contains("v8 cannot pull its image `registry.example/missing:8`")
    });
    assert!(named["status"]["cure"].is_string(), "{named:#}");
    let back = until(&server, &release, "v7 alone is live", |view| {
        is_live_in("settled")(view) && view["rollout"]["outcome"] == "aborted"
    });
    assert_eq!(back["rollout"]["rejected"][0]["version"], "8");
    assert_eq!(bed.predict(&host).unwrap().json()["predictor"], "v7");
    let history = server.get(&format!("/releases/{release}/history"));
    let by = history["items"].as_array().unwrap().iter().find(|item| item["action"] == "abort").unwrap();
    assert_eq!(by["requestedBy"], "auto-rollback");
}

#[test]
fn with_the_operator_stopped_nothing_new_is_live() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = with_seven(&bed, &server, "operator-stopped");
    let release = release(&namespace);
    let paused = bed.pause("seldon-operator");
    server.put(&release, &image("fraud", "8")).expect(200);
    // Argo CD is done, and the operator's `Available` of the state before still stands.
    let view = until(&server, &release, "the operator is missed", |view| {
        assert_ne!(view["status"]["state"], "live", "{view:#}");
        view["status"]["reason"].as_str().unwrap().contains("the Seldon operator does not take up")
    });
    assert_eq!(view["status"]["state"], "syncing");
    drop(paused);
    until(&server, &release, "v8 is live", is_live_in("settled"));

    // Nor is another number of pods, which leaves all else as it was.
    let paused = bed.pause("seldon-operator");
    let mut more = image("fraud", "8");
    more["serving"] = json!({"replicas": 3});
    server.put(&release, &more).expect(200);
    until(&server, &release, "the pods are missed", |view| {
        assert_ne!(view["status"]["state"], "live", "{view:#}");
        view["status"]["reason"] == "v8 is not ready: its Deployment is scaled to 1 and not to 3"
    });
    drop(paused);
    until(&server, &release, "three are live", is_live_in("settled"));
    let deployments = bed.list(&namespace.name, "deployment");
    assert_eq!(deployments[0]["status"]["availableReplicas"], 3, "{deployments:#?}");
}

#[test]
fn a_retracted_release_leaves_nothing_behind() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = with_seven(&bed, &server, "retracted");
    let release = release(&namespace);
    server.api("DELETE", &format!("/releases/{release}"), None).expect(200);
    let going = view(&server, &release);
    assert_eq!((&going["deployed"], &going["status"]["state"]), (&json!(false), &json!("retracting")), "{going:#}");
    server.until("nothing is left", || {
        let kinds = ["seldondeployment", "deployment", "httproute", "grpcroute", "service"];
        let left = kinds.iter().map(|kind| bed.list(&namespace.name, kind).len()).sum::<usize>();
        let application = format!("production.{}.fraud", namespace.name);
        (left == 0 && bed.get("argocd", "application", &application).is_none()).then_some(())
    });
    server.until("the service says so", || {
        (server.api("GET", &format!("/releases/{release}"), None).status == 404).then_some(())
    });
}
