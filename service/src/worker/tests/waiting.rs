//! What takes its time: phases, holds, storms, requests that wait.

use std::num::NonZeroU32;

use super::*;

fn queued(answer: Result<Answer, Fault>) -> (String, String) {
    match answer {
        Ok(Answer::Queued { delivery, waits_for }) => (delivery, waits_for),
        other => panic!("not queued: {other:?}"),
    }
}

/// A release of which one part of a request is done: what ran is taken back, and what was asked for waits until that is applied. Answers the delivery.
pub(super) async fn half_done(world: &mut World) -> String {
    world.put("fraud", single("7")).await;
    world.turn_clock(5).await;
    world.put("fraud", canary("8")).await;
    world.turn_clock(5).await;
    let (delivery, _) = queued(world.ask(put("fraud", single("9"))).await);
    let begun = world.handle().delivery(&delivery).await.unwrap();
    assert!(begun.commit.is_some(), "{begun:?}");
    delivery
}

#[tokio::test]
async fn what_is_carried_out_in_several_turns_is_one_intent_over_a_restart_too() {
    let mut world = World::blind().await;
    let delivery = half_done(&mut world).await;
    world.kill();
    world.start().await;
    while world.handle().delivery(&delivery).await.unwrap().state == crate::event::DeliveryState::Accepted {
        world.turn_clock(5).await;
    }
    let log = world.log();
    let of_it = log.iter().filter(|entry| trailer(entry, "Delivery-Id").as_deref() == Some(delivery.as_str()));
    let ids: Vec<_> = of_it.map(|entry| trailer(entry, "Release-Id").unwrap()).collect();
    assert!(ids.len() > 1 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let with_it = log.iter().filter(|entry| trailer(entry, "Release-Id").as_ref() == Some(&ids[0]));
    assert_eq!(with_it.count(), ids.len(), "nobody else has it");
}

#[tokio::test]
async fn phases_are_pushed_one_by_one_after_the_delay() {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    let (delivery, waits_for) = queued(world.ask(put("fraud", canary("8"))).await);
    assert!(waits_for.contains("v7"), "{waits_for}");
    assert_eq!(world.actions(), ["create"]);
    world.turn_clock(4).await;
    assert_eq!(world.actions(), ["create"]);
    world.turn_clock(1).await;
    assert_eq!(world.state("fraud").await, "canary entering stable=7 candidate=8");
    let delivery = world.handle().delivery(&delivery).await.unwrap();
    assert_eq!(delivery.state, crate::event::DeliveryState::Applied);
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
    world.act("fraud", Act::Promote { variant: None }).await;
    assert_eq!(world.state("fraud").await, "canary leaving stable=8 leaving=7");
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary leaving stable=8");
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
    assert_eq!(world.actions(), ["create", "enter", "step", "promote", "leave", "settle"]);
    world.turn_clock(60).await;
    assert_eq!(world.log().len(), 6, "left alone it stays");
}

#[tokio::test]
async fn steps_with_a_pause_go_on_by_themselves_and_a_pause_stops_them() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let steps = json!([{"weight": 5, "pause": "10m"}, {"weight": 50, "pause": "10m"}]);
    world.put("fraud", json!({"version": "8", "strategy": "canary", "steps": steps})).await;
    world.turn_clock(10).await;
    assert_eq!(world.view("fraud").await.release.rollout.step, Some(1));
    world.act("fraud", Act::Pause).await;
    world.turn_clock(60).await;
    assert_eq!(world.view("fraud").await.release.rollout.step, Some(1));
    world.act("fraud", Act::Resume).await;
    world.turn_clock(10).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn a_newer_request_replaces_one_that_waits() {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    let (older, _) = queued(world.ask(put("fraud", canary("8"))).await);
    let (newer, _) = queued(world.ask(put("fraud", canary("9"))).await);
    let older = world.handle().delivery(&older).await.unwrap();
    assert_eq!(older.state, crate::event::DeliveryState::Unchanged);
    assert!(older.reason.unwrap().contains(&newer));
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary entering stable=7 candidate=9");
}

#[tokio::test]
async fn what_waits_survives_a_restart() {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    queued(world.ask(put("fraud", canary("8"))).await);
    world.kill();
    world.start().await;
    world.run().await;
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary entering stable=7 candidate=8");
    world.kill();
    world.start().await;
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
}

#[tokio::test]
async fn while_held_everything_is_kept_and_nothing_applied() {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    let holds = world.handle().hold(None, "incident 42", "ada").await.unwrap();
    assert_eq!(holds.len(), 1);
    let (_, waits_for) = queued(world.ask(put("fraud", single("8"))).await);
    assert!(waits_for.contains("incident 42"), "{waits_for}");
    let event = world.event("spam", alias("champion", "1")).await;
    assert!(event.waits_for.unwrap().contains("held"));
    world.kill();
    world.start().await;
    world.run().await;
    assert_eq!(world.log().len(), 1);
    let production = EnvironmentName::parse("production").unwrap();
    let not_held = world.handle().unhold(Some(production), "", "ada").await;
    assert!(
        matches!(not_held, Err(Fault::Refused(refusal)) if refusal.cure.as_deref().unwrap().contains("`kmlflow unhold`"))
    );
    world.handle().unhold(None, "it is over", "ada").await.unwrap();
    world.run().await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
    assert_eq!(world.state("spam").await, "single settled live=1");
    assert!(world.handle().unhold(None, "", "ada").await.unwrap().is_empty(), "twice is once");
}

#[tokio::test]
async fn a_storm_of_events_is_let_through_minute_by_minute() {
    let mut world = World::with(Period::ZERO, 2).await;
    for n in 1..=5 {
        world.event(&format!("model-{n}"), alias("champion", "1")).await;
    }
    assert_eq!(world.log().len(), 2);
    world.kill();
    world.start().await;
    world.run().await;
    assert_eq!(world.log().len(), 2, "a restart makes no room");
    assert!(world.put("by-hand", single("1")).await.changed, "people are not held back");
    world.turn_clock(1).await;
    assert_eq!(world.log().len(), 5);
    world.turn_clock(1).await;
    assert_eq!(world.log().len(), 6);
    let waiting =
        crate::worker::DeliveryFilter { state: Some(crate::event::DeliveryState::Accepted), ..Default::default() };
    assert!(world.handle().deliveries(waiting).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_request_does_not_push_two_phases_at_once() {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    world.turn_clock(5).await;
    let (one, other) = (world.handle(), world.handle());
    let first = tokio::spawn(async move { one.request(put("fraud", canary("8")), Duration::from_secs(60)).await });
    let abort = Intent::Abort { keep: "v7".parse().unwrap(), reject: vec!["v8".parse().unwrap()] };
    let second = tokio::spawn(async move { other.request(request("fraud", abort), Duration::from_secs(60)).await });
    while !(first.is_finished() && second.is_finished()) {
        world.run().await;
        super::pause().await;
    }
    let metrics = world.handle().metrics().await;
    let releases = world.log().len();
    let pushes = metrics.lines().find_map(|line| line.strip_prefix("kmlflow_push_total{outcome=\"pushed\"} ")).unwrap();
    assert_eq!(pushes.parse::<usize>().unwrap(), releases, "each phase in a push of its own");
}

/// A service with newer templates than its two releases.
async fn with_outdated() -> World {
    let mut world = World::immediate().await;
    world.put("churn", single("7")).await;
    world.put("fraud", single("7")).await;
    world.kill();
    let template = include_str!("../../../../templates/seldon/route.yaml.j2").to_owned() + "\n";
    world.templates = Templates::with_overrides(BTreeMap::from([("route.yaml.j2".to_owned(), template)])).unwrap();
    world.start().await;
    world.run().await;
    world
}

#[tokio::test]
async fn at_a_rate_each_release_is_rendered_in_its_turn() {
    let mut world = with_outdated().await;
    let selection = crate::worker::RerenderSelection { per_minute: NonZeroU32::new(1), ..Default::default() };
    let lines = world.handle().rerender(selection, false, "ada").await.unwrap();
    assert_eq!(lines.iter().map(|line| line.outcome.as_str()).collect::<Vec<_>>(), ["queued", "queued"]);
    world.run().await;
    assert_eq!(world.actions(), ["create", "create", "render"], "the first goes at once");
    world.clock.advance(Duration::from_secs(59));
    world.run().await;
    assert_eq!(world.log().len(), 3, "the second waits for its turn");
    world.clock.advance(Duration::from_secs(1));
    world.run().await;
    assert_eq!(world.log().len(), 4);
    for line in lines {
        let delivery = world.handle().delivery(&line.delivery.unwrap()).await.unwrap();
        assert_eq!(delivery.state, crate::event::DeliveryState::Applied);
    }
}

#[tokio::test]
async fn what_waits_for_its_turn_survives_a_restart() {
    let mut world = with_outdated().await;
    let selection = crate::worker::RerenderSelection { per_minute: NonZeroU32::new(1), ..Default::default() };
    world.handle().rerender(selection, false, "ada").await.unwrap();
    world.run().await;
    world.kill();
    world.start().await;
    world.run().await;
    assert_eq!(world.actions(), ["create", "create", "render", "render"]);
}

#[tokio::test]
async fn without_a_rate_all_are_rendered_at_once() {
    let mut world = with_outdated().await;
    let handle = world.handle();
    let asked = tokio::spawn(async move { handle.rerender(Default::default(), false, "ada").await });
    while !asked.is_finished() {
        world.run().await;
        super::pause().await;
    }
    let lines = asked.await.unwrap().unwrap();
    assert!(lines.iter().all(|line| line.outcome == "rendered" && line.commit.is_some()), "{lines:?}");
    assert_eq!(world.log().len(), 4);
}

/// A service with a settled release whose last run was promoted just now.
async fn with_promoted() -> World {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    world.turn_clock(5).await;
    queued_or_done(world.ask(put("fraud", canary("8"))).await);
    world.turn_clock(5).await;
    world.act("fraud", Act::Promote { variant: None }).await;
    world.turn_clock(5).await;
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
    world
}

fn queued_or_done(answer: Result<Answer, Fault>) {
    assert!(matches!(answer, Ok(Answer::Queued { .. } | Answer::Done(_))), "{answer:?}");
}

#[tokio::test]
async fn an_act_that_was_done_already_leaves_what_waits() {
    let mut world = with_promoted().await;
    let (waiting, _) = queued(world.ask(put("fraud", canary("9"))).await);
    assert!(!world.act("fraud", Act::Promote { variant: None }).await.changed);
    assert_eq!(world.handle().delivery(&waiting).await.unwrap().state, crate::event::DeliveryState::Accepted);
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary entering stable=8 candidate=9");
}

#[tokio::test]
async fn a_request_for_what_is_deployed_replaces_what_waits() {
    let mut world = with_promoted().await;
    let (waiting, _) = queued(world.ask(put("fraud", canary("9"))).await);
    assert!(!world.put("fraud", single("8")).await.changed);
    let replaced = world.handle().delivery(&waiting).await.unwrap();
    assert_eq!(replaced.state, crate::event::DeliveryState::Unchanged);
    world.turn_clock(60).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn while_held_a_newer_request_replaces_the_older_one() {
    let mut world = World::immediate().await;
    world.put("fraud", single("1")).await;
    world.handle().hold(None, "incident 42", "ada").await.unwrap();
    let (older, _) = queued(world.ask(put("fraud", single("2"))).await);
    world.kill();
    world.start().await;
    world.run().await;
    let (pause, _) = queued(world.ask(request("fraud", Intent::Resume)).await);
    let (newer, _) = queued(world.ask(put("fraud", single("3"))).await);
    queued(world.ask(put("spam", single("1"))).await);
    let replaced = world.handle().delivery(&older).await.unwrap();
    assert_eq!(replaced.state, crate::event::DeliveryState::Unchanged, "{replaced:?}");
    assert!(replaced.reason.unwrap().contains(&newer));
    assert_eq!(world.handle().delivery(&pause).await.unwrap().state, crate::event::DeliveryState::Accepted);
    world.handle().unhold(None, "it is over", "ada").await.unwrap();
    world.run().await;
    assert_eq!(world.actions(), ["create", "update", "create"]);
    assert_eq!(world.state("fraud").await, "single settled live=3");
    assert_eq!(world.state("spam").await, "single settled live=1");
}

#[tokio::test]
async fn a_hold_in_the_middle_of_a_request_forgets_nothing_of_what_is_done() {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    world.turn_clock(5).await;
    world.put("fraud", canary("8")).await;
    world.turn_clock(5).await;
    let tag = world.view("fraud").await.etag;
    let third = Requested { guard: Guard { if_match: Some(tag), ..Guard::default() }, ..put("fraud", single("9")) };
    let (third, _) = queued(world.ask(third).await);
    world.handle().hold(None, "incident 42", "ada").await.unwrap();
    world.turn_clock(5).await;
    world.handle().unhold(None, "it is over", "ada").await.unwrap();
    for _ in 0..4 {
        world.turn_clock(5).await;
    }
    let done = world.handle().delivery(&third).await.unwrap();
    assert_eq!(done.state, crate::event::DeliveryState::Applied, "{done:?}");
    assert_eq!(world.state("fraud").await, "single settled live=9");
}

#[tokio::test]
async fn a_dry_run_of_what_would_wait_says_for_what_and_shows_what_comes_then() {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    let preview = world.handle().dry_run(put("fraud", canary("8"))).await.unwrap();
    assert!(preview.changed && preview.waits_for.unwrap().contains("v7 counts as live at"));
    assert!(preview.manifests["seldon.yaml"].contains("fraud:8") && preview.diff.contains("fraud:8"));
    assert_eq!(preview.action, Some(crate::release::Action::Enter));
    world.turn_clock(5).await;
    let preview = world.handle().dry_run(put("fraud", canary("8"))).await.unwrap();
    assert!(preview.changed && preview.waits_for.is_none());
    world.put("fraud", canary("8")).await;
    world.turn_clock(5).await;
    world.act("fraud", Act::Promote { variant: None }).await;
    let preview = world.handle().dry_run(put("fraud", canary("9"))).await.unwrap();
    assert!(preview.waits_for.is_some() && preview.diff.is_empty(), "what it becomes cannot be told yet");
    assert_eq!(world.state("fraud").await, "canary leaving stable=8 leaving=7");
}
