use futures_util::future::join_all;

use super::*;
use crate::names::CommitId;

#[tokio::test]
async fn what_was_accepted_is_read_back_unchanged() {
    let test = TestStore::open().await;
    let mut new = arriving("a");
    new.body.push_str("\n\u{0}☃ after a zero byte");
    let body = new.body.clone();
    let Accepted::New(accepted) = test.store.accept(new).await.unwrap() else { panic!("it is new") };
    let read = test.store.delivery(Some(Source::Mlflow), "a").await.unwrap().unwrap();
    assert_eq!(read.body, body);
    assert_eq!(Delivery { body: String::new(), ..read }, accepted);
    assert_eq!(test.store.waiting(0, 10).await.unwrap(), [accepted]);
}

#[tokio::test]
async fn what_an_act_was_made_absolute_to_takes_its_place() {
    let test = TestStore::open().await;
    let (number, other) = (test.accept_new("a").await.number, test.accept_new("b").await);
    let event = Event::Ignored { reason: "nothing but a test".into() };
    test.store.make_absolute(number, event.clone()).await.unwrap();
    let test = test.reopened().await;
    let read = test.store.delivery(None, "a").await.unwrap().unwrap();
    assert_eq!((read.event, read.body), (event, arriving("a").body));
    assert_eq!(test.store.waiting(number, 10).await.unwrap(), [other]);
}

#[tokio::test]
async fn a_repeat_stores_nothing_whatever_became_of_the_first() {
    let test = TestStore::open().await;
    let number = test.accept_new("a").await.number;
    for state in [DeliveryState::Accepted, DeliveryState::Applied, DeliveryState::Unchanged, DeliveryState::Ignored] {
        test.settle(number, state).await;
        assert_eq!(test.store.accept(arriving("a")).await.unwrap(), Accepted::Repeat { number, state });
    }
    assert_eq!(test.store.inbox_depth().await.unwrap(), [(DeliveryState::Ignored, 1)]);
}

#[tokio::test]
async fn the_same_id_from_another_source_is_another_delivery() {
    let test = TestStore::open().await;
    test.accept_new("a").await;
    let other = NewDelivery { source: Source::Generic, ..arriving("a") };
    assert!(matches!(test.store.accept(other).await.unwrap(), Accepted::New(_)));
    assert_eq!(test.store.delivery(Some(Source::Mlflow), "a").await.unwrap().unwrap().source, Source::Mlflow);
    assert_eq!(test.store.delivery(None, "a").await.unwrap().unwrap().source, Source::Generic, "the newest");
    assert_eq!(test.store.delivery(Some(Source::Github), "a").await.unwrap(), None);
}

#[tokio::test]
async fn one_that_was_refused_waits_again_and_one_that_failed_waits_no_longer_and_both_keep_their_attempts() {
    let test = TestStore::open().await;
    let number = test.accept_new("a").await.number;
    for state in [DeliveryState::Failed, DeliveryState::Refused] {
        let verdict =
            Verdict { reason: Some("no".into()), release: Some(key("production/models/fraud")), ..Verdict::default() };
        let outcome =
            DeliveryOutcome { number, state, verdict, attempt: 3, next_attempt_at: Some(days_later(1)), told: None };
        test.store.commit(Batch { outcomes: vec![outcome], ..Batch::default() }).await.unwrap();
        let again = match (state, test.store.accept(arriving("a")).await.unwrap()) {
            (DeliveryState::Refused, Accepted::Again(again)) => {
                assert_eq!(again.verdict, Verdict::default());
                again
            }
            (DeliveryState::Failed, Accepted::Sooner(again)) => {
                assert_eq!(again.verdict.reason.as_deref(), Some("no"), "until it is tried");
                again
            }
            (state, other) => panic!("{state} is tried again: {other:?}"),
        };
        assert_eq!((again.number, again.state, again.attempt), (number, DeliveryState::Accepted, 3));
        assert_eq!((again.next_attempt_at, test.waiting_ids().await), (None, vec!["a".to_owned()]));
    }
}

#[tokio::test]
async fn the_same_id_twice_at_once_is_accepted_once() {
    let test = TestStore::open().await;
    test.accept_new("before").await;
    let ids = ["a", "b", "a", "before", "c", "a"];
    let answers = join_all(ids.map(|id| test.store.accept(arriving(id)))).await;
    let new = answers.iter().map(|answer| matches!(answer, Ok(Accepted::New(_))));
    assert_eq!(new.collect::<Vec<_>>(), [true, true, false, false, true, false]);
    assert_eq!(test.waiting_ids().await, ["before", "a", "b", "c"]);
}

