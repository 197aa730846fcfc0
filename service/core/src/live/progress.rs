//! How far the newest commit of a release has come, with the time that it has.

use jiff::Timestamp;

use super::look::Look;
use crate::release::Period;

/// How far a release has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LiveState {
    /// On its way.
    Syncing,
    Live,
    /// It was live, and something is missing now.
    Degraded,
    /// It was not live within its deadline.
    Stalled,
}

/// How far a release has come, since when and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub state: LiveState,
    pub since: Timestamp,
    /// One sentence without its capital and its full stop.
    pub reason: String,
    pub cure: Option<String>,
}

/// The moments that count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// When the newest commit was made.
    pub committed_at: Timestamp,
    pub deadline: Period,
    /// When it was first seen live.
    pub live_since: Option<Timestamp>,
    /// Since when it is not, after it was.
    pub dipped_at: Option<Timestamp>,
}

impl Times {
    /// When it is stalled, unless it is live before.
    pub fn stalls_at(&self) -> Timestamp {
        self.deadline.after(self.committed_at)
    }

    /// When it may be taken back: it has its whole deadline from the moment that it was applied, for until then somebody else was late; one
    /// that never is has it from when something of its own was first seen in the way.
    pub fn blamed_at(&self, reached: Reached) -> Timestamp {
        self.deadline.after(reached.applied_at.or(reached.faulted_at).unwrap_or(self.committed_at))
    }
}

/// When the parts of a commit were first seen on its way to live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Argo CD had applied it.
    pub applied_at: Option<Timestamp>,
    /// The pods of every predictor were ready.
    pub ready_at: Option<Timestamp>,
    /// Something of its own was in the way.
    pub faulted_at: Option<Timestamp>,
}

impl Reached {
    /// Takes in what is seen of a commit of that time; the first time counts. Argo CD's own word of when it had applied it outlives a
    /// restart of who looks; an operation from before the commit did not apply it.
    pub fn take(&mut self, look: &Look, committed_at: Timestamp, now: Timestamp) {
        let synced_at = look.synced_at.filter(|at| (committed_at..=now).contains(at));
        self.applied_at = self.applied_at.or_else(|| look.applied.then(|| synced_at.unwrap_or(now)));
        self.ready_at = self.ready_at.or_else(|| look.has_pods.then_some(now));
        let is_of_the_commit = look.trouble.as_ref().is_some_and(|trouble| trouble.kind.is_of_the_commit());
        self.faulted_at = self.faulted_at.or_else(|| is_of_the_commit.then_some(now));
    }
}

/// Says how far a release has come.
pub fn progress(look: &Look, times: Times, now: Timestamp) -> Progress {
    let (trouble, missing) = (look.trouble.as_ref(), look.missing.as_deref());
    let reason =
        trouble.map(|it| it.reason.as_str()).or(missing).unwrap_or("every part of it is as Git says").to_owned();
    let cure = trouble.map(|it| it.cure.clone());
    let (state, since) = match (look.is_live(), times.live_since) {
        (true, live_since) => (LiveState::Live, live_since.unwrap_or(now)),
        (false, Some(_)) => (LiveState::Degraded, times.dipped_at.unwrap_or(now)),
        (false, None) if now >= times.stalls_at() => (LiveState::Stalled, times.stalls_at()),
        (false, None) => (LiveState::Syncing, times.committed_at),
    };
    Progress { state, since, reason, cure }
}
