//! Ends at the worst moment: nothing accepted is lost, nothing is done twice.

use super::*;
use crate::event::DeliveryState;
use crate::store::{DeliveryQuery, Store};
use crate::worker::Became;

#[tokio::test]
async fn what_was_accepted_before_a_crash_is_done_after_it() {
    let mut world = World::immediate().await;
    world.deliver("one", "fraud", alias("champion", "7"), world.clock.now_exact()).await;
    world.kill();
    world.start().await;
    world.run().await;
    assert_eq!(world.actions(), ["create"]);
    assert_eq!(world.handle().delivery("one").await.unwrap().state, DeliveryState::Applied);
}

/// Ends with the store as it was before the writer told it what Git has already.
async fn end_between_git_and_store(world: &mut World, deliver: impl AsyncFnOnce(&World)) {
    deliver(world).await;
    let copy = world.dir.path().join("before.db");
    let store = Store::open("sqlite:", world.dir.path()).await;
    let store = store.unwrap();
    store.checkpointed_copy(&copy).await.unwrap();
    store.close().await;
    world.run().await;
    world.kill();
    for file in ["kmlflow.db-wal", "kmlflow.db-shm"] {
        drop(std::fs::remove_file(world.dir.path().join(file)));
    }
    std::fs::rename(copy, world.dir.path().join("kmlflow.db")).unwrap();
}

/// The same, and the next start.
async fn crash_between_git_and_store(world: &mut World, deliver: impl AsyncFnOnce(&World)) {
    end_between_git_and_store(world, deliver).await;
    world.start().await;
    world.run().await;
}

/// Lets a request wait in the inbox under an id.
async fn deliver_request(world: &World, id: &str, requested: Requested) {
    deliver_request_from(world, Source::Generic, id, requested).await;
}

async fn deliver_request_from(world: &World, source: Source, id: &str, requested: Requested) {
    let (id, event) = (DeliveryId::parse(id).unwrap(), Event::Requested(Box::new(requested)));
    let received_at = world.clock.now_exact();
    let delivery = NewDelivery { source, id, received_at, body: String::new(), event };
    world.handle().deliver(delivery).await.unwrap();
}

#[tokio::test]
async fn an_event_that_git_has_already_is_not_done_again() {
    let mut world = World::immediate().await;
    crash_between_git_and_store(&mut world, async |world| {
        world.deliver("one", "fraud", alias("champion", "7"), world.clock.now_exact()).await;
    })
    .await;
    assert_eq!(world.actions(), ["create"]);
    let delivery = world.handle().delivery("one").await.unwrap();
    assert_eq!(delivery.state, DeliveryState::Applied, "{delivery:?}");
    assert_eq!(delivery.commit.as_ref(), world.log().last().map(|entry| &entry.commit));
    let event = world.event("fraud", alias("challenger", "8")).await;
    assert_eq!(event.state, DeliveryState::Applied, "the registry's state was not lost: {event:?}");
}

#[tokio::test]
async fn a_request_that_git_has_already_is_not_done_again() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    crash_between_git_and_store(&mut world, async |world| {
        deliver_request(world, "request-1", put("fraud", canary("8"))).await;
    })
    .await;
    let commits = world.log().len();
    assert_eq!(world.handle().delivery("request-1").await.unwrap().state, DeliveryState::Applied);
    let history = world.handle().history(&key("fraud"), None, None).await.unwrap();
    assert_eq!(history.items.len(), commits, "each commit is in the index once");
}

#[tokio::test]
async fn what_became_of_a_request_whose_answer_nobody_heard_is_known_by_its_id() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let [in_git, waiting, unknown] = ["in-git", "waiting", "unknown"].map(|id| DeliveryId::parse(id).unwrap());
    // The first is carried out before the store heard of it.
    end_between_git_and_store(&mut world, async |world| {
        let (handle, id) = (world.handle(), in_git.clone());
        let asked = async move { handle.request_as(id, put("fraud", single("8")), Duration::from_secs(60)).await };
        drop(tokio::spawn(asked));
    })
    .await;
    world.start().await;
    let commits = world.log();
    assert_eq!(world.actions(), ["create", "update"]);
    assert!(world.handle().delivery("in-git").await.is_err(), "the store has it");
    let done = |became| match became {
        Became::Answered(Answer::Done(done)) => (done.commit, done.changed),
        other => panic!("{other:?}"),
    };
    let became = world.handle().became(&key("fraud"), &in_git).await.unwrap();
    assert_eq!(done(became), (commits.last().map(|entry| entry.commit.clone()), true));
    assert!(matches!(world.handle().became(&key("fraud"), &unknown).await.unwrap(), Became::Nothing));

    deliver_request_from(&world, Source::Api, "waiting", put("fraud", single("9"))).await;
    let became = world.handle().became(&key("fraud"), &waiting).await.unwrap();
    assert!(
        matches!(&became, Became::Answered(Answer::Queued { delivery, .. }) if delivery == "waiting"),
        "{became:?}"
    );
    world.run().await;
    let became = world.handle().became(&key("fraud"), &waiting).await.unwrap();
    assert_eq!(done(became), (world.log().last().map(|entry| entry.commit.clone()), true));
    deliver_request_from(&world, Source::Api, "refused", put("churn", canary("8"))).await;
    world.run().await;
    let refused = DeliveryId::parse("refused").unwrap();
    assert!(matches!(world.handle().became(&key("churn"), &refused).await.unwrap(), Became::Refused));
}

