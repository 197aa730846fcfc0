//! Events of the registry: what the policy makes of them, and when a person's decision stands.

use super::*;
use crate::event::DeliveryState;

fn tag(version: &str, key: &str, value: &str) -> Value {
    json!({"kind": "tagSet", "version": version, "key": key, "value": value})
}

#[tokio::test]
async fn each_alias_of_the_default_policy_leads_to_its_strategy() {
    for (name, running) in [
        ("challenger", "canary running stable=7 candidate=8"),
        ("shadow", "shadow running live=7 shadow=8"),
        ("green", "blue-green running blue=7 green=8"),
        ("variant-b", "ab running a=7 b=8"),
    ] {
        let mut world = World::immediate().await;
        let first = world.event("fraud", alias("champion", "7")).await;
        assert_eq!(
            (first.state, first.release.as_deref()),
            (DeliveryState::Applied, Some("production/models/fraud")),
            "{first:?}"
        );
        let second = world.event("fraud", alias(name, "8")).await;
        assert_eq!(second.state, DeliveryState::Applied, "{second:?}");
        assert_eq!(world.state("fraud").await, running);
        let image = world.view("fraud").await.release.stable().unwrap().artifact.image.clone();
        assert_eq!(image.as_deref(), Some("registry.example/fraud:7"));
    }
}

#[tokio::test]
async fn champion_moved_to_the_candidate_is_a_promotion_and_a_gone_challenger_an_abort() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "7")).await;
    world.event("fraud", alias("challenger", "8")).await;
    world.event("fraud", alias("champion", "8")).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
    assert!(world.actions().contains(&"promote".to_owned()), "{:?}", world.actions());
    world.event("fraud", alias("challenger", "9")).await;
    assert_eq!(world.state("fraud").await, "canary running stable=8 candidate=9");
    world.event("fraud", json!({"kind": "aliasDeleted", "alias": "challenger"})).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
    assert!(world.actions().contains(&"abort".to_owned()), "{:?}", world.actions());
}

#[tokio::test]
async fn a_repeat_and_a_late_event_change_nothing() {
    let mut world = World::immediate().await;
    let at = world.clock.now_exact();
    let later = at.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap();
    world.deliver("one", "fraud", alias("champion", "8"), later).await;
    world.run().await;
    assert_eq!(world.deliver("one", "fraud", alias("champion", "8"), later).await, Received::Repeat);
    world.deliver("two", "fraud", alias("champion", "8"), later).await;
    world.deliver("three", "fraud", alias("champion", "7"), at).await;
    world.run().await;
    assert_eq!(world.actions(), ["create"]);
    assert_eq!(world.state("fraud").await, "single settled live=8");
    let late = world.handle().delivery("three").await.unwrap();
    assert_eq!(late.state, DeliveryState::Unchanged);
    assert!(late.reason.unwrap().contains("of the alias `champion` something newer is known, of "));
    let repeat = world.handle().delivery("two").await.unwrap().reason.unwrap();
    assert!(!repeat.contains("something newer"), "{repeat}");
}

#[tokio::test]
async fn a_delivery_that_changes_nothing_says_what_each_rule_said() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "7")).await;
    let first = world.event("fraud", alias("challenger", "8")).await;
    let superseded = world.event("fraud", alias("shadow", "9")).await;
    assert_eq!(superseded.state, DeliveryState::Unchanged, "{superseded:?}");
    let reason = superseded.reason.unwrap();
    assert!(reason.contains("superseded by rule"), "{reason}");
    world.handle().redeliver(&first.id).await.unwrap();
    world.run().await;
    assert_eq!(world.handle().delivery(&first.id).await.unwrap().commit, first.commit);
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
}

#[tokio::test]
async fn order_does_not_matter() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("challenger", "8")).await;
    assert!(world.log().is_empty());
    world.event("fraud", alias("champion", "7")).await;
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
}

#[tokio::test]
async fn two_steps_of_one_event_wait_for_each_other_also_over_a_restart() {
    let mut world = World::blind().await;
    world.event("fraud", alias("challenger", "8")).await;
    let event = world.event("fraud", alias("champion", "7")).await;
    assert_eq!((event.state, event.commit.is_some()), (DeliveryState::Accepted, true), "{event:?}");
    assert_eq!(world.state("fraud").await, "single settled live=7");
    world.kill();
    world.start().await;
    world.run().await;
    assert_eq!(world.log().len(), 1);
    world.turn_clock(5).await;
    assert_eq!(world.state("fraud").await, "canary entering stable=7 candidate=8");
    assert_eq!(world.handle().delivery("event-2").await.unwrap().state, DeliveryState::Applied);
}

