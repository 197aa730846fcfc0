//! Changes that wait for a review: a branch and a pull request each, one per release, kept up to date until people have decided.
//!
//! A turn says what is to be reviewed (`Proposed`) instead of committing it, `branch` puts it on the release's own branch, and `follow` tells
//! the forge and learns from it what became of it. What is merged comes back like any commit of the target branch; `merged` knows it again.

mod allowance;
mod body;
mod branch;
mod call_off;
pub(super) mod comment;
mod end;
mod follow;
mod merged;
mod proposed;
mod recall;
pub(super) mod rounds;
mod sight;
mod standing;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

pub(super) use branch::{BRANCHES, Offer, branch_of, key_of_branch, offer};
pub(super) use merged::{merged_as, proposal_id, proposed_document};
pub(super) use proposed::Proposed;
pub(super) use recall::recall;
pub(super) use rounds::{follow_reviews, look_on_reviews};
pub use view::{ReviewState, ReviewView};

use super::conclusion::Concluded;
use super::deliveries::DoneBefore;
use crate::forge::{Closed, Open, Opinions, PullRequest, PullState, Text};
use crate::names::{CommitId, DeliveryId, ReleaseKey};
use crate::release::Release;

/// Every review that this service knows of, at most one per release.
#[derive(Debug, Default)]
pub(super) struct Reviews {
    by_key: Mutex<HashMap<ReleaseKey, Review>>,
    /// Who waits to be told where the review of a release is, by release and by the number of the delivery.
    waiting: Mutex<BTreeMap<(ReleaseKey, i64), Concluded>>,
    /// Those of which there is something to tell the forge, or to ask it, at once.
    due: Mutex<BTreeSet<ReleaseKey>>,
    wake: Notify,
    /// What there is to say of them.
    pub(super) comments: comment::Comments,
    /// One lock per branch that somebody works on, held while it is changed or deleted, so that the two never meet.
    branches: Mutex<HashMap<ReleaseKey, Arc<tokio::sync::Mutex<()>>>>,
    /// Of which commits it was asked what they were merged from.
    asked: recall::Asked,
    /// How often all of them were forgotten: what was looked up before that is not shown after it. Changed with `by_key` locked.
    forgotten: AtomicU64,
}

/// One review.
#[derive(Debug, Clone)]
pub(super) struct Review {
    /// The newest commit of the service on its branch, as it is there.
    pub(super) commit: CommitId,
    /// The same as the service made it, as far as that was seen: people may rewrite it.
    pub(super) made: Option<CommitId>,
    /// What it is about; nothing for a retraction.
    pub(super) release: Option<Release>,
    /// The delivery that asks for it, where one does.
    pub(super) delivery: Option<DeliveryId>,
    pub(super) text: Text,
    /// The versions whose measurements people want to compare: the one that serves, and the new one.
    pub(super) compared: Vec<crate::names::Version>,
    /// It is to be merged without a person: it would have been pushed, had the branch let it.
    pub(super) merges_itself: bool,
    /// Whether somebody still wants it. What nobody wants is closed.
    pub(super) is_wanted: bool,
    /// Since when nobody does.
    pub(super) moot_since: Option<Instant>,
    pub(super) state: ReviewState,
    pub(super) pull: Option<Pull>,
    /// The number of the pull request that the service closed itself, which is nobody's no.
    pub(super) withdrawn: Option<u64>,
    /// The numbers of open pull requests from its branch that people sent elsewhere.
    pub(super) elsewhere: BTreeSet<u64>,
    pub(super) opinions: Opinions,
    /// What keeps it from going on, one sentence.
    pub(super) trouble: Option<String>,
    /// What its comment says, where that is known.
    pub(super) commented: Option<String>,
    /// There is nothing more to do about it.
    pub(super) is_over: bool,
}

/// The pull request of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) url: String,
    /// What it was last told to say.
    pub(super) said: Text,
    /// Whether it was asked to merge itself.
    pub(super) is_scheduled: bool,
}

impl Review {
    /// One that is not followed here, as far as the forge tells of it; nothing where it does not say of which commit.
    fn as_told(title: String, pull: PullRequest) -> Option<Self> {
        let PullRequest { number, url, state, head, is_to_merge, .. } = pull;
        let (state, merged) = match state {
            PullState::Open => (ReviewState::AwaitingReview, None),
            PullState::Merged(commit) => (ReviewState::Merged, commit),
            PullState::Closed => (ReviewState::Closed, None),
        };
        let said = Text { title, body: String::new() };
        Some(Self {
            commit: head.or(merged)?,
            made: None,
            release: None,
            delivery: None,
            text: said,
            compared: Vec::new(),
            merges_itself: is_to_merge,
            is_wanted: false,
            moot_since: None,
            state,
            pull: Some(Pull { number, url, said: Text::default(), is_scheduled: is_to_merge }),
            withdrawn: None,
            elsewhere: BTreeSet::new(),
            opinions: Opinions::default(),
            trouble: None,
            commented: None,
            is_over: true,
        })
    }

