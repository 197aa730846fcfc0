//! Argo CD is told at once of what is new, and again until it has taken it; what holds a newer commit back is ended.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::address::is_ours;
use super::watched;
use crate::live::application_name;
use crate::names::ReleaseKey;
use crate::sync::Clusters;
use crate::worker::shared::Shared;

/// Between two hints: doubled from one to the next. Argo CD takes one within a second, and looks by itself every three minutes.
const AGAIN_MIN: SignedDuration = SignedDuration::from_secs(2);
const AGAIN_MAX: SignedDuration = SignedDuration::from_secs(30);

/// How long an operation may run at an older commit. Argo CD goes on to the newer one by itself within some seconds, where it is told to
/// (`retry.refresh`).
const STUCK_AFTER: SignedDuration = SignedDuration::from_secs(8);

/// Between two lists of all folders, so that many new releases are one list together; a single one waits for nothing.
const LIST_EVERY: Duration = Duration::from_secs(1);

/// How far Argo CD has noticed the newest commit of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    Yes,
    /// It was compared with an older one.
    No,
    /// There is no Application.
    NoApplication,
    /// There is one that is not the release's: it is left alone.
    Foreign,
    /// An operation runs at an older commit, in that version of the Application.
    Held(u64),
}

/// When Argo CD was told of a commit, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    at: Option<Timestamp>,
    times: u32,
    /// Since when an operation at an older commit is seen, or when it was ended last.
    held_since: Option<Timestamp>,
}

/// What is to be said now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The Application is to be compared anew.
    Refresh,
    /// The folders are to be listed anew.
    List,
    /// The operation is to end that runs in that version of the Application.
    End(u64),
}

impl Told {
    /// What is to be said now, and when that is to be thought of again.
    pub(super) fn next(&mut self, noticed: Noticed, now: Timestamp) -> (Option<Word>, Option<Timestamp>) {
        self.held_since = match noticed {
            Noticed::Held(_) => self.held_since.or(Some(now)),
            _ => None,
        };
        let word = match noticed {
            Noticed::Yes | Noticed::Foreign => return (None, None),
            // Where it runs on all the same, it is told again as much later.
            Noticed::Held(version) if self.stuck_at().is_some_and(|at| now >= at) => {
                self.held_since = Some(now);
                Some(Word::End(version))
            }
            Noticed::No | Noticed::NoApplication | Noticed::Held(_) if now < self.due() => None,
            Noticed::No | Noticed::Held(_) => Some(Word::Refresh),
            Noticed::NoApplication => Some(Word::List),
        };
        if matches!(word, Some(Word::Refresh | Word::List)) {
            self.at = Some(now);
            self.times += 1;
        }
        let next = self.due().max(later(now, SignedDuration::from_millis(100)));
        (word, self.stuck_at().map(|at| at.min(next)).or(Some(next)))
    }

    /// When an operation at an older commit has had its time.
    fn stuck_at(&self) -> Option<Timestamp> {
        self.held_since.map(|since| later(since, STUCK_AFTER))
    }

    /// When the next hint is due.
    fn due(&self) -> Timestamp {
        let doubled = 1 << self.times.saturating_sub(1).min(8);
        let pause = AGAIN_MIN.checked_mul(doubled).unwrap_or(AGAIN_MAX).min(AGAIN_MAX);
        self.at.map_or(Timestamp::MIN, |at| later(at, pause))
    }
}

pub(super) fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Has it said, beside everything else: what fails is said again later.
pub(super) fn say(shared: &Shared, key: &ReleaseKey, word: Word) {
    match word {
        Word::List => shared.observations.lists.notify_one(),
        Word::Refresh | Word::End(_) => shared.observations.hints.put(key, word),
    }
}

/// Tells Argo CD what there is to say of Applications, until it is dropped.
pub(super) async fn tell_of_applications(shared: &Shared) {
    shared.observations.hints.work(|key, word| tell(shared, key, word)).await;
}

async fn tell(shared: &Shared, key: ReleaseKey, word: Word) {
    let Some((clusters, _)) = watched(shared, &key.environment) else { return };
    let name = application_name(&key);
    let said = match word {
        Word::End(version) => {
            tracing::warn!(release.key = %key, "The operation of `{name}` holds a newer commit back, and is ended");
            clusters.end_operation(&name, version).await
        }
        Word::Refresh | Word::List => clusters.refresh(&name, shared.clock.now_exact()).await,
    };
    if let Err(why) = said {
        tracing::warn!(release.key = %key, "Argo CD could not be told of `{key}`: {why}; it looks by itself every three minutes");
    }
}

/// Has the folders listed anew whenever there are new releases, until it is dropped: once for all that there are by then.
pub(super) async fn list_folders(shared: &Shared, clusters: &Clusters) {
    loop {
        shared.observations.lists.notified().await;
        if let Err(why) = clusters.refresh_sets(|address| is_ours(shared, address)).await {
            tracing::warn!("Argo CD could not be told of new releases: {why}; it looks by itself every three minutes");
        }
        tokio::time::sleep(LIST_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_hint_is_given_at_once_and_again_until_it_is_taken() {
        let mut told = Told::default();
        assert_eq!(told.next(Noticed::No, at(0)), (Some(Word::Refresh), Some(at(2))));
        assert_eq!(told.next(Noticed::No, at(1)), (None, Some(at(2))));
        assert_eq!(told.next(Noticed::No, at(2)), (Some(Word::Refresh), Some(at(6))));
        assert_eq!(told.next(Noticed::NoApplication, at(6)), (Some(Word::List), Some(at(14))));
        assert_eq!(told.next(Noticed::Yes, at(7)), (None, None));
        for _ in 0..20 {
            let next = told.next(Noticed::No, at(1_000)).1.unwrap();
            assert!(next <= at(1_030), "{next}");
        }
        assert_eq!(Told::default().next(Noticed::Foreign, at(0)), (None, None), "it is not ours to tell");
    }

    #[test]
    fn an_operation_is_ended_eight_seconds_after_it_was_first_seen_at_an_older_commit() {
        let mut told = Told::default();
        assert_eq!(told.next(Noticed::Yes, at(0)).0, None, "live for long");
        assert_eq!(told.next(Noticed::Held(4), at(100)), (Some(Word::Refresh), Some(at(102))));
        assert_eq!(told.next(Noticed::Held(4), at(102)), (Some(Word::Refresh), Some(at(106))));
        assert_eq!(told.next(Noticed::Held(5), at(106)), (Some(Word::Refresh), Some(at(108))), "the end comes first");
        assert_eq!(told.next(Noticed::Held(5), at(108)).0, Some(Word::End(5)));
        assert_eq!(told.next(Noticed::Held(6), at(109)).0, None);
        assert_eq!(told.next(Noticed::Held(6), at(114)).0, Some(Word::Refresh));
        assert_eq!(told.next(Noticed::Held(6), at(116)).0, Some(Word::End(6)), "it runs on all the same");
        // Another one has its time from when it is seen.
        assert_eq!(told.next(Noticed::Yes, at(120)).0, None);
        assert_ne!(told.next(Noticed::Held(9), at(130)).0, Some(Word::End(9)));
        assert_ne!(told.next(Noticed::Held(9), at(137)).0, Some(Word::End(9)));
        assert_eq!(told.next(Noticed::Held(9), at(138)).0, Some(Word::End(9)));
    }
}
