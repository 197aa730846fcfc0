//! Pull-request mode at GitHub, from the request to what a person decides there.

use super::*;
use tests::github::Way;
use tests::{Delivery, Signing};

const BRANCH: &str = "kmlflow/production/models/fraud";

#[test]
fn a_request_becomes_a_pull_request_that_is_approved_merged_and_deployed() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    forge.github.protect(1);
    let server = forge.reviewed().start();
    let delivery = put_for_review(&server, "7", 1);
    let pull = forge.github.pull(1);
    assert_eq!(
        (pull.title.as_str(), pull.branch.as_str()),
        ("release(production/models/fraud): create with version 7", BRANCH)
    );
    assert!(pull.body.contains("Asked for by admin") && pull.body.contains("+kind: Release"), "{}", pull.body);
    comment_says(&forge, &server, "**Waits for approval.** Merging it releases it, closing it is a no.");
    forge.github.review(1, "bob", "CHANGES_REQUESTED");
    forge.github.review(1, "ann", "APPROVED");
    forge.github.merge(1, Way::Merge);
    serves(&server, "7");
    assert_eq!(server.settle(&delivery)["state"], "applied");
    review_is(&server, "merged");
    server.until("the branch is gone", || (!forge.github.has_branch(BRANCH)).then_some(()));
    let commits = forge.commits();
    assert_eq!(commits[0].trailer("Delivery-Id"), Some(delivery.as_str()));
    comment_says(&forge, &server, "**Merged**, as Git says (version 7, alone); no cluster is watched.");
    let asked = [("pulls/create", 1), ("pulls/update", 0), ("graphql", 0)];
    forge.github.was_asked(&asked);
    let comments = [("issues/create-comment", 1), ("issues/update-comment", 1)];
    forge.github.was_asked(&comments);
    // What follows without a review is told at the last one, by whoever leads then.
    assert_eq!(server.stop(), Some(0));
    let server = forge.reviewed().start();
    review_is(&server, "merged");
    let retraction = server.api("DELETE", &format!("/releases/{FRAUD}"), None).expect(202).json();
    forge.github.merge(2, Way::Merge);
    assert_eq!(server.settle(retraction["delivery"].as_str().unwrap())["state"], "applied");
    server.until("the second review has its own", || (forge.github.comments().len() == 2).then_some(()));
    server.until("both say what became of it", || {
        let said = |pull: u64| forge.github.comments().into_iter().find(|comment| comment.pull == pull).unwrap().body;
        (said(2).ends_with("**Merged**, and it is retracted.") && said(1).contains("(version 7, alone)")).then_some(())
    });
    forge.github.was_asked(&[("issues/create-comment", 2)]);
}

/// Waits until the only comment there is says that.
#[track_caller]
fn comment_says(forge: &Forge<'_>, server: &Server<'_>, expected: &str) {
    server.until("the comment says it", || {
        let comments = forge.github.comments();
        assert!(comments.len() < 2, "{comments:?}");
        (comments.first()?.body == format!("<!-- kmlflow -->\n{expected}")).then_some(())
    });
}

#[test]
fn opinions_are_followed_and_shown_on_the_page_until_people_decide() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, "7", 1);
    forge.github.merge(1, Way::Merge);
    serves(&server, "7");
    put_for_review(&server, "8", 2);
    forge.github.review(2, "ann", "APPROVED");
    forge.github.review(2, "bob", "CHANGES_REQUESTED");
    let review = server.until("both are seen", || {
        let review = server.get(&format!("/releases/{FRAUD}"))["review"].clone();
        (review["approvedBy"] == json!(["ann"]) && review["changesRequestedBy"] == json!(["bob"])).then_some(review)
    });
    assert_eq!((review["state"].as_str(), review["number"].as_u64()), (Some("awaiting-review"), Some(2)), "{review}");
    let page = tests::Request::new("GET", &format!("/releases/{FRAUD}")).bearer(&server.token()).send(server.address());
    let page = page.expect(200).text().replace("&#x2f;", "/");
    for said in
        ["awaiting review", "https://github.example/acme/gitops/pull/2", "approved by ann", "changes requested by bob"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    let before = forge.github.unchanged();
    server.until("what has not changed is asked for conditionally", || {
        (forge.github.unchanged() > before + 2).then_some(())
    });
    // What ann has seen is not what is there now.
    put_for_review(&server, "9", 2);
    server.until("she has not approved of it", || {
        (server.get(&format!("/releases/{FRAUD}"))["review"]["approvedBy"] == json!([])).then_some(())
    });
}

