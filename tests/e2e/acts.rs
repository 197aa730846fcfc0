//! What else is asked of a release: rollback, retraction, pause, hold.

use serde_json::json;
use tests::{Delivery, TestEnvironment};

use super::{by, image};

const FRAUD: &str = "production/models/fraud";
const DIRECTORY: &str = "releases/production/models/fraud";
const RENDERED: [&str; 5] = ["seldon.yaml", "route.yaml", "monitoring.yaml", "dashboard.yaml", "kustomization.yaml"];

#[test]
fn a_rollback_ends_in_the_rendered_files_of_the_settled_state_byte_for_byte() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let first = server.put(FRAUD, &image("fraud", "7")).expect(201).json();
    let second = server.put(FRAUD, &image("fraud", "8")).expect(200).json();
    let back = server.act(FRAUD, "rollback", None).expect(200).json();
    assert_eq!(back["release"]["spec"]["variants"][0]["version"], "7", "{back}");
    assert_eq!(back["release"]["rollout"]["rejected"][0]["version"], "8", "{back}");
    let checkout = server.clone_repository();
    let at = |answer: &serde_json::Value, file: &str| {
        checkout.read_at(answer["commit"].as_str().unwrap(), &format!("{DIRECTORY}/{file}"))
    };
    for file in RENDERED {
        assert_eq!(at(&first, file), at(&back, file), "{file}");
        assert!(file == "kustomization.yaml" || at(&second, file) != at(&back, file), "{file}");
    }
    assert_eq!(checkout.log(DIRECTORY)[0].trailer("Action"), Some("rollback"));
    drop(server.act(FRAUD, "rollback", None).expect_problem(409));
}

#[test]
fn a_rollback_while_a_canary_runs_takes_the_candidate_away_first() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let first = server.put(FRAUD, &image("fraud", "6")).expect(201).json();
    server.put(FRAUD, &image("fraud", "7")).expect(200);
    server.put(FRAUD, &by("canary", "fraud", "8", json!({}))).expect(200);
    let back = server.act(FRAUD, "rollback", None).expect(200).json();
    assert_eq!(back["release"]["rollout"]["outcome"], "rolled-back", "{back}");
    assert_eq!(back["release"]["rollout"]["phase"], "settled", "{back}");
    let rejected = back["release"]["rollout"]["rejected"].to_string();
    assert!(rejected.contains("\"8\""), "{back}");
    assert_eq!(back["release"]["spec"]["variants"][0]["version"], "7", "{back}");
    let named = server.act(FRAUD, "rollback", Some(&json!({"to": first["commit"]}))).expect(200).json();
    assert_eq!(named["release"]["spec"], first["release"]["spec"], "{named}");
    assert_eq!(named["release"]["rollout"]["phase"], "settled", "{named}");
}

#[test]
fn a_retraction_removes_the_directory_and_leaves_a_note() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let answer = server.api("DELETE", &format!("/releases/{FRAUD}"), None).expect(200).json();
    assert_eq!(answer["changed"], true, "{answer}");
    let checkout = server.clone_repository();
    assert!(checkout.ask(&["ls-files", DIRECTORY]).is_empty());
    let note = "retracted/production/models/fraud.yaml";
    assert!(checkout.read(note).is_some());
    assert_eq!(checkout.log(note)[0].trailer("Action"), Some("retract"));
    let gone = server.api("GET", &format!("/releases/{FRAUD}"), None);
    drop(gone.expect_problem(404));
    // The next release of the name removes the note.
    server.put(FRAUD, &image("fraud", "8")).expect(201);
    checkout.update();
    assert!(checkout.read(note).is_none());
    // What is not there is away already.
    let nobody = server.api("DELETE", "/releases/production/models/nobody", None).expect(200).json();
    assert_eq!(nobody["changed"], false, "{nobody}");
}

