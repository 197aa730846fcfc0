//! Pull-request mode, from the request to what a person decides at the forge.

use super::*;
use crate::reviewed::{review_is, review_of, serves};
use crate::{by, image, of_readme};

/// The settings of an environment that is reviewed.
pub(super) const REVIEWED: [(&str, &str); 2] =
    [("KMLFLOW__GIT__FORGE__KIND", "gitea"), ("KMLFLOW__ENVIRONMENTS__PRODUCTION__MODE", "pull_request")];

/// Looks so often that a test does not wait for long.
const OFTEN: (&str, &str) = ("KMLFLOW__GIT__POLL_INTERVAL", "1s");

pub(super) const BRANCH: &str = "kmlflow/production/models/fraud";

/// A service in pull-request mode that looks often.
pub(super) fn in_review(begin: ServerBuilder<'_>) -> ServerBuilder<'_> {
    REVIEWED.iter().chain([&OFTEN]).fold(begin, |begin, (name, value)| begin.env(name, value))
}

impl<'a> Forge<'a> {
    /// A service in pull-request mode.
    pub(super) fn reviewed(&self) -> ServerBuilder<'a> {
        in_review(self.server())
    }

    /// The same by the configuration that README shows, with what is elsewhere here.
    fn of_readme(&self) -> ServerBuilder<'a> {
        let environment = self.gitea.environment();
        let token = environment.write("git-token", &self.service.token);
        std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let (url, token) = (self.url(), token.display().to_string());
        let here = [("https://git.example.com/team/gitops.git", url.as_str()), ("/etc/kmlflow/git-token", &token)];
        let config = of_readme(environment, "review", &here, "");
        environment.server().env(OFTEN.0, OFTEN.1).arg("--config").arg(&config)
    }

    /// What the forge says of a commit for the release.
    fn status(&self, commit: &str) -> Option<String> {
        let path = format!("/commits/{commit}/statuses");
        let all = self.repository(&self.ann, "GET", &path, None).expect(200).json();
        let ours = all.as_array()?.iter().find(|status| status["context"] == format!("kmlflow/{FRAUD}"))?.clone();
        Some(ours["status"].as_str()?.to_owned())
    }

    pub(super) fn pull(&self, number: u64) -> Value {
        self.repository(&self.ann, "GET", &format!("/pulls/{number}"), None).expect(200).json()
    }

    pub(super) fn open_pulls(&self) -> Vec<Value> {
        let open = self.repository(&self.ann, "GET", "/pulls?state=open", None).expect(200).json();
        open.as_array().unwrap().clone()
    }

    /// What was asked for by this answer is applied by one commit, and the pull request that brought it is the last one.
    #[track_caller]
    fn made_once(&self, server: &Server<'_>, answer: &Value, number: usize) {
        let delivery = answer["delivery"].as_str().unwrap();
        assert_eq!(server.settle(delivery)["state"], "applied");
        review_is(server, "merged");
        let commits = self.clone_repository().log(&format!("releases/{FRAUD}"));
        let of_it = commits.iter().filter(|commit| commit.trailer("Delivery-Id") == Some(delivery)).count();
        let all = self.repository(&self.ann, "GET", "/pulls?state=all", None).expect(200).json();
        assert_eq!((of_it, all.as_array().unwrap().len()), (1, number), "{all}");
    }

    /// Ann merges a pull request, in one of the forge's ways.
    pub(super) fn merge(&self, server: &Server<'_>, number: u64, way: &str) {
        let path = format!("/pulls/{number}/merge");
        let body = json!({"Do": way});
        // The forge looks by itself whether it can be merged, and says so a moment later.
        server.until("the forge merges", || {
            let answer = self.repository(&self.ann, "POST", &path, Some(&body));
            (answer.status == 200).then_some(())
        });
    }
}

/// Asks for a release, which must wait for a review, and answers the address of its pull request.
#[track_caller]
pub(super) fn put_for_review(server: &Server<'_>, body: &Value) -> (String, String) {
    review_of(server, &server.put(FRAUD, body).expect(202).json())
}

fn actions(checkout: &Checkout<'_>) -> Vec<String> {
    let commits = checkout.log(&format!("releases/{FRAUD}"));
    commits.iter().filter_map(|commit| commit.trailer("Action").map(ToOwned::to_owned)).collect()
}

