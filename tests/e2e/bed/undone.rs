//! What goes wrong on the way is undone, and its callers do not notice.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::{Bed, Namespace};
use tests::refusing::Refusing;
use tests::server::Server;

use super::followed::watching;
use super::journey::{Ask, Journey, Seen, Split, Step, WITHIN};
use crate::{by, image};

/// So many writes show whether etcd is slow.
const SLOW_WRITES: u32 = 8;

/// A release of this name, on its way.
fn journey<'a>(
    (bed, server, namespace): (&'a Bed, &'a Server<'a>, &'a Namespace<'a>),
    name: &str,
    steps: Vec<Step>,
) -> Journey<'a> {
    Journey { bed, server, namespace, name: name.to_owned(), steps }
}

/// A new version whose pods come to nothing, until it is taken back.
fn stalls(name: &'static str, strategy: &str, word: &str) -> Step {
    let image = format!("registry.example/fraud:8-{word}");
    let body = by(strategy, "fraud", "8", json!({"image": image, "deadline": "10s"}));
    Step { name, ask: Ask::Put(body), phase: "settled", split: &[("v7", 100)] }
}

#[test]
fn a_new_predictor_that_stalls_is_taken_back_and_gets_no_request() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("stalling");
    namespace.follow(&server);
    let seen = Mutex::new(Seen::new());
    let (server, namespace) = (&server, &namespace);
    std::thread::scope(|scope| {
        for (name, strategy, word) in [
            ("single-missing", "single", "missing"),
            ("canary-crashing", "canary", "crashing"),
            ("ab-unready", "ab", "unready"),
            ("blue-green-missing", "blue-green", "missing"),
            ("shadow-crashing", "shadow", "crashing"),
        ] {
            let journey = journey((&bed, server, namespace), name, vec![stalls(name, strategy, word)]);
            let seen = &seen;
            scope.spawn(move || {
                journey.go(seen);
                let history = server.get(&format!("/releases/{}/history", journey.release()));
                let items = history["items"].as_array().unwrap();
                let asked = items.iter().find(|item| item["requestedBy"] == "auto-rollback");
                let action = asked.map(|item| item["action"].clone());
                let expected = if strategy == "single" { "rollback" } else { "abort" };
                assert_eq!(action, Some(expected.into()), "{name}: {history:#}");
            });
        }
    });
    assert_eq!(seen.into_inner().unwrap().len(), 5);
}

/// The files of a release, without the document that says how it came about.
fn rendered(server: &Server<'_>, release: &str) -> Value {
    let mut files = server.get(&format!("/releases/{release}/manifests"));
    files["manifests"].as_object_mut().unwrap().retain(|name, _| name != "release.yaml");
    assert_eq!(files["manifests"].as_object().unwrap().len(), 5, "{files:#}");
    files
}

#[test]
fn a_rollback_over_another_port_brings_the_old_version_first_and_ends_in_its_very_files() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("ports");
    namespace.follow(&server);
    let fraud = journey((&bed, &server, &namespace), "fraud", Vec::new());
    let load = fraud.begin();
    let files = rendered(&server, &fraud.release());
    let other = by("single", "fraud", "8", json!({"serving": {"engine": false}}));
    let next = Step { name: "other port", ask: Ask::Put(other), phase: "settled", split: &[("v8", 100)] };
    fraud.ask(&next.ask);
    fraud.until_live(&next);
    fraud.settle(&load, &[("v7", 100)], &next);

    let back = Step { name: "rollback", ask: Ask::Nothing, phase: "settled", split: &[("v7", 100)] };
    let asked = Instant::now();
    let first = server.act(&fraud.release(), "rollback", Some(&json!({}))).expect(200).json();
    let rollout = &first["release"]["rollout"];
    assert_eq!((&rollout["phase"], &rollout["rejected"][0]["version"]), (&json!("entering"), &json!("8")), "{first:#}");
    fraud.until_live(&back);
    println!("rollback over another port: live after {:.1} s", asked.elapsed().as_secs_f64());
    let answers = fraud.settle(&load, &[("v8", 100)], &back);
    assert!(answers.requests() > 0, "{answers}");
    assert_eq!(rendered(&server, &fraud.release()), files);
    let history = server.get(&format!("/releases/{}/history", fraud.release()));
    let actions: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..4], ["settle", "leave", "rollback", "rollback"], "newest first");
}

#[test]
fn a_rollback_gets_through_behind_a_sync_that_the_api_server_refuses() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("refused");
    namespace.follow(&server);
    let refusing = Refusing::begin(&bed, &namespace, "forbidden");
    let begun = journey((&bed, &server, &namespace), "fraud", Vec::new());
    let load = begun.begin();
    let back = Step { name: "rollback", ask: Ask::Act("rollback", json!({})), phase: "settled", split: &[("v7", 100)] };
    let forbidden = by("single", "fraud", "8", json!({"image": "registry.example/forbidden:8"}));
    server.put(&begun.release(), &forbidden).expect(200);
    let named = server.until_within(WITHIN, "the refusal is named", || {
        let view = server.get(&format!("/releases/{}", begun.release()));
        let is_named = view["status"]["reason"].as_str()?.contains("images of this registry are not allowed here");
        is_named.then_some(view)
    });
    assert_eq!(named["status"]["state"], "syncing", "{named:#}");
    let asked = Instant::now();
    begun.ask(&back.ask);
    begun.until_live(&back);
    println!("rollback behind a refused sync: live after {:.1} s", asked.elapsed().as_secs_f64());
    let answers = begun.settle(&load, back.split, &back);
    assert_eq!(answers.by.keys().collect::<Vec<_>>(), ["v7"]);
    drop(refusing);
}

