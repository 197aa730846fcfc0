use super::*;

/// A lease of ten minutes, taken some minutes after the start.
fn lease(owner: &str, minutes: i64) -> Lease {
    let at = |minutes| start().checked_add(SignedDuration::from_mins(minutes)).unwrap();
    Lease { owner: owner.into(), now: at(minutes), until: at(minutes + 10) }
}

async fn leased(test: &TestStore, lease: Lease, limit: u32) -> Vec<String> {
    let taken = test.store.lease(lease, limit).await.unwrap();
    taken.iter().map(|delivery| delivery.id.to_string()).collect()
}

#[tokio::test]
async fn what_one_has_nobody_else_gets_until_its_lease_has_run_out() {
    let test = TestStore::open().await;
    for id in ["a", "b", "c"] {
        test.accept_new(id).await;
    }
    assert_eq!(leased(&test, lease("one", 0), 2).await, ["a", "b"]);
    assert_eq!(leased(&test, lease("two", 1), 10).await, ["c"]);
    assert_eq!(leased(&test, lease("one", 2), 10).await, ["a", "b"], "what it has already");
    assert_eq!(leased(&test, lease("two", 12), 10).await, ["a", "b", "c"], "the first one is dead");
    assert_eq!(test.store.extend_lease(lease("one", 13)).await.unwrap(), 0, "and hears of it");
    assert_eq!(test.store.extend_lease(lease("two", 13)).await.unwrap(), 3);
    assert_eq!(leased(&test, lease("one", 22), 10).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_lease_ends_with_what_becomes_of_the_delivery_or_when_it_is_given_back() {
    let test = TestStore::open().await;
    let failed = test.accept_new("failed").await.number;
    let done = test.accept_new("done").await.number;
    test.accept_new("given-back").await;
    assert_eq!(leased(&test, lease("one", 0), 10).await.len(), 3);
    test.settle(failed, DeliveryState::Failed).await;
    test.settle(done, DeliveryState::Applied).await;
    assert_eq!(leased(&test, lease("two", 1), 10).await, ["failed"]);
    assert_eq!(test.store.end_lease("one").await.unwrap(), 1);
    assert_eq!(leased(&test, lease("two", 2), 10).await, ["failed", "given-back"]);
}

#[tokio::test]
async fn one_at_a_time_leads_until_it_stops() {
    let test = TestStore::open().await;
    // Replicas that share a server, or two parts of one process with a file.
    let other = if server().is_some() { test.opened_again(Limits::default()).await } else { test.store.clone() };
    let first = test.store.try_lead("main").await.unwrap().unwrap();
    assert!(first.leads());
    assert!(other.try_lead("main").await.unwrap().is_none());
    let elsewhere = other.try_lead("another branch").await.unwrap().unwrap();
    assert!(elsewhere.leads());
    drop(first);
    let next = async {
        loop {
            match other.try_lead("main").await.unwrap() {
                Some(next) => break next,
                None => tokio::task::yield_now().await,
            }
        }
    };
    assert!(next.await.leads(), "the other one may go on");
}
