//! Several replicas on one database.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use kmlflow::event::Delivery;
use kmlflow::store::Lease;

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
async fn what_a_dead_replica_had_is_taken_over_when_its_lease_has_run_out() {
    let server = PostgresServer::start();
    let (one, two) = (store(&server, Limits::default()).await, store(&server, Limits::default()).await);
    for id in ["a", "b", "c"] {
        accept_new(&one, id).await;
    }
    let lease = |owner: &str, minutes: i64| {
        let at = |minutes: i64| jiff::Timestamp::from_second(minutes * 60).unwrap();
        Lease { owner: owner.to_owned(), now: at(minutes), until: at(minutes + 10) }
    };
    let ids = |taken: Vec<Delivery>| taken.into_iter().map(|delivery| delivery.id.to_string()).collect::<Vec<_>>();
    let (first, second) = tokio::join!(one.lease(lease("one", 0), 2), two.lease(lease("two", 0), 2));
    let (first, second) = (ids(first.unwrap()), ids(second.unwrap()));
    let both: BTreeSet<&String> = first.iter().chain(&second).collect();
    assert_eq!((both.len(), first.len() + second.len()), (3, 3), "each has one owner: {first:?} {second:?}");
    one.close().await;
    assert_eq!(ids(two.lease(lease("two", 9), 10).await.unwrap()), second);
    assert_eq!(ids(two.lease(lease("two", 11), 10).await.unwrap()), ["a", "b", "c"]);
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