    /// Whether a pull request is the one of this review, at the commit that is on its branch.
    fn is_seen_in(&self, pull: &PullRequest) -> bool {
        pull.head.as_ref() == Some(&self.commit) && self.pull.as_ref().is_none_or(|known| known.number == pull.number)
    }

    /// Takes note that there is nothing more to do about it. What nobody is told any more is not kept, which may be a diff of many pages.
    fn end(&mut self) {
        self.trouble = None;
        self.is_over = true;
        self.text.body = String::new();
        if let Some(pull) = &mut self.pull {
            pull.said = Text::default();
        }
    }
}

impl Reviews {
    /// Takes note of what is on a branch: a new review, or a new state of one; with whether its commit is there as the service made it.
    pub(super) fn want(&self, key: &ReleaseKey, (commit, is_as_made): (CommitId, bool), proposed: &Proposed) {
        let mut by_key = self.by_key();
        let made =
            if is_as_made { Some(commit.clone()) } else { by_key.get(key).and_then(|review| review.made.clone()) };
        let before = by_key.get(key).filter(|review| review.is_wanted && review.state == ReviewState::AwaitingReview);
        // Planned anew, the same differs by its moment alone, for which nobody is to be told again.
        let said = before.filter(|before| {
            before.commit == commit
                && before.delivery == proposed.delivery
                && before.merges_itself == proposed.merges_itself
        });
        let text = said.map_or_else(|| proposed.text.clone(), |before| before.text.clone());
        // What keeps it from going on still does; to be told so again would have it planned again at once, and so on.
        let trouble = said.and_then(|before| before.trouble.clone());
        // What the forge was told already it is not told again, and what it did not take has its time to be tried again.
        let is_told = said.is_some_and(|before| before.pull.is_some() || before.trouble.is_some());
        let review = Review {
            commit,
            made,
            release: proposed.write.after.clone(),
            delivery: proposed.delivery.clone(),
            text,
            compared: proposed.compared.clone(),
            merges_itself: proposed.merges_itself,
            is_wanted: true,
            moot_since: None,
            state: ReviewState::AwaitingReview,
            // What waits for people was called off, where it was not.
            pull: before
                .and_then(|before| before.pull.clone())
                .map(|pull| Pull { is_scheduled: pull.is_scheduled && proposed.merges_itself, ..pull }),
            withdrawn: by_key.get(key).and_then(|review| review.withdrawn),
            elsewhere: by_key.get(key).map(|review| review.elsewhere.clone()).unwrap_or_default(),
            opinions: before.map(|before| before.opinions.clone()).unwrap_or_default(),
            trouble,
            commented: before.and_then(|before| before.commented.clone()),
            is_over: false,
        };
        by_key.insert(key.clone(), review);
        drop(by_key);
        if !is_told {
            self.look(key);
        }
    }

    /// Takes note of which releases still have something that waits for its review; those that have not are closed.
    pub(super) fn keep(&self, is_wanted: impl Fn(&ReleaseKey, &Review) -> bool) {
        for (key, review) in self.by_key().iter_mut().filter(|(_, review)| review.is_wanted) {
            review.is_wanted = is_wanted(key, review);
            if !review.is_wanted {
                review.moot_since = Some(Instant::now());
                self.look(key);
            }
        }
    }

    /// Takes note of deliveries that the branch was seen to have: their reviews were merged, and what is asked for next has one of its own.
    pub(super) fn are_merged(&self, done: &DoneBefore) {
        for (key, review) in self.by_key().iter_mut().filter(|(_, review)| review.state != ReviewState::Merged) {
            if review.delivery.as_ref().is_some_and(|delivery| done.contains_key(delivery.as_str())) {
                review.state = ReviewState::Merged;
                // Of one that is over nobody else says so.
                if review.is_over {
                    self.comments.note(key);
                }
            }
        }
    }

    /// Whether people closed a review of the very same, which is a no to whoever asked for it.
    pub(super) fn is_closed(&self, key: &ReleaseKey, after: Option<&Release>, delivery: Option<&DeliveryId>) -> bool {
        self.by_key().get(key).is_some_and(|review| {
            review.state == ReviewState::Closed
                // What was asked for before a restart is not known; who waited for it asks the forge again.
                && (review.release.is_some() || review.delivery.is_some())
                && review.pull.as_ref().is_some_and(|pull| review.withdrawn != Some(pull.number))
                && review.delivery.as_ref() == delivery
                && standing::is_same(review.release.as_ref(), after)
        })
    }

