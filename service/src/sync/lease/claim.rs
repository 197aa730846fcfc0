//! What to do about a Lease, by what was seen of it and when.
//!
//! As other candidates do (client-go), it counts when *this* one saw the Lease change, by its own clock: what a holder wrote down is its clock's, and is
//! compared with nothing but itself. No I/O and no clock in here.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// How one candidate looks at a Lease.
#[derive(Debug)]
pub(super) struct Claim {
    holder: String,
    duration: Duration,
    /// The last change of another holder's.
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    holder: String,
    renewed: Option<MicroTime>,
    at: Instant,
}

/// What to do about it.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// It is free, over or ours: this is to be written.
    Write(LeaseSpec),
    /// It is another's, for so long at least.
    Wait { holder: String, left: Duration },
}

impl Claim {
    pub(super) fn new(holder: &str, duration: Duration) -> Self {
        Self { holder: holder.to_owned(), duration, seen: None }
    }

    /// What to do about a Lease that is so at a moment; none: there is no such Lease yet.
    pub(super) fn look(&mut self, lease: Option<&LeaseSpec>, (at, now): (Instant, Timestamp)) -> Next {
        let Some(lease) = lease else { return Next::Write(self.begun(&LeaseSpec::default(), 0, now)) };
        let transitions = lease.lease_transitions.unwrap_or_default();
        match holder_of(lease) {
            Some(holder) if holder == self.holder => {
                self.seen = None;
                Next::Write(LeaseSpec { renew_time: Some(MicroTime(now)), ..self.ours(lease) })
            }
            Some(holder) => match self.left(holder, lease, at) {
                Some(left) => Next::Wait { holder: holder.to_owned(), left },
                None => Next::Write(self.begun(lease, transitions.saturating_add(1), now)),
            },
            None => Next::Write(self.begun(lease, transitions.saturating_add(1), now)),
        }
    }

    /// The Lease with nobody in it, where this candidate has it.
    pub(super) fn released(&self, lease: &LeaseSpec, now: Timestamp) -> Option<LeaseSpec> {
        let is_ours = holder_of(lease) == Some(self.holder.as_str());
        let nobody =
            || LeaseSpec { holder_identity: Some(String::new()), renew_time: Some(MicroTime(now)), ..self.ours(lease) };
        is_ours.then(nobody)
    }

    /// How long another's Lease is still to be respected; none where it is over.
    fn left(&mut self, holder: &str, lease: &LeaseSpec, at: Instant) -> Option<Duration> {
        let is_same = |seen: &&Seen| seen.holder == holder && seen.renewed == lease.renew_time;
        let since = match self.seen.as_ref().filter(is_same) {
            Some(seen) => seen.at,
            None => {
                self.seen = Some(Seen { holder: holder.to_owned(), renewed: lease.renew_time.clone(), at });
                at
            }
        };
        let seconds = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = seconds.map_or(self.duration, Duration::from_secs);
        lasts.checked_sub(at.saturating_duration_since(since)).filter(|left| !left.is_zero())
    }

    /// The Lease as it is when this candidate begins to hold it.
    fn begun(&self, lease: &LeaseSpec, transitions: i32, now: Timestamp) -> LeaseSpec {
        LeaseSpec {
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions),
            ..self.ours(lease)
        }
    }

    /// The Lease in this candidate's name, with whatever else is in it as it is.
    fn ours(&self, lease: &LeaseSpec) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            ..lease.clone()
        }
    }
}

