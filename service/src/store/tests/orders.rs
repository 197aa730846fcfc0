use super::*;

#[tokio::test]
async fn a_hold_is_set_changed_and_lifted_per_environment() {
    let test = TestStore::open().await;
    let production = EnvironmentName::parse("production").unwrap();
    let all = Hold { environment: None, reason: "fire".into(), by: Some("ada".into()), since: start() };
    let one = Hold { environment: Some(production.clone()), reason: "audit".into(), by: None, since: start() };
    let of = |hold: &Hold| {
        let hold = hold.clone();
        move |_: &[Hold]| hold
    };
    test.store.hold(of(&one)).await.unwrap();
    test.store.hold(of(&Hold { reason: "smoke".into(), ..all.clone() })).await.unwrap();
    test.store.hold(of(&Hold { since: days_later(1), ..all.clone() })).await.unwrap();
    let test = test.reopened().await;
    assert_eq!(test.store.holds().await.unwrap(), [all, one.clone()], "with the first time and the last reason");
    assert!(test.store.unhold(None).await.unwrap());
    assert!(!test.store.unhold(None).await.unwrap());
    assert_eq!(test.store.holds().await.unwrap(), [one]);
    assert!(test.store.unhold(Some(&production)).await.unwrap());
}

#[tokio::test]
async fn the_last_good_text_of_a_policy_is_kept_until_it_is_forgotten() {
    let test = TestStore::open().await;
    let name = |text: &str| PolicyName::parse(text).unwrap();
    test.store.remember_policy(&name("fraud"), "first", start()).await.unwrap();
    test.store.remember_policy(&name("default"), "other", start()).await.unwrap();
    test.store.remember_policy(&name("fraud"), "second", days_later(1)).await.unwrap();
    let test = test.reopened().await;
    assert_eq!(
        test.store.policies().await.unwrap(),
        [(name("default"), "other".into()), (name("fraud"), "second".into())]
    );
    test.store.forget_policy(&name("default")).await.unwrap();
    assert_eq!(test.store.policies().await.unwrap(), [(name("fraud"), "second".into())]);
}

#[tokio::test]
async fn the_first_time_that_a_commit_was_seen_live_is_kept() {
    let test = TestStore::open().await;
    let key = ReleaseKey::parse("production/models/fraud").unwrap();
    let commit = |letter: &str| CommitId::parse(&letter.repeat(40)).unwrap();
    assert_eq!(test.store.live_since(&key, &commit("a")).await.unwrap(), None);
    let seen = |letter: &str, at, applied_at| SeenLive { commit: commit(letter), at, applied_at, ready_at: None };
    let (first, other) = (seen("a", start(), None), seen("b", days_later(2), Some(days_later(1))));
    for seen in [first.clone(), seen("a", days_later(1), Some(start())), other.clone()] {
        test.store.note_live(&key, seen).await.unwrap();
    }
    let test = test.reopened().await;
    assert_eq!(test.store.live_since(&key, &commit("a")).await.unwrap(), Some(start()));
    let seen = test.store.seen_live(&key, 10).await.unwrap();
    assert_eq!(seen, [other, first], "the newest first, and what was seen on the way");
    assert_eq!(test.store.prune(days_later(366)).await.unwrap().live, 1, "after a year");
    assert_eq!(test.store.live_since(&key, &commit("a")).await.unwrap(), None);
}

#[tokio::test]
async fn the_audit_is_paged_newest_first() {
    let test = TestStore::open().await;
    let entry = |reason: &str| AuditEntry {
        at: start(),
        actor: None,
        action: "release".into(),
        release: Some(key("production/models/fraud")),
        outcome: "refused".into(),
        reason: Some(reason.into()),
    };
    test.store.record(entry("one")).await.unwrap();
    test.store.commit(Batch { audit: vec![entry("two"), entry("three")], ..Batch::default() }).await.unwrap();
    let page = test.store.audit(None, 2).await.unwrap();
    assert_eq!(page.iter().map(|row| row.entry.clone()).collect::<Vec<_>>(), [entry("three"), entry("two")]);
    let next = test.store.audit(Some(page[1].number), 2).await.unwrap();
    assert_eq!(next.iter().map(|row| row.entry.clone()).collect::<Vec<_>>(), [entry("one")]);
}