#[test]
fn to_open_one_more_costs_the_same_however_many_are_open() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let begin = || forge.reviewed().env(OFTEN.0, "1h").start();
    let server = begin();
    let put = |number: usize| {
        let model = format!("m{number}");
        let answer = server.put(&format!("production/models/{model}"), &image(&model, "7")).expect(202).json();
        assert!(answer["waitsFor"].as_str().unwrap().ends_with(&format!("/acme/gitops/pull/{number}")), "{answer}");
    };
    (1..=4).for_each(put);
    // The comment of each comes a moment later, by two requests of its own.
    let requests = || {
        forge.github.requests()
            - ["issues/list-comments", "issues/create-comment"].map(|of| forge.github.count(of)).iter().sum::<usize>()
    };
    let first = requests();
    (5..=14).for_each(put);
    // It is looked for among the open ones and the closed ones, and opened.
    assert_eq!(requests() - first, 10 * 3);
    // A webhook has the forge asked about its pull request and no other.
    server.until("each has its comment", || (forge.github.count("issues/create-comment") == 14).then_some(()));
    let before = (forge.github.requests(), forge.github.count("pulls/list-reviews"));
    let told = json!({"action": "labeled", "pull_request": {"head": {"ref": "kmlflow/production/models/m3"}}});
    drop(server.deliver(&Delivery::github("d-1", "pull_request", &told)).expect(202));
    server.until("it is asked", || (forge.github.count("pulls/list-reviews") > before.1).then_some(()));
    assert_eq!(forge.github.requests() - before.0, 2);
    assert_eq!(server.stop(), Some(0));
    let heads = || (1..=14).map(|number| forge.github.pull(number).head).collect::<Vec<_>>();
    let proposed = heads();
    // They are found again by a list, told what they say, and asked what people think of them.
    let before = (requests(), forge.github.count("pulls/list-reviews"));
    let server = begin();
    server.until("each is known again", || (forge.github.count("pulls/list-reviews") >= before.1 + 14).then_some(()));
    // The service listens at another port now, and without `public_url` that is what the links say: nothing is proposed anew for it.
    assert_eq!(heads(), proposed);
    let asked = requests() - before.0;
    assert!(asked < 14 * 4, "{asked} requests: {:?}", forge.github.asked());
    server
        .until("the comment of each was read", || (forge.github.count("issues/list-comments") == 2 * 14).then_some(()));
    forge.github.was_asked(&[("issues/create-comment", 14), ("issues/update-comment", 0)]);
}

#[test]
fn a_squash_is_known_again_and_can_be_rolled_back_to() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    for (number, version) in [(1, "7"), (2, "8")] {
        put_for_review(&server, version, number);
        forge.github.merge(number, Way::Squash);
        let release = serves(&server, version);
        assert_eq!((&release["notes"], &release["files"]), (&json!([]), &json!([])), "{release}");
        review_is(&server, "merged");
    }
    server.act(FRAUD, "rollback", None).expect(200);
    serves(&server, "7");
    assert_eq!(forge.github.pulls(), 2, "a rollback waits for nobody");
}

#[test]
fn what_was_merged_while_nobody_looked_is_known_by_what_github_keeps() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    let delivery = put_for_review(&server, "7", 1);
    assert_eq!(server.stop(), Some(0));
    let branch = format!("kmlflow/{FRAUD}");
    let ann = forge.clone_repository();
    ann.ask(&["checkout", "--quiet", &branch]);
    let path = format!("releases/{FRAUD}/release.yaml");
    ann.write(&path, &ann.read(&path).unwrap().replace("replicas: 1", "replicas: 2"));
    ann.commit("Serve it by two");
    ann.ask(&["push", "--quiet", "origin", &branch]);
    forge.github.merge(1, Way::Squash);
    forge.github.delete_branch(&branch);
    let server = forge.reviewed().start();
    assert_eq!(server.settle(&delivery)["state"], "applied");
    let release = serves(&server, "7");
    assert_eq!((&release["notes"], &release["spec"]["serving"]["replicas"]), (&json!([]), &json!(2)), "{release}");
    put_for_review(&server, "8", 2);
}