/// Versions 7 and 8, one after the other, each merged by a person.
#[track_caller]
pub(super) fn release_two(forge: &Forge<'_>, server: &Server<'_>) {
    for (number, version) in [(1, "7"), (2, "8")] {
        put_for_review(server, &image("fraud", version));
        forge.merge(server, number, "merge");
        serves(server, version);
        review_is(server, "merged");
    }
}

#[test]
fn a_request_becomes_a_pull_request_and_a_persons_merge_its_release() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    forge.protect(&["ann"]);
    let server = forge.of_readme().start();
    let (url, delivery) = put_for_review(&server, &image("fraud", "7"));
    assert_eq!(url, format!("http://{}/team/gitops/pulls/1", forge.gitea.address()));
    let pull = forge.pull(1);
    assert_eq!(
        (pull["title"].as_str(), pull["head"]["ref"].as_str()),
        (Some("release(production/models/fraud): create with version 7"), Some(BRANCH))
    );
    let body = pull["body"].as_str().unwrap();
    assert!(
        body.contains("Asked for by admin") && body.contains("+  image:") | body.contains("+kind: Release"),
        "{body}"
    );
    let absent = server.api("GET", &format!("/releases/{FRAUD}"), None).expect_problem(404);
    assert!(absent["detail"].as_str().unwrap().contains(&url), "{absent}");

    forge.merge(&server, 1, "merge");
    serves(&server, "7");
    let settled = server.settle(&delivery);
    let commits = forge.clone_repository().log(&format!("releases/{FRAUD}"));
    assert_eq!(
        (settled["state"].as_str(), settled["commit"].as_str()),
        (Some("applied"), Some(commits[0].id.as_str())),
        "{settled}"
    );
    assert_eq!(commits[0].trailer("Delivery-Id"), Some(delivery.as_str()));
    review_is(&server, "merged");
    server.until("the branch is gone", || {
        let branch = forge.repository(&forge.ann, "GET", &format!("/branches/{BRANCH}"), None);
        (branch.status == 404).then_some(())
    });
}

#[test]
fn a_squash_and_a_rebase_are_known_again_and_can_be_rolled_back_to() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    for (number, (version, way)) in (1..).zip([("7", "squash"), ("8", "rebase"), ("9", "squash")]) {
        put_for_review(&server, &image("fraud", version));
        forge.merge(&server, number, way);
        let release = serves(&server, version);
        assert_eq!((&release["notes"], &release["files"]), (&json!([]), &json!([])), "{way}");
        review_is(&server, "merged");
    }
    // A rollback waits for nobody.
    server.act(FRAUD, "rollback", None).expect(200);
    assert_eq!(serves(&server, "8")["spec"]["variants"][0]["version"], "8");
    server.act(FRAUD, "rollback", None).expect(200);
    serves(&server, "7");
    let history = server.get(&format!("/releases/{FRAUD}/history"));
    let actions: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap_or("-")).collect();
    assert_eq!(actions, ["rollback", "rollback", "update", "update", "create"], "{history}");
}

#[test]
fn a_newer_request_takes_the_place_of_the_one_that_waits_in_the_same_pull_request() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, &image("fraud", "7"));
    forge.merge(&server, 1, "merge");
    serves(&server, "7");
    review_is(&server, "merged");
    let (first, older) = put_for_review(&server, &image("fraud", "8"));
    let said = |field: &str| forge.pull(2)[field].as_str().unwrap().to_owned();
    let edited =
        json!({"title": format!("WIP: {}", said("title")), "body": format!("Wait for Bob.\n\n{}", said("body"))});
    drop(forge.repository(&forge.ann, "PATCH", "/pulls/2", Some(&edited)).expect(201));
    let (second, newer) = put_for_review(&server, &image("fraud", "9"));
    assert_eq!(first, second);
    server.until("it says the newer one", || said("title").contains('9').then_some(()));
    let (title, body) = (said("title"), said("body"));
    assert!(title.starts_with("WIP: release("), "what keeps it from being merged is a person's: {title}");
    assert!(
        body.starts_with("Wait for Bob.\n\n<!-- ") && body.contains("version: '9'") && !body.contains("version: '8'"),
        "{body}"
    );
    drop(
        forge.repository(&forge.ann, "PATCH", "/pulls/2", Some(&json!({"title": &title["WIP: ".len()..]}))).expect(201),
    );
    let replaced = server.settle(&older);
    assert!(replaced["reason"].as_str().unwrap().contains("replaced by the newer delivery"), "{replaced}");
    // Asked again for the same, it stands.
    let head = forge.pull(2)["head"]["sha"].clone();
    put_for_review(&server, &image("fraud", "9"));
    assert_eq!(forge.pull(2)["head"]["sha"], head);
    forge.merge(&server, 2, "merge");
    serves(&server, "9");
    drop(newer);
    let history = server.get(&format!("/releases/{FRAUD}/history"));
    let versions: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|row| row["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["9", "7"], "what was never in force is no history: {history}");
    server.act(FRAUD, "rollback", None).expect(200);
    serves(&server, "7");
}

