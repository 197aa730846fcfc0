//! What is merged as one commit, with what people added, where nobody saw it, or in a history that counts anew: that commit says nothing of the service.

use std::time::{Duration, Instant};

use super::review::{BRANCH, REVIEWED, in_review, put_for_review};
use super::*;
use crate::image;
use crate::postgres::together::Site;
use crate::reviewed::{review_is, review_of, serves};

/// It takes the forge a second or two; this only ends a test in which it never does.
const MERGED_WITHIN: Duration = Duration::from_secs(60);

/// Ann has the release of a pull request served by so many, on its branch, and merges that as one commit.
#[track_caller]
fn add_and_squash(forge: &Forge<'_>, (number, replicas): (u64, usize)) {
    let ann = forge.clone_repository();
    ann.ask(&["checkout", "--quiet", BRANCH]);
    let path = format!("releases/{FRAUD}/release.yaml");
    let text = ann.read(&path).unwrap();
    let other = text.replace("replicas: 1", &format!("replicas: {replicas}"));
    assert_ne!(text, other);
    ann.write(&path, &other);
    ann.commit("Serve it by more");
    ann.ask(&["push", "--quiet", "origin", BRANCH]);
    squash(forge, number);
}

/// Ann merges a pull request as one commit, and its branch is gone with that.
#[track_caller]
fn squash(forge: &Forge<'_>, number: u64) {
    let (path, body) = (format!("/pulls/{number}/merge"), json!({"Do": "squash", "delete_branch_after_merge": true}));
    // The forge looks by itself whether it can be merged, and refuses until it has.
    let since = Instant::now();
    loop {
        let answer = forge.repository(&forge.ann, "POST", &path, Some(&body));
        if answer.status == 200 {
            return;
        }
        assert!(since.elapsed() < MERGED_WITHIN, "{}: {}", answer.status, answer.text());
    }
}

/// Waits until a release is served by so many, and is as written.
#[track_caller]
fn serves_by(server: &Server<'_>, replicas: usize) {
    server.until("it is taken in", || {
        let answer = server.api("GET", &format!("/releases/{FRAUD}"), None);
        let release = (answer.status == 200).then(|| answer.json())?;
        let is_as_written = release["notes"] == json!([]) && release["files"] == json!([]);
        (is_as_written && release["spec"]["serving"]["replicas"] == replicas).then_some(())
    });
}

/// What was asked for is done by the last commit of Ann's.
#[track_caller]
fn is_done_by_hers(forge: &Forge<'_>, server: &Server<'_>, delivery: &str) {
    let settled = server.settle(delivery);
    assert_eq!(settled["state"], "applied", "{settled}");
    let commits = forge.clone_repository().log("");
    let commit = commits.iter().find(|commit| settled["commit"] == commit.id.as_str()).expect("a commit of the branch");
    assert_eq!(commit.trailer("Release-Id"), None, "{commit:?}");
}

#[test]
fn what_a_reviewer_adds_before_she_squashes_is_done_and_stands_in_nobodys_way() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    let (_, delivery) = put_for_review(&server, &image("fraud", "7"));
    add_and_squash(&forge, (1, 2));
    serves_by(&server, 2);
    is_done_by_hers(&forge, &server, &delivery);
    assert_eq!(review_is(&server, "merged")["review"]["number"], 1);
    put_for_review(&server, &image("fraud", "8"));
    squash(&forge, 2);
    serves(&server, "8");
}

#[test]
fn of_two_services_without_a_common_store_each_knows_it() {
    let (environment, other) = (TestEnvironment::new(), TestEnvironment::new());
    let forge = Forge::start(&environment);
    let first = forge.reviewed().start();
    let second = in_review(forge.followed_by(other.server())).start();
    let (_, delivery) = put_for_review(&first, &image("fraud", "7"));
    add_and_squash(&forge, (1, 2));
    for server in [&first, &second] {
        serves_by(server, 2);
    }
    is_done_by_hers(&forge, &first, &delivery);
    put_for_review(&second, &image("fraud", "8"));
    squash(&forge, 2);
    serves(&first, "8");
    put_for_review(&first, &image("fraud", "9"));
    squash(&forge, 3);
    serves(&second, "9");
}

#[test]
fn what_was_merged_while_nobody_looked_is_known_by_what_the_forge_keeps() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    let (_, delivery) = put_for_review(&server, &image("fraud", "7"));
    assert_eq!(server.stop(), Some(0));
    add_and_squash(&forge, (1, 2));
    let server = forge.reviewed().start();
    serves_by(&server, 2);
    is_done_by_hers(&forge, &server, &delivery);
    put_for_review(&server, &image("fraud", "8"));
}

#[test]
fn whoever_takes_over_knows_what_only_the_one_before_had_put_up() {
    let site = Site::<2>::new();
    let forge = Forge::start(&site.environments[0]);
    let replica = |at: usize| {
        let begin = forge.followed_by(site.replica(at));
        REVIEWED.iter().chain([&NEVER]).fold(begin, |begin, (name, value)| begin.env(name, value)).start()
    };
    let before = replica(0);
    let (_, delivery) = put_for_review(&before, &image("fraud", "7"));
    before.kill();
    squash(&forge, 1);
    // Its clone never had the branch.
    let next = replica(1);
    let release = serves(&next, "7");
    assert_eq!((&release["notes"], &release["files"]), (&json!([]), &json!([])));
    is_done_by_hers(&forge, &next, &delivery);
}

#[test]
fn what_is_asked_for_meanwhile_takes_no_place_of_what_was_merged() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().env(NEVER.0, NEVER.1).start();
    let (_, first) = put_for_review(&server, &image("fraud", "7"));
    squash(&forge, 1);
    let (url, _) = review_of(&server, &server.put(FRAUD, &image("fraud", "8")).expect(202).json());
    assert!(url.ends_with("/pulls/2"), "{url}");
    is_done_by_hers(&forge, &server, &first);
    serves(&server, "7");
}

#[test]
fn a_rewritten_history_takes_nothing_from_what_can_be_gone_back_to() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    for (number, version) in [(1, "7"), (2, "8"), (3, "9")] {
        put_for_review(&server, &image("fraud", version));
        squash(&forge, number);
        serves(&server, version);
    }
    let ann = forge.clone_repository();
    let path = format!("releases/{FRAUD}/release.yaml");
    let text = ann.read(&path).unwrap();
    ann.write(&path, &text.replace("replicas: 1", "replicas: 2"));
    ann.commit("Serve it by two");
    ann.ask(&["push", "--quiet", "origin", "HEAD:main"]);
    serves_by(&server, 2);
    ann.ask(&["reset", "--quiet", "--hard", "HEAD~1"]);
    ann.write("notes.txt", "Serve it by one.\n");
    ann.commit("A note");
    ann.ask(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    server.until("it is held", || {
        let holds = server.get("/hold");
        holds["items"].as_array().is_some_and(|holds| !holds.is_empty()).then_some(())
    });
    drop(server.api("DELETE", "/hold", None).expect(200));
    serves_by(&server, 1);
    let rolled_back = server.act(FRAUD, "rollback", None).expect(200);
    assert_eq!(rolled_back.json()["changed"], true, "{}", rolled_back.text());
    serves(&server, "8");
}
