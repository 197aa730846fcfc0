use super::*;

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
