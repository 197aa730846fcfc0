use super::*;
use crate::release::{Action, Phase, Strategy};
use crate::store::db::Statement;
use crate::store::history::MADE_BY_EVENTS;

fn commit(n: u64, release: &str) -> IndexedCommit {
    IndexedCommit {
        key: key(release),
        commit: oid(n),
        action: Action::Step,
        version: Version::parse("8").unwrap(),
        strategy: Strategy::BlueGreen,
        phase: Some(Phase::Running),
        at: start(),
        release_id: format!("r{n}"),
        requested_by: Some("ada".into()),
        delivery_id: None,
        subject: format!("release({release}): step"),
    }
}

fn oid(n: u64) -> CommitId {
    CommitId::parse(&format!("{n:040x}")).unwrap()
}

async fn index(test: &TestStore, commits: Vec<IndexedCommit>) {
    let indexed_tip = commits.last().map(|commit| commit.commit.clone());
    test.store.commit(Batch { commits, indexed_tip, ..Batch::default() }).await.unwrap();
}

#[tokio::test]
async fn a_history_is_paged_newest_first() {
    let test = TestStore::open().await;
    // Every third commit is another release's, and the list is longer than one statement takes.
    let (fraud, churn) = ("production/models/fraud", "production/models/churn");
    let commits: Vec<_> = (1..=90).map(|n| commit(n, if n % 3 == 0 { churn } else { fraud })).collect();
    let expected: Vec<_> = commits.iter().rev().filter(|commit| commit.key == key(fraud)).cloned().collect();
    index(&test, commits).await;
    let page = test.store.history(&key(fraud), None, 7).await.unwrap();
    assert_eq!(page, expected[..7]);
    let next = test.store.history(&key(fraud), Some(&page[6].commit), 7).await.unwrap();
    assert_eq!(next, expected[7..14]);
    assert_eq!(test.store.history(&key(fraud), Some(&oid(999)), 7).await.unwrap(), []);
    assert_eq!(test.store.history(&key("staging/models/fraud"), None, 7).await.unwrap(), []);
}

