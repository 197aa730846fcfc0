//! The end of a review: what is open is closed, the branch deleted, the last word said; and what people make of it after that.

use std::time::Duration;

use super::branch::branch_of;
use super::follow::Hitch;
use super::sight::{Sight, open_elsewhere, say_of_others, see};
use super::standing::standing;
use super::{Pull, Review, ReviewState, comment};
use crate::forge::{Forge, PullRequest, PullState, Text};
use crate::git::{Deleted, GitError, LogEntry};
use crate::names::{CommitId, ReleaseKey};
use crate::worker::history::says_ours;
use crate::worker::shared::Shared;

/// How long an open pull request that nobody waits for is left alone: a forge moves the branch first, and says a moment later that it
/// has merged.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The last word about what nobody waits for any more.
const WITHDRAWN: &str = "**Closed**: nobody waits for this any more, something else was decided meanwhile.";

/// Ends a review that nobody waits for any more: what is still open is closed, the branch deleted, and the last word said. Answers whether
/// there is nothing more to do.
pub(super) async fn finish(
    shared: &Shared,
    forge: &Forge,
    (key, review): (&ReleaseKey, &Review),
    grace: Duration,
) -> Result<bool, Hitch> {
    let lock = shared.reviews.branch(key);
    let _alone = lock.lock().await;
    if shared.reviews.is_waiting(key) {
        return Ok(true);
    }
    let Sight { pull: found, others } = see(shared, forge, (key, review), None).await?;
    say_of_others(shared, forge, &others, None).await?;
    let (mut state, mut decided) = (review.state, None);
    if let Some(pull) = &found {
        let is_withdrawn = review.withdrawn == Some(pull.number);
        // Whoever decided has seen what was there.
        decided = pull.head.clone().filter(|_| pull.state != PullState::Open && !is_withdrawn);
        let (now, words) = match &pull.state {
            // How it fares is said once it is noted, and again where that changes.
            PullState::Merged(_) => (ReviewState::Merged, None),
            PullState::Closed if is_withdrawn => withdrawn(review),
            PullState::Closed => (ReviewState::Closed, Some(closed(pull.number))),
            PullState::Open if review.moot_since.is_some_and(|since| since.elapsed() < grace) => return Ok(false),
            PullState::Open => {
                // Noted first: nobody may hear of the closing itself. What somebody merged by a push may still be open.
                shared.reviews.note(key, &review.commit, |review| {
                    review.pull.get_or_insert_with(|| pull_of(pull));
                    review.withdrawn = Some(pull.number);
                });
                forge.close(pull.number).await?;
                withdrawn(review)
            }
        };
        state = now;
        if let Some(words) = words {
            comment::say(shared, forge, pull.number, &words).await?;
        }
    } else if state == ReviewState::AwaitingReview {
        state = ReviewState::Closed;
    }
    let mut numbers = review.elsewhere.clone();
    numbers.extend(others.iter().map(|other| other.number));
    match open_elsewhere(shared, forge, numbers).await? {
        Some(other) => {
            tracing::warn!(release.key = %key, "The branch of the review of `{key}` stays for {}", other.url)
        }
        None => delete(shared, key, (&review.commit, decided.as_ref())).await?,
    }
    shared.reviews.note(key, &review.commit, |review| {
        review.pull = found.as_ref().map(pull_of);
        review.state = state;
        review.end();
    });
    shared.reviews.fares(key);
    Ok(true)
}

/// What a review ends as that the service closed, and its last word. One that somebody merged by a push says how that fares.
fn withdrawn(review: &Review) -> (ReviewState, Option<String>) {
    match review.state {
        ReviewState::Merged => (ReviewState::Merged, None),
        _ => (ReviewState::Closed, Some(WITHDRAWN.to_owned())),
    }
}

/// Looks at the pull request of a review that is over: people may have opened it again. Nobody here waits for it, and merging it releases what it shows.
pub(super) async fn look_again(shared: &Shared, forge: &Forge, key: &ReleaseKey, review: &Review) -> Result<(), Hitch> {
    let Some(known) = review.pull.as_ref().filter(|_| review.state != ReviewState::Merged) else { return Ok(()) };
    let pull = forge.pull_request(known.number).await?;
    if pull.base != shared.repository.branch() || pull.branch != branch_of(key) {
        return Ok(());
    }
    let state = match pull.state {
        PullState::Open => ReviewState::AwaitingReview,
        // What was merged is on the branch; a look at it says how that fares.
        PullState::Merged(_) => {
            shared.inbox.note_push();
            ReviewState::Merged
        }
        PullState::Closed => ReviewState::Closed,
    };
    if state != review.state {
        if state == ReviewState::Closed {
            comment::say(shared, forge, known.number, &closed(known.number)).await?;
        }
        shared.reviews.note(key, &review.commit, |review| {
            review.state = state;
            review.commented = None;
        });
        shared.reviews.comments.note(key);
    }
    Ok(())
}

/// The last word about what people closed.
fn closed(number: u64) -> String {
    format!(
        "**Closed**, so nothing changes. Was that by mistake, ask for it again, and another one is opened. What people added to its branch \
         stays at `refs/pull/{number}/head`."
    )
}

/// A pull request of which only the forge tells.
fn pull_of(PullRequest { number, url, .. }: &PullRequest) -> Pull {
    Pull { number: *number, url: url.clone(), said: Text::default(), is_scheduled: false }
}

/// How often a branch is looked at again that somebody moves while it is to be deleted.
const DELETE_MAX: usize = 2;

/// Deletes the branch of a review that is over, where it still is where it was seen. What others added to it stays, unless it is what was decided about.
async fn delete(shared: &Shared, key: &ReleaseKey, over: (&CommitId, Option<&CommitId>)) -> Result<(), GitError> {
    let (repository, branch) = (&shared.repository, branch_of(key));
    let mut why = "somebody goes on there".to_owned();
    for _ in 0..DELETE_MAX {
        if let Some(tip) = repository.beside(&branch)?
            && !is_decided(shared, key, &tip, over)?
        {
            why = format!("it is at {tip}, which nobody has decided about");
            break;
        }
        match repository.delete_beside(&branch).await? {
            Deleted::Gone => return Ok(()),
            Deleted::Refused(words) => {
                why = words;
                break;
            }
            Deleted::Moved(_) => {}
        }
    }
    tracing::warn!(release.key = %key, "The branch `{branch}` of a review that is over stays: {why}");
    Ok(())
}

/// Whether nothing is lost with a branch that is there: it is on the target, or people decided about it, or its newest state is the very proposal that is
/// over, and nobody added to that. A newer proposal of the service is another review's, of which nobody may have taken note yet.
fn is_decided(
    shared: &Shared,
    key: &ReleaseKey,
    tip: &CommitId,
    (commit, decided): (&CommitId, Option<&CommitId>),
) -> Result<bool, GitError> {
    let target = shared.repository.tip()?;
    if decided == Some(tip) || shared.repository.is_ancestor(tip, &target)? {
        return Ok(true);
    }
    let standing = standing(shared, &target, key)?;
    // One that was only rebased has another id.
    let is_it = |own: LogEntry| own.commit == *commit || !says_ours(&own, &shared.settings.author);
    Ok(standing.is_some_and(|standing| standing.theirs.is_none() && standing.own.is_some_and(is_it)))
}
