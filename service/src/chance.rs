//! Shares by chance, so that those who failed together do not all come back together.

use std::time::Duration;

/// A share of a time, by chance. Without randomness it is all of it.
pub fn share_of(longest: Duration) -> Duration {
    let share = getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX));
    longest.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_no_more_than_all_and_not_always_the_same() {
        let longest = Duration::from_secs(1);
        let shares: Vec<Duration> = (0..100).map(|_| share_of(longest)).collect();
        assert!(shares.iter().all(|share| *share <= longest));
        assert!(shares.iter().any(|share| *share != shares[0]), "{shares:?}");
        assert_eq!(share_of(Duration::ZERO), Duration::ZERO);
    }
}