    /// What whoever asked waits for.
    pub(super) fn waits_for(&self, key: &ReleaseKey) -> String {
        let by_key = self.by_key();
        let is_open = |review: &&Review| review.is_wanted && review.state == ReviewState::AwaitingReview;
        let review = by_key.get(key).filter(is_open);
        match review.map(|review| (&review.pull, &review.trouble)) {
            Some((Some(pull), None)) if pull.is_scheduled => {
                format!("the review of {}, which merges itself as soon as the rules of the branch let it", pull.url)
            }
            Some((Some(pull), None)) => format!("the review of {}", pull.url),
            Some((Some(pull), Some(trouble))) => format!("the review of {}: {trouble}", pull.url),
            Some((None, Some(trouble))) => format!("a pull request that could not be opened yet: {trouble}"),
            Some((None, None)) | None => untold(key),
        }
    }

    /// Whether there is a review of a release that waits for people.
    pub(super) fn is_waiting(&self, key: &ReleaseKey) -> bool {
        self.by_key().get(key).is_some_and(|review| review.is_wanted && review.state == ReviewState::AwaitingReview)
    }

    /// Whether an answer says of a review that somebody wants no more than its branch, because the forge had not heard of it: another one says where it is.
    pub(super) fn is_untold(&self, concluded: &Concluded) -> bool {
        let Some(key) = concluded.verdict.release.as_ref().filter(|_| concluded.state.is_waiting()) else {
            return false;
        };
        concluded.verdict.waits_for == Some(untold(key)) && self.by_key().get(key).is_some_and(|it| it.is_wanted)
    }

    /// Keeps an answer back until the forge has been told, where it is about a review that the forge has not heard of yet. Where it has heard
    /// of it since the answer was made, the answer says so.
    pub(super) fn keeps_back(&self, number: i64, concluded: &mut Concluded) -> bool {
        let Some(key) = concluded.verdict.release.clone().filter(|_| concluded.state.is_waiting()) else {
            return false;
        };
        let is_told = self
            .by_key()
            .get(&key)
            .filter(|review| review.is_wanted)
            .map(|review| review.pull.is_some() || review.trouble.is_some());
        match is_told {
            Some(false) => drop(self.waiting().insert((key, number), concluded.clone())),
            Some(true) if concluded.verdict.waits_for == Some(untold(&key)) => {
                concluded.verdict.waits_for = Some(self.waits_for(&key));
            }
            _ => {}
        }
        is_told == Some(false)
    }

    /// Whether the review of a release is to be merged without a person, as far as is remembered.
    fn merges_itself(&self, key: &ReleaseKey) -> bool {
        self.by_key().get(key).is_some_and(|review| !review.is_over && review.merges_itself)
    }

    /// Takes note that the review of a release waits for a person, whatever was wished before.
    fn merges_itself_no_more(&self, key: &ReleaseKey) {
        if let Some(review) = self.by_key().get_mut(key) {
            review.merges_itself = false;
            if let Some(pull) = &mut review.pull {
                pull.is_scheduled = false;
            }
        }
    }

    /// A review as it is by now, where it is still about this commit and wanted.
    fn current(&self, key: &ReleaseKey, commit: &CommitId) -> Option<Review> {
        self.by_key().get(key).filter(|review| review.is_wanted && review.commit == *commit).cloned()
    }

    /// Hands out the answers about a release that were kept back.
    fn take_waiting(&self, key: &ReleaseKey) -> Vec<(i64, Concluded)> {
        let mut waiting = self.waiting();
        let numbers: Vec<(ReleaseKey, i64)> = waiting.keys().filter(|(of, _)| of == key).cloned().collect();
        numbers.into_iter().filter_map(|at| Some((at.1, waiting.remove(&at)?))).collect()
    }

    /// Forgets them all: from now on another service follows them than before, and finds them by what waits and by their branches.
    pub(super) fn forget(&self) {
        let mut by_key = self.by_key();
        self.forgotten.fetch_add(1, Ordering::Release);
        by_key.clear();
        drop(by_key);
        self.waiting().clear();
        self.due().clear();
        self.comments.forget();
    }

    /// How often all of them were forgotten. Whoever reads this first and then that another replica leads knows when that is so no more.
    pub(in crate::worker) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Takes note of what became of a release's last review, as the forge says it; nothing where there is a review since.
    fn remember(&self, key: &ReleaseKey, closed: Closed) {
        remember(&mut self.by_key(), key, closed);
    }

    /// Takes note of a pull request that is open and that nobody here waits for, as the forge tells it; nothing where there is a review.
    fn remember_open(&self, key: ReleaseKey, open: Open, delivery: Option<DeliveryId>) {
        if let Some(review) = Review::as_told(open.title, open.pull) {
            let mut by_key = self.by_key();
            if by_key.get(&key).is_none_or(|known| known.is_over) {
                by_key.insert(key, Review { delivery, ..review });
            }
        }
    }

