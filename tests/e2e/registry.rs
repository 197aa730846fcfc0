//! From what the registry says to what is released: policies are about the whole state, not about the single event.

use serde_json::json;
use tests::{Delivery, Server, TestEnvironment};

fn release(server: &Server<'_>, name: &str) -> serde_json::Value {
    server.get(&format!("/releases/production/models/{name}"))
}

/// The seed's policy with an approval that the stable version needs.
const WITH_APPROVAL: &str = "stable: {alias: champion, requires: [{tag: validation_status, equals: approved}]}";

#[test]
fn champion_then_challenger_then_promotion_is_what_a_notebook_does() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    assert_ne!(server.deliver_and_settle(&Delivery::version_created("d-1", "fraud", "7"))["state"], "applied");
    let applied = server.deliver_and_settle(&Delivery::alias("d-2", "fraud", "champion", "7"));
    assert_eq!(applied["state"], "applied", "{applied}");
    assert_eq!(release(&server, "fraud")["spec"]["variants"][0]["version"], "7");

    let running = server.deliver_and_settle(&Delivery::alias("d-4", "fraud", "challenger", "8"));
    assert_eq!(running["state"], "applied", "{running}");
    let state = release(&server, "fraud");
    assert_eq!((&state["spec"]["strategy"], &state["rollout"]["phase"]), (&json!("canary"), &json!("running")));

    server.deliver_and_settle(&Delivery::alias("d-6", "fraud", "champion", "8"));
    let state = release(&server, "fraud");
    assert_eq!(state["rollout"]["phase"], "settled", "{state}");
    assert_eq!(state["rollout"]["outcome"], "promoted", "{state}");
    assert_eq!(state["spec"]["variants"][0]["predictor"], "v8");
}

#[test]
fn the_challenger_gone_is_an_abort() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.deliver_and_settle(&Delivery::alias("d-1", "fraud", "champion", "7"));
    server.deliver_and_settle(&Delivery::alias("d-2", "fraud", "challenger", "8"));
    server.deliver_and_settle(&Delivery::alias_deleted("d-3", "fraud", "challenger"));
    let state = release(&server, "fraud");
    assert_eq!(state["rollout"]["outcome"], "aborted", "{state}");
    assert_eq!(state["spec"]["variants"][0]["predictor"], "v7", "{state}");
}

#[test]
fn a_rejected_version_does_not_return_by_itself() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.deliver_and_settle(&Delivery::alias("d-1", "fraud", "champion", "7"));
    server.deliver_and_settle(&Delivery::alias("d-2", "fraud", "challenger", "8"));
    server.act("production/models/fraud", "abort", None).expect(200);
    let state = release(&server, "fraud");
    assert_eq!(state["rollout"]["rejected"][0]["version"], "8", "{state}");
    // Something else about the model changes; the alias still stands where it stood.
    let other = server.deliver_and_settle(&Delivery::tag("d-3", "fraud", "8", "note", "again"));
    assert_ne!(other["state"], "applied", "{other}");
    assert_eq!(release(&server, "fraud")["spec"]["strategy"], "single");
    // Set anew, it is a new wish. Rejections are written down in whole seconds, so anew is a second later.
    server.deliver_and_settle(&Delivery::alias("d-4", "fraud", "challenger", "8").happened(2));
    assert_eq!(release(&server, "fraud")["spec"]["strategy"], "canary");
}

#[test]
fn an_older_event_that_comes_later_changes_nothing() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let older = Delivery::alias("older", "fraud", "champion", "7");
    let newer = Delivery::alias("newer", "fraud", "champion", "8");
    server.deliver_and_settle(&newer);
    let late = server.deliver_and_settle(&older);
    assert_ne!(late["state"], "applied", "{late}");
    assert_eq!(release(&server, "fraud")["spec"]["variants"][0]["version"], "8");
}

