//! Several replicas on one database.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kmlflow::event::{DeliveryState, Verdict};
use kmlflow::release::Refusal;
use kmlflow::store::{AuditEntry, Batch, Change, Claim, ClaimKey, DeliveryOutcome, TakenUp, Told};

use super::*;

/// Only ends a hanging test.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_one_replica_accepted_the_other_sees_and_no_number_is_given_twice() {
    let server = PostgresServer::start();
    // They also make the tables at once.
    let (one, two) = tokio::join!(store(&server, Limits::default()), store(&server, Limits::default()));
    let ids: Vec<String> = (0..200).map(|n| format!("d{n}")).collect();
    let accepted = join_all(ids.iter().enumerate().map(|(n, id)| {
        let store = if n % 2 == 0 { &one } else { &two };
        accept_new(store, id)
    }));
    let numbers: BTreeSet<i64> = accepted.await.into_iter().collect();
    assert_eq!(numbers.len(), ids.len());
    let seen: Vec<String> = waiting_ids(&one).await;
    assert_eq!(seen.iter().collect::<BTreeSet<_>>(), ids.iter().collect());
    assert_eq!(waiting_ids(&two).await, seen, "in the same order");
    let transactions = one.writer_counts().transactions + two.writer_counts().transactions;
    assert!(transactions < 50, "those who wait share a transaction: {transactions}");
}

#[tokio::test]
async fn the_same_delivery_at_two_replicas_at_once_is_accepted_once() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    // In opposite orders, where two writers that did not take turns would wait for each other.
    let ids: Vec<String> = (0..20).map(|n| format!("d{n}")).collect();
    let there = join_all(ids.iter().map(|id| one.accept(arriving(id))));
    let back = join_all(ids.iter().rev().map(|id| two.accept(arriving(id))));
    let (there, back) = tokio::join!(there, back);
    let answers: Vec<Accepted> = there.into_iter().chain(back).map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Accepted::New(_))).count(), ids.len());
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Accepted::Repeat { .. })).count(), ids.len());
}

#[tokio::test]
async fn the_bound_of_the_inbox_holds_for_all_replicas_together() {
    let server = PostgresServer::start();
    let limits = Limits { waiting_max: 5, ..Limits::default() };
    let (one, two) = (store(&server, limits).await, store(&server, limits).await);
    for n in 0..3 {
        accept_new(&one, &format!("one{n}")).await;
    }
    for n in 0..2 {
        accept_new(&two, &format!("two{n}")).await;
    }
    assert_eq!(one.accept(arriving("more")).await.unwrap(), Accepted::Full);
    assert_eq!(two.accept(arriving("more")).await.unwrap(), Accepted::Full);
    let third = store(&server, limits).await;
    assert_eq!(third.accept(arriving("more")).await.unwrap(), Accepted::Full, "also for one that starts");
}

