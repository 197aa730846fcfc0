//! Which commit of the branch contains which, without walking its history for every release that Argo CD has looked at.

use std::collections::{HashMap, VecDeque};

use crate::names::CommitId;

/// The commits whose order is remembered: hours of a busy branch, at some hundred bytes each.
const COMMITS_MAX: usize = 10_000;

/// The answers of walks that are remembered.
const WALKS_MAX: usize = 10_000;

/// The order in which commits came to the branch since the service began.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    next: u64,
    /// The number of the push that a commit came with.
    numbers: HashMap<CommitId, u64>,
    order: VecDeque<CommitId>,
    /// What was found by a walk: whether the second contains the first.
    walked: HashMap<(CommitId, CommitId), bool>,
}

impl Lineage {
    /// Adds what came with one push. After the history was replaced nothing of before counts.
    pub(super) fn grow<'a>(&mut self, commits: impl Iterator<Item = &'a CommitId>, tip: &'a CommitId, is_anew: bool) {
        if is_anew {
            *self = Self::default();
        }
        self.next += 1;
        for commit in commits.chain([tip]) {
            if self.numbers.insert(commit.clone(), self.next).is_none() {
                self.order.push_back(commit.clone());
            }
        }
        // The tip comes last of its push, and of a push all is in its tip alone.
        while self.order.len() > COMMITS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.numbers.remove(&oldest);
            }
        }
    }

    /// Whether `revision` contains `commit`; nothing where that must be looked up.
    pub(super) fn contains(&self, commit: &CommitId, revision: &CommitId) -> Option<bool> {
        match (self.numbers.get(commit), self.numbers.get(revision)) {
            (Some(commit), Some(revision)) if commit != revision => Some(commit < revision),
            _ => self.walked.get(&(commit.clone(), revision.clone())).copied(),
        }
    }

    /// Remembers what a walk found.
    pub(super) fn remember(&mut self, commit: &CommitId, revision: &CommitId, is_contained: bool) {
        if self.walked.len() >= WALKS_MAX {
            self.walked.clear();
        }
        self.walked.insert((commit.clone(), revision.clone()), is_contained);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(number: u32) -> CommitId {
        CommitId::parse(&format!("{number:040x}")).unwrap()
    }

    #[test]
    fn a_later_push_contains_an_earlier_one_and_within_one_it_is_looked_up() {
        let mut lineage = Lineage::default();
        lineage.grow([commit(1), commit(2)].iter(), &commit(2), false);
        lineage.grow([commit(3)].iter(), &commit(3), false);
        assert_eq!(lineage.contains(&commit(1), &commit(3)), Some(true));
        assert_eq!(lineage.contains(&commit(3), &commit(2)), Some(false));
        assert_eq!(lineage.contains(&commit(1), &commit(2)), None);
        assert_eq!(lineage.contains(&commit(1), &commit(9)), None);
        lineage.remember(&commit(1), &commit(9), true);
        assert_eq!(lineage.contains(&commit(1), &commit(9)), Some(true));
    }

    #[test]
    fn a_history_that_took_the_place_of_another_says_nothing_of_it() {
        let mut lineage = Lineage::default();
        lineage.grow([commit(1)].iter(), &commit(1), false);
        lineage.grow([].iter(), &commit(5), true);
        assert_eq!(lineage.contains(&commit(1), &commit(5)), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut lineage = Lineage::default();
        for number in 0..30_000 {
            lineage.grow([commit(number)].iter(), &commit(number), false);
            lineage.remember(&commit(number), &commit(0), false);
        }
        assert!(lineage.numbers.len() <= COMMITS_MAX && lineage.order.len() <= COMMITS_MAX);
        assert!(lineage.walked.len() <= WALKS_MAX);
        assert_eq!(lineage.contains(&commit(29_998), &commit(29_999)), Some(true));
    }
}
