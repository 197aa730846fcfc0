//! Checks of a pull request that merges itself: once they have succeeded it is merged, and GitHub's `check_suite` alone has the service go on.

use super::*;
use tests::Delivery;
use tests::github::Way;

const BRANCH: &str = "kmlflow/production/models/fraud";

/// A service with versions 7 and 8 of a release, at a branch that takes no push and merges nothing unchecked. It looks by itself so rarely that whatever it
/// hears of, it hears of by a webhook.
#[track_caller]
fn checked<'a>(forge: &Forge<'a>) -> Server<'a> {
    let server = forge.reviewed().start();
    release_two(forge, &server);
    assert_eq!(server.stop(), Some(0));
    forge.github.protect_by_checks();
    forge.reviewed().env(OFTEN.0, "1h").start()
}

/// The checks of the third pull request end, and GitHub tells so.
#[track_caller]
fn checks_end(forge: &Forge<'_>, server: &Server<'_>, conclusion: &str) {
    let told = Delivery::github(conclusion, "check_suite", &forge.github.checks_end(3, conclusion));
    drop(server.deliver(&told).expect(202));
    assert_eq!(server.settle(conclusion)["state"], "unchanged");
}

/// Checks that fail merge nothing. Those that succeed merge the rollback that was asked for by this delivery, whose review ends, and the release goes on.
#[track_caller]
fn goes_on(forge: &Forge<'_>, server: &Server<'_>, delivery: &str) {
    let looked = forge.github.count("pulls/list-reviews");
    checks_end(forge, server, "failure");
    server.until("it is looked at", || (forge.github.count("pulls/list-reviews") > looked).then_some(()));
    assert!(forge.github.pull(3).is_open);
    assert_eq!(server.get(&format!("/deliveries/{delivery}"))["state"], "accepted");
    checks_end(forge, server, "success");
    serves(server, "7");
    assert_eq!(server.settle(delivery)["state"], "applied");
    review_is(server, "merged");
    server.until("the branch is gone", || (!forge.github.has_branch(BRANCH)).then_some(()));
    let commits = forge.commits();
    assert_eq!((commits[0].trailer("Action"), commits[0].trailer("Delivery-Id")), (Some("rollback"), Some(delivery)));
    put_for_review(server, "9", 4);
    forge.github.merge(4, Way::Squash);
    let told = json!({"action": "closed", "pull_request": {"head": {"ref": BRANCH}}});
    drop(server.deliver(&Delivery::github("closed", "pull_request", &told)).expect(202));
    serves(server, "9");
}

#[test]
fn a_rollback_is_merged_by_github_once_its_checks_succeed_and_the_release_goes_on() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = checked(&forge);
    let (words, delivery) = review_of(&server, &server.act(FRAUD, "rollback", None).expect(202).json());
    let says = "/acme/gitops/pull/3, which merges itself as soon as the rules of the branch let it";
    assert!(words.ends_with(says) && forge.github.pull(3).merges_itself, "{words}");
    goes_on(&forge, &server, &delivery);
    forge.github.was_asked(&[("pulls/create", 4), ("graphql", 1), ("pulls/merge", 0)]);
}

#[test]
fn where_github_merges_nothing_by_itself_the_service_does_once_the_checks_succeed() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    forge.github.forbid_auto_merge();
    let server = checked(&forge);
    let (words, delivery) = review_of(&server, &server.act(FRAUD, "rollback", None).expect(202).json());
    let says = "so the service does once the rules of the branch let it: Required status check \"ci\" is expected.";
    assert!(words.ends_with(says) && !forge.github.pull(3).merges_itself, "{words}");
    goes_on(&forge, &server, &delivery);
    forge.github.was_asked(&[("pulls/create", 4), ("pulls/merge", 1)]);
}
