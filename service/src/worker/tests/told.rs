//! What the registry is told: how each version fares.

use super::tracking_server::world;
use super::*;
use crate::event::DeliveryState;

#[tokio::test]
async fn versions_are_told_how_they_fare() {
    let mut world = world().await;
    let first = world.set_alias("champion", 1).await;
    let status = |world: &World, version: u32, name: &str| world.registry().status("fraud", version, name);
    assert_eq!(status(&world, 1, "state").as_deref(), Some("serving"));
    assert_eq!(status(&world, 1, "release").as_deref(), Some("production/models/fraud"));
    assert_eq!(status(&world, 1, "commit"), first.commit.map(|commit| commit.to_string()));
    assert_eq!(status(&world, 1, "url").as_deref(), Some("http://fraud-models.k5w.localhost/v2/models/fraud/infer"));
    world.set_alias("challenger", 2).await;
    assert_eq!(status(&world, 2, "state").as_deref(), Some("running"));
    world.act("fraud", Act::Abort).await;
    assert_eq!(status(&world, 2, "state").as_deref(), Some("rejected"));
    assert_eq!(status(&world, 2, "reason").as_deref(), Some("aborted by ada"));
    assert_eq!(status(&world, 2, "url"), None, "it answers no more");
    world.set_alias("champion", 3).await;
    assert_eq!(
        (status(&world, 1, "state"), status(&world, 3, "state")),
        (Some("retired".into()), Some("serving".into()))
    );
}

#[tokio::test]
async fn a_refused_version_is_told_why() {
    let mut world = world().await;
    world.registry().set_tag("fraud", 2, "kmlflow.release", "blue");
    let wish = json!({"kind": "tagSet", "version": "2", "key": "kmlflow.release", "value": "blue"});
    let refused = world.event("fraud", wish).await;
    assert_eq!(refused.state, DeliveryState::Refused);
    let registry = world.registry();
    assert_eq!(registry.status("fraud", 2, "state").as_deref(), Some("refused"));
    let reason = registry.status("fraud", 2, "reason").unwrap();
    assert!(reason.contains("blue-green"), "it names the known ones: {reason}");
}

#[tokio::test]
async fn tags_that_could_not_be_written_hold_up_nothing_and_the_sweep_writes_them() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(1));
    world.registry().content().is_read_only = true;
    let event = world.event("fraud", alias("champion", "1")).await;
    assert_eq!(event.state, DeliveryState::Applied);
    assert_eq!(world.registry().status("fraud", 1, "state"), None);
    world.registry().content().is_read_only = false;
    world.sweep(false).await;
    assert_eq!(world.registry().status("fraud", 1, "state").as_deref(), Some("serving"));
    let writes = |world: &World| world.registry().content().asked.iter().filter(|asked| *asked == "write").count();
    let before = writes(&world);
    world.sweep(false).await;
    assert_eq!(writes(&world), before, "what is written is not written again");
}

#[tokio::test]
async fn after_a_flip_the_active_colour_serves_and_the_other_is_idle() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.put("fraud", json!({"model": "fraud", "version": "2", "strategy": "blue-green"})).await;
    let states = |world: &World| [1, 2].map(|version| world.registry().status("fraud", version, "state").unwrap());
    assert_eq!(states(&world), ["serving", "idle"]);
    world.act("fraud", Act::Advance).await;
    assert_eq!(states(&world), ["idle", "serving"]);
}

#[tokio::test]
async fn a_refusal_about_a_version_that_serves_stands_beside_its_state() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    refusal(world.ask(put("another", canary("1"))).await);
    let registry = world.registry();
    assert_eq!(registry.status("fraud", 1, "state").as_deref(), Some("serving"));
    assert_eq!(registry.status("fraud", 1, "release").as_deref(), Some("production/models/fraud"));
    let reason = registry.status("fraud", 1, "reason").unwrap();
    world.sweep(false).await;
    assert_eq!(world.registry().status("fraud", 1, "reason"), Some(reason), "it is the answer until something changes");
    world.set_alias("champion", 2).await;
    assert_eq!(world.registry().status("fraud", 1, "reason"), None);
}