#[test]
fn a_person_who_closes_it_says_no_and_the_request_is_refused() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, "7", 1);
    forge.github.merge(1, Way::Merge);
    serves(&server, "7");
    let delivery = put_for_review(&server, "8", 2);
    forge.github.close(2);
    let refused = server.settle(&delivery);
    assert_eq!(refused["state"], "refused", "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("was closed without being merged"), "{refused}");
    review_is(&server, "closed");
    put_for_review(&server, "8", 3);
}

#[test]
fn a_newer_request_changes_the_pull_request_in_place() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    let first = put_for_review(&server, "7", 1);
    put_for_review(&server, "8", 1);
    assert!(server.settle(&first)["reason"].as_str().unwrap().contains("replaced"));
    server.until("it says so", || forge.github.pull(1).title.ends_with("version 8").then_some(()));
    forge.github.merge(1, Way::Merge);
    serves(&server, "8");
    assert_eq!(forge.github.pulls(), 1);
    forge.github.was_asked(&[("pulls/create", 1), ("pulls/update", 1)]);
}

#[test]
fn what_is_moot_is_closed_with_a_comment_and_its_branch_deleted() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    put_for_review(&server, "9", 3);
    server.act(FRAUD, "rollback", None).expect(200);
    serves(&server, "7");
    review_is(&server, "closed");
    assert!(!forge.github.pull(3).is_open && forge.github.pull(3).merged_as.is_none());
    let said: Vec<String> =
        forge.github.comments().into_iter().filter(|comment| comment.pull == 3).map(|comment| comment.body).collect();
    assert!(said.len() == 1 && said[0].ends_with("something else was decided meanwhile."), "{said:?}");
}

#[test]
fn a_rollback_that_the_branch_does_not_take_merges_itself_at_once_where_nothing_is_missing() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    forge.github.protect(0);
    server.act(FRAUD, "rollback", None).expect(202);
    serves(&server, "7");
    forge.github.was_asked(&[("graphql", 1), ("pulls/merge", 1)]);
}

#[test]
fn a_rollback_that_needs_an_approval_is_merged_by_github_once_it_has_it() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    forge.github.protect(1);
    let answer = server.act(FRAUD, "rollback", None).expect(202).json();
    let says = "/acme/gitops/pull/3, which merges itself as soon as the rules of the branch let it";
    let (words, _) = review_of(&server, &answer);
    assert!(words.ends_with(says), "{words}");
    assert!(forge.github.pull(3).merges_itself);
    let review = server.get(&format!("/releases/{FRAUD}"))["review"].clone();
    assert!(review["mergesItself"] == true && review["trouble"].is_null(), "{review}");
    assert!(forge.github.pull(3).is_open);
    forge.github.review(3, "ann", "APPROVED");
    serves(&server, "7");
    forge.github.was_asked(&[("graphql", 1), ("pulls/merge", 0)]);
}

#[test]
fn webhooks_tell_of_a_decision_at_once_and_the_same_delivery_twice_is_harmless() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().env(OFTEN.0, "1h").start();
    put_for_review(&server, "7", 1);
    forge.github.merge(1, Way::Squash);
    let suite = json!({"action": "completed", "check_suite": {"head_branch": BRANCH, "conclusion": "success"}});
    let told = Delivery::github("d-1", "check_suite", &suite);
    drop(server.deliver(&told).expect(202));
    serves(&server, "7");
    assert_eq!(server.settle("d-1")["state"], "unchanged");
    drop(server.deliver(&told).expect(200));
    server.until("the branch is gone", || (!forge.github.has_branch(BRANCH)).then_some(()));
    let commits = forge.commits();
    assert_eq!(commits.len(), 1);
    assert!(!server.secret(Signing::Github).is_empty());
}

