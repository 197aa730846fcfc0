//! What is kept between two turns.

use super::*;
use crate::release::Intent;
use crate::worker::urgent::tests::{delivery, put};

#[test]
fn what_goes_on_from_a_state_waits_for_the_older_requests_that_are_looked_into_and_for_no_others() {
    let mut conveyor = Conveyor::new(CommitId::parse(&"a".repeat(40)).unwrap());
    let (key, mut work) = (ReleaseKey::parse("production/models/fraud").unwrap(), Work::default());
    let pause = |number| delivery(number, "fraud", Intent::Pause);
    let promote = delivery(4, "fraud", Intent::Promote { keep: "v8".parse().unwrap() });
    assert!(conveyor.keep_behind(pause(1)).is_some());
    conveyor.asks(&key, 2);
    assert!(conveyor.keep_behind(pause(1)).is_some(), "it was asked for before that");
    assert!(conveyor.keep_behind(promote).is_some(), "it asks for a state itself");
    assert!(conveyor.keep_behind(delivery(5, "other", Intent::Pause)).is_some());
    assert!(conveyor.keep_behind(pause(3)).is_none());
    conveyor.asks(&key, 6);
    assert!(conveyor.keep_behind(pause(7)).is_none());
    let (back, freed) = conveyor.has_asked(put(2, "fraud"), &mut work);
    assert_eq!((back.unwrap().number, freed), (2, vec![pause(3)]), "however many come after it");
    let (back, freed) = conveyor.has_asked(put(6, "fraud"), &mut work);
    assert_eq!((back.unwrap().number, freed), (6, vec![pause(7)]));
    assert!(conveyor.asking.is_empty() && work.concluded.is_empty());
}

#[test]
fn what_is_given_in_again_is_no_longer_put_off_and_is_there_once() {
    let mut conveyor = Conveyor::new(CommitId::parse(&"a".repeat(40)).unwrap());
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let key = ReleaseKey::parse("production/models/parked").unwrap();
    for (second, number) in [(50, 1), (60, 2)] {
        conveyor.retry.insert((at(second), number), put(number, "fraud"));
    }
    conveyor.parked.insert(key.clone(), put(3, "parked"));
    conveyor.try_now(&BTreeSet::from([2, 3, 4]), at(10));
    assert_eq!(conveyor.retry.keys().collect::<Vec<_>>(), [&(at(10), 2), &(at(50), 1)]);
    assert_eq!(conveyor.agenda.take_due(at(10), 10), [key]);
    assert_eq!(conveyor.parked.len(), 1);
}

#[test]
fn what_others_carried_out_is_not_remembered_without_a_bound() {
    let commit = CommitId::parse(&"a".repeat(40)).unwrap();
    let key = ReleaseKey::parse("production/models/fraud").unwrap();
    let mut conveyor = Conveyor::new(commit.clone());
    let found = |of: std::ops::Range<usize>| {
        of.map(|number| (number.to_string(), (key.clone(), commit.clone()))).collect::<DoneBefore>()
    };
    conveyor.remember_done(found(0..DONE_BEFORE_MAX));
    assert_eq!(conveyor.done_before.len(), DONE_BEFORE_MAX);
    conveyor.remember_done(found(DONE_BEFORE_MAX..DONE_BEFORE_MAX + 1));
    assert_eq!(conveyor.done_before.into_keys().collect::<Vec<_>>(), [DONE_BEFORE_MAX.to_string()]);
}
