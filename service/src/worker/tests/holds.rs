//! The service's own hold of everything, and a store that does not take it.

use super::remote::Far;
use super::*;
use crate::worker::holds::{after_a_rewrite, set};

#[tokio::test]
async fn a_hold_that_the_store_did_not_take_is_set_again_until_it_is_kept() {
    let mut far = Far::before_a_rewrite().await;
    far.world.sql("CREATE TRIGGER broken BEFORE INSERT ON holds BEGIN SELECT RAISE(ABORT, 'broken'); END").await;
    far.rewrite();
    far.look().await;
    let store = far.world.handle().shared.store.clone();
    assert_eq!(far.world.handle().holds().len(), 1, "it holds");
    assert_eq!(store.holds().await.unwrap(), [], "it is not written down");

    far.world.sql("DROP TRIGGER broken").await;
    far.look().await;
    let kept = store.holds().await.unwrap();
    assert!(kept.len() == 1 && kept[0].reason.starts_with("somebody rewrote the history"), "{kept:?}");
    // What a person holds and lifts reads anew what the store has.
    let production = EnvironmentName::parse("production").unwrap();
    far.world.handle().hold(Some(production.clone()), "incident 42", "ada").await.unwrap();
    far.world.handle().unhold(Some(production), "it is over", "ada").await.unwrap();
    let waits = far.queued(put("fraud", single("9"))).await;
    assert!(waits.contains("rewrote the history"), "{waits}");
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=9");
}

#[tokio::test]
async fn a_persons_hold_and_the_services_that_are_set_at_once_are_both_kept() {
    let mut world = with_fraud().await;
    let (handle, tip) = (world.handle(), world.repository().tip().unwrap());
    let known = world.log()[0].commit.clone();
    let service = set(&handle.shared, move |holds| after_a_rewrite(holds, &known, &tip, NOW.parse().unwrap()));
    let (person, service) = tokio::join!(handle.hold(None, "incident 42", "ada"), service);
    assert!(person.is_ok() && service.is_ok());
    let holds = handle.shared.store.holds().await.unwrap();
    let reason = &holds[0].reason;
    assert!(reason.starts_with("incident 42; and somebody rewrote the history"), "{reason}");
    world.run().await;
    assert_eq!(handle.holds().iter().map(|hold| &hold.reason).collect::<Vec<_>>(), [reason]);
}

#[tokio::test]
async fn each_rewritten_history_stops_everything_anew() {
    let mut far = Far::before_a_rewrite().await;
    far.rewrite();
    far.look().await;
    assert_eq!(far.world.handle().holds().len(), 1);
    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");

    far.pull();
    far.world.put("churn", single("7")).await;
    far.rewrite();
    far.look().await;
    let holds = far.world.handle().holds();
    assert!(holds.len() == 1 && holds[0].reason.contains("rewrote the history"), "{holds:?}");
    assert_eq!(far.world.state("churn").await, "single settled live=7");
}

#[tokio::test]
async fn a_history_that_was_put_back_before_the_hold_is_lifted_is_the_one_that_counts_and_the_other_stops_again() {
    let mut far = Far::before_a_rewrite().await;
    let right = far.at_remote(&["rev-parse", "main"]);
    far.rewrite();
    let wrong = far.at_remote(&["rev-parse", "main"]);
    far.look().await;
    far.at_remote(&["update-ref", "refs/heads/main", &right]);
    far.world.handle().unhold(None, "it is put back", "ada").await.unwrap();
    far.world.put("churn", single("7")).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
    assert_eq!(far.world.handle().holds(), []);

    far.at_remote(&["update-ref", "refs/heads/main", &wrong]);
    far.look().await;
    assert_eq!(far.world.handle().holds().len(), 1, "nobody accepted that one");
}