#[test]
fn a_wish_by_tag_is_answered_once() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.deliver_and_settle(&Delivery::alias("d-1", "fraud", "champion", "7"));
    let wish = server.deliver_and_settle(&Delivery::tag("d-2", "fraud", "8", "kmlflow.release", "shadow"));
    assert_eq!(wish["state"], "applied", "{wish}");
    assert_eq!(release(&server, "fraud")["spec"]["strategy"], "shadow");
    server.act("production/models/fraud", "abort", None).expect(200);
    server.deliver_and_settle(&Delivery::tag("d-3", "fraud", "7", "note", "x"));
    assert_eq!(release(&server, "fraud")["spec"]["strategy"], "single");
}

#[test]
fn policy_test_says_what_would_be_released_and_by_which_rule() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    // A version may be a number, as in a request for a release.
    let asked = json!({"model": "fraud", "aliases": {"champion": 7, "shadow": "9", "challenger": 8}});
    let said = server.api("POST", "/policies/test", Some(&asked)).expect(200).json();
    assert_eq!(said["policy"], "default", "{said}");
    assert_eq!(said["stable"], "7", "{said}");
    assert_eq!(
        (&said["second"]["version"], &said["second"]["strategy"], &said["second"]["rule"]),
        (&json!("8"), &json!("canary"), &json!(1)),
        "{said}"
    );
    assert!(said["because"].to_string().contains("superseded"), "{said}");
}

#[test]
fn a_delivery_says_why_nothing_was_released() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let checkout = server.clone_repository();
    let policy = checkout.read("policies/default.yaml").unwrap();
    let strict = policy.replace("stable: {alias: champion}", WITH_APPROVAL);
    assert_ne!(policy, strict);
    checkout.write("policies/default.yaml", &strict);
    checkout.commit("Ask for an approval");
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    let state = server.deliver_and_settle(&Delivery::alias("d-1", "fraud", "champion", "7"));
    assert_ne!(state["state"], "applied", "{state}");
    assert!(state["reason"].as_str().is_some_and(|reason| reason.contains("validation_status")), "{state}");
    let approved = server.deliver_and_settle(&Delivery::tag("d-2", "fraud", "7", "validation_status", "approved"));
    assert_eq!(approved["state"], "applied", "{approved}");
}

#[test]
fn hostile_names_and_tags_stay_data() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let names = [
        "../../etc/passwd",
        "a\nb",
        "{{ 7*7 }}",
        "'; DROP TABLE deliveries; --",
        "\"quoted\"",
        "$(reboot)",
        "..",
        "-rf",
        "\u{202e}evil",
        "a\u{0}b",
    ];
    for (number, name) in names.iter().enumerate() {
        let version = "1";
        let state = server.deliver_and_settle(&Delivery::alias(&format!("n-{number}"), name, "champion", version));
        let state = state["state"].as_str().unwrap();
        assert!(["applied", "ignored", "refused"].contains(&state), "{name:?}: {state}");
    }
    let long = server.deliver_and_settle(&Delivery::tag("long", "fraud", "1", "note", &"x".repeat(10_000)));
    assert_ne!(long["state"], "failed", "{long}");

    let checkout = server.clone_repository();
    for path in checkout.ask(&["ls-files", "releases"]).lines() {
        let name = path.split('/').nth(3).unwrap();
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(plain && name.len() <= 40, "{path}");
    }
    for commit in checkout.log("releases") {
        assert!(
            !commit.message.contains('\u{202e}') && commit.subject.starts_with("release(production/models/"),
            "{:?}",
            commit.message
        );
        assert_eq!(commit.trailers.iter().filter(|(name, _)| name == "Model").count(), 1, "{:?}", commit.message);
        assert_eq!(commit.trailers.iter().filter(|(name, _)| name == "Release-Id").count(), 1, "{:?}", commit.message);
    }
    // Still in order after all of it.
    server.put("production/models/after", &super::image("after", "1")).expect(201);
}
