//! Requests of people: each strategy, each act, and what changes nothing.

use super::*;
use crate::release::{RefusalKind, Role, RollbackTo};

#[tokio::test]
async fn a_first_release_is_one_commit_with_its_trailers() {
    let mut world = World::immediate().await;
    let done = world.put("fraud", single("7")).await;
    assert!(done.changed && done.created);
    assert_eq!(world.actions(), ["create"]);
    let log = world.log();
    for (name, value) in [("Version", "7"), ("Model", "fraud"), ("Strategy", "single"), ("Requested-By", "ada")] {
        assert_eq!(trailer(&log[0], name).as_deref(), Some(value), "{name}");
    }
    assert!(trailer(&log[0], "Release-Id").is_some() && trailer(&log[0], "Delivery-Id").is_some());
    assert_eq!(done.commit.as_ref(), Some(&log[0].commit));
    let view = world.view("fraud").await;
    assert_eq!(view.commit, log[0].commit);
    assert_eq!(view.release.origin.requested_by.as_deref(), Some("ada"));
    assert!(view.files.is_empty(), "{:?}", view.files);
}

#[tokio::test]
async fn each_commit_names_who_asked_and_what_nobody_asked_for_the_service() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let steps = json!([{"weight": 5, "pause": "10m"}, {"weight": 50}]);
    world.put("fraud", json!({"version": "8", "strategy": "canary", "steps": steps})).await;
    world.turn_clock(11).await;
    world.act("fraud", Act::Promote { variant: None }).await;
    world.event("fraud", alias("champion", "9")).await;
    let said: Vec<(String, String)> = (world.log().iter())
        .map(|entry| (trailer(entry, "Action").unwrap(), trailer(entry, "Requested-By").unwrap()))
        .collect();
    let expected = [
        ("create", "ada"),
        ("enter", "ada"),
        ("step", "ada"),
        ("step", "kmlflow (by itself)"),
        ("promote", "ada"),
        ("leave", "ada"),
        ("settle", "ada"),
        ("update", "kmlflow (policy default)"),
    ];
    assert_eq!(said, expected.map(|(action, who)| (action.to_owned(), who.to_owned())));
    // The history says of those that nobody asked for them, also where it was built again from Git.
    for _ in 0..2 {
        let history = world.handle().history(&key("fraud"), None, None).await.unwrap();
        let asked: Vec<Option<&str>> = history.items.iter().rev().map(|entry| entry.requested_by.as_deref()).collect();
        let ada = Some("ada");
        assert_eq!(asked, [ada, ada, ada, None, ada, ada, ada, None]);
        world.kill();
        for file in ["kmlflow.db", "kmlflow.db-wal", "kmlflow.db-shm"] {
            drop(std::fs::remove_file(world.dir.path().join(file)));
        }
        world.start().await;
    }
}

#[tokio::test]
async fn the_same_request_again_makes_no_commit() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let again = world.put("fraud", single("7")).await;
    assert!(!again.changed && again.commit.is_some());
    world.put("fraud", canary("8")).await;
    let commits = world.log().len();
    assert!(!world.put("fraud", canary("8")).await.changed);
    assert_eq!(world.log().len(), commits);
}

#[tokio::test]
async fn each_strategy_runs_and_ends_settled() {
    for (strategy, running) in [
        ("canary", "canary running stable=7 candidate=8"),
        ("ab", "ab running a=7 b=8"),
        ("blue-green", "blue-green running blue=7 green=8"),
        ("shadow", "shadow running live=7 shadow=8"),
    ] {
        let mut world = World::immediate().await;
        world.put("fraud", single("7")).await;
        world.put("fraud", json!({"version": "8", "strategy": strategy})).await;
        assert_eq!(world.state("fraud").await, running);
        let variant = (strategy == "ab").then_some(Role::B);
        let done = world.act("fraud", Act::Promote { variant }).await;
        assert_eq!(world.state("fraud").await, "single settled live=8", "{strategy}");
        assert_eq!(
            done.commit.as_ref(),
            world.log().last().map(|entry| &entry.commit),
            "the answer is the last commit"
        );
    }
}

