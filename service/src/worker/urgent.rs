//! Who goes first where more waits than one turn takes: a release that somebody wants back or stopped, with all that was asked of it.

use std::collections::{BTreeMap, HashSet, VecDeque};

use jiff::Timestamp;

use crate::event::{Delivery, Event};
use crate::names::ReleaseKey;
use crate::release::{Act, Intent};

/// A delivery that failed, and when its time came.
pub(super) type Due = (Timestamp, Delivery);

/// Those that failed, by when their time comes and their number.
pub(super) type Later = BTreeMap<(Timestamp, i64), Delivery>;

/// What goes into a turn, and what goes back to where it waited.
#[derive(Debug, Default)]
pub(super) struct Portion {
    pub(super) due: Vec<Due>,
    pub(super) taken: Vec<Delivery>,
    pub(super) due_later: Vec<Due>,
    pub(super) taken_later: Vec<Delivery>,
}

/// Chooses at most so many deliveries of those whose time has come and those that were taken from the inbox: those that go first.
///
/// Nothing of a release is left behind that was asked before what is chosen: a rollback that overtook it would be undone by it.
pub(super) fn share_out(due: Vec<Due>, taken: Vec<Delivery>, most: usize) -> Portion {
    let urgent = WantedBack::by(due.iter().map(|(_, delivery)| delivery).chain(&taken));
    let all = due.iter().map(|(_, delivery)| delivery).chain(&taken);
    let mut ranks: Vec<(bool, i64)> = all.map(|delivery| urgent.rank(delivery)).collect();
    ranks.sort_unstable();
    ranks.truncate(most);
    let goes_now = |delivery: &Delivery| ranks.last().is_some_and(|last| urgent.rank(delivery) <= *last);
    let (due, due_later) = due.into_iter().partition(|(_, delivery)| goes_now(delivery));
    let (taken, taken_later) = taken.into_iter().partition(goes_now);
    Portion { due, taken, due_later, taken_later }
}

/// Takes out of what is tried later at most so many: everything about releases that somebody wants back or stopped, then what has waited
/// longest, each in the order in which it arrived.
pub(super) fn take_oldest(later: &mut Later, most: usize) -> Vec<Due> {
    let urgent = WantedBack::by(later.values());
    let mut all: Vec<Due> = std::mem::take(later).into_iter().map(|((at, _), delivery)| (at, delivery)).collect();
    all.sort_unstable_by_key(|(_, delivery)| urgent.rank(delivery));
    let rest = all.split_off(all.len().min(most));
    later.extend(rest.into_iter().map(|(at, delivery)| ((at, delivery.number), delivery)));
    all
}

/// Takes out of what is tried later, where something new was asked, everything about the releases that it is about and about those that
/// somebody wants back or stopped, in the order in which it arrived.
pub(super) fn take_related(later: &mut Later, taken: &[Delivery]) -> Vec<Due> {
    if taken.is_empty() {
        return Vec::new();
    }
    let mut concerned = WantedBack::by(later.values());
    concerned.0.extend(taken.iter().filter_map(release_of).cloned());
    let mut related: Vec<Due> = later
        .extract_if(.., |_, delivery| concerned.concerns(delivery))
        .map(|((at, _), delivery)| (at, delivery))
        .collect();
    related.sort_unstable_by_key(|(_, delivery)| delivery.number);
    related
}

/// Puts what a turn carries out in order: everything about releases that somebody wants back or stopped, then the rest, each as it arrived.
pub(super) fn put_in_order(deliveries: &mut [Delivery]) {
    let urgent = WantedBack::by(deliveries.iter());
    deliveries.sort_by_key(|delivery| urgent.rank(delivery));
}

/// Puts everything about releases that somebody wants back or stopped before the rest of what waits.
pub(super) fn put_wanted_back_first(waiting: &mut VecDeque<Delivery>) {
    let urgent = WantedBack::by(waiting.iter());
    if urgent.0.is_empty() {
        return;
    }
    let (mut first, rest): (Vec<Delivery>, Vec<Delivery>) =
        waiting.drain(..).partition(|delivery| urgent.concerns(delivery));
    // Some may have been read from the store before what was asked of their releases earlier and waits here.
    first.sort_by_key(|delivery| delivery.number);
    waiting.extend(first.into_iter().chain(rest));
}

