//! Bounds that are reached, and a store that stays behind.

use tokio::sync::oneshot;

use super::*;

async fn with_limits(limits: impl Fn(&mut Limits)) -> World {
    let mut world = World::immediate().await;
    world.kill();
    limits(&mut world.limits);
    world.start().await;
    world
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_read_from_the_store_in_its_order() {
    let mut world = with_limits(|limits| limits.queued = 2).await;
    for n in 1..=7 {
        let at = world.clock.now_exact();
        world.deliver(&format!("event-{n}"), &format!("model-{n}"), alias("champion", "1"), at).await;
    }
    world.run().await;
    let done: Vec<String> = world.log().iter().filter_map(|entry| trailer(entry, "Delivery-Id")).collect();
    assert_eq!(done, (1..=7).map(|n| format!("event-{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_did_not_fit_into_memory_survives_a_restart() {
    let mut world = with_limits(|limits| limits.queued = 2).await;
    for n in 1..=5 {
        let at = world.clock.now_exact();
        world.deliver(&format!("event-{n}"), &format!("model-{n}"), alias("champion", "1"), at).await;
    }
    world.kill();
    world.start().await;
    world.run().await;
    assert_eq!(world.log().len(), 5);
}

#[tokio::test]
async fn a_request_that_leads_to_too_many_commits_waits_and_goes_on_in_another_turn() {
    let mut world = with_limits(|limits| limits.following = 1).await;
    world.put("fraud", single("7")).await;
    world.put("fraud", canary("8")).await;
    let promote = world.absolute("fraud", Act::Promote { variant: None }).await.unwrap();
    let (delivery, waits_for) = match world.ask(promote).await {
        Ok(Answer::Queued { delivery, waits_for }) => (delivery, waits_for),
        other => panic!("not queued: {other:?}"),
    };
    assert!(waits_for.contains("of one turn"), "{waits_for}");
    world.run().await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
    let delivery = world.handle().delivery(&delivery).await.unwrap();
    assert_eq!(delivery.state, crate::event::DeliveryState::Applied);
}

#[tokio::test]
async fn while_the_store_stays_behind_the_service_is_not_ready_and_still_ends_when_told_to() {
    let mut world = World::immediate().await;
    assert_eq!(world.handle().ready().await, Ok(None));
    world.sql("CREATE TRIGGER broken BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ABORT, 'broken'); END").await;
    let (handle, worker) = world.parts.take().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(worker.run(async move { drop(stopped.await) }));
    let asking = handle.clone();
    let asked = tokio::spawn(async move { asking.request(put("fraud", single("7")), Duration::from_secs(60)).await });
    while handle.ready().await.is_ok() {
        super::pause().await;
    }
    assert!(handle.ready().await.unwrap_err().contains("store refuses"));
    stop.send(()).unwrap();
    running.await.unwrap();
    assert!(handle.ready().await.unwrap_err().contains("worker has ended"));
    assert!(matches!(asked.await.unwrap(), Ok(Answer::Done(_))), "Git has it");
    drop(handle);
    world.sql("DROP TRIGGER broken").await;
    world.start().await;
    world.run().await;
    assert_eq!(world.log().len(), 1, "the next start finds in Git what the store does not know");
    let filter =
        crate::worker::DeliveryFilter { state: Some(crate::event::DeliveryState::Accepted), ..Default::default() };
    assert!(world.handle().deliveries(filter).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_large_turn_renders_each_release_once() {
    let mut world = World::immediate().await;
    const RELEASES: usize = 40;
    for number in 0..RELEASES {
        let name = format!("m{number}");
        let id = DeliveryId::parse(&format!("ci-{number}")).unwrap();
        let event = Event::Requested(Box::new(put(&name, single("7"))));
        let received_at = world.clock.now_exact();
        let new = NewDelivery { source: Source::Generic, id, received_at, body: "{}".into(), event };
        world.handle().deliver(new).await.unwrap();
    }
    world.run().await;
    assert_eq!(world.actions().len(), RELEASES);
    let metrics = world.handle().metrics().await;
    let count = format!("kmlflow_render_duration_seconds_count {RELEASES}\n");
    assert!(metrics.contains(&count), "what is rendered ahead is what the turn comes to: {metrics}");
}

#[tokio::test]
async fn a_rollback_is_first_in_line_however_much_waits_in_the_store_before_it() {
    let mut world = World::new(Period::ZERO, 1_000);
    world.limits = Limits { queued: 2, turn: 2, ..Limits::default() };
    world.start().await;
    world.put("fraud", single("7")).await;
    world.put("fraud", single("8")).await;
    let back = world.absolute("fraud", Act::Rollback { to: None }).await.unwrap();
    let others = (0..8).map(|number| put(&format!("m{number}"), single("1")));
    let mut backlog: Vec<Requested> = others.collect();
    // What was asked of the release before and never was in force is not done before it, and not after it.
    backlog.insert(4, put("fraud", single("9")));
    backlog.push(back);
    for (number, requested) in backlog.into_iter().enumerate() {
        let new = NewDelivery {
            source: Source::Generic,
            id: DeliveryId::parse(&format!("ci-{number}")).unwrap(),
            received_at: world.clock.now_exact(),
            body: "{}".into(),
            event: Event::Requested(Box::new(requested)),
        };
        world.handle().deliver(new).await.unwrap();
    }
    world.run().await;
    let actions = world.actions();
    assert_eq!(actions[..3], ["create", "update", "rollback"], "{actions:?}");
    assert_eq!(actions[3..], vec!["create"; 8], "nothing is lost");
    let before = world.handle().delivery("ci-4").await.unwrap();
    assert_eq!(before.reason.as_deref(), Some("replaced by the newer delivery ci-9"), "{before:?}");
    assert_eq!(world.state("fraud").await, "single settled live=7");
}
