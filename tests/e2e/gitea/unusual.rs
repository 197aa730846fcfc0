//! What people do with a pull request beside merging and closing it, at a real forge: each time it says what is so.

use super::review::{BRANCH, in_review, put_for_review};
use super::*;
use crate::image;
use crate::reviewed::{review_is, serves};

/// Waits until the one comment of a pull request begins so.
#[track_caller]
fn says(forge: &Forge<'_>, server: &Server<'_>, number: u64, words: &str) {
    server.until(words, || {
        let said = forge.comments(number);
        (said.len() == 1 && said[0].contains(words)).then_some(())
    });
}

#[track_caller]
fn branch_is_gone(forge: &Forge<'_>, server: &Server<'_>) {
    server.until("its branch is gone", || {
        let branch = forge.repository(&forge.ann, "GET", &format!("/branches/{BRANCH}"), None);
        (branch.status == 404).then_some(())
    });
}

#[test]
fn a_pull_request_whose_branch_has_another_name_by_now_is_not_the_review_any_more() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, &image("fraud", "7"));
    says(&forge, &server, 1, "Waits for approval");
    let renamed =
        forge.repository(&forge.ann, "PATCH", &format!("/branches/{BRANCH}"), Some(&json!({"name": "ann/own"})));
    assert_eq!(renamed.status, 204, "{}", renamed.text());
    says(&forge, &server, 1, "**Not the review any more**: this is from another branch by now");
    server.until("there is another", || (forge.open_pulls().len() == 2).then_some(()));
    put_for_review(&server, &image("fraud", "8"));
    server.until("it is about 8", || forge.pull(2)["title"].as_str()?.contains('8').then_some(()));
    assert!(forge.pull(1)["title"].as_str().unwrap().contains('7'), "what it says is what it brings");
    forge.merge(&server, 2, "merge");
    serves(&server, "8");
    assert_eq!(review_is(&server, "merged")["review"]["number"], 2);
}

#[test]
fn a_pull_request_that_is_opened_again_is_followed_until_it_is_merged() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    forge.tell(&server, &["push", "pull_request"]);
    let (_, delivery) = put_for_review(&server, &image("fraud", "7"));
    let ask = |state: &str| forge.repository(&forge.ann, "PATCH", "/pulls/1", Some(&json!({"state": state})));
    drop(ask("closed").expect(201));
    assert_eq!(server.settle(&delivery)["state"], "refused");
    branch_is_gone(&forge, &server);
    says(&forge, &server, 1, "ask for it again");
    let ann = forge.clone_repository();
    ann.ask(&["fetch", "--quiet", "origin", "refs/pull/1/head"]);
    ann.ask(&["push", "--quiet", "origin", &format!("FETCH_HEAD:refs/heads/{BRANCH}")]);
    drop(ask("open").expect(201));
    says(&forge, &server, 1, "Waits for approval");
    forge.merge(&server, 1, "merge");
    serves(&server, "7");
    assert_eq!(review_is(&server, "merged")["review"]["number"], 1);
    says(&forge, &server, 1, "**Merged");
}

#[test]
fn what_is_merged_by_a_push_is_said_to_be_merged() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    let (_, delivery) = put_for_review(&server, &image("fraud", "7"));
    let ann = forge.clone_repository();
    ann.ask(&["merge", "--quiet", "--no-ff", "--no-edit", &format!("origin/{BRANCH}")]);
    ann.ask(&["push", "--quiet", "origin", "HEAD:main"]);
    serves(&server, "7");
    assert_eq!(server.settle(&delivery)["state"], "applied");
    server.until("nobody is asked for it any more", || forge.open_pulls().is_empty().then_some(()));
    assert_eq!(review_is(&server, "merged")["review"]["number"], 1);
    says(&forge, &server, 1, "**Merged");
}

#[test]
fn a_service_that_begins_with_nothing_follows_what_is_open() {
    let (environment, other) = (TestEnvironment::new(), TestEnvironment::new());
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, &image("fraud", "7"));
    forge.merge(&server, 1, "merge");
    serves(&server, "7");
    review_is(&server, "merged");
    put_for_review(&server, &image("fraud", "8"));
    says(&forge, &server, 2, "Waits for approval");
    assert_eq!(server.stop(), Some(0));
    let server = in_review(forge.followed_by(other.server())).start();
    let release = review_is(&server, "awaiting-review");
    assert_eq!(release["review"]["number"], 2, "{release}");
    forge.merge(&server, 2, "merge");
    serves(&server, "8");
    assert_eq!(review_is(&server, "merged")["review"]["number"], 2);
    says(&forge, &server, 2, "**Merged");
}
