//! Telling the forge what is to be reviewed, and learning what became of it, one review at a time; when that is, `rounds` says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::body::{revised, with_metrics};
use super::branch::branch_of;
use super::sight::{Sight, say_of_others, see};
use super::standing::standing;
use super::{Pull, Review, ReviewState};
use crate::forge::{AutoMerge, Forge, ForgeError, Opinions, PullRequest, PullState, Text};
use crate::git::GitError;
use crate::names::{CommitId, ReleaseKey, Version};
use crate::worker::history::says_ours;
use crate::worker::shared::Shared;

/// Why a pull request does not speak of a review.
const OVERTAKEN: &str =
    "another service, which keeps no store together with this one, has put something newer on its branch";
const WRITTEN_OVER: &str = "somebody wrote over its branch, which has nothing of this change any more";

/// Why a review does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Hitch {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Hitch {
    /// How long whoever tries again is asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Forge(error) => error.retry_after(),
            Self::Git(error) => error.retry_after(),
        }
    }

    /// The text for callers.
    pub(super) fn for_callers(&self) -> String {
        match self {
            Self::Forge(error) => error.with_cure(),
            Self::Git(error) => error.for_callers(),
        }
    }
}

/// Opens or updates the pull request of a review, and asks what became of it; where it was just seen to be open, of that nobody is asked again.
pub(super) async fn tell_and_ask(
    shared: &Shared,
    forge: &Forge,
    (key, review): (&ReleaseKey, &Review),
    seen: Option<&PullRequest>,
) -> Result<(), Hitch> {
    let text = with_metrics(&review.text, &metrics(shared, review).await);
    let Some(Told { pull, is_new, unlike, elsewhere }) = told(shared, forge, (key, review), seen, &text).await? else {
        shared.inbox.note_review(key);
        return Ok(());
    };
    let opinions = match pull.state {
        _ if is_new => Opinions::default(),
        PullState::Open => forge.opinions(&pull).await?,
        _ => review.opinions.clone(),
    };
    // Until all of this is noted nothing else comes to the branch, and what is asked to merge itself is what was read.
    let lock = shared.reviews.branch(key);
    let _alone = lock.lock().await;
    let current = shared.reviews.current(key, &review.commit);
    let mut opened = Pull { number: pull.number, url: pull.url.clone(), said: text, is_scheduled: false };
    let known = current.as_ref().and_then(|current| current.pull.as_ref());
    let is_another = known.is_some_and(|known| known.number != opened.number);
    opened.is_scheduled = known.is_some_and(|pull| pull.is_scheduled && !is_another);
    let mut trouble = unlike.map(ToOwned::to_owned);
    let mut state = match pull.state {
        PullState::Open => ReviewState::AwaitingReview,
        PullState::Merged(_) => ReviewState::Merged,
        PullState::Closed => ReviewState::Closed,
    };
    let merges_itself = current.is_some_and(|current| current.merges_itself);
    if merges_itself && pull.state == PullState::Open && !opened.is_scheduled {
        match forge.merge_when_ready(&pull).await? {
            AutoMerge::Scheduled => opened.is_scheduled = true,
            AutoMerge::Merged => state = ReviewState::Merged,
            AutoMerge::NotYet(words) => {
                trouble = Some(format!(
                    "the forge does not merge it by itself, so the service does once the rules of the branch let it: {words}"
                ))
            }
            AutoMerge::Refused(words) => trouble = Some(format!("it does not merge itself, so a person must: {words}")),
        }
    }
    shared.reviews.note(key, &review.commit, |review| {
        review.pull = Some(opened);
        review.opinions = opinions;
        review.trouble = trouble;
        review.state = state;
        review.elsewhere.extend(elsewhere);
        if is_another {
            review.commented = None;
        }
    });
    match state {
        ReviewState::AwaitingReview => shared.reviews.comments.note(key),
        // What was merged is on the branch; a look at it is all there is to do.
        ReviewState::Merged => shared.inbox.note_push(),
        ReviewState::Closed => shared.inbox.note_review(key),
    }
    if state != review.state {
        tracing::info!(release.key = %key, "The review of `{key}` is {}: {}", state.as_str(), pull.url);
    }
    Ok(())
}

/// A pull request that says what it should.
struct Told {
    pull: PullRequest,
    /// It was just opened, so nobody has said anything of it.
    is_new: bool,
    /// Why it does not speak of the review.
    unlike: Option<&'static str>,
    /// The numbers of the open ones of its branch that go elsewhere.
    elsewhere: Vec<u64>,
}