#[tokio::test]
async fn the_sweep_says_again_that_a_version_was_rejected() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.set_alias("challenger", 2).await;
    world.act("fraud", Act::Abort).await;
    refusal(world.ask(put("another", canary("2"))).await);
    assert_eq!(world.registry().status("fraud", 2, "state").as_deref(), Some("refused"));
    world.sweep(true).await;
    assert_eq!(world.registry().status("fraud", 2, "state").as_deref(), Some("refused"), "a look writes nothing");
    world.sweep(false).await;
    assert_eq!(world.registry().status("fraud", 2, "state").as_deref(), Some("rejected"));
    assert_eq!(world.registry().status("fraud", 2, "reason").as_deref(), Some("aborted by ada"));
}

#[tokio::test]
async fn the_sweep_tells_why_a_version_is_refused_now() {
    let mut world = world().await;
    world.registry().register_one("fraud", 6, &[]);
    world.set_alias("champion", 6).await;
    let before = world.registry().status("fraud", 6, "reason").unwrap();
    world.registry().locate("fraud", "file:///srv/mlruns/6");
    world.sweep(false).await;
    let now = world.registry().status("fraud", 6, "reason").unwrap();
    assert!(now != before && now.contains("file:"), "{before}\n{now}");
    assert_eq!(world.registry().status("fraud", 6, "state").as_deref(), Some("refused"));
}

#[tokio::test]
async fn an_old_reason_goes_with_the_next_state_also_after_a_restart() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.set_alias("champion", 2).await;
    world.act("fraud", Act::Rollback { to: None }).await;
    assert!(world.registry().status("fraud", 2, "reason").is_some());
    world.kill();
    world.start().await;
    world.put("fraud", single("2")).await;
    assert_eq!(world.registry().status("fraud", 2, "state").as_deref(), Some("serving"));
    assert_eq!(world.registry().status("fraud", 2, "reason"), None);
}

#[tokio::test]
async fn a_wish_that_was_changed_before_its_tag_was_deleted_stays() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.registry().set_tag("fraud", 2, "kmlflow.release", "canary");
    world.registry().content().is_read_only = true;
    let wish = json!({"kind": "tagSet", "version": "2", "key": "kmlflow.release", "value": "canary"});
    world.event("fraud", wish).await;
    world.registry().content().is_read_only = false;
    world.registry().set_tag("fraud", 2, "kmlflow.release", "shadow");
    world.act("fraud", Act::Abort).await;
    assert_eq!(world.registry().tag("fraud", 2, "kmlflow.release").as_deref(), Some("shadow"));
}

#[tokio::test]
async fn what_the_registry_was_not_told_before_a_restart_the_sweep_tells() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.registry().content().is_down = true;
    world.put("fraud", single("4")).await;
    world.start().await;
    world.registry().content().is_down = false;
    world.sweep(false).await;
    assert_eq!(world.registry().status("fraud", 1, "state").as_deref(), Some("retired"));
    assert_eq!(world.registry().status("fraud", 4, "state").as_deref(), Some("serving"));
    world.registry().content().is_down = true;
    world.done(request("fraud", Intent::Retract)).await;
    world.start().await;
    world.registry().content().is_down = false;
    world.sweep(false).await;
    assert_eq!(world.registry().status("fraud", 4, "state").as_deref(), Some("retired"));
    assert_eq!(world.registry().status("fraud", 4, "url"), None);
}

#[tokio::test]
async fn tags_that_could_not_be_written_for_a_while_are_written_then() {
    let mut world = world().await;
    world.registry().content().busy = Some("write");
    world.set_alias("champion", 1).await;
    assert_eq!(world.registry().status("fraud", 1, "state"), None);
    world.registry().content().busy = None;
    world.run().await;
    assert_eq!(world.registry().status("fraud", 1, "state").as_deref(), Some("serving"));
}

#[tokio::test]
async fn a_wish_that_is_set_again_is_a_new_one_also_where_its_event_got_lost() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    for _ in 0..2 {
        world.registry().set_tag("fraud", 2, "kmlflow.release", "canary");
        world.sweep(false).await;
        assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=2");
        assert_eq!(world.registry().tag("fraud", 2, "kmlflow.release"), None);
        world.act("fraud", Act::Abort).await;
    }
}