#[test]
fn what_became_of_reviews_is_asked_of_github_after_a_restart() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, "7", 1);
    forge.github.merge(1, Way::Merge);
    serves(&server, "7");
    review_is(&server, "merged");
    put_for_review(&server, "8", 2);
    forge.github.close(2);
    review_is(&server, "closed");
    assert_eq!(server.stop(), Some(0));
    let server = forge.reviewed().start();
    let review = review_is(&server, "closed")["review"].clone();
    let page = "https://github.example/acme/gitops/pull/2";
    assert_eq!((review["number"].as_u64(), review["url"].as_str()), (Some(2), Some(page)), "{review}");
    assert_eq!(forge.github.pulls(), 2);
}

/// Ann adds a commit to the branch of the review.
fn add_by_ann(forge: &Forge<'_>) -> String {
    let ann = forge.clone_repository();
    ann.ask(&["checkout", "--quiet", BRANCH]);
    let path = format!("releases/{FRAUD}/release.yaml");
    let text = ann.read(&path).unwrap();
    assert!(text.contains("replicas: 1"), "{text}");
    ann.write(&path, &text.replace("replicas: 1", "replicas: 2"));
    ann.commit("Serve it by two");
    ann.ask(&["push", "--quiet", "origin", BRANCH]);
    ann.ask(&["rev-parse", "HEAD"]).trim().to_owned()
}

#[test]
fn what_a_reviewer_added_is_written_over_only_where_somebody_says_so() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    let first = put_for_review(&server, "7", 1);
    let hers = add_by_ann(&forge);
    let refused = server.put(FRAUD, &image("fraud", "8")).expect_problem(409);
    let (detail, cure) = (refused["detail"].as_str().unwrap(), refused["cure"].as_str().unwrap());
    assert!(detail.contains(&format!("added the commit {} to the branch `{BRANCH}`", &hers[..12])), "{refused}");
    assert!(cure.contains("merge or close") && cure.contains("--force"), "{refused}");
    // What waited goes on waiting, as she made it.
    assert_eq!(server.get(&format!("/deliveries/{first}"))["state"], "accepted");
    assert!(forge.github.pull(1).is_open);
    drop(server.api("PUT", &format!("/releases/{FRAUD}?force"), Some(&image("fraud", "8"))).expect(202));
    assert!(server.settle(&first)["reason"].as_str().unwrap().contains("replaced"));
    let checkout = forge.clone_repository();
    checkout.ask(&["merge-base", "--is-ancestor", &hers, &format!("origin/{BRANCH}")]);
    forge.github.merge(1, Way::Merge);
    assert_eq!(serves(&server, "8")["spec"]["serving"]["replicas"], 1);
    server.until("the branch is gone", || (!forge.github.has_branch(BRANCH)).then_some(()));
}

#[test]
fn a_reviewers_merge_is_what_counts_and_what_was_asked_for_is_done() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    let delivery = put_for_review(&server, "7", 1);
    drop(add_by_ann(&forge));
    forge.github.merge(1, Way::Merge);
    assert_eq!(serves(&server, "7")["spec"]["serving"]["replicas"], 2);
    assert_eq!(server.settle(&delivery)["state"], "applied");
    review_is(&server, "merged");
    let history = server.get(&format!("/releases/{FRAUD}/history"));
    let rows: Vec<&Value> = history["items"].as_array().unwrap().iter().map(|row| &row["action"]).collect();
    assert_eq!(rows, [&json!("render"), &Value::Null], "the merge is a person's, and what it proposed never was there");
}

#[test]
fn the_branch_of_a_review_that_is_over_stays_where_nobody_decided_about_what_is_on_it() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    put_for_review(&server, "9", 3);
    let hers = add_by_ann(&forge);
    server.act(FRAUD, "rollback", None).expect(200);
    review_is(&server, "closed");
    server.until("it is said", || server.printed().contains("of a review that is over stays").then_some(()));
    let checkout = forge.clone_repository();
    assert_eq!(checkout.ask(&["rev-parse", &format!("origin/{BRANCH}")]).trim(), hers);
}
