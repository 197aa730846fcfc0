//! Deliveries that somebody gives in again long after they were carried out.

use super::waiting::half_done;
use super::*;
use crate::event::DeliveryState;

/// The id of the newest delivery.
async fn newest(world: &World) -> String {
    world.handle().deliveries(Default::default()).await.unwrap().items.remove(0).id
}

async fn state_of(world: &World, id: &str) -> DeliveryState {
    world.handle().delivery(id).await.unwrap().state
}

/// Gives a delivery in again that was overtaken, and says by what.
async fn overtaken(world: &mut World, id: &str) -> String {
    let before = (world.log().len(), state_of(world, id).await);
    let view = world.handle().redeliver(id).await.unwrap();
    assert_eq!(view.state, DeliveryState::Unchanged, "{view:?}");
    assert!(view.cure.as_deref().unwrap().contains("`kmlflow release fraud -n models -e production …`"), "{view:?}");
    world.run().await;
    assert_eq!((world.log().len(), state_of(world, id).await), before, "it stays as it was");
    view.reason.unwrap()
}

#[tokio::test]
async fn what_was_carried_out_long_ago_does_not_undo_what_was_asked_since() {
    let mut world = with_fraud().await;
    let first = newest(&world).await;
    world.put("fraud", canary("8")).await;
    let second = newest(&world).await;
    let reason = overtaken(&mut world, &first).await;
    assert!(reason.contains("ada asked for something else"), "{reason}");
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
    world.act("fraud", Act::Abort).await;
    overtaken(&mut world, &second).await;
    assert_eq!(world.state("fraud").await, "single settled live=7");
    // What changed nothing is no wish that stands either, once something else was asked for.
    assert!(!world.put("fraud", single("7")).await.changed);
    let third = newest(&world).await;
    world.clock.advance(Duration::from_secs(1));
    world.put("fraud", canary("8")).await;
    overtaken(&mut world, &third).await;
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
}

#[tokio::test]
async fn a_change_by_hand_since_then_stays_too() {
    let mut world = with_fraud().await;
    let first = newest(&world).await;
    let document = world.read("fraud", "release.yaml").unwrap().replace("replicas: 1", "replicas: 3");
    world.push(vec![(path("release.yaml"), Some(document))]).await;
    let reason = overtaken(&mut world, &first).await;
    assert!(reason.contains("Ada asked for something else: "), "{reason}");
    assert_eq!(world.view("fraud").await.release.spec.serving.replicas, Some(3));
}

#[tokio::test]
async fn a_newer_request_that_waits_is_not_replaced_by_an_older_one_that_is_given_in_again() {
    let mut world = World::blind().await;
    refusal(world.ask(put("fraud", canary("8"))).await);
    let refused = newest(&world).await;
    world.put("fraud", single("7")).await;
    let first = newest(&world).await;
    let Ok(Answer::Queued { delivery: waiting, .. }) = world.ask(put("fraud", canary("9"))).await else {
        panic!("it was not queued")
    };
    let reason = overtaken(&mut world, &first).await;
    assert!(reason.contains(&format!("delivery {waiting} was accepted, which waits for: v7")), "{reason}");
    // Nothing came of what was refused, so it is tried again, in its place: before what was asked for since.
    world.handle().redeliver(&refused).await.unwrap();
    world.run().await;
    let again = world.handle().delivery(&refused).await.unwrap();
    assert_eq!(again.reason, Some(format!("replaced by the newer delivery {waiting}")), "{again:?}");
    assert_eq!(state_of(&world, &waiting).await, DeliveryState::Accepted);
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary entering stable=7 candidate=9");
}

#[tokio::test]
async fn what_nothing_else_was_asked_after_is_tried_again_whatever_happened_by_itself() {
    let mut world = with_fraud().await;
    let steps = json!([{"weight": 5, "pause": "10m"}, {"weight": 50, "pause": "10m"}]);
    world.put("fraud", json!({"version": "8", "strategy": "canary", "steps": steps})).await;
    let newest = newest(&world).await;
    world.turn_clock(10).await;
    assert_eq!(world.view("fraud").await.release.rollout.step, Some(1));
    let view = world.handle().redeliver(&newest).await.unwrap();
    assert_eq!(view.state, DeliveryState::Accepted, "{view:?}");
    world.run().await;
    assert_eq!(state_of(&world, &newest).await, DeliveryState::Unchanged);
    assert_eq!(world.view("fraud").await.release.rollout.step, Some(1), "its progress is kept");
}

#[tokio::test]
async fn an_older_request_that_changes_nothing_when_it_is_given_in_again_leaves_what_waits() {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    let rendered = world.read("fraud", "seldon.yaml").unwrap();
    world.push(vec![(path("seldon.yaml"), Some(format!("# by hand\n{rendered}")))]).await;
    refusal(world.ask(put("fraud", single("7"))).await);
    let refused = newest(&world).await;
    world.push(vec![(path("seldon.yaml"), Some(rendered))]).await;
    let Ok(Answer::Queued { delivery: waiting, .. }) = world.ask(put("fraud", canary("9"))).await else {
        panic!("it was not queued")
    };
    world.handle().redeliver(&refused).await.unwrap();
    world.run().await;
    assert_eq!(state_of(&world, &refused).await, DeliveryState::Unchanged);
    assert_eq!(state_of(&world, &waiting).await, DeliveryState::Accepted);
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary entering stable=7 candidate=9");
}

#[tokio::test]
async fn what_is_given_in_again_while_it_waits_in_the_queue_is_carried_out_once() {
    let mut world = World::immediate().await;
    let new = |id: &str, name: &str| NewDelivery {
        source: Source::Generic,
        id: DeliveryId::parse(id).unwrap(),
        received_at: world.clock.now_exact(),
        body: "{}".into(),
        event: Event::Requested(Box::new(put(name, single("7")))),
    };
    let handle = world.handle();
    handle.deliver(new("ci-1", "fraud")).await.unwrap();
    let again = handle.redeliver("ci-1").await.unwrap();
    assert_eq!(again.state, DeliveryState::Accepted, "{again:?}");
    handle.redeliver("ci-1").await.unwrap();
    handle.deliver(new("ci-2", "other")).await.unwrap();
    world.run().await;
    for id in ["ci-1", "ci-2"] {
        let told = handle.delivery(id).await.unwrap();
        assert!(told.state == DeliveryState::Applied && told.commit.is_some(), "{told:?}");
    }
    assert_eq!(world.actions(), ["create", "create"]);
}

#[tokio::test]
async fn what_is_given_in_again_while_it_waits_for_its_release_goes_on_from_what_it_has_done() {
    let mut world = World::blind().await;
    let delivery = half_done(&mut world).await;
    let waits = world.handle().delivery(&delivery).await.unwrap();
    let again = world.handle().redeliver(&delivery).await.unwrap();
    assert!(again.waits_for.is_some() && again.waits_for == waits.waits_for, "{again:?}");
    assert!(again.commit.is_some() && again.commit == waits.commit, "{again:?}");
    let before = world.log().len();
    world.run().await;
    assert_eq!((world.log().len(), state_of(&world, &delivery).await), (before, DeliveryState::Accepted));
    while state_of(&world, &delivery).await == DeliveryState::Accepted {
        world.turn_clock(5).await;
    }
    let told = world.handle().delivery(&delivery).await.unwrap();
    assert_eq!(told.state, DeliveryState::Applied, "{told:?}");
    assert_ne!(told.commit, waits.commit);
}