#[test]
fn a_pull_request_that_a_person_closes_is_a_no() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    let (_, delivery) = put_for_review(&server, &image("fraud", "7"));
    drop(forge.repository(&forge.ann, "PATCH", "/pulls/1", Some(&json!({"state": "closed"}))).expect(201));
    let settled = server.settle(&delivery);
    assert!(
        settled["state"] == "refused" && settled["reason"].as_str().unwrap().contains("closed without being merged"),
        "{settled}"
    );
    drop(server.api("GET", &format!("/releases/{FRAUD}"), None).expect_problem(404));
    server.until("it says how that is taken back", || {
        let comments = forge.repository(&forge.ann, "GET", "/issues/1/comments", None).expect(200).json();
        comments
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["body"].as_str().unwrap().contains("ask for it again"))
            .then_some(())
    });
    let (url, _) = put_for_review(&server, &image("fraud", "7"));
    assert!(url.ends_with("/pulls/2"), "{url}");
}

#[test]
fn steps_of_an_approved_plan_and_what_leads_back_are_pushed() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, &image("fraud", "7"));
    forge.merge(&server, 1, "merge");
    serves(&server, "7");
    // Its branch is taken away then, and nothing else holds it.
    review_is(&server, "merged");
    put_for_review(&server, &by("canary", "fraud", "8", json!({"steps": [5, 50]})));
    forge.merge(&server, 2, "merge");
    server.until("the canary runs", || {
        (server.get(&format!("/releases/{FRAUD}"))["rollout"]["phase"] == "running").then_some(())
    });
    server.act(FRAUD, "advance", None).expect(200);
    server.act(FRAUD, "pause", None).expect(200);
    server.act(FRAUD, "resume", None).expect(200);
    server.act(FRAUD, "abort", None).expect(200);
    assert_eq!(forge.open_pulls(), [] as [Value; 0]);
    let made = actions(&forge.clone_repository());
    assert_eq!(made, ["settle", "leave", "abort", "resume", "pause", "step", "step", "enter", "create"]);
}

#[test]
fn what_is_decided_otherwise_meanwhile_closes_the_pull_request() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    let (_, delivery) = put_for_review(&server, &image("fraud", "9"));
    server.act(FRAUD, "rollback", None).expect(200);
    serves(&server, "7");
    let replaced = server.settle(&delivery);
    assert!(replaced["reason"].as_str().unwrap().contains("replaced"), "{replaced}");
    server.until("the pull request is closed", || (forge.pull(3)["state"] == "closed").then_some(()));
    review_is(&server, "closed");
    let comments = forge.repository(&forge.ann, "GET", "/issues/3/comments", None).expect(200).json();
    assert!(comments[0]["body"].as_str().unwrap().contains("something else was decided"), "{comments}");
}

#[test]
fn a_rollback_that_the_branch_does_not_take_is_a_pull_request_that_merges_itself() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    forge.protect(&["ann"]);
    let answer = server.act(FRAUD, "rollback", None).expect(202).json();
    serves(&server, "7");
    let body = forge.pull(3)["body"].as_str().unwrap().to_owned();
    assert!(body.contains("The branch takes no push of it"), "{body}");
    // The forge moves the branch first, and says who merged a moment later.
    let merged = server.until("the forge says it is merged", || {
        let pull = forge.pull(3);
        (pull["merged"] == true && !pull["merged_by"].is_null()).then_some(pull)
    });
    assert_eq!(merged["merged_by"]["login"], "kmlflow");
    forge.made_once(&server, &answer, 3);
}