#[tokio::test]
async fn what_anybody_accepted_the_leader_takes_up_once_and_the_next_one_takes_over_all_of_it() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    let ids = |taken: TakenUp| taken.arrived.into_iter().map(|delivery| delivery.id.to_string()).collect::<Vec<_>>();
    let before = accept_new(&two, "before").await;
    one.take_over().await.unwrap();
    assert_eq!(waiting_ids(&one).await, ["before"]);
    assert_eq!(ids(one.take_up(10).await.unwrap()), [""; 0], "it has that already");
    for (store, id) in [(&one, "a"), (&two, "b"), (&one, "c")] {
        accept_new(store, id).await;
    }
    assert_eq!(waiting_ids(&one).await, ["before"], "what it has not taken up is not its own yet");
    assert_eq!(ids(one.take_up(2).await.unwrap()), ["a", "b"]);
    assert_eq!(ids(one.take_up(2).await.unwrap()), ["c"]);
    let failed = DeliveryOutcome { state: DeliveryState::Failed, ..applied(before) };
    one.commit(Batch { outcomes: vec![failed], ..Batch::default() }).await.unwrap();
    assert_eq!(ids(one.take_up(2).await.unwrap()), [""; 0], "what failed stays with whoever tries it again");

    two.take_over().await.unwrap();
    assert_eq!(waiting_ids(&two).await, ["before", "a", "b", "c"]);
    let late = one.commit(Batch { outcomes: vec![applied(before)], ..Batch::default() }).await;
    assert!(matches!(late, Err(StoreError::NotLeading)), "{late:?}");
    accept_new(&one, "d").await;
    assert!(matches!(one.take_up(2).await, Err(StoreError::NotLeading)));
    assert!(matches!(one.forget_index().await, Err(StoreError::NotLeading)));
    assert_eq!(ids(two.take_up(2).await.unwrap()), ["d"]);
    two.commit(Batch { outcomes: vec![applied(before)], ..Batch::default() }).await.unwrap();
    assert_eq!(waiting_ids(&two).await, ["a", "b", "c", "d"]);
    one.redeliver(before).await.unwrap().unwrap();
    assert_eq!(ids(two.take_up(2).await.unwrap()), ["before"], "given in again it is taken up again");
    // What it has already it hears of once, and finds among its own before and after that.
    one.redeliver(before).await.unwrap().unwrap();
    one.redeliver(before).await.unwrap().unwrap();
    assert_eq!(waiting_ids(&two).await, ["before", "a", "b", "c", "d"]);
    assert_eq!(two.take_up(2).await.unwrap(), TakenUp { arrived: Vec::new(), sooner: vec![before] });
    assert_eq!(two.take_up(2).await.unwrap(), TakenUp::default());
    assert_eq!(waiting_ids(&two).await, ["before", "a", "b", "c", "d"]);
    one.redeliver(before).await.unwrap().unwrap();
    two.commit(Batch { outcomes: vec![applied(before)], ..Batch::default() }).await.unwrap();
    assert_eq!(two.take_up(2).await.unwrap(), TakenUp::default(), "it is done with");
    two.step_down();
    let late = two.commit(Batch { outcomes: vec![applied(before)], ..Batch::default() }).await;
    assert!(matches!(late, Err(StoreError::NotLeading)), "{late:?}");
}

#[tokio::test]
async fn what_becomes_of_a_delivery_is_told_to_the_replica_that_waits_for_it() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    let mut changes = two.changes();
    let number = accept_new(&two, "a").await;
    one.take_over().await.unwrap();
    assert_eq!(two.told(&[number]).await.unwrap(), []);
    let refusal = Refusal::conflict("v7 is not ready", "wait");
    let told = Told { created: false, refusal: Some(refusal.clone()) };
    let outcome = DeliveryOutcome { state: DeliveryState::Refused, told: Some(told.clone()), ..applied(number) };
    one.commit(Batch { outcomes: vec![outcome], ..Batch::default() }).await.unwrap();
    let heard = tokio::time::timeout(SOON, async { while changes.next().await != Change::Told {} }).await;
    assert!(heard.is_ok());
    let found = two.told(&[number, number + 1]).await.unwrap();
    assert_eq!((found.len(), &found[0].1, found[0].0.state), (1, &told, DeliveryState::Refused));
    two.redeliver(number).await.unwrap().unwrap();
    assert_eq!(two.told(&[number]).await.unwrap(), [], "it waits again");
}

