//! Pushing to a forge, and hearing from it.

use super::*;
use crate::image;

#[test]
fn a_release_is_one_post_to_the_forge_and_a_persons_push_is_built_on() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.server().start();
    // A first start takes the history in beside its work.
    server.until("the history", || server.printed().contains("The older history is taken in").then_some(()));
    let before = forge.gitea.git_requests().len();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    server.put(FRAUD, &image("fraud", "8")).expect(200);
    let asked = forge.gitea.git_requests().split_off(before);
    let pushes: Vec<&String> = asked.iter().filter(|request| request.starts_with("POST")).collect();
    assert_eq!(pushes, ["POST /team/gitops.git/git-receive-pack"; 2], "{asked:?}");
    assert_eq!(asked.len(), 2, "nothing is asked before a push: {asked:?}");

    let ann = forge.clone_repository();
    ann.write("notes.md", "What Ann wrote.\n");
    ann.commit("Add notes");
    ann.ask(&["push", "--quiet", "origin", "HEAD:main"]);
    server.put(FRAUD, &image("fraud", "9")).expect(200);
    ann.update();
    assert_eq!(ann.read("notes.md").as_deref(), Some("What Ann wrote.\n"));
    let subjects: Vec<String> = ann.log("").into_iter().map(|commit| commit.subject).collect();
    assert!(subjects[0].starts_with("release(production/models/fraud)") && subjects[1] == "Add notes", "{subjects:?}");
}

#[test]
fn a_protected_branch_refuses_with_the_forges_words_and_nothing_is_released() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    forge.protect(&["ann"]);
    let problem = server.put(FRAUD, &image("fraud", "8")).expect_problem(409);
    let detail = problem["detail"].as_str().unwrap();
    assert!(problem["type"].as_str().unwrap().ends_with("remote-refused"), "{problem}");
    assert!(detail.contains("Not allowed to push to protected branch main"), "{detail}");
    let release = server.get(&format!("/releases/{FRAUD}"));
    assert_eq!(release["spec"]["variants"][0]["version"], "7");
    let deliveries = server.get("/deliveries");
    assert_eq!(deliveries["items"][0]["state"], "refused", "{deliveries}");
    drop(forge.team("DELETE", "/branch_protections/main", &Value::Null, 204));
    server.put(FRAUD, &image("fraud", "8")).expect(200);
}

#[test]
fn the_forges_own_signed_webhook_has_a_persons_push_taken_in_at_once() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.server().env(NEVER.0, NEVER.1).start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    forge.tell(&server, &["push"]);
    let ann = forge.clone_repository();
    let path = format!("releases/{FRAUD}/release.yaml");
    let text = ann.read(&path).unwrap();
    ann.write(&path, &text.replace("registry.example/fraud:7", "registry.example/fraud:7-fixed"));
    ann.commit("Correct the image");
    ann.ask(&["push", "--quiet", "origin", "HEAD:main"]);
    server.until("Ann's image is taken in", || {
        let release = server.get(&format!("/releases/{FRAUD}"));
        (release["spec"]["variants"][0]["image"] == "registry.example/fraud:7-fixed").then_some(())
    });
    ann.update();
    let newest = ann.log(&format!("releases/{FRAUD}")).remove(0);
    assert_eq!((newest.trailer("Action"), newest.trailer("Requested-By")), (Some("render"), Some("A person")));
    let told = server.until("its delivery is settled", || {
        let items = server.get("/deliveries?source=github")["items"].clone();
        let settled = |item: &&Value| item["state"] == "unchanged" && item["event"]["branch"] == "main";
        items.as_array().unwrap().iter().find(settled).cloned()
    });
    assert_eq!(told["source"], "github");
}

#[test]
fn a_token_that_the_forge_does_not_know_is_said_at_the_start_with_what_helps() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.server().env("KMLFLOW__GIT__CREDENTIALS__PASSWORD", "s3cr3t-marked").begin();
    let answer = server.until_it_answers("/readyz", "does not take the credentials; give a user");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(!server.printed().contains("s3cr3t-marked") && !answer.text().contains("s3cr3t-marked"));
}
