//! Every payload that GitHub's users have collected for its webhooks (npm `@octokit/webhooks-examples`, which the tier `github` fetches),
//! signed and delivered: none may be refused, and none may do what it does not ask for.

use serde_json::{Value, json};
use tests::github::webhook_examples;
use tests::{Delivery, Server, TestEnvironment};

fn first(event: &str) -> Value {
    webhook_examples().into_iter().find(|(name, _)| name == event).unwrap().1.swap_remove(0)
}

fn settled(server: &Server<'_>, id: &str, event: &str, body: &Value) -> Value {
    let status = if event == "ping" { 200 } else { 202 };
    drop(server.deliver(&Delivery::github(id, event, body)).expect(status));
    server.settle(id)
}

#[test]
fn every_example_is_taken_and_none_changes_anything() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let before = server.clone_repository().log("").len();
    let all = webhook_examples();
    assert!(all.len() >= 50, "{} events", all.len());
    for (event, payloads) in all {
        for (number, body) in payloads.iter().enumerate() {
            let told = settled(&server, &format!("{event}-{number}"), &event, body);
            assert!(told["state"] == "ignored" && told["source"] == "github", "{event} {number}: {told}");
            assert!(told["reason"].as_str().unwrap().len() > 10, "{event} {number}: {told}");
        }
    }
    assert_eq!(server.clone_repository().log("").len(), before);
}

#[test]
fn the_examples_of_a_push_and_a_dispatch_do_what_they_say_once_they_are_about_us() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let mut push = first("push");
    push["ref"] = "refs/heads/main".into();
    assert_eq!(settled(&server, "p-1", "push", &push)["state"], "unchanged");
    let mut dispatch = first("repository_dispatch");
    dispatch["action"] = "mlflow-model-update".into();
    dispatch["client_payload"] = json!({"image_uri": "registry.example/fraud:8"});
    let told = settled(&server, "r-1", "repository_dispatch", &dispatch);
    assert!(told["state"] == "applied" && told["release"] == "production/models/fraud", "{told}");
    let commit = server.clone_repository().log("releases/production/models/fraud").last().unwrap().clone();
    assert_eq!(commit.trailer("Requested-By"), dispatch["sender"]["login"].as_str());
}
