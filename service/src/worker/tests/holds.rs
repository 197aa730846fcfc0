//! The service's own hold of everything, and a store that does not take it.

use super::remote::Far;
use super::*;
use crate::event::{ActRequested, DeliveryState};
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

#[tokio::test]
async fn who_asks_for_a_release_is_told_that_nobody_has_accepted_its_history() {
    let mut far = Far::before_a_rewrite().await;
    assert_eq!(far.world.view("fraud").await.waits_for, None);
    far.rewrite();
    far.look().await;
    let waits_for = far.world.view("fraud").await.waits_for.unwrap();
    assert!(waits_for.starts_with("everything is held: somebody rewrote the history"), "{waits_for}");
    assert!(waits_for.ends_with("; `kmlflow unhold` lifts it"), "{waits_for}");
    assert_eq!(far.queued(put("fraud", single("9"))).await, waits_for);
    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    assert_eq!(far.world.view("fraud").await.waits_for, None);
}

/// A history in which `fraud` is retracted, rewritten into one in which it has two versions.
async fn retracted_by_a_history_that_was_rewritten() -> Far {
    let mut far = Far::before_a_rewrite().await;
    far.pull();
    far.world.done(request("fraud", Intent::Retract)).await;
    far.rewrite();
    far.look().await;
    far
}

/// Asks for an act that makes no sense by what is known; answers its delivery.
async fn kept(far: &mut Far, act: Act) -> String {
    let refused = far.world.absolute("fraud", act.clone()).await;
    assert!(matches!(refused, Err(Fault::Refused(_))), "{refused:?}");
    let requested_by = Some("ada".to_owned());
    let act = ActRequested { key: key("fraud"), act, guard: Guard::default(), requested_by };
    let asked = far.world.handle().keep_act(None, act, Duration::from_millis(10)).await;
    let Ok(Answer::Queued { delivery, .. }) = asked else { panic!("{asked:?}") };
    far.world.run().await;
    let waits_for = told(far, &delivery).await.waits_for.unwrap();
    assert!(waits_for.contains("rewrote the history") && waits_for.contains("`kmlflow unhold`"), "{waits_for}");
    delivery
}

async fn told(far: &Far, delivery: &str) -> DeliveryView {
    far.world.handle().delivery(delivery).await.unwrap()
}

#[tokio::test]
async fn an_act_that_makes_no_sense_by_an_abandoned_history_is_made_absolute_by_the_one_that_counts() {
    let mut far = retracted_by_a_history_that_was_rewritten().await;
    let before = far.world.handle().request(put("fraud", single("9")), Duration::from_millis(10)).await;
    let Ok(Answer::Queued { delivery: before, .. }) = before else { panic!("{before:?}") };
    let back = kept(&mut far, Act::Rollback { to: None }).await;
    far.world.kill();
    far.world.start().await;
    far.world.run().await;
    assert_eq!(told(&far, &back).await.state, DeliveryState::Accepted, "it is kept by the store");

    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
    let (back_told, before) = (told(&far, &back).await, told(&far, &before).await);
    assert_eq!(back_told.state, DeliveryState::Applied, "{back_told:?}");
    assert_eq!(back_told.event["intent"]["intent"], "rollback", "it is written down what it came to");
    assert!(before.reason.unwrap().contains("replaced by the newer delivery"), "it never was in force");
    let subjects = far.subjects();
    assert!(!subjects.iter().any(|subject| subject.contains('9')), "{subjects:?}");

    far.world.handle().redeliver(&back).await.unwrap();
    far.world.run().await;
    assert_eq!(far.subjects(), subjects, "given in again it is no further step back");
}

#[tokio::test]
async fn an_act_that_makes_no_sense_by_the_history_that_counts_either_is_refused_then() {
    let mut far = retracted_by_a_history_that_was_rewritten().await;
    let step = kept(&mut far, Act::Advance).await;
    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    let told = told(&far, &step).await;
    assert_eq!(told.state, DeliveryState::Refused, "{told:?}");
    assert!(told.reason.is_some() && told.cure.is_some(), "{told:?}");
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn what_is_to_be_rendered_again_is_kept_whatever_is_known_of_it_by_an_abandoned_history() {
    let mut far = Far::before_a_rewrite().await;
    let handle = far.world.handle();
    let rerender = async || {
        let fraud = crate::worker::RerenderSelection { names: vec![key("fraud").name], ..Default::default() };
        handle.rerender(fraud, false, "ada").await.unwrap().remove(0)
    };
    assert_eq!(rerender().await.outcome, "unchanged");
    far.rewrite();
    far.look().await;
    let mut asked = std::pin::pin!(rerender());
    let has_arrived = async {
        while handle.shared.inbox.waited_for().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        asked = &mut asked => panic!("nobody knows yet what it is: {}", asked.outcome),
        () = has_arrived => {}
    }
    let (asked, ()) = tokio::join!(asked, far.world.run());
    assert_eq!(asked.outcome, "queued");
    assert!(asked.reason.unwrap().contains("rewrote the history"));
}

#[tokio::test]
async fn an_act_is_not_judged_by_a_history_that_the_next_one_to_lead_finds_abandoned() {
    let mut far = retracted_by_a_history_that_was_rewritten().await;
    let back = kept(&mut far, Act::Rollback { to: None }).await;
    far.world.kill();
    // Somebody lifted the hold while nobody led: who leads next has not seen yet that the history was rewritten.
    far.world.sql("DELETE FROM holds").await;
    far.world.start().await;
    far.world.run().await;
    assert_eq!(far.world.handle().holds().len(), 1);
    assert_eq!(told(&far, &back).await.state, DeliveryState::Accepted);
    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
}
