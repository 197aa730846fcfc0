use jiff::Timestamp;

use super::*;
use crate::event::{Delivery, DeliveryState, Event, Source, Verdict};
use crate::store::Told;
use crate::worker::conclusion::{Conclusion, Keep};
use crate::worker::told::told;

fn review() -> Review {
    let text = Text { title: "title".to_owned(), body: "a diff".to_owned() };
    Review {
        made: None,
        commit: CommitId::parse(&"a".repeat(40)).unwrap(),
        release: None,
        delivery: None,
        text: text.clone(),
        compared: Vec::new(),
        merges_itself: false,
        is_wanted: true,
        moot_since: None,
        state: ReviewState::AwaitingReview,
        pull: Some(Pull { number: 3, url: "https://forge.example/3".to_owned(), said: text, is_scheduled: false }),
        withdrawn: None,
        elsewhere: BTreeSet::new(),
        opinions: Opinions::default(),
        trouble: None,
        commented: None,
        is_over: false,
    }
}

#[test]
fn a_branch_has_a_lock_for_as_long_as_somebody_works_on_it() {
    let reviews = Reviews::default();
    let key = |name: &str| ReleaseKey::parse(&format!("production/models/{name}")).unwrap();
    let held = reviews.branch(&key("a"));
    for name in ["b", "c", "d"] {
        drop(reviews.branch(&key(name)));
    }
    assert!(Arc::ptr_eq(&held, &reviews.branch(&key("a"))), "it is the same for everybody");
    assert_eq!(reviews.branches.lock().unwrap().len(), 1);
}

#[test]
fn what_a_pull_request_said_is_not_kept_once_it_is_over() {
    let mut review = review();
    review.end();
    assert!(review.is_over && review.text.title == "title", "its title is shown on");
    assert!(review.text.body.is_empty() && review.pull.unwrap().said == Text::default());
}

fn asked() -> Delivery {
    Delivery {
        number: 1,
        source: Source::Api,
        id: DeliveryId::parse("asked").unwrap(),
        received_at: Timestamp::UNIX_EPOCH,
        body: String::new(),
        event: Event::Pushed { branch: "main".to_owned() },
        state: DeliveryState::Accepted,
        verdict: Verdict::default(),
        attempt: 0,
        next_attempt_at: None,
    }
}

#[test]
fn who_waits_at_another_replica_is_told_where_the_review_is_and_not_before_that_is_known() {
    let (reviews, key) = (Reviews::default(), ReleaseKey::parse("production/models/fraud").unwrap());
    let told_with = |waits_for: String, keep: Keep| {
        let concluded = Concluded::waits(Some(key.clone()), waits_for, None);
        told(&reviews, &Conclusion { delivery: asked(), concluded, keep })
    };
    let parked = || Keep::Parked(key.clone());
    let untold = reviews.waits_for(&key);
    assert_eq!(told_with(untold.clone(), parked()), Some(Told::default()), "nobody says more of what nobody wants");
    reviews.by_key().insert(key.clone(), Review { pull: None, ..review() });
    assert_eq!(told_with(untold.clone(), parked()), None);
    assert_eq!(told_with("what holds it".to_owned(), parked()), Some(Told::default()));
    reviews.by_key().insert(key.clone(), review());
    assert_eq!(told_with(untold, parked()), None, "it was written before the forge heard of it");
    assert_eq!(told_with(reviews.waits_for(&key), parked()), Some(Told::default()));
    assert_eq!(told_with(reviews.waits_for(&key), Keep::NextTurn), None);
}

#[test]
fn who_asked_is_told_that_it_merges_itself_once_the_forge_was_asked_for_that() {
    let (reviews, key) = (Reviews::default(), ReleaseKey::parse("production/models/fraud").unwrap());
    let put = |is_scheduled: bool, trouble: Option<&str>| {
        let mut review = review();
        review.merges_itself = true;
        review.pull.as_mut().unwrap().is_scheduled = is_scheduled;
        review.trouble = trouble.map(ToOwned::to_owned);
        reviews.by_key().insert(key.clone(), review);
        reviews.waits_for(&key)
    };
    let page = "the review of https://forge.example/3";
    assert_eq!(put(true, None), format!("{page}, which merges itself as soon as the rules of the branch let it"));
    assert_eq!(put(false, None), page);
    assert_eq!(put(false, Some("a person must")), format!("{page}: a person must"));
}