/// The releases that somebody wants back or stopped.
struct WantedBack(HashSet<ReleaseKey>);

impl WantedBack {
    /// Those that some deliveries want so.
    fn by<'d>(deliveries: impl Iterator<Item = &'d Delivery>) -> Self {
        Self(deliveries.filter_map(wants_back).cloned().collect())
    }

    /// What decides who goes first.
    fn rank(&self, delivery: &Delivery) -> (bool, i64) {
        (!self.concerns(delivery), delivery.number)
    }

    /// Whether a delivery, of whatever kind, is about one of them.
    fn concerns(&self, delivery: &Delivery) -> bool {
        release_of(delivery).is_some_and(|key| self.0.contains(key))
    }
}

/// The release that somebody wants back or stopped.
pub(super) fn wants_back(delivery: &Delivery) -> Option<&ReleaseKey> {
    is_urgent(&delivery.event).then(|| release_of(delivery)).flatten()
}

/// Whether it takes a release back or stops it.
pub(super) fn is_urgent(event: &Event) -> bool {
    match event {
        Event::Requested(requested) => {
            matches!(requested.intent, Intent::Rollback { .. } | Intent::Abort { .. } | Intent::Pause)
        }
        Event::ActRequested(asked) => matches!(asked.act, Act::Rollback { .. } | Act::Abort | Act::Pause),
        _ => false,
    }
}

