//! How much a forge is asked that counts what it is asked: no more than a share of what it lets through, whatever there is to ask about.

use std::time::{Duration, Instant};

use crate::forge::Forge;

/// The window that forges count in.
const WINDOW: Duration = Duration::from_secs(3_600);

/// The share of who follows reviews, one in so many: the other three quarters are for what is opened, told and merged, and for whoever else uses the account.
pub(super) const OF_WHO_LEADS: u32 = 4;

/// The share of who only looks on: half as much, so that three replicas together leave half.
pub(super) const OF_WHO_FOLLOWS: u32 = 8;

/// What may be asked at once after nothing was asked for as long: five minutes' worth, which is a round of the most reviews and then some.
const AT_ONCE: Duration = Duration::from_secs(300);

/// What was asked, as the moment up to which the share has earned it.
#[derive(Debug)]
pub(super) struct Allowance {
    /// How long it takes to earn one request; no time where nothing is counted.
    each: Duration,
    earned_at: Instant,
}

impl Allowance {
    /// One in so many of the requests that a forge lets through.
    pub(super) fn of(forge: &Forge, share: u32) -> Self {
        Self::earning(forge.requests_per_hour().map_or(Duration::ZERO, |requests| WINDOW * share / requests))
    }

    /// One request in so long a time.
    pub(super) fn earning(each: Duration) -> Self {
        let now = Instant::now();
        Self { each, earned_at: now.checked_sub(AT_ONCE).unwrap_or(now) }
    }

    /// From when on something more may be asked.
    pub(super) fn next(&self) -> Instant {
        self.earned_at
    }

    /// Takes note of requests.
    pub(super) fn spend(&mut self, requests: usize, now: Instant) {
        let from = now.checked_sub(AT_ONCE).unwrap_or(now).max(self.earned_at);
        self.earned_at = from + self.each * u32::try_from(requests).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests are made in an hour and in the one after that, by somebody who asks so much at once as often as may be.
    fn made(share: u32, at_once: usize) -> [usize; 2] {
        let begin = Instant::now() + AT_ONCE;
        let mut allowance = Allowance { each: WINDOW * share / 5_000, earned_at: begin - AT_ONCE };
        let mut made = [0, 0];
        let mut now = begin;
        while now < begin + 2 * WINDOW {
            made[usize::from(now >= begin + WINDOW)] += at_once;
            allowance.spend(at_once, now);
            now = now.max(allowance.next());
        }
        made
    }

    #[test]
    fn whatever_there_is_to_ask_about_no_more_than_a_share_of_what_is_let_through_is_asked() {
        for at_once in [1, 3, 57] {
            let [first, second] = made(OF_WHO_LEADS, at_once);
            assert!(second <= 1_250 + at_once && second + at_once >= 1_250, "{second}");
            assert!(first <= 1_250 + 105 + at_once, "what may be asked at once comes once: {first}");
            let [_, second] = made(OF_WHO_FOLLOWS, at_once);
            assert!(second <= 625 + at_once, "{second}");
        }
    }

    #[test]
    fn what_was_not_asked_for_long_is_not_made_up_for() {
        let begin = Instant::now() + AT_ONCE;
        let mut allowance = Allowance { each: Duration::from_secs(3), earned_at: begin };
        let later = begin + 10 * WINDOW;
        allowance.spend(100, later);
        assert_eq!(allowance.next(), later);
        allowance.spend(1, later);
        assert_eq!(allowance.next(), later + Duration::from_secs(3));
    }
}
