//! The one comment of a review: what it waits for, and once it is merged how what it brought fares. Changed in its place, never said twice.
//!
//! It is found again by its first line, so whoever leads after a restart goes on with the same. What is to be said is worked out when it is said;
//! kept is only of whom something may have changed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indexmap::IndexSet;
use tokio::sync::Notify;

use super::body::plain;
use super::{Review, ReviewState};
use crate::forge::{Forge, ForgeError};
use crate::live::{LiveState, Progress};
use crate::names::ReleaseKey;
use crate::release::{Phase, Release};
use crate::worker::observe::watched;
use crate::worker::shared::Shared;
use crate::worker::statuses::{Refusals, lately};

/// The first line of the one comment of the service; it is not shown.
const MARK: &str = "<!-- kmlflow -->";

/// What there may be to say.
#[derive(Debug, Default)]
pub(in crate::worker) struct Comments {
    /// The releases of whose review something may have changed.
    due: Mutex<IndexSet<ReleaseKey>>,
    pub(in crate::worker) wake: Notify,
    /// One is said at a time, so that none is made twice and none older comes last.
    turn: tokio::sync::Mutex<()>,
}

impl Comments {
    /// Takes note that something may have changed.
    pub(super) fn note(&self, key: &ReleaseKey) {
        self.due().insert(key.clone());
        self.wake.notify_one();
    }

    pub(super) fn forget(&self) {
        self.due().clear();
    }

    /// How many there are to look at.
    pub(in crate::worker) fn len(&self) -> usize {
        self.due().len()
    }

    fn due(&self) -> MutexGuard<'_, IndexSet<ReleaseKey>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says the next comment that says something else than it did. Nothing where there is none; the error is how long to wait before more is tried.
pub(in crate::worker) async fn tell_comment(
    shared: &Shared,
    forge: &Forge,
    refusals: &mut Refusals,
) -> Option<Result<(), Duration>> {
    let comments = &shared.reviews.comments;
    loop {
        let key = comments.due().shift_remove_index(0)?;
        let _alone = comments.turn.lock().await;
        let Some(review) = shared.reviews.one(&key) else { continue };
        let Some((pull, words)) = review.pull.as_ref().zip(words(shared, &key, &review)) else {
            continue;
        };
        if review.commented.as_ref() == Some(&words) {
            continue;
        }
        let wait = refusals.wait(&key, forge.keep_comment(pull.number, MARK, &words).await);
        return Some(match wait {
            None => {
                shared.reviews.note(&key, &review.commit, |review| review.commented = Some(words));
                Ok(())
            }
            Some(wait) => {
                comments.due().insert(key);
                Err(wait)
            }
        });
    }
}

/// Says the last word about a review that was closed, whatever is said of it at the moment.
pub(super) async fn say(shared: &Shared, forge: &Forge, number: u64, words: &str) -> Result<(), ForgeError> {
    let _alone = shared.reviews.comments.turn.lock().await;
    forge.keep_comment(number, MARK, words).await
}

/// Takes note of what was merged lately: who was to say how it fares may have ended before it could.
pub(in crate::worker) async fn recall(shared: &Shared) {
    let since = lately(shared.clock.now());
    for key in shared.reviews.merged() {
        match shared.store.history(&key, None, 1).await {
            Ok(rows) if rows.iter().any(|row| row.at >= since) => shared.reviews.comments.note(&key),
            Ok(_) => {}
            Err(error) => tracing::info!("What was said of the review of `{key}` may be old: {error}"),
        }
    }
}

/// What there is to say of a review; nothing where the last word was said, or is not known yet.
fn words(shared: &Shared, key: &ReleaseKey, review: &Review) -> Option<String> {
    match review.state {
        // One that people opened again waits for them as well.
        ReviewState::AwaitingReview => (review.is_wanted || review.is_over).then(|| waits(review)),
        ReviewState::Merged => {
            let entry = shared.entry(key);
            let is_watched = watched(shared, &key.environment).is_some();
            let seen = entry.as_ref().and_then(|entry| shared.observations.progress(key, &entry.commit));
            Some(merged(entry.as_ref().map(|entry| &*entry.release), is_watched, seen.as_ref()))
        }
        ReviewState::Closed => None,
    }
}

fn waits(review: &Review) -> String {
    match (review.merges_itself, &review.trouble) {
        (false, _) => "**Waits for approval.** Merging it releases it, closing it is a no.".to_owned(),
        (true, None) => "**Waits for the rules of the branch**, and then merges itself.".to_owned(),
        (true, Some(trouble)) => format!("**Waits for a person**: {}.", plain(trouble)),
    }
}

/// How what was merged fares by now.
fn merged(release: Option<&Release>, is_watched: bool, seen: Option<&Progress>) -> String {
    let Some(release) = release else { return "**Merged**, and it is retracted.".to_owned() };
    let versions: Vec<String> = release.staying().map(|variant| variant.version.to_string()).collect();
    let phase = match release.rollout.phase {
        Phase::Entering => "on its way beside what serves",
        Phase::Running => "side by side",
        Phase::Leaving => "and the rest leaves",
        Phase::Settled => "alone",
    };
    let what =
        format!("{} {}, {phase}", if versions.len() > 1 { "versions" } else { "version" }, versions.join(" and "));
    if !is_watched {
        return format!("**Merged**, as Git says ({what}); no cluster is watched.");
    }
    let Some(Progress { state, since, reason, cure }) = seen else {
        return format!("**Merged, going live** ({what}).");
    };
    let cure = cure.as_ref().map(|cure| format!("; {}", plain(cure))).unwrap_or_default();
    match state {
        LiveState::Live => format!("**Merged, and live** since {since:.0} ({what})."),
        // Why not yet changes with each pod; the page of the release has it.
        LiveState::Syncing => format!("**Merged, going live** ({what})."),
        LiveState::Degraded => format!("**Merged, and degraded** since {since:.0} ({what}): {}{cure}.", plain(reason)),
        LiveState::Stalled => format!("**Merged, and stalled** since {since:.0} ({what}): {}{cure}.", plain(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        Release::parse(include_str!("../testdata/release.yaml")).unwrap()
    }

    #[track_caller]
    fn check(progress: Option<(LiveState, &str)>, expected: &str) {
        let progress = progress.map(|(state, reason)| Progress {
            state,
            since: "2026-11-23T10:00:00Z".parse().unwrap(),
            reason: reason.to_owned(),
            cure: Some("look at [it]".to_owned()),
        });
        let said = merged(Some(&release()), true, progress.as_ref());
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn what_was_merged_is_told_by_how_it_fares() {
        check(None, "**Merged, going live** (version");
        check(Some((LiveState::Syncing, "pod x is new")), "**Merged, going live** (version");
        check(Some((LiveState::Live, "")), "**Merged, and live** since 2026-11-23T10:00:00Z (version");
        check(Some((LiveState::Stalled, "the *image*")), "**Merged, and stalled** since 2026-11-23T10:00:00Z (version");
        let stalled = Progress {
            state: LiveState::Stalled,
            since: "2026-11-23T10:00:00Z".parse().unwrap(),
            reason: "the *image* is not there".to_owned(),
            cure: Some("push it, @ann".to_owned()),
        };
        let said = merged(Some(&release()), true, Some(&stalled));
        assert!(said.ends_with(": the \\*image\\* is not there; push it, \\@ann."), "{said}");
        assert!(merged(Some(&release()), false, None).ends_with("no cluster is watched."));
        assert_eq!(merged(None, true, None), "**Merged**, and it is retracted.");
    }
}
