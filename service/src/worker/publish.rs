//! How a turn gets to the branch: planned on its tip, planned anew where somebody else was faster, divided where a remote refuses it,
//! and not at all while the history there is another one.

use std::time::{Duration, Instant};

use super::conclusion::{Concluded, Conclusion, Keep};
use super::conveyor::{Conveyor, Done, Work};
use super::history::{self, Came};
use super::holds::{self, after_a_rewrite};
use super::registry::Which;
use super::restored::look_up;
use super::retry::later;
use super::review::{merged_as, recall};
use super::set_aside::SetAside;
use super::shared::{Shared, Waits, read, write};
use super::turn::Harvest;

use crate::chance::share_of;
use crate::event::Delivery;
use crate::git::{GitError, LogEntry, Publish};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{Refusal, RefusalKind};
use crate::store::Hold;

/// How often a turn begins anew because somebody else pushed meanwhile: each time means a whole push of theirs during one of ours. All of
/// them, with the pauses between them, take less time than a caller waits for its answer.
const MOVED_MAX: usize = 16;

/// From this time on a turn shrinks with each: half as much is planned in half the time, until it fits between two pushes of theirs.
const MOVED_TO_SHRINK: usize = 2;

/// From this time on there is a pause before each, by chance and longer each time: who pushes at a steady pace is not met at the same moment again.
const MOVED_TO_PAUSE: usize = 4;

/// The longest first pause: a few pushes to a remote nearby.
const PAUSE: Duration = Duration::from_millis(40);

/// How long a step that happens by itself is left alone after the remote refused it: hooks change when people change them.
const STEP_RETRY: Duration = Duration::from_secs(300);

/// The most commits of which nobody heard whether they arrived: some hundred failed pushes of the largest size.
const OURS_MAX: usize = 100_000;

/// What a turn is planned on.
pub(super) struct Head {
    pub(super) base: CommitId,
    /// What others, or this service before it ended, put there since the last turn; where it counts anew, its whole history.
    pub(super) since: Vec<Came>,
    /// It does not go on from what is known, and counts by itself.
    pub(super) is_anew: bool,
}

impl Conveyor {
    /// Does one turn and publishes it. Work that has to wait for the next turn is taken out. Where it needs a commit that is not fetched yet, it
    /// waits for that.
    pub(super) async fn turn(&mut self, shared: &Shared, work: &mut Work) -> Result<Done, GitError> {
        let mut aside = Vec::new();
        let mut done = self.try_turn(shared, work, &mut aside).await;
        if matches!(done, Err(GitError::NotFetched)) {
            done = match shared.repository.complete().await {
                Ok(()) => self.try_turn(shared, work, &mut aside).await,
                Err(error) => Err(error),
            };
        }
        for aside in aside {
            self.end_aside(shared, &mut done, aside).await;
        }
        done
    }

    async fn try_turn(
        &mut self,
        shared: &Shared,
        work: &mut Work,
        aside: &mut Vec<SetAside>,
    ) -> Result<Done, GitError> {
        let mut is_sure = work.look_at_repository || shared.repository.is_unsure();
        if is_sure {
            shared.repository.look().await?;
        }
        // An embedded branch answers nobody; what is carried out there has read it.
        let mut is_proof = is_sure || (shared.repository.address().is_none() && work.count() > 0);
        let mut moved = 0;
        while moved < MOVED_MAX {
            let head = self.head(shared).await?;
            let begin = Instant::now();
            let mut done = self.draft(shared, work, &head)?;
            let harvest = &done.harvest;
            if !harvest.following.unknown.is_empty() {
                work.speakers.extend(look_up(shared, &harvest.following.unknown).await);
                continue;
            }
            if harvest.tip == head.base {
                // No push says that the branch still is where this was judged.
                let may_be_decided = done.judges_since(work.concluded.len()) || self.takes_a_place(&done);
                if may_be_decided && has_moved(shared, &mut is_sure).await? {
                    moved += 1;
                    continue;
                }
                done.is_proof = is_proof || is_sure;
                return Ok(done);
            }
            if self.ours.len() > OURS_MAX {
                self.ours.clear();
            }
            self.ours.extend(history::ours(&harvest.rows));
            let taken_back = shared.inbox.taken_back(|it| it.begin(&done.numbers()));
            if !taken_back.is_empty() {
                self.forget(work, &taken_back);
                continue;
            }
            let published = match push(shared, &head, &done).await {
                Err(GitError::Remote(error)) if self.may_be_of_one(&error) => {
                    (is_sure, is_proof) = (false, true);
                    self.fit(shared, work, (&done, &mut *aside), error).await?;
                    continue;
                }
                published => published?,
            };
            is_proof = true;
            let releases = harvest.fresh.len() + harvest.gone.len().saturating_sub(harvest.fresh.len());
            let count = |outcome| shared.metrics.pushed(outcome, releases, begin.elapsed());
            match published {
                Publish::Done => {
                    count("pushed");
                    done.is_proof = true;
                    return Ok(done);
                }
                Publish::Moved(tip) => {
                    count("rejected");
                    (is_sure, moved) = (true, moved + 1);
                    tracing::info!(commit.id = %tip, "Somebody else pushed `{tip}`; planning again on it");
                    self.make_haste(shared, work, moved).await?;
                }
                Publish::Refused(words) => {
                    count("refused");
                    is_sure = false;
                    // What is divided is pushed again. What is refused for good is to be so by what the branch has by then, however long it was divided.
                    if work.count() < 2 && has_moved(shared, &mut is_sure).await? {
                        moved += 1;
                        continue;
                    }
                    self.divide(shared, work, &done, words)?;
                }
            }
        }
        Err(GitError::Overtaken { times: MOVED_MAX })
    }