#[tokio::test]
async fn one_commit_of_a_release_is_found_however_many_came_after_it() {
    let test = TestStore::open().await;
    let (fraud, churn) = ("production/models/fraud", "production/models/churn");
    let last = u64::from(PAGE_ROWS_MAX) + 2;
    index(&test, (1..=last).map(|n| commit(n, fraud)).chain([commit(2, churn)]).collect()).await;
    let page = test.store.history(&key(fraud), None, PAGE_ROWS_MAX).await.unwrap();
    assert!(page.iter().all(|row| row.commit != oid(1)), "no page has it");
    for (n, release) in [(1, fraud), (last, fraud), (2, churn)] {
        assert_eq!(test.store.indexed_commit(&key(release), &oid(n)).await.unwrap(), Some(commit(n, release)));
    }
    for (n, release) in [(1, churn), (last + 1, fraud)] {
        assert_eq!(test.store.indexed_commit(&key(release), &oid(n)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_newest_commit_of_each_release_is_known() {
    let test = TestStore::open().await;
    let (fraud, churn) = ("production/models/fraud", "production/models/churn");
    index(&test, vec![commit(1, fraud), commit(2, churn), commit(3, fraud)]).await;
    let retracted =
        IndexedCommit { phase: None, action: Action::Retract, delivery_id: Some("d".into()), ..commit(4, churn) };
    index(&test, vec![retracted.clone()]).await;
    let test = test.reopened().await;
    let newest = [&retracted, &commit(3, fraud)].map(Newest::from);
    assert_eq!(test.store.newest_commits(None).await.unwrap(), newest);
    assert_eq!(test.store.newest_commits(Some(&key(churn))).await.unwrap(), newest[1..]);
    assert_eq!(test.store.indexed_tip().await.unwrap(), Some(oid(4)));
}

#[tokio::test]
async fn a_commit_that_changed_two_releases_is_in_both_histories_once() {
    let test = TestStore::open().await;
    let (fraud, churn) = ("production/models/fraud", "production/models/churn");
    let commits = vec![commit(1, fraud), commit(1, churn)];
    index(&test, commits.clone()).await;
    index(&test, commits).await;
    for release in [fraud, churn] {
        assert_eq!(test.store.history(&key(release), None, 10).await.unwrap(), [commit(1, release)]);
    }
}

#[tokio::test]
async fn a_forgotten_index_is_empty_and_can_be_built_anew() {
    let test = TestStore::open().await;
    index(&test, vec![commit(1, "production/models/fraud")]).await;
    test.store.forget_index().await.unwrap();
    assert_eq!(test.store.indexed_tip().await.unwrap(), None);
    assert_eq!(test.store.newest_commits(None).await.unwrap(), []);
    index(&test, vec![commit(1, "production/models/fraud")]).await;
    let newest = test.store.newest_commits(None).await.unwrap();
    assert_eq!(newest, [Newest::from(&commit(1, "production/models/fraud"))]);
}

#[tokio::test]
async fn what_was_before_the_index_was_begun_is_put_before_it_whatever_was_interrupted() {
    let test = TestStore::open().await;
    let (fraud, churn) = ("production/models/fraud", "production/models/churn");
    let place = |is_first, is_last| PlaceInPast { is_first, is_last };
    test.store.begin_index(oid(4)).await.unwrap();
    index(&test, vec![commit(5, fraud)]).await;
    assert_eq!(test.store.index_reach().await.unwrap(), Some((oid(5), Some(oid(4)))));
    let past: Vec<_> = (1..=4).map(|n| commit(n, if n == 2 { churn } else { fraud })).collect();
    // One that broke off, then all of it.
    for parts in [&past[..2], &past[..]] {
        for (at, part) in parts.chunks(2).enumerate() {
            assert!(test.store.add_past(&oid(4), part.to_vec(), place(at == 0, at == 1)).await.unwrap());
        }
    }
    let test = test.reopened().await;
    let of = |n: u64| if n == 2 { churn } else { fraud };
    let history = test.store.history(&key(fraud), None, 9).await.unwrap();
    assert_eq!(history, [5, 4, 3, 1].map(|n| commit(n, of(n))));
    assert_eq!(test.store.newest_commits(None).await.unwrap(), [2, 5].map(|n| Newest::from(&commit(n, of(n)))));
    assert_eq!(test.store.index_reach().await.unwrap(), Some((oid(5), None)));
    let is_lacking = test.store.add_past(&oid(4), past, place(true, true)).await.unwrap();
    assert!(!is_lacking, "what is not asked for is left out");
    index(&test, vec![commit(6, churn)]).await;
    assert_eq!(
        test.store.newest_commits(None).await.unwrap(),
        [6, 5].map(|n| { Newest::from(&commit(n, if n == 6 { churn } else { fraud })) })
    );
}

#[tokio::test]
async fn what_events_made_since_a_moment_is_known_and_what_people_made_is_left_out() {
    let test = TestStore::open().await;
    let asked = NewDelivery { source: Source::Api, ..arriving("asked") };
    for delivery in [arriving("old"), arriving("told"), asked] {
        test.store.accept(delivery).await.unwrap();
    }
    let at = |seconds| start().saturating_add(SignedDuration::from_secs(seconds)).unwrap();
    let made = |n: u64, delivery: &str, at| IndexedCommit {
        action: Action::Create,
        delivery_id: Some(delivery.into()),
        at,
        ..commit(n, &format!("production/models/m{n}"))
    };
    let step = IndexedCommit { action: Action::Step, ..made(4, "told", at(9)) };
    index(&test, vec![made(1, "old", at(0)), made(2, "told", at(9)), made(3, "asked", at(9)), step]).await;
    let found = test.store.made_by_events(at(0)).await.unwrap();
    assert_eq!(found, [("production".parse().unwrap(), at(9))]);
}

#[tokio::test]
async fn what_events_made_is_found_by_its_moment_however_long_the_history_is() {
    let test = TestStore::in_file(Limits::default()).await;
    let plan = Statement::new(format!("EXPLAIN QUERY PLAN {MADE_BY_EVENTS}")).bind("").bind("");
    let rows = test.store.readers.rows(plan).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail").unwrap()).collect();
    assert!(plan[0].contains("SEARCH commits USING INDEX commits_made (at>"), "{plan:?}");
    assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:?}");
}