#[tokio::test]
async fn a_rollback_sticks_until_the_alias_is_set_anew() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "7")).await;
    world.event("fraud", alias("champion", "8")).await;
    world.act("fraud", Act::Rollback { to: None }).await;
    let repeat = world.event("fraud", tag("8", "note", "x")).await;
    assert_eq!(repeat.state, DeliveryState::Unchanged, "{repeat:?}");
    assert_eq!(world.state("fraud").await, "single settled live=7");
    world.turn_clock(1).await;
    world.event("fraud", alias("champion", "8")).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn a_person_decides_until_the_registry_changes() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "7")).await;
    world.put("fraud", single("9")).await;
    let event = world.event("fraud", tag("7", "note", "x")).await;
    assert!(event.reason.unwrap().contains("ada"));
    assert_eq!(world.state("fraud").await, "single settled live=9");
    world.event("fraud", alias("champion", "8")).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn a_retracted_release_does_not_return_by_itself() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "7")).await;
    world.act("fraud", Act::Retract).await;
    let event = world.event("fraud", tag("7", "note", "x")).await;
    assert_eq!(event.state, DeliveryState::Unchanged, "{event:?}");
    world.event("fraud", alias("champion", "8")).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn a_wish_by_tag_is_answered_once() {
    let mut world = World::immediate().await;
    let at = world.clock.now_exact();
    let wish = tag("7", "kmlflow.release", "single");
    world.deliver("wish", "fraud", wish.clone(), at).await;
    world.run().await;
    assert_eq!(world.state("fraud").await, "single settled live=7");
    world.act("fraud", Act::Retract).await;
    world.deliver("again", "fraud", wish, at).await;
    world.run().await;
    assert_eq!(world.actions(), ["create", "retract"]);
    world.kill();
    world.start().await;
    let event = world.event("fraud", tag("7", "note", "x")).await;
    assert_ne!(event.state, DeliveryState::Applied, "{event:?}");
}

#[tokio::test]
async fn what_concerns_no_release_is_ignored_with_the_reason() {
    let mut world = World::immediate().await;
    let event = world.event("fraud", json!({"kind": "modelCreated"})).await;
    assert_eq!(event.state, DeliveryState::Ignored);
    assert!(event.reason.unwrap().contains("default"));
}

#[tokio::test]
async fn a_policy_that_does_not_parse_leaves_the_last_one_in_force() {
    let mut world = World::immediate().await;
    world.push(vec![("policies/default.yaml".into(), Some("spec: [".into()))]).await;
    let verdict = world.handle().policy_test(
        "fraud".parse().unwrap(),
        BTreeMap::from([("champion".parse().unwrap(), "7".parse().unwrap())]),
        BTreeMap::new(),
    );
    assert_eq!(verdict.stable, Some("7".parse().unwrap()));
    assert!(verdict.warnings[0].ends_with("; the last version of it that could be read stays in force"));
    world.push(vec![("policies/new.yaml".into(), Some("spec: [".into()))]).await;
    let verdict = world.handle().policy_test("fraud".parse().unwrap(), BTreeMap::new(), BTreeMap::new());
    assert!(verdict.warnings[1].ends_with("; it is not in force"), "{:?}", verdict.warnings);
    world.kill();
    world.start().await;
    world.event("fraud", alias("champion", "7")).await;
    assert_eq!(world.state("fraud").await, "single settled live=7");
}

#[tokio::test]
async fn the_registry_going_back_is_a_change_also_after_a_person_was_ahead_of_it() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "7")).await;
    world.put("fraud", json!({"model": "fraud", "version": "8"})).await;
    let caught_up = world.event("fraud", alias("champion", "8")).await;
    assert_eq!(caught_up.state, DeliveryState::Unchanged, "{caught_up:?}");
    world.event("fraud", alias("champion", "7")).await;
    assert_eq!(world.state("fraud").await, "single settled live=7");
}

#[tokio::test]
async fn a_clock_far_ahead_does_not_win_for_ever() {
    let mut world = World::immediate().await;
    let far = world.clock.now_exact().saturating_add(jiff::SignedDuration::from_hours(24 * 365)).unwrap();
    world.deliver("far", "fraud", alias("champion", "8"), far).await;
    world.run().await;
    world.turn_clock(10).await;
    world.event("fraud", alias("champion", "7")).await;
    assert_eq!(world.state("fraud").await, "single settled live=7");
}

#[tokio::test]
async fn an_image_tag_that_is_no_image_is_refused() {
    let mut world = World::immediate().await;
    world.event("fraud", tag("7", "serving_image", "evil {{ image }}\n")).await;
    let event = world.event("fraud", alias("champion", "7")).await;
    assert_eq!(event.state, DeliveryState::Refused, "{event:?}");
    assert!(world.log().is_empty());
}

#[tokio::test]
async fn a_directory_removed_by_a_push_does_not_return_at_an_event_that_changes_nothing() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "7")).await;
    world.push(vec![("releases/production/models/fraud".to_owned(), None)]).await;
    let other = world.event("fraud", alias("tryout", "8")).await;
    assert_eq!(other.state, DeliveryState::Unchanged, "{other:?}");
    assert!(world.handle().release(&key("fraud")).await.is_err());
    world.event("fraud", alias("champion", "8")).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
}