/// Has the pull request of a review say what it should; opens one where there is none. Nothing where the branch went with one that was merged elsewhere or closed:
/// then a turn has to put it there again first.
async fn told(
    shared: &Shared,
    forge: &Forge,
    (key, review): (&ReleaseKey, &Review),
    seen: Option<&PullRequest>,
    text: &Text,
) -> Result<Option<Told>, Hitch> {
    let (branch, target) = (branch_of(key), shared.repository.branch());
    // What is to merge itself does so as it is now.
    let seen = seen.filter(|_| !review.merges_itself);
    let Sight { pull, others } = see(shared, forge, (key, review), seen).await?;
    let pull = pull.filter(|pull| pull.state != PullState::Closed || review.withdrawn != Some(pull.number));
    let is_new = pull.is_none();
    let mut pull = match pull {
        Some(pull) => pull,
        None => {
            if !others.is_empty() && is_gone(shared, key).await? {
                return Ok(None);
            }
            match forge.open(&branch, target, text).await {
                Ok(opened) => opened,
                Err(error) => {
                    // Whoever sees one of those is to know all the same.
                    say_of_others(shared, forge, &others, None).await?;
                    return Err(error.into());
                }
            }
        }
    };
    say_of_others(shared, forge, &others, Some(&pull)).await?;
    if pull.state == PullState::Open && is_empty(shared, key, &pull).await? {
        return Ok(None);
    }
    let unlike = unlike(shared, (key, review), &pull)?;
    let said = review.pull.as_ref().filter(|known| known.number == pull.number).map(|pull| &pull.said);
    if pull.state == PullState::Open && !is_new && unlike.is_none() && said != Some(text) {
        pull = forge.revise(pull.number, |now| revised(now, key, text)).await?;
    }
    let open = others.iter().filter(|other| other.state == PullState::Open);
    Ok(Some(Told { pull, is_new, unlike, elsewhere: open.map(|other| other.number).collect() }))
}

/// Whether the target has all that is on the branch of a pull request, as where somebody took off more than their own: then a turn has to put it there again.
async fn is_empty(shared: &Shared, key: &ReleaseKey, pull: &PullRequest) -> Result<bool, GitError> {
    let Some(head) = &pull.head else { return Ok(false) };
    let is_empty = shared.repository.is_known_ancestor(head, &shared.repository.tip()?)? == Some(true);
    if is_empty {
        look_alone(shared, key).await?;
    }
    Ok(is_empty)
}

/// Why a pull request does not speak of the review, as far as that was fetched: then its words stay as they are.
fn unlike(
    shared: &Shared,
    (key, review): (&ReleaseKey, &Review),
    pull: &PullRequest,
) -> Result<Option<&'static str>, GitError> {
    let (repository, author) = (&shared.repository, &shared.settings.author);
    let Some(head) = pull.head.as_ref().filter(|head| **head != review.commit) else { return Ok(None) };
    Ok(match repository.is_known_ancestor(&review.commit, head)? {
        Some(true) => {
            let since = repository.line(Some(&review.commit), head)?;
            since.iter().any(|entry| says_ours(entry, author)).then_some(OVERTAKEN)
        }
        Some(false) => {
            let standing = standing(shared, &repository.tip()?, key)?;
            standing.is_some_and(|standing| standing.tip == *head && standing.own.is_none()).then_some(WRITTEN_OVER)
        }
        None => None,
    })
}

/// Whether somebody else took the branch of a review away.
async fn is_gone(shared: &Shared, key: &ReleaseKey) -> Result<bool, GitError> {
    Ok(look_alone(shared, key).await?.is_none())
}

/// What the branch of a review is at, asked of the remote while nobody here pushes to it.
async fn look_alone(shared: &Shared, key: &ReleaseKey) -> Result<Option<CommitId>, GitError> {
    let lock = shared.reviews.branch(key);
    let _alone = lock.lock().await;
    shared.repository.find_beside(&branch_of(key)).await
}

/// What MLflow measured for the versions that are compared; nothing where there is no tracking server, or it does not say.
async fn metrics(shared: &Shared, review: &Review) -> Vec<(Version, BTreeMap<String, f64>)> {
    let (Some(registry), Some(release)) = (&shared.settings.registry, &review.release) else { return Vec::new() };
    let mut found = Vec::new();
    for version in &review.compared {
        match registry.client.version_metrics(&release.spec.model, version).await {
            Ok(metrics) => found.push((version.clone(), metrics.unwrap_or_default())),
            Err(error) => {
                tracing::debug!("No measurements for the review of `{}`: {error}", release.spec.model);
                return Vec::new();
            }
        }
    }
    found
}
