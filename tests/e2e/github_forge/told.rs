//! What GitHub is told: statuses of commits, and deployments per environment.

use super::*;
use crate::by;

/// What each deployment brings, and the states that it was given.
fn told(forge: &Forge<'_>) -> Vec<(String, Vec<String>)> {
    let all = forge.github.deployments();
    all.iter()
        .map(|deployment| (deployment.payload["brings"].as_str().unwrap().to_owned(), deployment.states.clone()))
        .collect()
}

#[track_caller]
fn until_told(server: &Server<'_>, forge: &Forge<'_>, expected: &[(&str, &[&str])]) {
    let expected: Vec<(String, Vec<String>)> = expected
        .iter()
        .map(|(brings, states)| ((*brings).to_owned(), states.iter().map(|state| (*state).to_owned()).collect()))
        .collect();
    let is_so = server.until("GitHub is told", || {
        let told = told(forge);
        // A state that came and went before it could be told is not told.
        let is_so = told.len() == expected.len()
            && told
                .iter()
                .zip(&expected)
                .all(|(told, expected)| told.0 == expected.0 && told.1.last() == expected.1.last());
        is_so.then_some(told)
    });
    for (told, expected) in is_so.iter().zip(&expected) {
        let mut rest = expected.1.iter();
        assert!(
            told.1.iter().all(|state| rest.any(|known| known == state)),
            "{told:?} is not in the order of {expected:?}"
        );
    }
}

#[test]
fn each_commit_has_its_status_and_each_version_its_deployment() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    until_told(&server, &forge, &[("v7", &["success"])]);
    server.put(FRAUD, &image("fraud", "8")).expect(200);
    until_told(&server, &forge, &[("v7", &["success", "inactive"]), ("v8", &["success"])]);
    let deployments = forge.github.deployments();
    let commits = forge.commits();
    assert_eq!(
        (deployments[1].environment.as_str(), deployments[1].task.as_str()),
        ("production", "kmlflow:models/fraud")
    );
    assert_eq!(deployments[1].commit, commits[0].id);
    server.until("each commit has its status", || {
        let statuses = forge.github.statuses();
        let has = |id: &str| {
            statuses.iter().any(|status| {
                status.commit == id && status.state == "success" && status.context == format!("kmlflow/{FRAUD}")
            })
        };
        commits.iter().all(|commit| has(&commit.id)).then_some(())
    });
    drop(server.api("DELETE", &format!("/releases/{FRAUD}"), None).expect(200));
    until_told(&server, &forge, &[("v7", &["success", "inactive"]), ("v8", &["success", "inactive"])]);
}

#[test]
fn a_canary_is_one_deployment_that_fails_where_it_is_aborted_and_the_one_before_still_counts() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    until_told(&server, &forge, &[("v7", &["success"])]);
    server.put(FRAUD, &by("canary", "fraud", "8", json!({"steps": [5, 50]}))).expect(200);
    let run: &[&str] = &["pending", "in_progress"];
    until_told(&server, &forge, &[("v7", &["success"]), ("v8", run)]);
    server.act(FRAUD, "abort", None).expect(200);
    until_told(&server, &forge, &[("v7", &["success"]), ("v8", &["pending", "in_progress", "failure"])]);
    // A restart asks GitHub what it knows, and begins nothing twice.
    assert_eq!(server.stop(), Some(0));
    let server = forge.server().start();
    server.put(FRAUD, &image("fraud", "9")).expect(200);
    let all: &[(&str, &[&str])] =
        &[("v7", &["success", "inactive"]), ("v8", &["pending", "in_progress", "failure"]), ("v9", &["success"])];
    until_told(&server, &forge, all);
}
