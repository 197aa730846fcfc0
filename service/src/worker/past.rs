//! The history before the first fetch of a branch elsewhere: a service that begins with nothing releases from the tip at once, and takes in what was
//! before beside that.
//!
//! Whoever needs it waits for it: the history of a release and a rollback for a moment, a turn that has to look at an older commit until it is
//! fetched (`publish.rs`). What the index has from the tip on stays as it is; what was before is put before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::history::{Behind, SUPERSEDES, says_ours, seen, walked_on};
use super::load::each_newest;
use super::replica::LEAD_RETRY;
use super::review::merged_as;
use super::shared::{Shared, read, write};
use super::start::OpenError;
use super::{Fault, history};
use crate::bounds::RETRY_AFTER_SECONDS;
use crate::chance::share_of;
use crate::git::{GitError, LogEntry};
use crate::names::{CommitId, ReleaseKey};
use crate::store::{IndexedCommit, PlaceInPast, StoreError};

/// Commits that are stored at once, read by one thread: the other cores are for those who ask.
const COMMITS_AT_ONCE: usize = 64;

/// So many are read before what is mapped of the packs for it is let go: nearly a MiB for each, whose trees lie all over them.
const READ_AND_LET_GO: usize = 8;

/// How long whoever needs the history waits for it, as long as for any answer.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Whether the history is there and in the index.
#[derive(Debug)]
pub(super) struct Past {
    is_missing: watch::Sender<bool>,
}

impl Default for Past {
    fn default() -> Self {
        Self { is_missing: watch::Sender::new(false) }
    }
}

impl Past {
    /// Notes that a part of it has to be fetched, or be taken into the index.
    pub(super) fn is_missing(&self) {
        self.is_missing.send_replace(true);
    }

    /// Waits until it is there.
    ///
    /// # Errors
    /// It takes longer than an answer may.
    pub(super) async fn wait(&self) -> Result<(), Fault> {
        let mut is_missing = self.is_missing.subscribe();
        let there = is_missing.wait_for(|is_missing| !is_missing);
        match tokio::time::timeout(WAIT_MAX, there).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::Unavailable {
                sentence: GitError::NotFetched.to_string(),
                retry_after_seconds: RETRY_AFTER_SECONDS,
            }),
        }
    }
}

/// Notes at a start what of the history is missing.
pub(super) async fn look_what_is_missing(shared: &Shared) -> Result<(), StoreError> {
    let lacks = shared.store.index_reach().await?.and_then(|(_, lacks)| lacks);
    if lacks.is_some() || !shared.repository.is_complete() {
        shared.past.is_missing();
    }
    Ok(())
}

/// Takes in what is missing of the history, however long the remote is away; then it is done.
pub(super) async fn take_in_past(shared: Arc<Shared>) {
    while let Err(error) = take_in(&shared).await {
        match error {
            NotYet::Failed(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "The older history is not taken in yet: {error}; it is tried again"
            ),
            NotYet::Another => {}
        }
        tokio::time::sleep(share_of(LEAD_RETRY)).await;
    }
}

/// Why it is not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotYet {
    #[error("another replica leads, and has not taken the history into the index yet")]
    Another,
    #[error(transparent)]
    Failed(#[from] OpenError),
}

impl From<StoreError> for NotYet {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Takes in what is missing, where something is.
pub(super) async fn take_in(shared: &Arc<Shared>) -> Result<(), NotYet> {
    if !*shared.past.is_missing.borrow() {
        return Ok(());
    }
    let begun = std::time::Instant::now();
    shared.repository.complete().await.map_err(OpenError::from)?;
    match shared.store.index_reach().await? {
        None => return Err(NotYet::Another),
        Some((_, None)) => {}
        Some((_, Some(_))) if !shared.replica.leads() => return Err(NotYet::Another),
        Some((_, Some(before))) => index(shared, before).await?,
    }
    // Rows that appear meanwhile belong to releases that are dated by their turn.
    each_newest(&shared.store, |newest| write(&shared.index).date(&newest)).await?;
    shared.past.is_missing.send_replace(false);
    tracing::info!("The older history is taken in, after {} ms", begun.elapsed().as_millis());
    Ok(())
}

/// Adds to the index what was up to the commit that it was begun at.
async fn index(shared: &Arc<Shared>, before: CommitId) -> Result<(), OpenError> {
    let (commits, mut behind) = {
        let (shared, to) = (Arc::clone(shared), before.clone());
        blocking(move || {
            let commits = shared.repository.commits(&to)?;
            let superseded = shared.repository.trailers(&commits, SUPERSEDES)?.into_iter().collect();
            Ok((commits, Behind::without(superseded)))
        })
        .await?
    };
    let parts = commits.len().div_ceil(COMMITS_AT_ONCE);
    for (part, commits) in commits.chunks(COMMITS_AT_ONCE).enumerate() {
        let rows;
        (behind, rows) = rows_of(shared, behind, commits.to_vec()).await?;
        let place = PlaceInPast { is_first: part == 0, is_last: part + 1 == parts };
        if !shared.store.add_past(&before, rows, place).await? {
            // The history was rewritten, and the index is another one.
            break;
        }
    }
    Ok(())
}

/// What some commits did to releases, after those behind them.
async fn rows_of(
    shared: &Arc<Shared>,
    mut behind: Behind,
    commits: Vec<CommitId>,
) -> Result<(Behind, Vec<IndexedCommit>), OpenError> {
    let shared = Arc::clone(shared);
    blocking(move || {
        let author = &shared.settings.author;
        let seen = |entry: LogEntry| {
            let came = merged_as(&shared.repository, author, None, entry)?.into_iter();
            let seen = came.map(|came| seen(&shared.repository, &came, says_ours(&came.entry, author)));
            seen.collect::<Result<Vec<_>, _>>()
        };
        let mut found = Vec::new();
        for commits in commits.chunks(READ_AND_LET_GO) {
            found.extend(shared.repository.each_of(commits, seen)?.into_iter().flatten().flatten());
            shared.repository.let_go();
        }
        // Most releases are still there, and then their keys are in the index already.
        let keep = |key: &ReleaseKey| read(&shared.index).key(key).unwrap_or_else(|| Arc::new(key.clone()));
        let history::Walked { rows, done: _ } = walked_on(&mut behind, found, keep);
        Ok((behind, rows))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, OpenError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| OpenError::Interrupted)??)
}
