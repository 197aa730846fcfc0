//! Telling the forge what is to be reviewed, and learning what became of it, one review at a time; when that is, `rounds` says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::body::{revised, with_metrics};
use super::branch::{branch_of, standing};
use super::sight::{Sight, open_elsewhere, say_of_others, see};
use super::{Pull, Review, ReviewState, comment};
use crate::forge::{AutoMerge, Forge, ForgeError, Opinions, PullRequest, PullState, Text};
use crate::git::{Deleted, GitError};
use crate::names::{CommitId, ReleaseKey, Version};
use crate::worker::shared::Shared;

/// How long an open pull request that nobody waits for is left alone: a forge moves the branch first, and says a moment later that it
/// has merged.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The last word about what nobody waits for any more.
const WITHDRAWN: &str = "**Closed**: nobody waits for this any more, something else was decided meanwhile.";

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
    let Some(Told { pull, is_new, elsewhere }) = told(shared, forge, (key, review), seen, &text).await? else {
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
    let mut trouble = None;
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
            let may_be_gone = others.iter().any(|other| other.state != PullState::Open);
            if may_be_gone && is_gone(shared, key).await? {
                return Ok(None);
            }
            forge.open(&branch, target, text).await?
        }
    };
    say_of_others(shared, forge, &others, Some(&pull)).await?;
    let said = review.pull.as_ref().filter(|known| known.number == pull.number).map(|pull| &pull.said);
    if pull.state == PullState::Open && !is_new && said != Some(text) {
        pull = forge.revise(pull.number, |now| revised(now, key, text)).await?;
    }
    let open = others.iter().filter(|other| other.state == PullState::Open);
    Ok(Some(Told { pull, is_new, elsewhere: open.map(|other| other.number).collect() }))
}

/// Whether somebody else took the branch of a review away.
async fn is_gone(shared: &Shared, key: &ReleaseKey) -> Result<bool, GitError> {
    let lock = shared.reviews.branch(key);
    let _alone = lock.lock().await;
    Ok(shared.repository.find_beside(&branch_of(key)).await?.is_none())
}

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
            PullState::Closed if is_withdrawn => (ReviewState::Closed, Some(WITHDRAWN.to_owned())),
            PullState::Closed => (ReviewState::Closed, Some(closed(pull.number))),
            PullState::Open if review.moot_since.is_some_and(|since| since.elapsed() < grace) => return Ok(false),
            PullState::Open => {
                // Noted first: nobody may hear of the closing itself.
                shared.reviews.note(key, &review.commit, |review| {
                    review.pull.get_or_insert_with(|| pull_of(pull));
                    review.withdrawn = Some(pull.number);
                });
                forge.close(pull.number).await?;
                (ReviewState::Closed, Some(WITHDRAWN.to_owned()))
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
    Ok(standing.is_some_and(|standing| standing.theirs.is_none() && standing.own.commit == *commit))
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
