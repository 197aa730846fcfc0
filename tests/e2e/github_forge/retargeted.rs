//! A pull request that a person has merged into another branch at GitHub is not the review any more.

use super::*;
use tests::Delivery;
use tests::github::Way;

const BRANCH: &str = "kmlflow/production/models/fraud";

#[test]
fn what_is_sent_elsewhere_is_proposed_anew_and_releases_nothing_there() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    let delivery = put_for_review(&server, "7", 1);
    let said = |pull: u64| {
        let comments = forge.github.comments().into_iter().filter(|comment| comment.pull == pull);
        comments.map(|comment| comment.body).collect::<Vec<_>>()
    };
    server.until("it has its comment", || (said(1).len() == 1).then_some(()));
    forge.github.retarget(1, "next");
    server.until("another one is opened", || (forge.github.pulls() == 2).then_some(()));
    server.until("the first one says so", || {
        (said(1).iter().any(|body| body.contains("**Not the review any more**: this goes into next"))).then_some(())
    });
    assert!(said(1).len() == 1 && said(1)[0].ends_with("/acme/gitops/pull/2 now."), "{:?}", said(1));
    assert!(forge.github.pull(1).is_open && forge.github.pull(2).base == "main");
    forge.github.merge(1, Way::Merge);
    // Started anew it finds the one into its own branch, and opens no third.
    assert_eq!(server.stop(), Some(0));
    let server = forge.reviewed().start();
    server.until("it waits for the second", || {
        let waits = server.get(&format!("/deliveries/{delivery}"))["waitsFor"].clone();
        waits.as_str()?.ends_with("/acme/gitops/pull/2").then_some(())
    });
    drop(server.api("GET", &format!("/releases/{FRAUD}"), None).expect_problem(404));
    forge.github.merge(2, Way::Merge);
    serves(&server, "7");
    assert_eq!(server.settle(&delivery)["state"], "applied");
    assert_eq!(review_is(&server, "merged")["review"]["number"], 2);
    forge.github.was_asked(&[("pulls/create", 2)]);
}

#[test]
fn what_is_merged_elsewhere_with_its_branch_between_two_looks_is_proposed_anew() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().env(OFTEN.0, "1h").start();
    let delivery = put_for_review(&server, "7", 1);
    forge.github.retarget(1, "next");
    forge.github.merge(1, Way::Squash);
    forge.github.delete_branch(BRANCH);
    let told = json!({"action": "closed", "pull_request": {"head": {"ref": BRANCH}}});
    drop(server.deliver(&Delivery::github("d-1", "pull_request", &told)).expect(202));
    server.until("another one is opened", || (forge.github.pulls() == 2).then_some(()));
    assert_eq!(server.get(&format!("/deliveries/{delivery}"))["state"], "accepted");
    assert_eq!(forge.github.pull(2).base, "main");
}
