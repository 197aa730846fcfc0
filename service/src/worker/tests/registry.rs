//! With a tracking server: what it says wins over what events say, wishes are answered once, and the sweep finds what got lost.

use super::super::DifferenceKind;
use super::tracking_server::world;
use super::*;
use crate::event::DeliveryState;

#[tokio::test]
async fn what_the_registry_says_wins_over_what_an_event_says() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(2));
    // Out of order: the event of before arrives last.
    let late = world.event("fraud", alias("champion", "1")).await;
    assert_eq!(late.state, DeliveryState::Applied, "{late:?}");
    assert_eq!(world.state("fraud").await, "single settled live=2");
    let again = world.event("fraud", alias("champion", "1")).await;
    assert_eq!(again.state, DeliveryState::Unchanged);
    assert_eq!(world.state("fraud").await, "single settled live=2");
}

#[tokio::test]
async fn a_model_that_the_registry_does_not_have_is_ignored() {
    let mut world = world().await;
    let test = world.event("example_model", alias("example_alias", "1")).await;
    assert_eq!(test.state, DeliveryState::Ignored);
    assert!(test.reason.unwrap().contains("has no model `example_model`"));
    assert!(world.actions().is_empty());
}

#[tokio::test]
async fn an_alias_of_a_version_that_is_not_there_counts_as_not_set() {
    let mut world = world().await;
    let event = world.set_alias("champion", 9).await;
    assert_eq!(event.state, DeliveryState::Ignored, "{event:?}");
    assert!(world.actions().is_empty());
}

#[tokio::test]
async fn a_burst_about_one_model_is_read_once_or_twice() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(1));
    let at = world.clock.now_exact();
    for n in 0..40 {
        world.deliver(&format!("burst-{n}"), "fraud", alias("champion", "1"), at).await;
    }
    world.run().await;
    assert_eq!(world.actions(), ["create"]);
    let reads = world.registry().content().asked.iter().filter(|asked| *asked == "model").count();
    assert!(reads <= 2, "{reads} reads for 40 deliveries");
    for n in 0..40 {
        let state = world.handle().delivery(&format!("burst-{n}")).await.unwrap().state;
        assert!(!state.is_waiting(), "{n}: {state}");
    }
}

#[tokio::test]
async fn while_the_registry_is_down_a_delivery_waits_and_is_carried_out_afterwards() {
    let mut world = world().await;
    world.registry().content().is_down = true;
    let waiting = world.set_alias("champion", 1).await;
    assert_eq!(waiting.state, DeliveryState::Failed);
    assert!(waiting.reason.as_ref().unwrap().contains("the registry could not be asked about `fraud`"), "{waiting:?}");
    assert!(waiting.next_attempt_at.is_some());
    world.registry().content().is_down = false;
    world.turn_clock(10).await;
    assert_eq!(world.handle().delivery(&waiting.id).await.unwrap().state, DeliveryState::Applied);
    assert_eq!(world.state("fraud").await, "single settled live=1");
}

#[tokio::test]
async fn a_restart_reads_again_what_was_accepted_before() {
    let mut world = world().await;
    let at = world.clock.now_exact();
    world.deliver("one", "fraud", alias("champion", "1"), at).await;
    world.kill();
    world.registry().alias("fraud", "champion", Some(3));
    world.start().await;
    world.run().await;
    assert_eq!(world.state("fraud").await, "single settled live=3");
}

#[tokio::test]
async fn a_wish_is_answered_once_and_its_tag_deleted() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.registry().set_tag("fraud", 2, "kmlflow.release", "canary");
    let wish = json!({"kind": "tagSet", "version": "2", "key": "kmlflow.release", "value": "canary"});
    let answered = world.event("fraud", wish).await;
    assert_eq!(answered.state, DeliveryState::Applied, "{answered:?}");
    assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=2");
    assert!(!world.registry().tags("fraud", 2).contains_key("kmlflow.release"));
    world.act("fraud", Act::Abort).await;
    let commits = world.log().len();
    for _ in 0..3 {
        world.sweep(false).await;
    }
    assert_eq!(world.log().len(), commits, "it was answered");
}

#[tokio::test]
async fn a_wish_whose_tag_cannot_be_deleted_is_answered_once_all_the_same_and_again_when_set_anew() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.registry().content().is_read_only = true;
    world.registry().set_tag("fraud", 2, "kmlflow.release", "single");
    let wish = || json!({"kind": "tagSet", "version": "2", "key": "kmlflow.release", "value": "single"});
    world.event("fraud", wish()).await;
    assert_eq!(world.state("fraud").await, "single settled live=2");
    world.act("fraud", Act::Rollback { to: None }).await;
    world.start().await;
    world.sweep(false).await;
    world.event("fraud", json!({"kind": "tagSet", "version": "1", "key": "note", "value": "x"})).await;
    assert_eq!(world.state("fraud").await, "single settled live=1", "the tag is still there, and was answered");
    world.clock.advance(Duration::from_secs(60));
    world.event("fraud", wish()).await;
    assert_eq!(world.state("fraud").await, "single settled live=2", "it was set anew");
}

