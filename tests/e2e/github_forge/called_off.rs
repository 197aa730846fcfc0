//! What people are to see before it goes live never comes into a pull request that merges itself.

use super::*;
use tests::github::Way;

/// Version 7 after 8, by a rollback that waits for an approval and merges itself then.
#[track_caller]
fn wait_with_a_rollback(forge: &Forge<'_>, server: &Server<'_>) {
    release_two(forge, server);
    forge.github.protect(1);
    server.act(FRAUD, "rollback", None).expect(202);
    server.until("it is to merge itself", || forge.github.pull(3).merges_itself.then_some(()));
}

/// Asks for version 9, which cannot come into the pull request at once.
#[track_caller]
fn put_nine(server: &Server<'_>) {
    server.put(FRAUD, &image("fraud", "9")).expect(202);
}

/// The pull request has version 9, and waits for a person, whatever the branch asks for is there.
#[track_caller]
fn nine_waits_for_a_person(forge: &Forge<'_>, server: &Server<'_>) {
    server.until("it says so", || forge.github.pull(3).title.contains("version 9").then_some(()));
    // The forge is told before that is noted here.
    let review = server.until("its review is known", || {
        let review = server.get(&format!("/releases/{FRAUD}"))["review"].clone();
        (review["number"] == 3).then_some(review)
    });
    assert_eq!(review["mergesItself"], false, "{review}");
    forge.github.review(3, "ann", "APPROVED");
    let pull = forge.github.pull(3);
    assert!(pull.is_open && !pull.merges_itself && !pull.called_off_at.contains(&pull.head), "{pull:?}");
    serves(server, "8");
    forge.github.merge(3, Way::Merge);
    serves(server, "9");
}

#[test]
fn a_new_version_in_the_place_of_a_rollback_that_merges_itself_waits_for_a_person() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    wait_with_a_rollback(&forge, &server);
    let head = forge.github.pull(3).head;
    put_nine(&server);
    nine_waits_for_a_person(&forge, &server);
    assert_eq!(forge.github.pull(3).called_off_at, [head], "before its branch was moved");
    forge.github.was_asked(&[("pulls/create", 3), ("graphql", 1), ("pulls/merge", 0)]);
}

#[test]
fn that_it_merges_itself_is_called_off_after_a_restart_too() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    wait_with_a_rollback(&forge, &server);
    let head = forge.github.pull(3).head;
    assert_eq!(server.stop(), Some(0));
    let server = forge.reviewed().start();
    put_nine(&server);
    nine_waits_for_a_person(&forge, &server);
    assert_eq!(forge.github.pull(3).called_off_at, [head]);
}

#[test]
fn what_a_person_had_merge_itself_waits_again_once_it_is_another_version() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    forge.github.protect(1);
    put_for_review(&server, "10", 3);
    forge.github.merge_when_ready(3);
    put_nine(&server);
    nine_waits_for_a_person(&forge, &server);
}

#[test]
fn where_it_cannot_be_called_off_it_is_said_and_another_pull_request_takes_its_place() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    wait_with_a_rollback(&forge, &server);
    let head = forge.github.pull(3).head;
    forge.github.keep_auto_merge(true);
    let (mut events, tried) = (server.events(), forge.github.count("graphql/off"));
    put_nine(&server);
    // Whatever is said before and after it.
    let words = "does not let that be called off: You do not have permission";
    events.until(words, |event| event.data["waitsFor"].as_str().is_some_and(|said| said.contains(words)));
    server.until("it is tried again", || (forge.github.count("graphql/off") > tried + 1).then_some(()));
    server.until("another one is opened", || (forge.github.pulls() == 4).then_some(()));
    let (before, pull) = (forge.github.pull(3), forge.github.pull(4));
    assert!(!before.is_open && before.merged_as.is_none() && before.head == head, "{before:?}");
    assert!(pull.is_open && !pull.merges_itself && pull.title.contains("version 9"), "{pull:?}");
    serves(&server, "8");
}

#[test]
fn a_merge_at_that_very_moment_is_of_what_was_to_merge_itself_alone() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    wait_with_a_rollback(&forge, &server);
    forge.github.keep_auto_merge(true);
    put_nine(&server);
    forge.github.review(3, "ann", "APPROVED");
    serves(&server, "7");
    server.until("another one is opened", || (forge.github.pulls() == 4).then_some(()));
    let pull = forge.github.pull(4);
    assert!(pull.is_open && !pull.merges_itself && pull.title.contains("version 9"), "{pull:?}");
}

#[test]
fn a_rollback_in_the_place_of_a_new_version_merges_itself() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    forge.github.protect(1);
    put_for_review(&server, "9", 3);
    server.act(FRAUD, "rollback", None).expect(202);
    server.until("it is to merge itself", || forge.github.pull(3).merges_itself.then_some(()));
    put_nine(&server);
    server.until("9 waits again", || forge.github.pull(3).title.contains("version 9").then_some(()));
    server.act(FRAUD, "rollback", None).expect(202);
    server.until("it is to merge itself again", || forge.github.pull(3).merges_itself.then_some(()));
    forge.github.review(3, "ann", "APPROVED");
    serves(&server, "7");
}