#[tokio::test]
async fn a_canary_advances_step_by_step() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    world.put("fraud", canary("8")).await;
    let weight = |view: &ReleaseView| view.split.iter().find(|share| share.role == Role::Candidate).unwrap().weight;
    assert_eq!(weight(&world.view("fraud").await), 5);
    let requested = world.absolute("fraud", Act::Advance).await.unwrap();
    assert!(world.done(requested.clone()).await.changed);
    assert_eq!(weight(&world.view("fraud").await), 25);
    assert!(!world.done(requested).await.changed, "the same absolute step is one step");
    assert_eq!(weight(&world.view("fraud").await), 25);
}

#[tokio::test]
async fn an_abort_goes_back_and_the_version_is_rejected() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    world.put("fraud", canary("8")).await;
    world.act("fraud", Act::Abort).await;
    assert_eq!(world.state("fraud").await, "single settled live=7");
    let rejected: Vec<String> =
        world.view("fraud").await.release.rollout.rejected.iter().map(|r| r.version.to_string()).collect();
    assert_eq!(rejected, ["8"]);
    assert!(world.put("fraud", canary("8")).await.changed, "a person may begin anew");
    assert!(world.view("fraud").await.release.rollout.rejected.is_empty());
}

#[tokio::test]
async fn a_rollback_brings_the_files_back_byte_for_byte() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let before: Vec<_> = ["seldon.yaml", "route.yaml", "dashboard.yaml"].map(|file| world.read("fraud", file)).into();
    world.put("fraud", single("8")).await;
    assert_ne!(world.read("fraud", "seldon.yaml"), before[0]);
    world.act("fraud", Act::Rollback { to: None }).await;
    let after: Vec<_> = ["seldon.yaml", "route.yaml", "dashboard.yaml"].map(|file| world.read("fraud", file)).into();
    assert_eq!(after, before);
    assert_eq!(world.state("fraud").await, "single settled live=7");
    assert_eq!(world.actions().last().map(String::as_str), Some("rollback"));
    assert!(
        matches!(world.absolute("fraud", Act::Rollback { to: None }).await, Err(Fault::Refused(_))),
        "there is nothing older"
    );
    let to = Act::Rollback { to: Some(RollbackTo::Version("8".parse().unwrap())) };
    world.act("fraud", to).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn a_rollback_from_a_run_ends_in_the_older_state() {
    let mut world = World::immediate().await;
    world.put("fraud", single("6")).await;
    world.put("fraud", single("7")).await;
    world.put("fraud", canary("8")).await;
    world.act("fraud", Act::Rollback { to: Some(RollbackTo::Version("6".parse().unwrap())) }).await;
    assert_eq!(world.state("fraud").await, "single settled live=6");
}

#[tokio::test]
async fn a_retraction_is_one_commit_and_a_new_release_removes_its_trace() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let done = world.act("fraud", Act::Retract).await;
    assert!(done.changed && done.release.is_none());
    assert_eq!(world.actions(), ["create", "retract"]);
    let left = |world: &World| {
        let repository = world.repository();
        repository.read(&repository.tip().unwrap(), "retracted/production/models/fraud.yaml").unwrap()
    };
    assert!(left(&world).is_some() && world.read("fraud", "release.yaml").is_none());
    assert!(
        matches!(world.handle().release(&key("fraud")).await, Err(Fault::Refused(r)) if r.kind == RefusalKind::NotFound)
    );
    world.put("fraud", single("8")).await;
    assert!(left(&world).is_none());
    let history = world.handle().history(&key("fraud"), None, None).await.unwrap();
    let actions: Vec<&str> = history.items.iter().map(|entry| entry.action.unwrap().as_str()).collect();
    assert_eq!(actions, ["create", "retract", "create"]);
}

