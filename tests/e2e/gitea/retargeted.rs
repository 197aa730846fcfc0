//! A pull request that a person has merged into another branch is not the review any more, at a real forge.

use super::review::{BRANCH, put_for_review};
use super::*;
use crate::image;
use crate::reviewed::{review_is, serves};
use tests::Delivery;

impl Forge<'_> {
    /// Ann has a pull request merged into `next`, which is there from now on.
    #[track_caller]
    fn send_elsewhere(&self, server: &Server<'_>, number: u64) {
        server.until("it has its comment", || (self.comments(number).len() == 1).then_some(()));
        let branch = json!({"new_branch_name": "next", "old_branch_name": "main"});
        drop(self.team("POST", "/branches", &branch, 201));
        let next = self.repository(&self.ann, "PATCH", &format!("/pulls/{number}"), Some(&json!({"base": "next"})));
        assert_eq!(next.expect(201).json()["base"]["ref"], "next");
    }

    /// What the comments of a pull request say.
    pub(super) fn comments(&self, number: u64) -> Vec<String> {
        let path = format!("/issues/{number}/comments");
        let comments = self.repository(&self.ann, "GET", &path, None).expect(200).json();
        comments.as_array().unwrap().iter().map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the one that was sent elsewhere says that another one is the review, once.
    #[track_caller]
    fn says_that_it_is_elsewhere(&self, server: &Server<'_>) {
        server.until("it says so", || {
            let said = self.comments(1);
            let expected = "**Not the review any more**: this goes into next";
            (said.len() == 1 && said[0].contains(expected) && said[0].ends_with("/pulls/2 now.")).then_some(())
        });
    }
}

#[test]
fn what_is_sent_elsewhere_is_proposed_anew_and_releases_nothing_there() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    // The forge's webhook alone tells of it.
    let begin = || forge.reviewed().env(NEVER.0, NEVER.1).start();
    let server = begin();
    forge.tell(&server, &["push", "pull_request"]);
    let (_, delivery) = put_for_review(&server, &image("fraud", "7"));
    forge.send_elsewhere(&server, 1);
    forge.says_that_it_is_elsewhere(&server);
    assert_eq!((&forge.pull(1)["state"], &forge.pull(2)["base"]["ref"]), (&json!("open"), &json!("main")));
    assert_eq!(server.stop(), Some(0));
    let server = forge.reviewed().start();
    server.until("it waits for the second", || {
        let waits = server.get(&format!("/deliveries/{delivery}"))["waitsFor"].clone();
        waits.as_str()?.ends_with("/pulls/2").then_some(())
    });
    assert_eq!(forge.open_pulls().len(), 2, "no third one is opened");
    forge.merge(&server, 1, "merge");
    drop(server.api("GET", &format!("/releases/{FRAUD}"), None).expect_problem(404));
    forge.merge(&server, 2, "squash");
    serves(&server, "7");
    assert_eq!(server.settle(&delivery)["state"], "applied");
    review_is(&server, "merged");
}

#[test]
fn what_is_merged_elsewhere_with_its_branch_between_two_looks_is_proposed_anew() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().env(NEVER.0, NEVER.1).start();
    put_for_review(&server, &image("fraud", "7"));
    forge.send_elsewhere(&server, 1);
    server.until("the forge merges", || {
        let body = json!({"Do": "merge", "delete_branch_after_merge": true});
        let answer = forge.repository(&forge.ann, "POST", "/pulls/1/merge", Some(&body));
        (answer.status == 200).then_some(())
    });
    server.until("its branch is gone", || {
        let branch = forge.repository(&forge.ann, "GET", &format!("/branches/{BRANCH}"), None);
        (branch.status == 404).then_some(())
    });
    let told = json!({"action": "closed", "pull_request": {"head": {"ref": BRANCH}}});
    drop(server.deliver(&Delivery::github("d-1", "pull_request", &told)).expect(202));
    forge.says_that_it_is_elsewhere(&server);
    assert_eq!((&forge.pull(2)["state"], &forge.pull(2)["base"]["ref"]), (&json!("open"), &json!("main")));
}