#[tokio::test]
async fn what_git_has_already_is_remembered_by_a_start_that_ends_at_once() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    end_between_git_and_store(&mut world, async |world| {
        deliver_request(world, "request-1", put("fraud", single("8"))).await;
        world.deliver("event-1", "other", alias("champion", "1"), world.clock.now_exact()).await;
    })
    .await;
    let commits = world.log();
    for _ in 0..2 {
        world.start().await;
        world.kill();
    }
    world.start().await;
    world.run().await;
    for id in ["request-1", "event-1"] {
        let delivery = world.handle().delivery(id).await.unwrap();
        assert_eq!(delivery.state, DeliveryState::Applied, "{delivery:?}");
    }
    assert_eq!(world.log(), commits);
}

#[tokio::test]
async fn what_was_judged_before_a_newer_request_is_not_carried_out_after_it() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    crash_between_git_and_store(&mut world, async |world| {
        deliver_request(world, "older", put("fraud", single("7"))).await;
        deliver_request(world, "newer", put("fraud", single("8"))).await;
    })
    .await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
    let older = world.handle().delivery("older").await.unwrap();
    assert_eq!(older.state, DeliveryState::Unchanged, "{older:?}");
    assert_eq!(older.reason.as_deref(), Some("replaced by the newer delivery newer"));
    assert_eq!(world.actions(), ["create", "update"]);
}

#[tokio::test]
async fn what_was_judged_before_a_newer_act_is_not_carried_out_after_it() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    world.put("fraud", canary("8")).await;
    // A pause asks for no state of the release that would take the place of others.
    crash_between_git_and_store(&mut world, async |world| {
        deliver_request(world, "older", Requested { intent: Intent::Resume, ..put("fraud", canary("8")) }).await;
        deliver_request(world, "newer", Requested { intent: Intent::Pause, ..put("fraud", canary("8")) }).await;
    })
    .await;
    let older = world.handle().delivery("older").await.unwrap();
    assert_eq!(older.state, DeliveryState::Unchanged, "{older:?}");
    assert_eq!(older.reason.as_deref(), Some("replaced by the newer delivery newer"));
    assert_eq!(world.actions().last().map(String::as_str), Some("pause"));
}

#[tokio::test]
async fn what_is_not_in_git_is_told_once_the_store_has_it() {
    let mut world = World::immediate().await;
    let (handle, mut worker) = world.parts.take().unwrap();
    let asked = handle.request(put("fraud", canary("8")), Duration::from_secs(60));
    let working = async {
        loop {
            worker.run_until_idle().await;
            super::pause().await;
        }
    };
    let answer = tokio::select! {
        biased;
        answer = asked => answer,
        () = working => panic!("it works on"),
    };
    assert!(matches!(answer, Err(Fault::Refused(_))), "{answer:?}");
    // The disk as it is at the moment of the answer.
    let copy = tempfile::tempdir().unwrap();
    for file in ["kmlflow.db", "kmlflow.db-wal"] {
        std::fs::copy(world.dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let store = Store::open("sqlite:", copy.path()).await.unwrap();
    let kept = store.deliveries(DeliveryQuery { limit: 10, ..DeliveryQuery::default() }).await.unwrap();
    assert_eq!(kept[0].state, DeliveryState::Refused, "{kept:?}");
}

#[tokio::test]
async fn the_index_is_built_again_from_the_repository() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    world.put("fraud", canary("8")).await;
    let mut before = world.handle().history(&key("fraud"), None, None).await.unwrap();
    for entry in &mut before.items {
        assert!(entry.delivery_number.is_some(), "{entry:?}");
        // The inbox is lost with the store, and its numbers with it.
        entry.delivery_number = None;
    }
    world.kill();
    for file in ["kmlflow.db", "kmlflow.db-wal", "kmlflow.db-shm"] {
        drop(std::fs::remove_file(world.dir.path().join(file)));
    }
    world.start().await;
    let after = world.handle().history(&key("fraud"), None, None).await.unwrap();
    assert_eq!(after, before);
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
}

#[tokio::test]
async fn a_second_service_on_the_same_directory_is_refused() {
    let world = World::immediate().await;
    let error = open(world.settings(), world.clock.clone()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("another kmlflow uses the data directory"), "{error}");
}

#[tokio::test]
async fn a_locked_repository_is_tried_again() {
    let mut world = World::immediate().await;
    let lock = world.dir.path().join("gitops.git/refs/heads/main.lock");
    std::fs::write(&lock, "").unwrap();
    let Ok(Answer::Queued { delivery, .. }) = world.ask(put("fraud", single("7"))).await else { panic!("not queued") };
    let failed = world.handle().delivery(&delivery).await.unwrap();
    assert_eq!((failed.state, failed.attempt), (DeliveryState::Failed, 1));
    assert!(failed.next_attempt_at.is_some() && failed.reason.is_some());
    std::fs::remove_file(&lock).unwrap();
    world.turn_clock(10).await;
    assert_eq!(world.handle().delivery(&delivery).await.unwrap().state, DeliveryState::Applied);
    assert_eq!(world.actions(), ["create"]);
}

#[tokio::test]
async fn a_refused_delivery_can_be_delivered_again() {
    let mut world = World::immediate().await;
    refusal(world.ask(put("fraud", canary("8"))).await);
    let refused = world.handle().deliveries(Default::default()).await.unwrap().items.remove(0);
    assert_eq!(refused.state, DeliveryState::Refused);
    world.put("fraud", single("7")).await;
    world.handle().redeliver(&refused.id).await.unwrap();
    world.run().await;
    assert_eq!(world.handle().delivery(&refused.id).await.unwrap().state, DeliveryState::Applied);
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
}