#[tokio::test]
async fn a_lost_event_costs_no_more_than_the_time_to_the_next_sweep() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(1));
    let looked = world.sweep(true).await;
    assert_eq!(looked.differences[0].kind, DifferenceKind::Repaired, "{looked:?}");
    assert!(looked.dry_run && world.actions().is_empty());
    let report = world.sweep(false).await;
    assert!(report.differences[0].delivery.is_some(), "{report:?}");
    assert_eq!(world.state("fraud").await, "single settled live=1");
    let delivery = world.handle().delivery(report.differences[0].delivery.as_ref().unwrap()).await.unwrap();
    assert_eq!((delivery.source, delivery.state), (Source::Sweep, DeliveryState::Applied));
    // Moved, added, gone: all of it while nobody listened.
    world.registry().alias("fraud", "challenger", Some(2));
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=2");
    world.registry().alias("fraud", "champion", Some(2));
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "single settled live=2");
    assert_eq!(world.sweep(false).await.differences, []);
}

#[tokio::test]
async fn what_was_rolled_back_stays_away_through_ten_sweeps_and_a_lost_store() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.set_alias("champion", 2).await;
    world.act("fraud", Act::Rollback { to: None }).await;
    for _ in 0..10 {
        let report = world.sweep(false).await;
        assert_eq!(report.differences[0].kind, DifferenceKind::Stands, "{report:?}");
        assert_eq!(world.state("fraud").await, "single settled live=1");
    }
    world.kill();
    for file in ["kmlflow.db", "kmlflow.db-wal", "kmlflow.db-shm"] {
        drop(std::fs::remove_file(world.dir.path().join(file)));
    }
    world.start().await;
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "single settled live=1");
    // Away and back again is a new decision.
    world.set_alias("champion", 1).await;
    world.clock.advance(Duration::from_secs(5));
    world.set_alias("champion", 2).await;
    assert_eq!(world.state("fraud").await, "single settled live=2");
}

#[tokio::test]
async fn what_a_person_released_stands_until_the_registry_changes() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.put("fraud", single("4")).await;
    let report = world.sweep(false).await;
    let [difference] = report.differences.as_slice() else { panic!("{report:?}") };
    assert_eq!(difference.kind, DifferenceKind::Stands);
    assert!(difference.reason.contains("ada decided otherwise"), "{difference:?}");
    assert_eq!(world.state("fraud").await, "single settled live=4");
    world.registry().alias("fraud", "champion", Some(5));
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "single settled live=5");
}

#[tokio::test]
async fn a_version_that_was_deleted_while_it_serves_is_told_and_stays() {
    let mut world = world().await;
    world.set_alias("champion", 3).await;
    world.registry().content().models.get_mut("fraud").unwrap().versions.remove(&3);
    world.registry().alias("fraud", "champion", None);
    let report = world.sweep(false).await;
    let deleted =
        report.differences.iter().find(|d| d.kind == DifferenceKind::Deleted).unwrap_or_else(|| panic!("{report:?}"));
    assert!(deleted.cure.as_ref().unwrap().contains("kmlflow retract fraud -n models"), "{deleted:?}");
    assert_eq!(world.state("fraud").await, "single settled live=3");
    let metrics = world.handle().metrics().await;
    assert!(metrics.contains("kmlflow_sweep_differences{kind=\"deleted\"} 1"), "{metrics}");
}

#[tokio::test]
async fn without_a_tracking_server_there_is_nothing_to_sweep() {
    let world = World::immediate().await;
    let Err(Fault::Refused(refusal)) = world.handle().sweep(true).await else { panic!("it swept") };
    assert!(refusal.cure.unwrap().contains("mlflow.tracking_uri"));
}

#[tokio::test]
async fn a_challenger_that_was_rejected_is_listed_as_standing() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.set_alias("challenger", 2).await;
    world.act("fraud", Act::Abort).await;
    for _ in 0..2 {
        let report = world.sweep(false).await;
        let [difference] = report.differences.as_slice() else { panic!("{report:?}") };
        assert_eq!(difference.kind, DifferenceKind::Stands);
        assert!(difference.reason.contains("version 2 was rejected (aborted by ada)"), "{difference:?}");
    }
    world.registry().alias("fraud", "challenger", None);
    assert_eq!(world.sweep(false).await.differences, []);
}

#[tokio::test]
async fn a_candidate_that_was_deleted_is_listed_with_the_way_out() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.set_alias("challenger", 2).await;
    world.registry().content().models.get_mut("fraud").unwrap().versions.remove(&2);
    let report = world.sweep(false).await;
    let deleted = report.differences.iter().find(|d| d.kind == DifferenceKind::Deleted);
    let deleted = deleted.unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!(deleted.reason, "version 2 runs and is not in the registry");
    assert!(deleted.cure.as_ref().unwrap().contains("kmlflow abort fraud -n models"), "{deleted:?}");
}

#[tokio::test]
async fn what_the_inbox_did_not_take_from_a_sweep_the_next_one_gives_it() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(1));
    let broken = "CREATE TRIGGER broken BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'broken'); END";
    world.sql(broken).await;
    assert!(world.handle().sweep(false).await.is_err());
    world.sql("DROP TRIGGER broken").await;
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "single settled live=1");
}