#[test]
fn a_rollback_that_needs_an_approval_is_merged_by_the_forge_once_it_has_it() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    let squash_only = json!({
        "allow_merge_commits": false, "allow_rebase": false, "allow_rebase_explicit": false, "allow_squash_merge": true,
        "allow_fast_forward_only_merge": false, "default_merge_style": "squash",
    });
    drop(forge.team("PATCH", "", &squash_only, 200));
    let rule = json!({"rule_name": "main", "enable_push": false, "required_approvals": 1});
    drop(forge.team("POST", "/branch_protections", &rule, 201));
    let answer = server.act(FRAUD, "rollback", None).expect(202).json();
    let (words, delivery) = review_of(&server, &answer);
    assert!(words.ends_with("/pulls/3, which merges itself as soon as the rules of the branch let it"), "{words}");
    let review = server.get(&format!("/releases/{FRAUD}"))["review"].clone();
    assert!(review["mergesItself"] == true && review["trouble"].is_null(), "{review}");
    assert_eq!(forge.pull(3)["state"], "open");
    // Planned again at another moment, it is the same.
    let asked_in = jiff::Timestamp::now().as_second();
    server.until("the next second", || (jiff::Timestamp::now().as_second() > asked_in).then_some(()));
    assert_eq!(server.stop(), Some(0));
    let server = forge.reviewed().start();
    server.until("it waits for the same review", || {
        let release = server.get(&format!("/releases/{FRAUD}"));
        (release["review"]["number"] == 3 && release["review"]["state"] == "awaiting-review").then_some(())
    });
    let on_branch = forge.repository(&forge.ann, "GET", "/pulls/3/commits", None).expect(200).json();
    assert_eq!(on_branch.as_array().unwrap().len(), 1, "{on_branch}");
    drop(forge.repository(&forge.ann, "POST", "/pulls/3/reviews", Some(&json!({"event": "APPROVED"}))).expect(200));
    serves(&server, "7");
    // In the one way that the repository allows, which leaves none of the trailers.
    assert_eq!(server.settle(&delivery)["state"], "applied");
    review_is(&server, "merged");
    assert_eq!(
        forge.clone_repository().ask(&["rev-list", "--no-walk", "--parents", "HEAD"]).split_whitespace().count(),
        2
    );
}

#[test]
fn the_forges_webhooks_tell_of_a_merge_at_once_and_a_restart_opens_nothing_twice() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let begin = || forge.reviewed().env(NEVER.0, NEVER.1);
    let server = begin().start();
    let (url, _) = put_for_review(&server, &image("fraud", "7"));
    let head = forge.pull(1)["head"]["sha"].clone();
    assert_eq!(server.stop(), Some(0));
    let server = begin().start();
    let waits = server.until("it waits for the same review", || {
        let absent = server.api("GET", &format!("/releases/{FRAUD}"), None).json();
        absent["detail"].as_str().filter(|detail| detail.contains(&url)).map(ToOwned::to_owned)
    });
    assert!(waits.contains("is not deployed yet"), "{waits}");
    assert_eq!((forge.open_pulls().len(), &forge.pull(1)["head"]["sha"]), (1, &head));
    forge.tell(&server, &["push", "pull_request", "pull_request_review"]);
    forge.merge(&server, 1, "squash");
    serves(&server, "7");
    let told = server.get("/deliveries?source=github")["items"].clone();
    let of_review = |item: &Value| item["event"]["event"] == "reviewChanged" && item["state"] == "unchanged";
    server.until("its delivery is settled", || {
        let items = server.get("/deliveries?source=github")["items"].clone();
        items.as_array().unwrap().iter().any(of_review).then_some(())
    });
    drop(told);
}

