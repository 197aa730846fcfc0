//! When which release is looked at again: one moment per release, the earliest.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::names::ReleaseKey;

/// When which release is looked at again.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    times: BTreeSet<(Timestamp, ReleaseKey)>,
    of: HashMap<ReleaseKey, Timestamp>,
}

impl Agenda {
    /// Looks at a release at this moment, or earlier where that is planned.
    pub(super) fn at(&mut self, moment: Timestamp, key: &ReleaseKey) {
        match self.of.get(key) {
            Some(planned) if *planned <= moment => return,
            Some(planned) => {
                self.times.remove(&(*planned, key.clone()));
            }
            None => {}
        }
        self.of.insert(key.clone(), moment);
        self.times.insert((moment, key.clone()));
    }

    /// Takes the releases whose moment has come, at most `max`.
    pub(super) fn take_due(&mut self, now: Timestamp, max: usize) -> Vec<ReleaseKey> {
        let mut due = Vec::new();
        while due.len() < max && self.times.first().is_some_and(|(moment, _)| *moment <= now) {
            let Some((_, key)) = self.times.pop_first() else { break };
            self.of.remove(&key);
            due.push(key);
        }
        due
    }

    /// The next moment.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.times.first().map(|(moment, _)| *moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_comes_up_once_and_at_its_earliest_moment() {
        let key = |name: &str| ReleaseKey::parse(&format!("production/models/{name}")).unwrap();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut agenda = Agenda::default();
        agenda.at(at(20), &key("a"));
        agenda.at(at(10), &key("a"));
        agenda.at(at(30), &key("a"));
        agenda.at(at(15), &key("b"));
        assert_eq!(agenda.next(), Some(at(10)));
        assert_eq!(agenda.take_due(at(9), 10), []);
        assert_eq!(agenda.take_due(at(40), 10), [key("a"), key("b")]);
        assert_eq!(agenda.next(), None);
    }
}