    /// Whether something takes the place of what waits for its review, which people may have merged meanwhile.
    fn takes_a_place(&self, done: &Done) -> bool {
        let is_older = |key, number| self.parked.get(key).is_some_and(|parked| parked.number < number);
        done.conclusions
            .iter()
            .any(|made| matches!(&made.keep, Keep::Parked(key) if is_older(key, made.delivery.number)))
    }

    /// Gets a turn that was overtaken so often ready for its next try. It is planned on the newest tip in any case.
    async fn make_haste(&mut self, shared: &Shared, work: &mut Work, moved: usize) -> Result<(), GitError> {
        if moved >= MOVED_TO_SHRINK
            && let Some(rest) = work.split()
        {
            self.left_over.push_front(rest);
        }
        if (MOVED_TO_PAUSE..MOVED_MAX).contains(&moved) {
            let longest = PAUSE * u32::try_from(moved - MOVED_TO_PAUSE + 1).unwrap_or(1);
            tokio::time::sleep(share_of(longest)).await;
            shared.repository.look().await?;
        }
        Ok(())
    }

    /// Where the branch is, and what is not taken in yet.
    async fn head(&mut self, shared: &Shared) -> Result<Head, GitError> {
        let repository = &shared.repository;
        let mut tip = repository.tip()?;
        if self.is_accepted(shared, &tip)? && repository.address().is_some() {
            // A person may have moved it since it was seen, to put the other history back for one.
            repository.look().await?;
            tip = repository.tip()?;
        }
        if tip == self.known {
            // A push that nobody heard of may still arrive.
            self.rewritten = None;
            return Ok(Head { base: tip, since: Vec::new(), is_anew: false });
        }
        if follows(shared, &self.known, &tip)? {
            self.rewritten = None;
            let since = repository.line(Some(&self.known), &tip)?;
            recall(shared, &self.known, &since).await?;
            let since = with_reviews(shared, Some(&self.known), since)?;
            // What was made for another tip cannot arrive any more.
            let mut ours = std::mem::take(&mut self.ours);
            self.ours = since.iter().filter_map(|came| ours.take(&came.entry.commit)).collect();
            return Ok(Head { base: tip, since, is_anew: false });
        }
        if self.is_accepted(shared, &tip)? {
            tracing::info!(commit.id = %tip, "The rewritten history at `{tip}` counts from now on");
            let since = with_reviews(shared, None, repository.line(None, &tip)?)?;
            return Ok(Head { since, base: tip, is_anew: true });
        }
        // A hold that the store did not take might be forgotten without anybody having lifted it: it is set again by each turn until it is kept.
        if self.rewritten.as_ref() != Some(&tip) && stop(shared, &self.known, &tip).await {
            self.rewritten = Some(tip);
        }
        Ok(Head { base: self.known.clone(), since: Vec::new(), is_anew: false })
    }

    /// Whether a person lifted the hold that a rewritten history led to.
    fn is_accepted(&self, shared: &Shared, tip: &CommitId) -> Result<bool, GitError> {
        let is_held = read(&shared.holds).iter().any(|hold| hold.environment.is_none());
        match &self.rewritten {
            Some(seen) if !is_held => follows(shared, seen, tip),
            _ => Ok(false),
        }
    }

