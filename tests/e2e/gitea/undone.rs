//! What a person takes back by `git revert`, after pull requests that were merged in each of the forge's ways.

use super::review::{BRANCH, put_for_review, release_two};
use super::*;
use crate::image;
use crate::reviewed::{review_is, serves};

/// Merges versions 7 and 8 in a way, reverts the last merge by hand, and goes on with version 9.
#[track_caller]
fn check(way: &str, revert: &[&str]) {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    for (number, version) in [(1, "7"), (2, "8")] {
        put_for_review(&server, &image("fraud", version));
        forge.merge(&server, number, way);
        serves(&server, version);
        review_is(&server, "merged");
        // What was proposed is nowhere else from now on.
        server.until("the branch is gone", || {
            let branch = forge.repository(&forge.ann, "GET", &format!("/branches/{BRANCH}"), None);
            (branch.status == 404).then_some(())
        });
    }
    let ann = forge.clone_repository();
    ann.ask(revert);
    ann.ask(&["push", "--quiet", "origin", "HEAD:main"]);
    let release = serves(&server, "7");
    assert_eq!((&release["notes"], &release["files"]), (&json!([]), &json!([])), "{way}: {release}");
    let history = server.get(&format!("/releases/{FRAUD}/history"));
    let newest = &history["items"][0];
    assert_eq!((&newest["action"], &newest["requestedBy"]), (&json!("adopt"), &json!("A person")), "{way}: {history}");
    assert_eq!(server.stop(), Some(0));
    let server = forge.reviewed().start();
    let release = server.get(&format!("/releases/{FRAUD}"));
    assert_eq!((&release["notes"], &release["files"]), (&json!([]), &json!([])), "{way}, started anew: {release}");
    put_for_review(&server, &image("fraud", "9"));
    forge.merge(&server, 3, way);
    serves(&server, "9");
}

#[test]
fn a_squash_that_is_reverted_is_taken_over_as_a_rollback_would_be() {
    check("squash", &["revert", "--no-edit", "HEAD"]);
}

#[test]
fn a_rebase_that_is_reverted_is_taken_over_as_a_rollback_would_be() {
    check("rebase", &["revert", "--no-edit", "HEAD"]);
}

#[test]
fn a_merge_that_is_reverted_is_taken_over_as_a_rollback_would_be() {
    check("merge", &["revert", "--no-edit", "--mainline", "1", "HEAD"]);
}

#[test]
fn where_the_branch_takes_no_push_it_is_taken_over_by_a_pull_request_that_merges_itself() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    forge.protect(&["ann"]);
    let ann = forge.clone_repository();
    ann.ask(&["revert", "--no-edit", "--mainline", "1", "HEAD"]);
    ann.ask(&["push", "--quiet", "origin", "HEAD:main"]);
    server.until("it is taken over", || {
        let release = server.get(&format!("/releases/{FRAUD}"));
        let is_as_written = release["notes"] == json!([]) && release["files"] == json!([]);
        (is_as_written && release["spec"]["variants"][0]["version"] == "7").then_some(())
    });
    assert_eq!(review_is(&server, "merged")["review"]["number"], 3);
    let history = server.get(&format!("/releases/{FRAUD}/history"));
    assert_eq!(history["items"][0]["action"], "adopt", "{history}");
}
