use super::*;

#[tokio::test]
async fn a_done_delivery_is_kept_thirty_days_and_its_id_ninety() {
    let test = TestStore::open().await;
    let number = test.accept_new("a").await.number;
    test.settle(number, DeliveryState::Applied).await;
    assert!(test.store.prune(days_later(30)).await.unwrap().is_nothing());
    assert_eq!(test.store.prune(days_later(31)).await.unwrap(), Pruned { deliveries: 1, ..Pruned::default() });
    assert_eq!(test.store.delivery(None, "a").await.unwrap(), None);

    let test = test.reopened().await;
    let repeat = Accepted::Repeat { number, state: DeliveryState::Applied };
    assert_eq!(test.store.accept(arriving("a")).await.unwrap(), repeat);
    assert!(test.store.prune(days_later(90)).await.unwrap().is_nothing());
    assert_eq!(test.store.accept(arriving("a")).await.unwrap(), repeat);
    assert_eq!(test.store.prune(days_later(91)).await.unwrap(), Pruned { delivery_ids: 1, ..Pruned::default() });
    test.accept_new("a").await;
}

#[tokio::test]
async fn what_waits_is_never_removed() {
    let test = TestStore::open_with(Limits { deliveries_max: 1, ..Limits::default() }).await;
    let failed = test.accept_new("failed").await.number;
    test.settle(failed, DeliveryState::Failed).await;
    test.accept_new("accepted").await;
    test.accept_new("another").await;
    assert!(test.store.prune(days_later(365)).await.unwrap().is_nothing());
    assert_eq!(test.waiting_ids().await, ["failed", "accepted", "another"]);
}

#[tokio::test]
async fn a_refused_delivery_that_was_removed_may_be_tried_again() {
    let test = TestStore::open().await;
    let number = test.accept_new("a").await.number;
    test.settle(number, DeliveryState::Refused).await;
    assert_eq!(test.store.prune(days_later(31)).await.unwrap().deliveries, 1);
    test.accept_new("a").await;
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    let test = TestStore::open_with(Limits { deliveries_max: 2, ..Limits::default() }).await;
    for n in 0..5 {
        let number = test.accept_new(&format!("d{n}")).await.number;
        test.settle(number, DeliveryState::Unchanged).await;
    }
    assert_eq!(test.store.prune(start()).await.unwrap().deliveries, 3);
    let left = test.store.deliveries(DeliveryQuery { limit: 10, ..DeliveryQuery::default() }).await.unwrap();
    assert_eq!(left.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["d4", "d3"]);
    assert!(matches!(test.store.accept(arriving("d0")).await.unwrap(), Accepted::Repeat { .. }));
}

#[tokio::test]
async fn more_than_one_step_is_removed_in_one_call() {
    let test = TestStore::open().await;
    let mut outcomes = Vec::new();
    for start in (0..1_200).step_by(100) {
        let ids: Vec<String> = (start..start + 100).map(|n| format!("d{n}")).collect();
        for answer in futures_util::future::join_all(ids.iter().map(|id| test.store.accept(arriving(id)))).await {
            let Ok(Accepted::New(delivery)) = answer else { panic!("all are new") };
            outcomes.push(became(delivery.number, DeliveryState::Applied));
        }
    }
    test.store.commit(Batch { outcomes, ..Batch::default() }).await.unwrap();
    assert_eq!(test.store.prune(days_later(31)).await.unwrap().deliveries, 1_200);
    assert_eq!(test.store.inbox_depth().await.unwrap(), []);
}

#[tokio::test]
async fn old_keys_and_audit_entries_go() {
    let test = TestStore::open().await;
    let claim = ClaimKey { token_id: "t".into(), path: "p".into(), key: "k".into() };
    test.store.claim(claim, "body".into(), start()).await.unwrap();
    let entry = AuditEntry {
        at: start(),
        actor: None,
        action: "hold".into(),
        release: None,
        outcome: "done".into(),
        reason: None,
    };
    test.store.record(entry).await.unwrap();
    assert!(test.store.prune(days_later(1)).await.unwrap().is_nothing());
    assert_eq!(test.store.prune(days_later(2)).await.unwrap(), Pruned { idempotency_keys: 1, ..Pruned::default() });
    assert_eq!(test.store.prune(days_later(366)).await.unwrap(), Pruned { audit_entries: 1, ..Pruned::default() });
}