fn gone(alias: &str) -> Value {
    json!({"kind": "aliasDeleted", "alias": alias})
}

#[tokio::test]
async fn a_wish_that_was_refused_is_granted_when_it_is_given_in_again_after_the_cure() {
    let mut world = World::immediate().await;
    let wish = tag("8", "kmlflow.release", "canary");
    let at = world.clock.now_exact();
    world.deliver("wish", "fraud", wish.clone(), at).await;
    world.run().await;
    assert_eq!(world.handle().delivery("wish").await.unwrap().state, DeliveryState::Refused);
    let other = world.event("fraud", tag("8", "note", "x")).await;
    assert_eq!(other.state, DeliveryState::Ignored, "a refused wish is not tried by other deliveries: {other:?}");
    world.put("fraud", single("7")).await;
    assert_ne!(world.deliver("wish", "fraud", wish.clone(), at).await, Received::Repeat);
    world.run().await;
    assert_eq!(world.handle().delivery("wish").await.unwrap().state, DeliveryState::Applied);
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
    world.act("fraud", Act::Abort).await;
    world.handle().redeliver("wish").await.unwrap();
    world.run().await;
    assert_eq!(world.state("fraud").await, "single settled live=7", "what was granted is not granted twice");
}

#[tokio::test]
async fn a_refused_wish_is_tried_again_by_redelivery_after_a_restart() {
    let mut world = World::immediate().await;
    let refused = world.event("fraud", tag("8", "kmlflow.release", "canary")).await;
    assert_eq!(refused.state, DeliveryState::Refused);
    world.put("fraud", single("7")).await;
    world.kill();
    world.start().await;
    world.handle().redeliver(&refused.id).await.unwrap();
    world.run().await;
    assert_eq!(world.state("fraud").await, "canary running stable=7 candidate=8");
}

#[tokio::test]
async fn a_wish_for_no_strategy_is_refused_once_with_the_known_ones() {
    let mut world = World::immediate().await;
    let bogus = world.event("fraud", tag("8", "kmlflow.release", "bogus")).await;
    assert_eq!(bogus.state, DeliveryState::Refused, "{bogus:?}");
    let (reason, cure) = (bogus.reason.unwrap(), bogus.cure.unwrap());
    assert!(reason.contains("`bogus`") && reason.contains("blue-green"), "{reason}");
    assert!(cure.contains("`kmlflow.release`"), "{cure}");
    let next = world.event("fraud", alias("champion", "7")).await;
    assert_eq!(next.state, DeliveryState::Applied, "{next:?}");
    assert!(!next.reason.unwrap().contains("bogus"));
}

#[tokio::test]
async fn an_alias_that_was_away_and_is_back_is_set_anew_whatever_the_clocks_say() {
    for moved in [gone("challenger"), alias("challenger", "3")] {
        let mut world = World::immediate().await;
        // The sender's clock is half a minute behind, and all happens within one second of it.
        let start = world.clock.now_exact().saturating_add(jiff::SignedDuration::from_secs(-30)).unwrap();
        let facts = [alias("champion", "1"), alias("challenger", "2"), moved, alias("challenger", "2")];
        for (n, fact) in facts.into_iter().enumerate() {
            if n == 2 {
                world.act("fraud", Act::Abort).await;
                assert_eq!(world.view("fraud").await.release.rollout.rejected.len(), 1);
            }
            let at = start.saturating_add(jiff::SignedDuration::from_millis(n as i64)).unwrap();
            world.deliver(&format!("d-{n}"), "fraud", fact, at).await;
            world.run().await;
        }
        assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=2");
        assert!(world.view("fraud").await.release.rollout.rejected.iter().all(|r| r.version.as_str() != "2"));
    }
}

#[tokio::test]
async fn the_abort_of_a_gone_alias_saw_it_gone() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "1")).await;
    world.event("fraud", alias("challenger", "2")).await;
    world.event("fraud", gone("challenger")).await;
    assert_eq!(world.view("fraud").await.release.rollout.rejected.len(), 1);
    world.kill();
    world.start().await;
    world.event("fraud", alias("challenger", "2")).await;
    assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=2");
}

#[tokio::test]
async fn a_run_that_no_alias_asks_for_ends_although_the_next_rule_names_a_rejected_version() {
    let mut world = World::immediate().await;
    world.event("fraud", alias("champion", "1")).await;
    world.event("fraud", alias("shadow", "2")).await;
    world.act("fraud", Act::Abort).await;
    world.event("fraud", alias("challenger", "3")).await;
    assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=3");
    let event = world.event("fraud", gone("challenger")).await;
    assert_eq!(world.state("fraud").await, "single settled live=1");
    let reason = event.reason.unwrap();
    assert!(reason.contains("version 2 was rejected (aborted by ada)") && !reason.contains("runs as"), "{reason}");
}