    /// Takes note of all that the forge tells, where another replica follows it; nothing where all was forgotten since it was asked: then this one may
    /// follow it by now, and knows better. What is followed here stays.
    fn show(&self, since: u64, open: &BTreeMap<ReleaseKey, Open>, closed: Vec<(ReleaseKey, Closed)>) {
        let mut by_key = self.by_key();
        if self.forgotten() != since {
            return;
        }
        let (over, followed) = std::mem::take(&mut *by_key).into_iter().partition(|(_, review)| review.is_over);
        let over: HashMap<ReleaseKey, Review> = over;
        *by_key = followed;
        for (key, open) in open {
            let Some(mut review) = Review::as_told(open.title.clone(), open.pull.clone()) else { continue };
            if let Some(before) = over.get(key).filter(|before| before.commit == review.commit) {
                review.opinions.clone_from(&before.opinions);
            }
            by_key.entry(key.clone()).or_insert(review);
        }
        closed.into_iter().for_each(|(key, closed)| remember(&mut by_key, &key, closed));
    }

    /// Has the forge asked what became of the pull request of a release.
    pub(super) fn look(&self, key: &ReleaseKey) {
        self.due().insert(key.clone());
        self.wake.notify_one();
    }

    /// The review of a release as the API shows it.
    pub(super) fn view(&self, key: &ReleaseKey) -> Option<ReviewView> {
        self.by_key().get(key).map(|review| ReviewView {
            state: review.state,
            branch: branch_of(key),
            number: review.pull.as_ref().map(|pull| pull.number),
            url: review.pull.as_ref().map(|pull| pull.url.clone()),
            summary: review.text.title.clone(),
            approved_by: review.opinions.approved_by.clone(),
            changes_requested_by: review.opinions.changes_requested_by.clone(),
            merges_itself: review.merges_itself,
            trouble: review.trouble.clone(),
        })
    }

    /// The lock of a release's branch.
    fn branch(&self, key: &ReleaseKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        // One that nobody has is as good as a new one.
        branches.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(branches.entry(key.clone()).or_default())
    }

    /// Changes what is known of a review, where it is still about this commit.
    fn note(&self, key: &ReleaseKey, commit: &CommitId, change: impl FnOnce(&mut Review)) {
        if let Some(review) = self.by_key().get_mut(key).filter(|review| review.commit == *commit) {
            change(review);
        }
    }

    /// Those about which there is something to do.
    fn open(&self) -> BTreeSet<ReleaseKey> {
        self.by_key().iter().filter(|(_, review)| !review.is_over).map(|(key, _)| key.clone()).collect()
    }

    /// One of all as it is.
    fn one(&self, key: &ReleaseKey) -> Option<Review> {
        self.by_key().get(key).cloned()
    }

    /// The releases whose last review was merged.
    fn merged(&self) -> Vec<ReleaseKey> {
        let by_key = self.by_key();
        by_key.iter().filter(|(_, review)| review.state == ReviewState::Merged).map(|(key, _)| key.clone()).collect()
    }

    /// Takes note that it may have changed how what was merged fares.
    pub(super) fn fares(&self, key: &ReleaseKey) {
        if self.by_key().get(key).is_some_and(|review| review.state == ReviewState::Merged) {
            self.comments.note(key);
        }
    }

    /// One of these as it is.
    pub(in crate::worker) fn open_one(&self, key: &ReleaseKey) -> Option<Review> {
        self.by_key().get(key).filter(|review| !review.is_over).cloned()
    }

    /// Whether something may become of the review of a release: one that is over may be opened again, unless it was merged.
    pub(in crate::worker) fn may_change(&self, key: &ReleaseKey) -> bool {
        self.by_key().get(key).is_some_and(|review| !review.is_over || review.state != ReviewState::Merged)
    }

    /// Notes, or takes back, that something keeps all of them from going on.
    fn note_trouble_of_all(&self, before: Option<&str>, now: Option<&str>) {
        for review in self.by_key().values_mut().filter(|review| !review.is_over) {
            if review.trouble.as_deref() == before {
                review.trouble = now.map(ToOwned::to_owned);
            }
        }
    }

    fn due(&self) -> MutexGuard<'_, BTreeSet<ReleaseKey>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<ReleaseKey, Review>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(ReleaseKey, i64), Concluded>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what became of a release's last review; nothing where there is one.
fn remember(by_key: &mut HashMap<ReleaseKey, Review>, key: &ReleaseKey, closed: Closed) {
    let Closed { branch: _, title, pull } = closed;
    if let Some(review) = Review::as_told(title, pull).filter(|review| review.state != ReviewState::AwaitingReview) {
        by_key.entry(key.clone()).or_insert(review);
    }
}

/// What is waited for until the forge has been told.
fn untold(key: &ReleaseKey) -> String {
    format!("a review of the branch `{}`", branch_of(key))
}