#[test]
fn a_retraction_of_a_run_names_the_version_that_served() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let mut canary = image("fraud", "8");
    canary["strategy"] = "canary".into();
    server.put(FRAUD, &canary).expect(200);
    server.api("DELETE", &format!("/releases/{FRAUD}"), None).expect(200);
    let checkout = server.clone_repository();
    let commit = &checkout.log("retracted/production/models/fraud.yaml")[0];
    assert!(commit.message.contains("retract (version 7)"), "{}", commit.message);
    assert_eq!(commit.trailer("Version"), Some("7"), "{}", commit.message);
}

#[test]
fn a_paused_release_makes_no_step_by_itself_until_it_is_resumed() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    // The first step waits for a person until it is paused, so that it cannot be over before.
    server.put(FRAUD, &by("canary", "fraud", "8", json!({"steps": [{"weight": 5}, {"weight": 50}]}))).expect(200);
    server.act(FRAUD, "pause", None).expect(200);
    let timed = json!({"steps": [{"weight": 5, "pause": "1s"}, {"weight": 50}]});
    server.put(FRAUD, &by("canary", "fraud", "8", timed.clone())).expect(200);
    // Another release with the same step begins later and goes on: by then the time of the paused one is over too.
    server.put("production/models/other", &image("other", "1")).expect(201);
    server.put("production/models/other", &by("canary", "other", "2", timed)).expect(200);
    server.until("the other release's step", || {
        (server.get("/releases/production/models/other")["rollout"]["step"] == 1).then_some(())
    });
    let still = server.get(&format!("/releases/{FRAUD}"));
    assert_eq!(still["rollout"]["step"], 0, "{still}");
    assert!(still["rollout"]["paused"]["since"].is_string(), "{still}");
    server.act(FRAUD, "resume", None).expect(200);
    let step = server.until("the step after its pause", || {
        let release = server.get(&format!("/releases/{FRAUD}"));
        (release["rollout"]["step"] == 1).then_some(release)
    });
    assert_eq!(step["rollout"]["phase"], "running", "{step}");
}

#[test]
fn hold_accepts_and_keeps_everything_and_applies_nothing() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.api("POST", "/hold", Some(&json!({"reason": "maintenance"}))).expect(200);
    let before = server.clone_repository().log("").len();
    let body = json!({"name": "fraud", "namespace": "models", "environment": "production", "model": "fraud", "version": "7", "image": "registry.example/fraud:7"});
    server.deliver(&Delivery::generic("ci-1", &body)).expect(202);
    let queued = server.put("production/models/other", &image("other", "1")).expect(202);
    assert!(queued.header("Location").is_some());
    let queued = queued.json();
    assert_eq!(queued["state"], "queued", "{queued}");
    assert!(queued["waitsFor"].as_str().unwrap().contains("maintenance"), "{queued}");
    assert_eq!(server.clone_repository().log("").len(), before);
    server.api("DELETE", "/hold", None).expect(200);
    assert_eq!(server.settle("ci-1")["state"], "applied");
    server.until("the request that waited is carried out", || {
        (server.api("GET", "/releases/production/models/other", None).status == 200).then_some(())
    });
}

#[test]
fn what_storms_in_is_made_at_the_rate_that_the_environment_allows() {
    let environment = TestEnvironment::new();
    let server = environment.server().env("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "3").start();
    for number in 0..6 {
        let name = format!("m{number}");
        let body = json!({"name": name, "namespace": "models", "environment": "production", "model": name, "version": "1", "image": "registry.example/m:1"});
        server.deliver(&Delivery::generic(&format!("ci-{number}"), &body)).expect(202);
    }
    server.until("three are made", || (server.get("/releases")["items"].as_array().unwrap().len() == 3).then_some(()));
    server.until("the others say what they wait for", || {
        let waiting = server.get("/deliveries?state=accepted");
        let waiting = waiting["items"].as_array().unwrap();
        let say = |delivery: &serde_json::Value| delivery["waitsFor"].as_str().is_some_and(|text| !text.is_empty());
        (waiting.len() == 3 && waiting.iter().all(say)).then_some(())
    });
    // What is there already is not held up.
    server.put("production/models/m0", &image("m0", "2")).expect(200);
}
