//! Trying again: when, and with what reason until then.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::conclusion::Concluded;
use super::conveyor::Conveyor;
use super::shared::Shared;
use super::urgent::release_of;
use crate::chance::share_of;
use crate::event::Delivery;
use crate::git::GitError;
use crate::retry_after::RETRY_AFTER_MAX;
use crate::store::{Batch, DeliveryOutcome, Told};

/// Whatever failed is tried within this time, which is as long as anybody's wish to be left alone is heeded: long enough to spare a sick disk, short
/// enough that nobody waits for long once it is well.
pub(super) const TRIED_WITHIN: Duration = RETRY_AFTER_MAX;

/// The longest wait after others were faster again and again: nothing is sick, so it does not grow, and who asked still waits.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// The shortest wait before what failed is tried for something new: requests may come all the time, and each try costs a sick remote some work.
const EARLY_AFTER: Duration = Duration::from_secs(5);

/// Has deliveries tried again at a later moment, for this reason.
pub(super) async fn postpone(
    shared: &Shared,
    conveyor: &mut Conveyor,
    deliveries: Vec<Delivery>,
    (reason, cure): (String, Option<String>),
    at: Timestamp,
) {
    let mut batch = Batch::default();
    for mut delivery in deliveries {
        let release = delivery.verdict.release.as_ref().or(release_of(&delivery)).cloned();
        let mut concluded = Concluded::failed(release, reason.clone());
        concluded.verdict.cure.clone_from(&cure);
        delivery.attempt += 1;
        delivery.state = concluded.state;
        delivery.verdict =
            crate::event::Verdict { commit: delivery.verdict.commit.clone(), ..concluded.verdict.clone() };
        batch.outcomes.push(DeliveryOutcome {
            number: delivery.number,
            state: delivery.state,
            verdict: delivery.verdict.clone(),
            attempt: delivery.attempt,
            next_attempt_at: Some(at),
            told: shared.replica.is_one.then(Told::default),
        });
        shared.metrics.concluded(delivery.source, concluded.state.as_str(), None);
        shared.inbox.answer(delivery.number, concluded);
        conveyor.retry.insert((at, delivery.number), delivery);
    }
    // A disk that is full for the repository is full for the store; the rows are waiting there as they are.
    if let Err(error) = shared.store.commit(batch).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "The failure could not be stored: {error}");
    }
}

/// The wait before the next attempt: as long as the other side asks for, but no longer than any other.
pub(super) fn wait(failures: u32, asked: Option<Duration>) -> Duration {
    asked.unwrap_or_default().max(backoff(failures)).min(TRIED_WITHIN)
}

/// The wait after a turn that failed, the last one of so many in a row.
pub(super) fn wait_after(error: &GitError, failures: u32) -> Duration {
    match error {
        GitError::Overtaken { .. } => share_of(OVERTAKEN),
        _ => wait(failures, error.retry_after()),
    }
}

/// The wait after a turn that failed before somebody who comes with something new may find out that all is well again: as long as the other side asks
/// for.
pub(super) fn wait_at_least(error: &GitError) -> Duration {
    error.retry_after().unwrap_or_default().max(EARLY_AFTER).min(TRIED_WITHIN)
}

/// How long everything is left alone after a turn that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) until: Timestamp,
    /// From when on something new, a look at the branch too, ends it: what failed may be well again, and whoever waits is not to wait for all of it.
    pub(super) at_least: Timestamp,
}

impl Pause {
    /// When it ends.
    pub(super) fn ends(&self, has_news: bool) -> Timestamp {
        if has_news { self.at_least } else { self.until }
    }

    pub(super) fn is_over(&self, has_news: bool, now: Timestamp) -> bool {
        has_come(self.ends(has_news), now)
    }
}

/// Whether the moment has come that something is tried again at. One that lies further ahead than anything is put off has been overtaken: the clock
/// was set back.
pub(super) fn has_come(at: Timestamp, now: Timestamp) -> bool {
    at <= now || at.duration_since(now) > SignedDuration::try_from(TRIED_WITHIN).unwrap_or(SignedDuration::MAX)
}

pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Full jitter over a range that doubles: those who failed together do not all come back together.
pub(super) fn backoff(failures: u32) -> Duration {
    let range = 1_000_u64.saturating_mul(1 << failures.min(16)).min(TRIED_WITHIN.as_secs() * 1_000);
    share_of(Duration::from_millis(range)).max(Duration::from_millis(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::remote::RemoteError;

    #[test]
    fn nobody_may_ask_for_a_longer_wait_than_the_longest() {
        assert_eq!(wait(1, Some(Duration::from_secs(u64::MAX))), TRIED_WITHIN);
        assert_eq!(wait(1, Some(Duration::from_secs(20))), Duration::from_secs(20));
        assert!(wait(40, None) <= TRIED_WITHIN);
    }

    #[test]
    fn something_new_ends_a_pause_but_not_at_once_and_not_before_the_other_side_lets_it() {
        let now = Timestamp::UNIX_EPOCH;
        let pause = Pause { until: later(now, TRIED_WITHIN), at_least: later(now, wait_at_least(&GitError::Locked)) };
        assert!(!pause.is_over(true, now) && pause.is_over(true, later(now, EARLY_AFTER)));
        assert!(!pause.is_over(false, later(now, EARLY_AFTER)) && pause.is_over(false, later(now, TRIED_WITHIN)));
        let busy = |asked| RemoteError::Busy { address: "host".to_owned(), status: 429, retry_after: Some(asked) };
        let asked = Duration::from_secs(60);
        assert_eq!(wait_at_least(&busy(asked).into()), asked);
        assert_eq!(wait_at_least(&busy(Duration::MAX).into()), TRIED_WITHIN);
    }

    #[test]
    fn who_was_overtaken_tries_again_soon_however_often_that_was() {
        assert!((0..100).all(|failures| wait_after(&GitError::Overtaken { times: 1 }, failures) <= OVERTAKEN));
        assert!((0..100).any(|_| wait_after(&GitError::Locked, 40) > OVERTAKEN));
    }
}
