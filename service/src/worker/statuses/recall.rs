//! What the forge may not know at a start, or when a replica comes to lead: who was to tell it may have ended before it could.

use std::time::Duration;

use jiff::Timestamp;

use super::{CommitState, CommitStatus, Fares, Forge, Statuses, said, status, went_on};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{Phase, Release};
use crate::store::{Newest, StoreError};
use crate::worker::load::each_newest;
use crate::worker::observe::watched;
use crate::worker::shared::Shared;

/// What changed longer ago, or is seen live since then, is taken as told: the forge is not told of it again. So what it was not told for longer
/// than that, because it or this service was away, it is told with the next change; and a release that failed for a moment and recovered while nobody led
/// keeps its failure until then.
const RECALLED_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// The most releases that are told again at a start, those that changed last: two statuses and a deployment each, of which GitHub takes 500 an hour. To
/// be told twice hurts nobody, but each start costs this.
const RECALLED_MAX: usize = 200;

/// Since when what changed may be untold.
pub(in crate::worker) fn lately(now: Timestamp) -> Timestamp {
    now.checked_sub(RECALLED_WITHIN).unwrap_or(Timestamp::MIN)
}

impl Statuses {
    /// Notes again what changed lately, before anything else changes. What was noted since is newer and stays.
    pub(in crate::worker) async fn recall(&self, shared: &Shared) {
        let Some(forge) = shared.settings.forge() else { return };
        let since = lately(shared.clock.now());
        match self.recall_commits(shared, forge, since).await {
            Ok(recalled) => self.recall_seen(shared, since, RECALLED_MAX - recalled),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "What the forge was not told of before the start is not known: {error}"
            ),
        }
        self.wake();
    }

    /// Says how many releases that were.
    async fn recall_commits(&self, shared: &Shared, forge: &Forge, since: Timestamp) -> Result<usize, StoreError> {
        let mut changed: Vec<Newest> = Vec::new();
        each_newest(&shared.store, |row| {
            if row.at >= since {
                changed.push(row);
            }
        })
        .await?;
        changed.sort_by_key(|row| std::cmp::Reverse(row.at));
        if changed.len() > RECALLED_MAX {
            let count = changed.len();
            shared.metrics.left_untold("start", (count - RECALLED_MAX) as u64);
            tracing::warn!(
                "{count} releases changed in the last day; the forge is told again of the last {RECALLED_MAX} only"
            );
            changed.truncate(RECALLED_MAX);
        }
        // The earliest first, as they came.
        for row in changed.iter().rev() {
            self.recall_one(shared, forge, &row.key).await?;
        }
        Ok(changed.len())
    }

    async fn recall_one(&self, shared: &Shared, forge: &Forge, key: &ReleaseKey) -> Result<(), StoreError> {
        let rows = shared.store.history(key, None, 2).await?;
        let Some(newest) = rows.first() else { return Ok(()) };
        let (entry, is_watched) = (shared.entry(key), watched(shared, &key.environment).is_some());
        // Of an environment that is not there any more nothing can be said.
        if newest.phase.is_some() != entry.is_some() {
            return Ok(());
        }
        let release = entry.as_ref().map(|entry| &*entry.release);
        let on_its_way = || said(key, CommitState::Pending, "it is on its way to the cluster".to_owned(), release);
        let status = if release.is_some() && is_watched { on_its_way() } else { status(key, release) };
        self.leads_on(key, &newest.commit, &status);
        let was_on_its_way = |phase| matches!(phase, Some(Phase::Entering | Phase::Leaving));
        if let Some(before) = rows.get(1).filter(|before| is_watched || was_on_its_way(before.phase)) {
            self.put_older(key, &before.commit, went_on(&status));
        }
        let seen = entry.as_ref().and_then(|entry| shared.observations.progress(key, &entry.commit));
        match (&entry, seen) {
            (Some(entry), Some(progress)) if is_watched => self.note_progress(shared, (key, entry), &progress),
            // The first look at it tells that, and is not to be preceded by less.
            (Some(_), None) if is_watched && shared.store.live_since(key, &newest.commit).await?.is_some() => {}
            _ => self.recall_status(forge, (key, &newest.commit, release), status),
        }
        Ok(())
    }

    fn recall_status(&self, forge: &Forge, of: (&ReleaseKey, &CommitId, Option<&Release>), status: CommitStatus) {
        let (key, commit, release) = of;
        if forge.has_deployments() {
            self.fares().entry(key.clone()).or_insert_with(|| Fares::of(commit, release, &status));
        }
        self.put_older(key, commit, status);
    }

    /// Notes what is no news, where nothing newer is to be told of the same commit.
    fn put_older(&self, key: &ReleaseKey, commit: &CommitId, status: CommitStatus) {
        self.waiting().entry((key.clone(), commit.clone())).or_insert(status);
    }

    /// Notes what this replica saw of other releases while another one was to tell it.
    fn recall_seen(&self, shared: &Shared, since: Timestamp, at_most: usize) {
        for key in shared.observations.unsettled(since).into_iter().take(at_most) {
            let Some(entry) = shared.entry(&key) else { continue };
            if let Some(progress) = shared.observations.progress(&key, &entry.commit) {
                self.note_progress(shared, (&key, &entry), &progress);
            }
        }
    }
}