/// The release that a request is about.
pub(super) fn release_of(delivery: &Delivery) -> Option<&ReleaseKey> {
    match &delivery.event {
        Event::Requested(requested) => Some(&requested.key),
        Event::ActRequested(asked) => Some(&asked.key),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{DeliveryState, Guard, NewDelivery, Requested, Source, Verdict};

    pub(in crate::worker) fn delivery(number: i64, name: &str, intent: Intent) -> Delivery {
        let key = ReleaseKey::parse(&format!("production/models/{name}")).unwrap();
        let requested = Requested { key, intent, guard: Guard::default(), requested_by: None };
        let id = crate::names::DeliveryId::parse(&number.to_string()).unwrap();
        let new = NewDelivery {
            source: Source::Api,
            id,
            received_at: Timestamp::UNIX_EPOCH,
            body: String::new(),
            event: Event::Requested(Box::new(requested)),
        };
        let NewDelivery { source, id, received_at, body, event } = new;
        let (state, verdict) = (DeliveryState::Accepted, Verdict::default());
        Delivery { number, source, id, received_at, body, event, state, verdict, attempt: 0, next_attempt_at: None }
    }

    pub(in crate::worker) fn put(number: i64, name: &str) -> Delivery {
        let body = json!({"model": name, "version": "8", "image": "registry.example/x:8"});
        let request = serde_json::from_value::<crate::release::ReleaseRequest>(body).unwrap();
        delivery(number, name, Intent::Put(Box::new(request.wanted().unwrap())))
    }

    fn numbers<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Vec<i64> {
        deliveries.into_iter().map(|delivery| delivery.number).collect()
    }

    fn due(deliveries: Vec<Delivery>) -> Vec<Due> {
        deliveries.into_iter().map(|delivery| (Timestamp::UNIX_EPOCH, delivery)).collect()
    }

    #[test]
    fn all_that_fits_is_chosen() {
        let share = share_out(due(vec![put(1, "a"), put(2, "b")]), vec![put(3, "c"), put(4, "a")], 4);
        assert_eq!((numbers(share.due.iter().map(|(_, due)| due)), numbers(&share.taken)), (vec![1, 2], vec![3, 4]));
        let share =
            share_out(due(vec![put(1, "a"), put(2, "b")]), vec![put(3, "c"), delivery(4, "b", Intent::Pause)], 4);
        assert_eq!((numbers(share.due.iter().map(|(_, due)| due)), numbers(&share.taken)), (vec![1, 2], vec![3, 4]));
        assert!(share.due_later.is_empty() && share.taken_later.is_empty());
    }

    #[test]
    fn what_was_asked_of_a_release_before_its_rollback_is_never_left_behind_it() {
        for most in 0..6 {
            let back = vec![delivery(4, "a", Intent::Pause), delivery(5, "b", Intent::Pause)];
            let share = share_out(due(vec![put(1, "a"), put(2, "b"), put(3, "c")]), back, most);
            let now = share.due.iter().map(|(_, due)| due).chain(&share.taken);
            let (now, later) = (numbers(now), numbers(share.due_later.iter().map(|(_, due)| due)));
            assert!(
                [(1, 4), (2, 5)].iter().all(|(put, back)| !(later.contains(put) && now.contains(back))),
                "{most}: {now:?}"
            );
        }
    }

    #[test]
    fn what_a_turn_carries_out_is_in_the_order_in_which_it_was_asked_for_release_by_release() {
        let back = |number, name| delivery(number, name, Intent::Pause);
        let mut turn = vec![back(7, "a"), put(9, "c"), put(3, "b"), put(2, "a"), put(4, "c")];
        put_in_order(&mut turn);
        assert_eq!(numbers(&turn), [2, 7, 3, 4, 9]);
    }

    #[test]
    fn something_new_takes_along_what_was_asked_of_its_release_before_and_what_is_wanted_back() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let all = [put(4, "a"), put(1, "a"), put(2, "b"), put(3, "c"), delivery(5, "c", Intent::Pause)];
        let mut later: Later =
            all.into_iter().map(|delivery| ((at(100 - delivery.number), delivery.number), delivery)).collect();
        assert!(take_related(&mut later, &[]).is_empty());
        assert_eq!(numbers(take_related(&mut later, &[put(6, "a")]).iter().map(|(_, due)| due)), [1, 3, 4, 5]);
        assert_eq!(numbers(later.values()), [2]);
    }

    #[test]
    fn of_what_is_tried_later_the_oldest_goes_first_whenever_its_time_is() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let all = [
            (9, put(1, "a")),
            (1, put(5, "b")),
            (5, put(2, "c")),
            (7, put(3, "d")),
            (3, delivery(6, "d", Intent::Pause)),
        ];
        let mut later: Later =
            all.into_iter().map(|(second, delivery)| ((at(second), delivery.number), delivery)).collect();
        assert_eq!(numbers(take_oldest(&mut later, 4).iter().map(|(_, due)| due)), [3, 6, 1, 2]);
        assert_eq!(later.keys().collect::<Vec<_>>(), [&(at(1), 5)]);
    }

    #[test]
    fn a_rollback_goes_first_behind_what_was_asked_of_its_release_before() {
        let failed = due((1..=9).map(|number| put(number, if number == 7 { "fraud" } else { "other" })).collect());
        let back = delivery(11, "fraud", Intent::Pause);
        let share = share_out(failed, vec![put(10, "third"), back], 3);
        assert_eq!(numbers(share.due.iter().map(|(_, due)| due)), [1, 7]);
        assert_eq!(numbers(&share.taken), [11]);
        assert_eq!(numbers(share.due_later.iter().map(|(_, due)| due)), [2, 3, 4, 5, 6, 8, 9]);
        assert_eq!(numbers(&share.taken_later), [10]);
    }

    #[test]
    fn nothing_is_lost_however_little_room_there_is() {
        for most in 0..8 {
            let share =
                share_out(due((1..=3).map(|n| put(n, "a")).collect()), (4..=6).map(|n| put(n, "b")).collect(), most);
            assert!(share.due.len() + share.taken.len() <= most);
            let all = share
                .due
                .iter()
                .chain(&share.due_later)
                .map(|(_, due)| due)
                .chain(&share.taken)
                .chain(&share.taken_later);
            let mut all = numbers(all);
            all.sort_unstable();
            assert_eq!(all, [1, 2, 3, 4, 5, 6], "{most}");
        }
    }
}
