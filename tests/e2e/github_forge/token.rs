//! A token of the service that somebody replaces while it runs.

use super::*;

#[test]
fn a_token_that_was_replaced_is_read_again_for_pull_requests_as_for_pushes() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token_file(&environment, PASSWORD_FILE, "the-first-of-tests");
    let server = forge.reviewed().start();
    put_for_review(&server, "7", 1);
    token_file(&environment, "the-second-of-tests");
    forge.github.give_token("the-second-of-tests");
    forge.github.merge(1, tests::github::Way::Merge);
    serves(&server, "7");
    review_is(&server, "merged");
    put_for_review(&server, "8", 2);
    assert_eq!(server.until_it_answers("/readyz", "ready").text(), "ready\n");
}

#[test]
fn a_token_that_ended_is_said_with_its_key_until_the_file_has_another() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token_file(&environment, "KMLFLOW__GIT__FORGE__TOKEN_FILE", "the-first-of-tests");
    let server = forge.reviewed().start();
    put_for_review(&server, "7", 1);
    forge.github.merge(1, tests::github::Way::Merge);
    serves(&server, "7");
    server.until("the branch is gone", || (!forge.github.has_branch("kmlflow/production/models/fraud")).then_some(()));

    forge.github.give_token("the-second-of-tests");
    let answer = server.put(FRAUD, &image("fraud", "8")).expect(202).json();
    let says = "does not know who asks; put a token that is valid, and may write code and pull requests, into the file of \
        `git.forge.token_file`, which is read again by itself";
    says_why(&server, &answer, says);
    let ready =
        server.until_it_answers("/readyz", "no pull request is opened or followed, and no status told: the forge");
    assert!(ready.status == 200 && ready.text().contains(says), "{}", ready.text());
    assert!(!server.printed().contains("of-tests"));

    token_file(&environment, "the-second-of-tests");
    server.until("the pull request is there", || (forge.github.pulls() == 2).then_some(()));
    server.until_it_answers("/readyz", "ready\n");
}
