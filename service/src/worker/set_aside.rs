//! One thing that the remote does not take while it may take others: set aside, so that nobody waits for it.

use super::conclusion::Conclusion;
use super::conveyor::{Conveyor, Done, Work};
use super::publish::{refused, version_of};
use super::registry::Which;
use super::retry::{later, postpone, wait};
use super::shared::Shared;
use super::urgent::release_of;
use crate::event::Delivery;
use crate::git::GitError;
use crate::git::remote::RemoteError;
use crate::names::ReleaseKey;
use crate::release::Refusal;

/// After so many turns in a row that broke off, while the branch can be looked at, what is in them may be why: each is tried by itself.
const BROKEN_MAX: u32 = 2;

/// So many are put off alone by a turn: a remote that breaks off at everything is to be asked no more often than that.
const ASIDE_MAX: usize = 8;

/// What helps where the remote breaks off at one thing alone.
const ALONE: &str = "others are pushed meanwhile; look at what the remote's hooks and limits have against this one";

/// One thing that the remote does not take, and how it is concluded where the remote takes others.
pub(super) struct SetAside {
    work: Work,
    /// The remote broke off at it, so it is put off alone. One that the remote does not keep is refused.
    is_put_off: bool,
    concluded: Vec<Conclusion>,
    refused: Vec<(Which, ReleaseKey, Refusal)>,
    words: String,
}

impl Conveyor {
    /// Whether one thing of what is pushed may be why a push failed, and not the remote alone, which was heard of in any case.
    pub(super) fn may_be_of_one(&self, error: &RemoteError) -> bool {
        matches!(error, RemoteError::NotKept { .. })
            || (self.failures >= BROKEN_MAX && error.may_be_of_what_is_pushed())
    }

    /// What is too much at once may fit in parts. What is too much alone lets something else go first, once: should the remote not keep that either, it keeps
    /// nothing at present, and everything waits. What the remote breaks off at may be some things, each of which lets the rest go first.
    ///
    /// # Errors
    /// Nothing is left that could go first; or the branch cannot be looked at, so it is the remote.
    pub(super) async fn fit(
        &mut self,
        shared: &Shared,
        work: &mut Work,
        (done, aside): (&Done, &mut Vec<SetAside>),
        error: RemoteError,
    ) -> Result<(), GitError> {
        let is_put_off = !matches!(error, RemoteError::NotKept { .. });
        if is_put_off && aside.is_empty() {
            shared.repository.look().await?;
        }
        if let Some(rest) = work.split() {
            self.left_over.push_front(rest);
            return Ok(());
        }
        let most = if is_put_off { ASIDE_MAX } else { 1 };
        if aside.len() >= most || work.count() == 0 {
            return Err(error.into());
        }
        let Some(next) = self.left_over.pop_front() else { return Err(error.into()) };
        let words = error.for_callers();
        let mut alone = std::mem::replace(work, next);
        if is_put_off {
            // Nothing newer of a release overtakes what is put off.
            for rest in std::iter::once(&mut *work).chain(&mut self.left_over) {
                alone.take_related(rest);
            }
            while work.count() == 0 {
                let Some(next) = self.left_over.pop_front() else {
                    alone.add(std::mem::take(work));
                    *work = alone;
                    return Err(error.into());
                };
                work.add(next);
            }
        }
        work.concluded.append(&mut alone.concluded);
        work.refused.append(&mut alone.refused);
        let concluded: Vec<Conclusion> =
            alone.deliveries.iter().map(|delivery| refused(delivery.clone(), &done.conclusions, &words)).collect();
        let refused = concluded.iter().filter_map(|conclusion| version_of(&done.harvest, conclusion)).collect();
        aside.push(SetAside { work: alone, is_put_off, concluded, refused, words });
        Ok(())
    }

    /// Says of what was set aside what became of it, by how the rest of the turn went.
    pub(super) async fn end_aside(&mut self, shared: &Shared, done: &mut Result<Done, GitError>, aside: SetAside) {
        match done {
            // The remote takes what others asked for, so this one is at fault.
            Ok(done) if done.harvest.tip != done.base && aside.is_put_off => {
                // Before it is put off itself: what the end of a failure lets go, goes at once.
                self.end_failures(shared.clock.now_exact());
                aside.work.ticks.iter().for_each(|key| self.put_off(shared, key, &aside.words));
                let attempt = aside.work.deliveries.iter().map(|delivery| delivery.attempt).max().unwrap_or_default();
                let at = later(shared.clock.now_exact(), wait(attempt.saturating_add(1), None));
                postpone(shared, self, aside.work.deliveries, (aside.words, Some(ALONE.to_owned())), at).await;
            }
            Ok(done) if done.harvest.tip != done.base => {
                done.conclusions.extend(aside.concluded);
                done.harvest.refused.extend(aside.refused);
                aside.work.ticks.iter().for_each(|key| self.put_off(shared, key, &aside.words));
            }
            _ => self.left_over.push_front(aside.work),
        }
    }
}

impl Work {
    /// Takes over what is asked of the same releases.
    fn take_related(&mut self, other: &mut Self) {
        let keys: Vec<ReleaseKey> = self.deliveries.iter().filter_map(release_of).cloned().collect();
        let is_related = |delivery: &Delivery| release_of(delivery).is_some_and(|key| keys.contains(key));
        let (related, rest) = std::mem::take(&mut other.deliveries).into_iter().partition(is_related);
        other.deliveries = rest;
        self.deliveries.extend::<Vec<Delivery>>(related);
    }
}