#[tokio::test]
async fn many_who_wait_share_one_transaction() {
    let test = TestStore::open().await;
    let before = test.store.writer_counts();
    let ids: Vec<String> = (0..100).map(|n| format!("d{n}")).collect();
    let answers = join_all(ids.iter().map(|id| test.store.accept(arriving(id)))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Accepted::New(_)))));
    let after = test.store.writer_counts();
    assert_eq!(after.writes - before.writes, 100);
    assert!(after.transactions - before.transactions <= 2, "{after:?}");
    assert_eq!(test.waiting_ids().await, ids, "in order of arrival");
}

#[tokio::test]
async fn different_writes_share_a_transaction_too() {
    let test = TestStore::in_file(Limits::default()).await;
    let number = test.accept_new("a").await.number;
    let before = test.store.writer_counts().transactions;
    let hold = Hold { environment: None, reason: "r".into(), by: None, since: start() };
    let batch = Batch { outcomes: vec![became(number, DeliveryState::Applied)], ..Batch::default() };
    let (accepted, held, stored) =
        tokio::join!(test.store.accept(arriving("b")), test.store.hold(move |_| hold), test.store.commit(batch));
    assert!(matches!(accepted, Ok(Accepted::New(_))) && held.is_ok() && stored.is_ok());
    assert_eq!(test.store.writer_counts().transactions, before + 1);
    assert_eq!(test.waiting_ids().await, ["b"]);
}

#[tokio::test]
async fn a_full_inbox_takes_repeats_and_nothing_else_until_something_is_done() {
    let test = TestStore::open_with(Limits { waiting_max: 3, ..Limits::default() }).await;
    let refused = test.accept_new("refused").await.number;
    test.settle(refused, DeliveryState::Refused).await;
    let answers = join_all(["a", "b", "a", "c", "d"].map(|id| test.store.accept(arriving(id)))).await;
    let kinds: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap()).collect();
    assert!(
        matches!(
            kinds[..],
            [Accepted::New(_), Accepted::New(_), Accepted::Repeat { .. }, Accepted::New(_), Accepted::Full]
        ),
        "{kinds:?}"
    );
    assert_eq!(test.store.accept(arriving("refused")).await.unwrap(), Accepted::Full);
    assert!(matches!(test.store.redeliver(refused).await, Err(StoreError::Full)));

    let first = test.store.waiting(0, 1).await.unwrap()[0].number;
    test.settle(first, DeliveryState::Failed).await;
    assert_eq!(test.store.accept(arriving("d")).await.unwrap(), Accepted::Full, "what failed still waits");
    assert!(test.store.redeliver(first).await.unwrap().is_some(), "it waits already");
    test.settle(first, DeliveryState::Applied).await;
    test.accept_new("d").await;
    assert_eq!(test.store.accept(arriving("e")).await.unwrap(), Accepted::Full);
}

#[tokio::test]
async fn the_bound_holds_after_a_restart() {
    let test = TestStore::open().await;
    test.accept_new("a").await;
    test.accept_new("b").await;
    test.store.close().await;
    let limits = Limits { waiting_max: 2, ..Limits::default() };
    let store = test.opened_again(limits).await;
    assert_eq!(store.accept(arriving("c")).await.unwrap(), Accepted::Full);
}