#[tokio::test]
async fn the_entity_tag_guards_a_request() {
    let mut world = World::immediate().await;
    let first = world.put("fraud", single("7")).await.release.unwrap();
    world.put("fraud", single("8")).await;
    let guarded =
        |tag| Requested { guard: Guard { if_match: Some(tag), ..Guard::default() }, ..put("fraud", single("9")) };
    let refused = refusal(world.ask(guarded(first.etag)).await);
    assert_eq!(refused.kind, RefusalKind::Precondition);
    let tag = world.view("fraud").await.etag;
    assert!(world.done(guarded(tag)).await.changed);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_commits_nothing() {
    let mut world = World::immediate().await;
    let refused = refusal(world.ask(put("fraud", canary("8"))).await);
    assert_eq!(refused.kind, RefusalKind::Conflict);
    let mut elsewhere = put("fraud", single("7"));
    elsewhere.key = ReleaseKey::parse("nowhere/models/fraud").unwrap();
    let refused = refusal(world.ask(elsewhere).await);
    assert!(refused.kind == RefusalKind::NotFound && refused.cure.unwrap().contains("production"));
    assert!(world.log().is_empty());
    let audit = world.handle().accounts().audit(None, 10).await.unwrap();
    assert_eq!(audit.len(), 1, "a refused change is in the audit");
}

#[tokio::test]
async fn two_releases_cannot_own_the_same_object() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let refused = refusal(world.ask(put("fraud-v7", single("7"))).await);
    assert!(refused.kind == RefusalKind::Conflict && refused.reason.contains("fraud"), "{refused}");
    let mut same_host = put("a-models", single("7"));
    same_host.key = ReleaseKey::parse("production/b/a-models").unwrap();
    world.done(same_host).await;
    let mut other = put("a", single("7"));
    other.key = ReleaseKey::parse("production/models-b/a").unwrap();
    assert_eq!(refusal(world.ask(other).await).kind, RefusalKind::Conflict);
}

#[tokio::test]
async fn a_dry_run_shows_files_and_diff_and_touches_nothing() {
    let mut world = World::immediate().await;
    let preview = world.handle().dry_run(put("fraud", single("7"))).await.unwrap();
    assert!(preview.changed && preview.diff.contains("+++ b/releases/production/models/fraud/release.yaml"));
    assert_eq!(preview.manifests.keys().next().map(String::as_str), Some("release.yaml"));
    assert!(world.log().is_empty());
    world.put("fraud", single("7")).await;
    assert!(!world.handle().dry_run(put("fraud", single("7"))).await.unwrap().changed);
    let preview = world.handle().dry_run(put("fraud", single("8"))).await.unwrap();
    assert!(preview.diff.contains("-") && preview.diff.contains("fraud:8"), "{}", preview.diff);
}

#[tokio::test]
async fn many_requests_are_one_push() {
    let mut world = World::immediate().await;
    let handle = world.handle();
    let requests: Vec<_> = (0..40).map(|n| put(&format!("fraud-{n}x"), single("7"))).collect();
    let asked: Vec<_> = requests
        .into_iter()
        .map(|requested| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.request(requested, Duration::from_secs(60)).await })
        })
        .collect();
    // All are in the inbox before the writer begins.
    while world.handle().deliveries(Default::default()).await.unwrap().items.len() < 40 {
        super::pause().await;
    }
    while asked.iter().any(|task| !task.is_finished()) {
        world.run().await;
        super::pause().await;
    }
    assert_eq!(world.log().len(), 40, "one commit each");
    let metrics = world.handle().metrics().await;
    let pushes = metrics.lines().find_map(|line| line.strip_prefix("kmlflow_push_total{outcome=\"pushed\"} ")).unwrap();
    assert!(pushes.parse::<u32>().unwrap() <= 3, "{pushes} pushes");
    assert!(metrics.contains(
        "kmlflow_releases{environment=\"production\",strategy=\"single\",phase=\"settled\",status=\"unknown\"} 40"
    ));
}

#[tokio::test]
async fn a_second_request_plans_on_the_tree_of_the_first() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let (one, other) = (world.handle(), world.handle());
    let first = tokio::spawn(async move { one.request(put("fraud", single("8")), Duration::from_secs(60)).await });
    let second = tokio::spawn(async move { other.request(put("fraud", single("9")), Duration::from_secs(60)).await });
    while !(first.is_finished() && second.is_finished()) {
        world.run().await;
        super::pause().await;
    }
    assert_eq!(world.log().len(), 3);
}