#[tokio::test]
async fn changes_are_heard_of_again_after_the_server_was_away() {
    let mut server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    let mut changes = two.changes();
    server.stop();
    assert!(one.accept(arriving("a")).await.is_err());
    server.start_again();
    let heard = async {
        for n in 0.. {
            drop(one.accept(arriving(&format!("d{n}"))).await);
            if changes.next().await == Change::Told && two.waiting(0, 10).await.is_ok_and(|some| !some.is_empty()) {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, heard).await.unwrap();
}

/// The outcome of a delivery that was carried out.
fn applied(number: i64) -> DeliveryOutcome {
    let (state, verdict) = (DeliveryState::Applied, Verdict::default());
    DeliveryOutcome { number, state, verdict, attempt: 1, next_attempt_at: None, told: None }
}

#[tokio::test]
async fn a_leader_whose_connection_is_killed_hears_of_it_and_the_other_leads() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    let mut first = one.try_lead("main").await.unwrap().unwrap();
    assert!(two.try_lead("main").await.unwrap().is_none());
    accept_new(&one, "a").await;

    server.psql("kmlflow", "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
    tokio::time::timeout(SOON, first.lost()).await.unwrap();
    assert!(!first.leads());
    let second = two.try_lead("main").await.unwrap().unwrap();
    assert!(second.leads() && one.try_lead("main").await.unwrap().is_none());
    assert_eq!(waiting_ids(&two).await, ["a"], "what the first one accepted");
    drop(first);
    assert!(second.leads(), "who has lost it takes it from nobody");
}

#[tokio::test]
async fn a_key_that_a_dead_replica_claimed_is_anybodys_soon_and_that_of_a_living_one_is_not() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    let key = || ClaimKey { token_id: "t".into(), path: "PUT /x".into(), key: "k".into() };
    let at = |seconds: i64| "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds);
    let claim = |store: &Store, seconds| {
        let store = store.clone();
        async move { store.claim(key(), "body".into(), at(seconds)).await.unwrap() }
    };
    assert_eq!(claim(&one, 0).await, Claim::New);
    assert_eq!(claim(&two, 600).await, Claim::InFlight, "whoever claimed it lives");
    // Its connections are given up, and it comes back with others.
    server.psql("kmlflow", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kmlflow'");
    let mut again = tokio::time::interval(Duration::from_millis(50));
    while one.record(audited()).await.is_err() || two.record(audited()).await.is_err() {
        again.tick().await;
    }
    assert_eq!(claim(&two, 600).await, Claim::InFlight, "it still lives");
    one.close().await;
    // It may have carried the request out, so what it claimed is still known by its moment.
    let left = loop {
        match claim(&two, 30).await {
            Claim::InFlight => again.tick().await,
            claim => break claim,
        };
    };
    assert_eq!(left, Claim::Interrupted(at(0)));
    assert_eq!(claim(&two, 31).await, Claim::InFlight);
}

#[tokio::test]
async fn a_replica_that_comes_back_late_answers_no_claim_that_another_one_took_up() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    let key = || ClaimKey { token_id: "t".into(), path: "PUT /x".into(), key: "k".into() };
    let at = |hours: i64| "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours);
    assert_eq!(one.claim(key(), "body".into(), at(0)).await.unwrap(), Claim::New);
    assert_eq!(two.claim(key(), "body".into(), at(2)).await.unwrap(), Claim::Interrupted(at(0)));
    one.answer(key(), 409, "late".into()).await.unwrap();
    one.give_back(key()).await.unwrap();
    assert!(!one.claim_anew(key(), at(2)).await.unwrap());
    two.answer(key(), 200, "{}".into()).await.unwrap();
    assert_eq!(one.claim(key(), "body".into(), at(2)).await.unwrap(), Claim::Same(200, "{}".into()));
}

fn audited() -> AuditEntry {
    AuditEntry {
        at: "2026-11-23T10:00:00Z".parse().unwrap(),
        actor: None,
        action: "test".into(),
        release: None,
        outcome: "done".into(),
        reason: None,
    }
}

#[tokio::test]
async fn all_replicas_release_to_one_branch_and_who_is_alone_decides_which() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    assert_eq!(one.agree_on("main of a").await.unwrap(), None);
    assert_eq!(two.agree_on("main of a").await.unwrap(), None);
    assert_eq!(two.agree_on("main of b").await.unwrap(), Some("main of a".to_owned()));
    one.close().await;
    let mut again = tokio::time::interval(Duration::from_millis(50));
    while two.agree_on("main of b").await.unwrap().is_some() {
        again.tick().await;
    }
    let third = store(&server, Limits::default()).await;
    assert_eq!(third.agree_on("main of a").await.unwrap(), Some("main of b".to_owned()));
}

#[tokio::test]
async fn what_the_sweep_of_one_found_all_can_read() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    assert_eq!(two.last_sweep().await.unwrap(), None);
    for report in ["{}", "{\"models\": 7}"] {
        one.keep_sweep(report.to_owned()).await.unwrap();
        assert_eq!(two.last_sweep().await.unwrap().as_deref(), Some(report));
    }
}