#[tokio::test]
async fn redelivery_works_from_each_state() {
    let test = TestStore::open().await;
    let number = test.accept_new("a").await.number;
    for state in DeliveryState::ALL {
        test.settle(number, state).await;
        let again = match test.store.redeliver(number).await.unwrap().unwrap() {
            Redelivered::Again(again) if !state.is_waiting() => again,
            Redelivered::Sooner(again) if state.is_waiting() => again,
            other => panic!("{state}: {other:?}"),
        };
        assert_eq!((again.state, again.attempt), (DeliveryState::Accepted, 1));
        assert_eq!(test.waiting_ids().await, ["a"]);
    }
    assert_eq!(test.store.redeliver(number + 1).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_delivery_made_outlives_a_redelivery_that_made_nothing() {
    let test = TestStore::open().await;
    let number = test.accept_new("a").await.number;
    let made = CommitId::parse(&"a".repeat(40)).unwrap();
    let verdict = Verdict { commit: Some(made.clone()), ..Verdict::default() };
    let applied = DeliveryOutcome { verdict, ..became(number, DeliveryState::Applied) };
    test.store.commit(Batch { outcomes: vec![applied], ..Batch::default() }).await.unwrap();
    test.store.redeliver(number).await.unwrap();
    test.settle(number, DeliveryState::Unchanged).await;
    let read = test.store.delivery(None, "a").await.unwrap().unwrap();
    assert_eq!((read.state, read.verdict.commit), (DeliveryState::Unchanged, Some(made)));
}

#[tokio::test]
async fn an_outcome_is_read_back_and_the_last_one_counts() {
    let test = TestStore::open().await;
    let number = test.accept_new("a").await.number;
    let verdict = Verdict {
        release: Some(key("production/models/fraud")),
        commit: Some(CommitId::parse(&"a1".repeat(20)).unwrap()),
        reason: Some("because".into()),
        cure: Some("do this".into()),
        waits_for: Some("v7".into()),
    };
    let last = DeliveryOutcome {
        number,
        state: DeliveryState::Failed,
        verdict: verdict.clone(),
        attempt: 2,
        next_attempt_at: Some(days_later(1)),
        told: None,
    };
    let outcomes = vec![became(number, DeliveryState::Applied), last];
    test.store.commit(Batch { outcomes, ..Batch::default() }).await.unwrap();
    let read = test.store.delivery(None, "a").await.unwrap().unwrap();
    assert_eq!((read.state, read.verdict, read.attempt), (DeliveryState::Failed, verdict, 2));
    assert_eq!(read.next_attempt_at, Some(days_later(1)));
    assert_eq!(test.waiting_ids().await, ["a"]);
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_by_what_was_asked() {
    let test = TestStore::open().await;
    let mut numbers = Vec::new();
    for n in 0..6 {
        let source = if n == 4 { Source::Generic } else { Source::Mlflow };
        let Accepted::New(new) = test.store.accept(NewDelivery { source, ..arriving(&format!("d{n}")) }).await.unwrap()
        else {
            panic!("d{n} is new")
        };
        numbers.push(new.number);
    }
    test.settle(numbers[1], DeliveryState::Refused).await;
    let fraud = Verdict { release: Some(key("production/models/fraud")), ..Verdict::default() };
    let outcomes = vec![DeliveryOutcome { verdict: fraud, ..became(numbers[2], DeliveryState::Applied) }];
    test.store.commit(Batch { outcomes, ..Batch::default() }).await.unwrap();

    let all = DeliveryQuery { limit: 100, ..DeliveryQuery::default() };
    let check = async |query: DeliveryQuery, expected: &[i64]| {
        let listed = test.store.deliveries(query).await.unwrap();
        assert_eq!(listed.iter().map(|delivery| delivery.number).collect::<Vec<_>>(), expected);
        assert!(listed.iter().all(|delivery| delivery.body.is_empty()));
    };
    let newest_first: Vec<i64> = numbers.iter().rev().copied().collect();
    check(all.clone(), &newest_first).await;
    check(DeliveryQuery { limit: 2, ..all.clone() }, &newest_first[..2]).await;
    check(DeliveryQuery { limit: 2, before: Some(newest_first[1]), ..all.clone() }, &newest_first[2..4]).await;
    check(DeliveryQuery { source: Some(Source::Generic), ..all.clone() }, &[numbers[4]]).await;
    check(DeliveryQuery { state: Some(DeliveryState::Refused), ..all.clone() }, &[numbers[1]]).await;
    check(DeliveryQuery { release: fraud_key(), ..all.clone() }, &[numbers[2]]).await;
    check(DeliveryQuery { source: Some(Source::Github), ..all }, &[]).await;
}

fn fraud_key() -> Option<ReleaseKey> {
    Some(key("production/models/fraud"))
}

#[tokio::test]
async fn what_waits_is_read_in_pages() {
    let test = TestStore::open().await;
    for n in 0..5 {
        test.accept_new(&format!("d{n}")).await;
    }
    let first = test.store.waiting(0, 2).await.unwrap();
    test.settle(first[0].number, DeliveryState::Failed).await;
    let again = test.store.waiting(0, 2).await.unwrap();
    assert_eq!(again.iter().map(|delivery| delivery.number).collect::<Vec<_>>(), [first[0].number, first[1].number]);
    let rest = test.store.waiting(first[1].number, 100).await.unwrap();
    assert_eq!(rest.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["d2", "d3", "d4"]);
}

#[tokio::test]
async fn an_outcome_of_an_unknown_delivery_changes_no_count() {
    let test = TestStore::open_with(Limits { waiting_max: 1, ..Limits::default() }).await;
    test.settle(77, DeliveryState::Failed).await;
    test.settle(78, DeliveryState::Applied).await;
    let number = test.accept_new("a").await.number;
    test.settle(number, DeliveryState::Applied).await;
    test.settle(number, DeliveryState::Applied).await;
    test.accept_new("b").await;
    assert_eq!(test.store.accept(arriving("c")).await.unwrap(), Accepted::Full);
}
