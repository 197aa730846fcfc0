//! No caller of a release notices what becomes of it: each transition of the table in ARCHITECTURE.md, from commit to live, under load.
//!
//! Releases go through several transitions each, side by side. `KMLFLOW_TEST_TRANSITIONS=100` sends a hundred releases on each way.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::Bed;
use tests::load::Answers;

use super::followed::watching;
use super::journey::{Ask, Journey, Seen, Split, Step, WITHIN};
use crate::{by, image};

/// How many releases go each way; one where it is unset.
const ROUNDS: &str = "KMLFLOW_TEST_TRANSITIONS";

/// So many releases are on their way at a time: most of it is waiting for the control plane.
const BESIDE: usize = 12;

fn put(name: &'static str, body: Value, phase: &'static str, split: Split) -> Step {
    Step { name, ask: Ask::Put(body), phase, split }
}

fn act(name: &'static str, act: &'static str, phase: &'static str, split: Split) -> Step {
    Step { name, ask: Ask::Act(act, json!({})), phase, split }
}

fn act_with(name: &'static str, act: &'static str, body: Value, split: Split) -> Step {
    let phase = if act == "weights" { "running" } else { "settled" };
    Step { name, ask: Ask::Act(act, body), phase, split }
}

fn with(version: &str, serving: Value) -> Value {
    by("single", "fraud", version, json!({"serving": serving}))
}

/// What is settled in one commit, and what is not.
fn single() -> Vec<Step> {
    vec![
        put("single, next version", image("fraud", "8"), "settled", &[("v8", 100)]),
        put("single, 2 replicas", with("8", json!({"replicas": 2})), "settled", &[("v8", 100)]),
        put("single, other port", with("9", json!({"engine": false})), "settled", &[("v9", 100)]),
        put("single, first port again", with("8", json!({"engine": true})), "settled", &[("v8", 100)]),
        put(
            "single, other pods",
            with("8", json!({"env": [{"name": "THREADS", "value": "2"}]})),
            "settled",
            &[("v8r2", 100)],
        ),
        act("rollback, other pods", "rollback", "settled", &[("v8", 100)]),
    ]
}

/// Over another engine or port, there and back.
fn ports() -> Vec<Step> {
    vec![
        put("single, other port", with("8", json!({"engine": false})), "settled", &[("v8", 100)]),
        act("rollback, other port", "rollback", "settled", &[("v7", 100)]),
        put("single, third port", with("9", json!({"engine": false, "port": 9100})), "settled", &[("v9", 100)]),
        put(
            "canary, begin",
            by("canary", "fraud", "10", json!({"steps": [50]})),
            "running",
            &[("v9", 50), ("v10", 50)],
        ),
        act("canary, rollback", "rollback", "settled", &[("v9", 100)]),
        act("rollback, other port", "rollback", "settled", &[("v7", 100)]),
    ]
}

fn canary() -> Vec<Step> {
    let of = |version, more| by("canary", "fraud", version, more);
    vec![
        put("canary, begin", of("8", json!({"steps": [5, 50]})), "running", &[("v7", 95), ("v8", 5)]),
        act("canary, step", "advance", "running", &[("v7", 50), ("v8", 50)]),
        act("canary, promote", "promote", "settled", &[("v8", 100)]),
        put("canary, begin", of("9", json!({"steps": [20]})), "running", &[("v8", 80), ("v9", 20)]),
        put("canary, superseded", of("10", json!({"steps": [20]})), "running", &[("v8", 80), ("v10", 20)]),
        act("canary, abort", "abort", "settled", &[("v8", 100)]),
        put(
            "canary, steps by themselves",
            of("11", json!({"steps": [{"weight": 10, "pause": "1s"}, {"weight": 50, "pause": "1s"}]})),
            "settled",
            &[("v11", 100)],
        ),
    ]
}