#[test]
fn a_rollback_needs_no_registry() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let kubeconfig = bed.kubeconfig();
    // Nobody listens there.
    let builder = environment.server().env("KMLFLOW__MLFLOW__TRACKING_URI", "http://127.0.0.1:9");
    let server = builder.env("KMLFLOW__KUBERNETES__KUBECONFIG", kubeconfig.to_str().unwrap()).start();
    let namespace = bed.namespace("no-registry");
    namespace.follow(&server);
    let back = Step { name: "rollback", ask: Ask::Act("rollback", json!({})), phase: "settled", split: &[("v7", 100)] };
    let next = Step { name: "next", ask: Ask::Put(image("fraud", "8")), phase: "settled", split: &[("v8", 100)] };
    let seen = Mutex::new(Seen::new());
    journey((&bed, &server, &namespace), "fraud", vec![next, back]).go(&seen);
    assert_eq!(seen.into_inner().unwrap()["rollback"].0, 1);
}

/// Half of the callers get the next version.
fn half_way() -> Step {
    let canary = by("canary", "fraud", "8", json!({"steps": [50]}));
    Step { name: "begin", ask: Ask::Put(canary), phase: "running", split: &[("v7", 50), ("v8", 50)] }
}

#[test]
fn a_canary_goes_on_and_ends_right_after_the_api_server_was_killed_in_the_middle_of_it() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("killed");
    namespace.follow(&server);
    let canary = journey((&bed, &server, &namespace), "fraud", Vec::new());
    let load = canary.begin();
    let begin = half_way();
    canary.ask(&begin.ask);
    canary.until_live(&begin);

    bed.kill("kube-apiserver");
    // While it is away the service can see nothing, and does not guess.
    canary.ask(&Ask::Act("promote", json!({})));
    bed.wait_for_api_server();
    let end = Step { name: "end", ask: Ask::Nothing, phase: "settled", split: &[("v8", 100)] };
    canary.until_live(&end);
    let answers = canary.settle(&load, begin.split, &end);
    assert!(answers.requests() > 0);
    let release = server.get(&format!("/releases/{}", canary.release()));
    assert_eq!(release["rollout"]["outcome"], "promoted", "{release:#}");
    let left: Vec<Value> = bed.list(&namespace.name, "deployment");
    assert_eq!(left.len(), 1, "{left:#?}");
}

#[test]
fn nothing_is_removed_while_the_gateway_may_still_send_to_it() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("unfollowed");
    namespace.follow(&server);
    let canary = journey((&bed, &server, &namespace), "fraud", Vec::new());
    let load = canary.begin();
    let begin = half_way();
    canary.ask(&begin.ask);
    canary.until_live(&begin);

    // Envoy goes on by what it was told last.
    let paused = bed.pause_alone("envoy-gateway");
    canary.ask(&Ask::Act("promote", json!({})));
    server.until_within(WITHIN, "it waits for the gateway", || {
        let waits = server.get(&format!("/releases/{}", canary.release()))["waitsFor"].clone();
        waits.as_str()?.contains("the gateway has not looked at the applied route").then_some(())
    });
    let still = load.until_newest(1, WITHIN, |predictor| predictor == "v7");
    assert_eq!((still, bed.list(&namespace.name, "deployment").len()), (Ok(()), 2));
    drop(paused);
    let end = Step { name: "end", ask: Ask::Nothing, phase: "settled", split: &[("v8", 100)] };
    canary.until_live(&end);
    canary.settle(&load, begin.split, &end);
}

#[test]
fn with_a_slow_etcd_everything_takes_longer_and_no_caller_notices() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("slow");
    namespace.follow(&server);
    let canary = journey((&bed, &server, &namespace), "fraud", Vec::new());
    let load = canary.begin();
    let slow = bed.slow("etcd");
    let began = Instant::now();
    (0..SLOW_WRITES).for_each(|number| {
        bed.ask(&["annotate", "--overwrite", "namespace", &namespace.name, &format!("tests.example/write={number}")]);
    });
    assert!(began.elapsed() > SLOW_WRITES * Duration::from_millis(200), "it is not slow: {:?}", began.elapsed());
    let mut before: Split = &[("v7", 100)];
    for step in [
        half_way(),
        Step { name: "promote", ask: Ask::Act("promote", json!({})), phase: "settled", split: &[("v8", 100)] },
        Step { name: "rollback", ask: Ask::Act("rollback", json!({})), phase: "settled", split: &[("v7", 100)] },
    ] {
        canary.ask(&step.ask);
        canary.until_live(&step);
        let answers = canary.settle(&load, before, &step);
        println!("with a slow etcd, {}: live after {:.1} s, {answers}", step.name, began.elapsed().as_secs_f64());
        before = step.split;
    }
    drop(slow);
}