    /// Keeps the first half for another try, and the rest for the next turn. What is refused alone is refused.
    fn divide(&mut self, shared: &Shared, work: &mut Work, done: &Done, words: String) -> Result<(), GitError> {
        let conclusions = done.conclusions.as_slice();
        if done.harvest.following.is_committed {
            // It came along in each half, and nobody who asks for something is to be refused for it: it is asked for by itself then.
            tracing::info!(
                "The branch does not take this turn, which is tried without what follows from the pushes of others: {words}"
            );
            work.as_it_lies = true;
        } else if let Some(rest) = work.split() {
            self.left_over.push_front(rest);
        } else if let Some(key) = work.alone(conclusions).filter(|key| shared.is_reviewed(key))
            && work.by_review.insert(key.clone())
        {
            tracing::info!(release.key = %key, "The branch does not take this change of `{key}`, so a pull request is opened: {words}");
        } else if let Some(delivery) = work.deliveries.pop() {
            let conclusion = refused(delivery, conclusions, &words);
            work.refused.extend(version_of(&done.harvest, &conclusion));
            work.concluded.push(conclusion);
        } else if let Some(key) = work.ticks.pop() {
            self.put_off(shared, &key, &words);
        } else {
            return Err(GitError::Refused { words });
        }
        Ok(())
    }

    pub(super) fn put_off(&mut self, shared: &Shared, key: &ReleaseKey, words: &str) {
        let reason = format!("the remote refuses the next step: {words}");
        tracing::warn!(release.key = %key, "{reason}; it is tried again");
        self.leave_alone(shared, key, reason);
    }

    /// Has what follows by itself for a release tried again later, and says why.
    pub(super) fn leave_alone(&mut self, shared: &Shared, key: &ReleaseKey, reason: String) {
        let at = later(shared.clock.now_exact(), STEP_RETRY);
        self.agenda.at(at, key);
        write(&shared.waits).insert(key.clone(), Waits { reason: Some(reason), until: Some(at) });
    }
}

impl Work {
    /// How many things there are to do.
    pub(super) fn count(&self) -> usize {
        self.ticks.len() + self.deliveries.len()
    }

    /// Takes the second half out; nothing where there is no more than one thing to do.
    pub(super) fn split(&mut self) -> Option<Self> {
        let count = self.count();
        if count < 2 {
            return None;
        }
        let ticks = self.ticks.split_off(self.ticks.len().min(count / 2));
        let deliveries = self.deliveries.split_off(count / 2 - self.ticks.len());
        let (found, findings) = (self.found.clone(), self.findings.clone());
        let (replaced_by, by_review, as_it_lies) = (self.replaced_by.clone(), self.by_review.clone(), self.as_it_lies);
        Some(Self { ticks, deliveries, found, findings, replaced_by, by_review, as_it_lies, ..Self::default() })
    }

    /// Takes on what other work there is. What was found out for it is found out anew when it is tried again.
    pub(super) fn add(&mut self, other: Self) {
        let Self { ticks, deliveries, concluded, refused, look_at_repository, .. } = other;
        self.ticks.extend(ticks);
        self.deliveries.extend(deliveries);
        self.concluded.extend(concluded);
        self.refused.extend(refused);
        self.look_at_repository |= look_at_repository;
    }

    /// The release that the one thing to do is about.
    fn alone(&self, conclusions: &[Conclusion]) -> Option<ReleaseKey> {
        match (self.deliveries.as_slice(), self.ticks.as_slice()) {
            ([delivery], []) => {
                let made = conclusions.iter().find(|made| made.delivery.number == delivery.number)?;
                made.concluded.verdict.release.clone()
            }
            ([], [key]) => Some(key.clone()),
            _ => None,
        }
    }
}

impl Done {
    /// The deliveries that it has commits for.
    fn numbers(&self) -> Vec<i64> {
        let has_commit = |made: &&Conclusion| made.concluded.verdict.commit.is_some();
        self.conclusions.iter().filter(has_commit).map(|made| made.delivery.number).collect()
    }

    /// Whether one of the conclusions from this one on is the last word on what somebody asked for.
    fn judges_since(&self, first: usize) -> bool {
        self.conclusions.iter().skip(first).any(Conclusion::is_judgement)
    }
}

/// Pushes what a turn has come to. While nobody knows that the branch has nothing of it, it counts as begun.
async fn push(shared: &Shared, head: &Head, done: &Done) -> Result<Publish, GitError> {
    let published = shared.repository.push(&head.base, &done.harvest.tip).await;
    let came_to_nothing = match &published {
        Ok(published) => *published != Publish::Done,
        Err(_) => !shared.repository.is_unsure(),
    };
    if came_to_nothing {
        let is_first = |made: &&Conclusion| made.delivery.verdict.commit.is_none();
        let numbers: Vec<i64> = done.conclusions.iter().filter(is_first).map(|made| made.delivery.number).collect();
        shared.inbox.taken_back(|it| it.came_to_nothing(&numbers));
    }
    published
}