fn ab() -> Vec<Step> {
    let of = |version| by("ab", "fraud", version, json!({"weights": {"a": 70, "b": 30}}));
    vec![
        put("ab, begin", of("8"), "running", &[("v7", 70), ("v8", 30)]),
        act_with("ab, weights", "weights", json!({"weights": {"a": 40, "b": 60}}), &[("v7", 40), ("v8", 60)]),
        act_with("ab, b wins", "promote", json!({"variant": "b"}), &[("v8", 100)]),
        put("ab, begin", of("9"), "running", &[("v8", 70), ("v9", 30)]),
        act("ab, back to a", "abort", "settled", &[("v8", 100)]),
    ]
}

fn blue_green() -> Vec<Step> {
    let of = |version, delay| by("blue-green", "fraud", version, json!({"scaleDownDelay": delay}));
    vec![
        put("blue-green, begin", of("8", "1h"), "running", &[("v7", 100)]),
        act("blue-green, flip", "advance", "running", &[("v8", 100)]),
        act("blue-green, flip back", "advance", "running", &[("v7", 100)]),
        act("blue-green, promote", "promote", "settled", &[("v8", 100)]),
        put("blue-green, begin", of("9", "2s"), "running", &[("v8", 100)]),
        act("blue-green, flip and settle", "advance", "settled", &[("v9", 100)]),
        put("blue-green, begin", of("10", "1h"), "running", &[("v9", 100)]),
        act("blue-green, abort", "abort", "settled", &[("v9", 100)]),
    ]
}

fn shadow() -> Vec<Step> {
    let of = |version, percent| by("shadow", "fraud", version, json!({"percent": percent}));
    vec![
        put("shadow, begin", of("8", 20), "running", &[("v7", 100)]),
        act_with("shadow, percent", "weights", json!({"percent": 100}), &[("v7", 100)]),
        act("shadow, promote", "promote", "settled", &[("v8", 100)]),
        put("shadow, begin", of("9", 100), "running", &[("v8", 100)]),
        act("shadow, remove", "abort", "settled", &[("v8", 100)]),
    ]
}

/// From one strategy to another while the first runs.
fn mixed() -> Vec<Step> {
    let of = |strategy| by(strategy, "fraud", "8", json!({}));
    vec![
        put("canary, begin", of("canary"), "running", &[("v7", 95), ("v8", 5)]),
        put("canary to ab", of("ab"), "running", &[("v7", 50), ("v8", 50)]),
        put("ab to blue-green", of("blue-green"), "running", &[("v7", 100)]),
        put("blue-green to shadow", of("shadow"), "running", &[("v7", 100)]),
        put("shadow to canary", of("canary"), "running", &[("v7", 95), ("v8", 5)]),
        put("canary to single of a third", image("fraud", "9"), "settled", &[("v9", 100)]),
        put(
            "canary, begin",
            by("canary", "fraud", "10", json!({"steps": [50]})),
            "running",
            &[("v9", 50), ("v10", 50)],
        ),
        act("canary, rollback", "rollback", "settled", &[("v9", 100)]),
        act("rollback", "rollback", "settled", &[("v7", 100)]),
    ]
}