#[test]
fn what_people_add_to_the_branch_before_they_merge_it_counts_and_is_rendered() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    for (number, version, way) in [(1, "7", "merge"), (2, "8", "squash")] {
        let body = if version == "7" {
            image("fraud", version)
        } else {
            by("canary", "fraud", version, json!({"steps": [5, 50]}))
        };
        put_for_review(&server, &body);
        let ann = forge.clone_repository();
        ann.ask(&["checkout", "--quiet", BRANCH]);
        let path = format!("releases/{FRAUD}/release.yaml");
        let replicas = |count: usize| format!("replicas: {count}");
        let text = ann.read(&path).unwrap();
        assert!(text.contains(&replicas(number)), "{text}");
        ann.write(&path, &text.replace(&replicas(number), &replicas(number + 1)));
        ann.commit("Serve it by one more");
        ann.ask(&["push", "--quiet", "origin", BRANCH]);
        forge.merge(&server, u64::try_from(number).unwrap(), way);
        let release = server.until("it is taken in", || {
            let answer = server.api("GET", &format!("/releases/{FRAUD}"), None);
            let release = (answer.status == 200).then(|| answer.json())?;
            (release["spec"]["serving"]["replicas"] == number + 1).then_some(release)
        });
        assert_eq!((&release["notes"], &release["files"]), (&json!([]), &json!([])), "{way}");
        review_is(&server, "merged");
    }
    server.until("the canary runs", || {
        (server.get(&format!("/releases/{FRAUD}"))["rollout"]["phase"] == "running").then_some(())
    });
    let checkout = forge.clone_repository();
    assert!(checkout.read(&format!("releases/{FRAUD}/seldon.yaml")).unwrap().contains("replicas: 3"));
}

#[test]
fn a_change_of_the_release_meanwhile_is_joined_and_the_pull_request_stays_the_same() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, &image("fraud", "7"));
    forge.merge(&server, 1, "merge");
    serves(&server, "7");
    review_is(&server, "merged");
    put_for_review(&server, &image("fraud", "8"));
    let ann = forge.clone_repository();
    let path = format!("releases/{FRAUD}/release.yaml");
    let text = ann.read(&path).unwrap();
    ann.write(&path, &text.replace("replicas: 1", "replicas: 4"));
    ann.commit("Serve it by four");
    ann.ask(&["push", "--quiet", "origin", "HEAD:main"]);
    server.until("the branch goes on from there", || {
        let path = format!("/raw/releases/{FRAUD}/release.yaml?ref={BRANCH}");
        let text = forge.repository(&forge.ann, "GET", &path, None).expect(200).text();
        (text.contains("replicas: 4") && text.contains("fraud:8")).then_some(())
    });
    assert_eq!(forge.open_pulls().len(), 1);
    forge.merge(&server, 2, "merge");
    let release = serves(&server, "8");
    assert_eq!(release["spec"]["serving"]["replicas"], 4);
    let versions: Vec<String> = ann_sees_versions(&forge);
    assert_eq!(versions.first().map(String::as_str), Some("8"));
}

fn ann_sees_versions(forge: &Forge<'_>) -> Vec<String> {
    let commits = forge.clone_repository().log(&format!("releases/{FRAUD}"));
    commits.iter().filter_map(|commit| commit.trailer("Version").map(ToOwned::to_owned)).collect()
}

#[test]
fn approvals_are_shown_and_commits_have_a_status() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    put_for_review(&server, &image("fraud", "7"));
    forge.merge(&server, 1, "merge");
    let commit = serves(&server, "7")["commit"].as_str().unwrap().to_owned();
    review_is(&server, "merged");
    put_for_review(&server, &image("fraud", "8"));
    let review = json!({"event": "APPROVED", "body": "fine"});
    drop(forge.repository(&forge.ann, "POST", "/pulls/2/reviews", Some(&review)).expect(200));
    server.until("the approval is seen", || {
        let release = server.get(&format!("/releases/{FRAUD}"));
        (release["review"]["approvedBy"] == json!(["ann"])).then_some(())
    });
    forge.merge(&server, 2, "squash");
    serves(&server, "8");
    review_is(&server, "merged");
    let commits = forge.clone_repository().log(&format!("releases/{FRAUD}"));
    server.until("each commit has its status", || {
        commits.iter().all(|commit| forge.status(&commit.id).as_deref() == Some("success")).then_some(())
    });
    assert!(commits.len() == 2 && !commit.is_empty());
}
