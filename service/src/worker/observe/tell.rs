//! Argo CD is told at once of what is new, and again until it has taken it; what holds a newer commit back is ended.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::watched;
use crate::live::application_name;
use crate::names::ReleaseKey;
use crate::worker::shared::Shared;

/// Between two hints: doubled from one to the next. Argo CD takes one within a second, and looks by itself every three minutes.
const AGAIN_MIN: SignedDuration = SignedDuration::from_secs(2);
const AGAIN_MAX: SignedDuration = SignedDuration::from_secs(30);

/// How long an operation may run at an older commit. Argo CD goes on to the newer one by itself within some seconds, where it is told to
/// (`retry.refresh`).
const STUCK_AFTER: SignedDuration = SignedDuration::from_secs(8);

/// How far Argo CD has noticed the newest commit of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    Yes,
    /// It was compared with an older one.
    No,
    /// There is no Application.
    NoApplication,
    /// An operation runs at an older commit.
    Held,
}

/// When Argo CD was told of a commit, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    at: Option<Timestamp>,
    times: u32,
    /// The operation at an older commit was ended.
    has_ended: bool,
}

/// What is to be said now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The Application is to be compared anew.
    Refresh,
    /// The folders are to be listed anew.
    List,
    /// The operation is to end.
    End,
}

impl Told {
    /// What is to be said now, and when that is to be thought of again.
    pub(super) fn next(
        &mut self,
        noticed: Noticed,
        committed_at: Timestamp,
        now: Timestamp,
    ) -> (Option<Word>, Option<Timestamp>) {
        if noticed == Noticed::Yes {
            return (None, None);
        }
        let may_end = noticed == Noticed::Held && !self.has_ended;
        let stuck_at = later(committed_at, STUCK_AFTER);
        let due = self.due();
        let word = if may_end && now >= stuck_at {
            self.has_ended = true;
            Some(Word::End)
        } else if now >= due {
            self.at = Some(now);
            self.times += 1;
            Some(if noticed == Noticed::NoApplication { Word::List } else { Word::Refresh })
        } else {
            None
        };
        let next = self.due().max(later(now, SignedDuration::from_millis(100)));
        let next = if may_end && !self.has_ended { next.min(stuck_at) } else { next };
        (word, Some(next))
    }

    /// When the next hint is due.
    fn due(&self) -> Timestamp {
        let doubled = 1 << self.times.saturating_sub(1).min(8);
        let pause = AGAIN_MIN.checked_mul(doubled).unwrap_or(AGAIN_MAX).min(AGAIN_MAX);
        self.at.map_or(Timestamp::MIN, |at| later(at, pause))
    }
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Says it, beside everything else: what fails is said again later.
pub(super) fn say(shared: &Arc<Shared>, key: &ReleaseKey, word: Word) {
    let (shared, key) = (Arc::clone(shared), key.clone());
    tokio::spawn(async move {
        let Some((clusters, _)) = watched(&shared, &key.environment) else { return };
        let name = application_name(&key);
        let said = match word {
            Word::Refresh => clusters.refresh(&name, shared.clock.now_exact()).await.map(drop),
            Word::List => clusters.refresh_sets().await.map(drop),
            Word::End => {
                tracing::warn!(release.key = %key, "The operation of `{name}` holds a newer commit back, and is ended");
                clusters.end_operation(&name).await.map(drop)
            }
        };
        if let Err(why) = said {
            tracing::warn!(release.key = %key, "Argo CD could not be told of `{key}`: {why}; it looks by itself every three minutes");
        }
    });
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
        assert_eq!(told.next(Noticed::No, at(0), at(0)), (Some(Word::Refresh), Some(at(2))));
        assert_eq!(told.next(Noticed::No, at(0), at(1)), (None, Some(at(2))));
        assert_eq!(told.next(Noticed::No, at(0), at(2)), (Some(Word::Refresh), Some(at(6))));
        assert_eq!(told.next(Noticed::NoApplication, at(0), at(6)), (Some(Word::List), Some(at(14))));
        assert_eq!(told.next(Noticed::Yes, at(0), at(7)), (None, None));
        for _ in 0..20 {
            let next = told.next(Noticed::No, at(0), at(1_000)).1.unwrap();
            assert!(next <= at(1_030), "{next}");
        }
    }

    #[test]
    fn an_operation_at_an_older_commit_is_ended_once_and_not_at_once() {
        let mut told = Told::default();
        assert_eq!(told.next(Noticed::Held, at(0), at(0)), (Some(Word::Refresh), Some(at(2))));
        assert_eq!(told.next(Noticed::Held, at(0), at(2)), (Some(Word::Refresh), Some(at(6))));
        assert_eq!(told.next(Noticed::Held, at(0), at(6)), (Some(Word::Refresh), Some(at(8))), "the end comes first");
        assert_eq!(told.next(Noticed::Held, at(0), at(8)).0, Some(Word::End));
        assert_eq!(told.next(Noticed::Held, at(0), at(9)).0, None);
        assert_eq!(told.next(Noticed::Held, at(0), at(14)).0, Some(Word::Refresh));
    }
}