/// Who has a Lease: nobody, where it was released.
fn holder_of(lease: &LeaseSpec) -> Option<&str> {
    lease.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(10);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn held_by(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            acquire_time: Some(MicroTime(at(0))),
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(10),
            lease_transitions: Some(3),
            renew_time: Some(MicroTime(at(renewed))),
            ..LeaseSpec::default()
        }
    }

    fn written(next: Next) -> LeaseSpec {
        match next {
            Next::Write(lease) => lease,
            Next::Wait { .. } => panic!("{next:?}"),
        }
    }

    fn times(lease: &LeaseSpec) -> (Option<i64>, Option<i64>) {
        let seconds = |time: &Option<MicroTime>| time.as_ref().map(|time| time.0.as_second() - 1_700_000_000);
        (seconds(&lease.acquire_time), seconds(&lease.renew_time))
    }

    /// Who has it, how often it has changed hands, since when, and when it was renewed.
    fn shown(lease: &LeaseSpec) -> (&str, i32, (Option<i64>, Option<i64>)) {
        (lease.holder_identity.as_deref().unwrap(), lease.lease_transitions.unwrap(), times(lease))
    }

    #[test]
    fn one_that_is_not_there_is_made_and_one_that_was_released_is_taken_at_once() {
        let mut claim = Claim::new("kmlflow-1", LASTS);
        let made = written(claim.look(None, (Instant::now(), at(5))));
        assert_eq!(shown(&made), ("kmlflow-1", 0, (Some(5), Some(5))));
        assert_eq!(made.lease_duration_seconds, Some(10));
        for nobody in [Some(String::new()), None] {
            let released = LeaseSpec { holder_identity: nobody, ..held_by("", 4) };
            let taken = written(claim.look(Some(&released), (Instant::now(), at(5))));
            assert_eq!(shown(&taken), ("kmlflow-1", 4, (Some(5), Some(5))));
        }
    }

    #[test]
    fn ones_own_is_renewed_and_remembers_since_when() {
        let renewed =
            written(Claim::new("kmlflow-0", LASTS).look(Some(&held_by("kmlflow-0", 4)), (Instant::now(), at(6))));
        assert_eq!(shown(&renewed), ("kmlflow-0", 3, (Some(0), Some(6))));
    }

    #[test]
    fn anothers_is_over_once_it_was_seen_unchanged_for_as_long_as_it_lasts() {
        let (mut claim, begun) = (Claim::new("kmlflow-1", LASTS), Instant::now());
        let mut look =
            |seconds: u64, lease: &LeaseSpec| claim.look(Some(lease), (begun + Duration::from_secs(seconds), at(100)));
        let wait = |left: u64| Next::Wait { holder: "kmlflow-0".to_owned(), left: Duration::from_secs(left) };
        // By its own time it was over long ago, or is to come: that is another clock's.
        for renewed in [-1_000, 1_000] {
            assert_eq!(look(0, &held_by("kmlflow-0", renewed)), wait(10));
        }
        assert_eq!(look(0, &held_by("kmlflow-0", 1)), wait(10));
        assert_eq!(look(7, &held_by("kmlflow-0", 1)), wait(3));
        assert_eq!(look(8, &held_by("kmlflow-0", 2)), wait(10), "it was renewed");
        assert_eq!(look(17, &held_by("kmlflow-0", 2)), wait(1));
        let taken = written(look(18, &held_by("kmlflow-0", 2)));
        assert_eq!(shown(&taken), ("kmlflow-1", 4, (Some(100), Some(100))));
    }

    #[test]
    fn another_holder_begins_anew_and_lasts_as_long_as_it_says() {
        let (mut claim, begun) = (Claim::new("kmlflow-2", LASTS), Instant::now());
        let mut look =
            |seconds: u64, lease: &LeaseSpec| claim.look(Some(lease), (begun + Duration::from_secs(seconds), at(0)));
        let wait = |holder: &str, left: u64| Next::Wait { holder: holder.to_owned(), left: Duration::from_secs(left) };
        assert_eq!(look(0, &held_by("kmlflow-0", 1)), wait("kmlflow-0", 10));
        assert_eq!(look(9, &held_by("kmlflow-1", 1)), wait("kmlflow-1", 10));
        let longer = LeaseSpec { lease_duration_seconds: Some(15), ..held_by("kmlflow-1", 1) };
        assert_eq!(look(20, &longer), wait("kmlflow-1", 4));
        let unsaid = LeaseSpec { lease_duration_seconds: None, ..held_by("kmlflow-1", 1) };
        assert_eq!(look(15, &unsaid), wait("kmlflow-1", 4), "as long as ours");
    }

    #[test]
    fn only_ones_own_is_released_and_the_next_one_need_not_wait() {
        let claim = Claim::new("kmlflow-0", LASTS);
        assert_eq!(claim.released(&held_by("kmlflow-1", 1), at(5)), None);
        let released = claim.released(&held_by("kmlflow-0", 1), at(5)).unwrap();
        assert_eq!(shown(&released), ("", 3, (Some(0), Some(5))));
        let taken = written(Claim::new("kmlflow-1", LASTS).look(Some(&released), (Instant::now(), at(6))));
        assert_eq!(shown(&taken), ("kmlflow-1", 4, (Some(6), Some(6))));
    }

    #[test]
    fn what_others_wrote_into_it_stays() {
        let lease = LeaseSpec { strategy: Some("OldestEmulationVersion".to_owned()), ..held_by("kmlflow-0", 1) };
        let mut claim = Claim::new("kmlflow-0", LASTS);
        assert_eq!(written(claim.look(Some(&lease), (Instant::now(), at(5)))).strategy, lease.strategy);
    }
}
