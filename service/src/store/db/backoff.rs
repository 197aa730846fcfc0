//! How long to leave a server alone that could not be reached.

use std::time::{Duration, Instant};

use super::super::StoreError;
use crate::chance::share_of;

/// The longest first pause: a server that restarts is back within a second or two.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause: who waits for the store's answer is told "not now" for so long after the server is back, at most.
const LONGEST: Duration = Duration::from_secs(5);

/// What is known of attempts that failed in a row.
#[derive(Debug, Default)]
pub(in super::super) struct Backoff {
    failed: u32,
    pause: Option<(Instant, StoreError)>,
}

impl Backoff {
    /// Why not to try now, while the pause lasts.
    pub(in super::super) fn pauses(&self, now: Instant) -> Option<StoreError> {
        self.pause.as_ref().filter(|(until, _)| now < *until).map(|(_, error)| error.clone())
    }

    /// Begins a pause after an attempt that failed.
    pub(in super::super) fn failed(&mut self, now: Instant, error: &StoreError) {
        self.pause = Some((now + share_of(longest(self.failed)), error.clone()));
        self.failed = self.failed.saturating_add(1);
    }

    /// Ends it: the server has answered.
    pub(in super::super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

/// The longest pause after so many failures before: replicas that lost the same server do not come back in step, because each takes a share of
/// it by chance.
fn longest(failed: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failed.min(16))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<u128> = (0..8).map(|failed| longest(failed).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(longest(u32::MAX), LONGEST);
    }

    #[test]
    fn a_pause_ends_by_itself_or_by_success() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert!(backoff.pauses(now).is_none());
        for _ in 0..4 {
            backoff.failed(now, &StoreError::Closed);
            assert!(backoff.pauses(now + LONGEST).is_none());
        }
        backoff.pause = Some((now + FIRST, StoreError::Closed));
        assert!(matches!(backoff.pauses(now), Some(StoreError::Closed)));
        backoff.succeeded();
        assert!(backoff.pauses(now).is_none() && backoff.failed == 0);
    }
}