/// Looks whether a branch elsewhere is another one than the view that was planned on, unless the turn knows that it is not since its last push.
async fn has_moved(shared: &Shared, is_sure: &mut bool) -> Result<bool, GitError> {
    let repository = &shared.repository;
    if repository.address().is_none() || std::mem::replace(is_sure, true) {
        return Ok(false);
    }
    let seen = repository.tip()?;
    repository.look().await?;
    let tip = repository.tip()?;
    if tip != seen {
        tracing::info!(commit.id = %tip, "Somebody else pushed `{tip}`, and nobody told of it; judging again on it");
    }
    Ok(tip != seen)
}

/// What came to the branch, with what was merged read as what was proposed.
fn with_reviews(shared: &Shared, from: Option<&CommitId>, since: Vec<LogEntry>) -> Result<Vec<Came>, GitError> {
    let (author, from) = (&shared.settings.author, from.filter(|_| shared.settings.forge().is_some()));
    let came = since.into_iter().map(|entry| merged_as(&shared.repository, author, from, entry));
    Ok(came.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Whether a commit has another in its history.
fn follows(shared: &Shared, before: &CommitId, commit: &CommitId) -> Result<bool, GitError> {
    match shared.repository.is_ancestor(before, commit) {
        Err(GitError::UnknownCommit(_)) => Ok(false),
        follows => follows,
    }
}

/// Holds everything, because the history of the branch was rewritten; says whether that is written down.
async fn stop(shared: &Shared, known: &CommitId, tip: &CommitId) -> bool {
    let make = {
        let (known, tip, now) = (known.clone(), tip.clone(), shared.clock.now());
        move |holds: &[Hold]| after_a_rewrite(holds, &known, &tip, now)
    };
    let stored = holds::set(shared, make.clone()).await;
    if let Err(error) = &stored {
        tracing::error!(error = error as &dyn std::error::Error, "The hold could not be stored: {error}");
        let mut holds = write(&shared.holds);
        let hold = make(&holds);
        holds.retain(|other| other.environment.is_some());
        holds.push(hold);
    }
    for hold in read(&shared.holds).iter().filter(|hold| hold.environment.is_none()) {
        tracing::error!(commit.id = %tip, "Everything is held: {}; `kmlflow unhold` goes on from there", hold.reason);
    }
    stored.is_ok()
}

/// The version that a refusal is about: the one that the commits name that the remote did not take.
pub(super) fn version_of(harvest: &Harvest, conclusion: &Conclusion) -> Option<(Which, ReleaseKey, Refusal)> {
    let (key, refusal) = (conclusion.concluded.verdict.release.clone()?, conclusion.concluded.refusal.clone()?);
    let version = harvest.rows.iter().rfind(|row| row.key == key)?.version.clone();
    let model = harvest.fresh.get(&key)?.release.spec.model.clone();
    Some(((model, version), key, refusal))
}

/// Notes at each release what the remote refused of it, until it is another one.
pub(super) fn note_remote_refusals(shared: &Shared, harvest: &Harvest) {
    let mut noted = write(&shared.remote_refusals);
    for key in harvest.gone.iter().chain(harvest.rows.iter().map(|row| &row.key)) {
        noted.remove(key);
    }
    let by_remote = |refusal: &Refusal| refusal.kind == RefusalKind::RemoteRefused;
    for (_, key, refusal) in harvest.refused.iter().filter(|(_, _, refusal)| by_remote(refusal)) {
        if read(&shared.index).has(key) {
            noted.insert(key.clone(), refusal.reason.clone());
        }
    }
}

/// The remote said no to what this delivery alone leads to.
pub(super) fn refused(delivery: Delivery, conclusions: &[Conclusion], words: &str) -> Conclusion {
    let release = conclusions.iter().find(|made| made.delivery.number == delivery.number);
    let release = release.and_then(|made| made.concluded.verdict.release.clone());
    let refusal = Refusal {
        kind: RefusalKind::RemoteRefused,
        reason: format!("the remote refuses this change: {words}"),
        cure: Some("change what it objects to, or ask whoever set the rule at the remote".to_owned()),
        violations: Vec::new(),
    };
    Conclusion { delivery, concluded: Concluded::refused(release, refusal), keep: Keep::No }
}