/// What a journey is called, and its steps.
type Way = (&'static str, fn() -> Vec<Step>);

const WAYS: [Way; 7] = [
    ("single", single),
    ("ports", ports),
    ("canary", canary),
    ("ab", ab),
    ("blue-green", blue_green),
    ("shadow", shadow),
    ("mixed", mixed),
];

fn table(seen: &Seen) -> String {
    let mut table = String::new();
    let mut sum = Answers::default();
    let mut all = 0;
    for (name, (times, answers)) in seen {
        writeln!(table, "{times:5} × {name:32} {:8} requests, {} failed", answers.requests(), answers.failed).unwrap();
        sum.add(answers.clone());
        all += times;
    }
    writeln!(table, "{all:5} transitions, {} requests, {} failed", sum.requests(), sum.failed).unwrap();
    table
}

#[test]
fn no_transition_of_the_table_fails_a_request() {
    let rounds: usize = std::env::var(ROUNDS).map_or(1, |text| text.parse().expect("a number"));
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("transitions");
    namespace.follow(&server);
    let journeys = (1..=rounds).flat_map(|round| {
        WAYS.map(|(name, steps)| Journey {
            bed: &bed,
            server: &server,
            namespace: &namespace,
            name: format!("{name}-{round}"),
            steps: steps(),
        })
    });
    let waiting: Mutex<VecDeque<Journey<'_>>> = Mutex::new(journeys.collect());
    let (seen, failed) = (Mutex::new(Seen::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE.min(rounds * WAYS.len()) {
            scope.spawn(|| {
                loop {
                    let Some(journey) = waiting.lock().unwrap().pop_front() else { return };
                    let went = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| journey.go(&seen)));
                    if went.is_err() {
                        failed.lock().unwrap().push(journey.name);
                    }
                }
            });
        }
    });
    let table = table(&seen.lock().unwrap());
    println!("{table}");
    let artifacts = tests::environment::repository_root().join("target/artifacts");
    std::fs::create_dir_all(&artifacts).unwrap();
    std::fs::write(artifacts.join("transitions.txt"), &table).unwrap();
    assert_eq!(failed.into_inner().unwrap(), Vec::<String>::new(), "{table}");
}

/// A hand-over as one would write it by hand: the new version in the place of the old one, and the route to its Service, in one commit.
fn naive(text: &str) -> String {
    let renamed = text.replace("\"v7\"", "\"v8\"").replace("fraud:7\"", "fraud:8-slow\"");
    renamed.replace("name: \"fraud\", port:", "name: \"fraud-v8\", port:")
}

#[test]
fn a_hand_over_in_one_commit_fails_requests_and_the_callers_see_it() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("naive");
    namespace.follow(&server);
    let release =
        Journey { bed: &bed, server: &server, namespace: &namespace, name: "fraud".to_owned(), steps: Vec::new() };
    let load = release.begin();

    let checkout = server.clone_repository();
    for file in ["seldon.yaml", "route.yaml"] {
        let path = format!("releases/{}/{file}", release.release());
        let text = checkout.read_at("HEAD", &path);
        assert_ne!(naive(&text), text, "{text}");
        checkout.write(&path, &naive(&text));
    }
    checkout.commit("Version 8 in one commit");
    let pushed = checkout.push(&server.token(), &["origin", "main"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    namespace.refresh("fraud");
    let arrived = load.until_newest(30, WITHIN, |predictor| predictor == "v8");
    let answers = load.end();
    assert_eq!(arrived, Ok(()), "{answers}");
    println!("a naive hand-over: {} of {} requests failed", answers.failed, answers.requests());
    assert!(answers.failed > 0, "{answers}");
    assert!(answers.failures.iter().all(|failure| failure.status.is_some_and(|status| status >= 500)), "{answers}");
}

#[test]
fn a_retracted_release_answers_until_it_goes_and_404_once_it_is_gone() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("retracting");
    namespace.follow(&server);
    let release =
        Journey { bed: &bed, server: &server, namespace: &namespace, name: "fraud".to_owned(), steps: Vec::new() };
    let load = release.begin();
    let before = load.take();
    assert_eq!(before.failed, 0, "{before}");
    server.api("DELETE", &format!("/releases/{}", release.release()), None).expect(200);
    bed.predict_until(&release.host(), |answer| answer.status == 404);
    server.until_within(WITHIN, "nothing of it is left", || {
        (server.api("GET", &format!("/releases/{}", release.release()), None).status == 404).then_some(())
    });
    drop(load.take());
    let gone = load.until_newest(30, WITHIN, |predictor| predictor.is_empty());
    let after = load.end();
    assert_eq!(gone, Ok(()), "{after}");
    assert!(after.by.is_empty() && after.failures.iter().all(|failure| failure.status == Some(404)), "{after}");
}
