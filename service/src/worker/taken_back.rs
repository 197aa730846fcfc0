//! What is not carried out although it was handed to the writer: the store did not keep it, and whoever asked for it was told so.

use std::collections::BTreeSet;

/// The most deliveries that are remembered as taken back: more than any memory of them is kept of. Those of long ago are forgotten first.
const TAKEN_BACK_MAX: usize = 100_000;

/// Deliveries that were taken back, and those for which it is too late, by their numbers.
#[derive(Debug, Default)]
pub(super) struct TakenBack {
    /// Not to be carried out, wherever they are.
    numbers: BTreeSet<i64>,
    /// The branch may have a part of them, until their end is told.
    begun: BTreeSet<i64>,
}

impl TakenBack {
    /// Has a delivery not carried out. Says whether nothing of it was done, nor will be.
    pub(super) fn add(&mut self, number: i64) -> bool {
        self.numbers.insert(number);
        if self.numbers.len() > TAKEN_BACK_MAX {
            self.numbers.pop_first();
        }
        !self.begun.contains(&number)
    }

    /// Of what is to be carried out, gives what was taken back, for the writer to drop.
    pub(super) fn among(&mut self, numbers: impl IntoIterator<Item = i64>) -> BTreeSet<i64> {
        if self.numbers.is_empty() {
            return BTreeSet::new();
        }
        let taken_back: BTreeSet<i64> = numbers.into_iter().filter(|number| self.numbers.remove(number)).collect();
        self.begun.retain(|number| !taken_back.contains(number));
        taken_back
    }

    /// Says that these are about to be pushed, unless some of them were taken back; gives those, for the writer to drop.
    pub(super) fn begin(&mut self, numbers: &[i64]) -> BTreeSet<i64> {
        let taken_back = self.among(numbers.iter().copied());
        if taken_back.is_empty() {
            self.begun.extend(numbers);
        }
        taken_back
    }

    /// Says that nothing came of these.
    pub(super) fn came_to_nothing(&mut self, numbers: &[i64]) {
        self.begun.retain(|begun| !numbers.contains(begun));
    }

    /// Says that the end of one is told.
    pub(super) fn ended(&mut self, number: i64) {
        self.begun.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_back_is_dropped_once_and_what_was_begun_is_not_said_to_be_undone() {
        let mut taken_back = TakenBack::default();
        assert!(taken_back.begin(&[1, 2]).is_empty());
        assert!(!taken_back.add(1), "a part of it may be there");
        assert!(taken_back.add(3), "nothing of it is");
        taken_back.came_to_nothing(&[2]);
        assert!(taken_back.add(2), "nothing came of it");
        assert_eq!(taken_back.begin(&[1, 3, 4]), [1, 3].into());
        assert!(taken_back.add(4), "it did not begin beside them");
        assert_eq!(taken_back.among([2, 4, 5]), [2, 4].into());
        assert!(taken_back.begin(&[1, 2]).is_empty(), "they are dropped by now");
        taken_back.ended(1);
        assert!(taken_back.add(1) && !taken_back.add(2));
    }

    #[test]
    fn those_of_long_ago_are_forgotten_first() {
        let mut taken_back = TakenBack::default();
        let last = i64::try_from(TAKEN_BACK_MAX).unwrap();
        assert!((0..=last).all(|number| taken_back.add(number)));
        assert_eq!(taken_back.among([0, 1, last]), [1, last].into());
    }
}
