//! A directory that a person put back to an older settled state of the service's: taken over as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::adopt::drifted;
use super::apply::{self, Ground, Write};
use super::foreign::Touched;
use super::history::{Came, says_ours};
use super::review::merged_as;
use super::shared::Shared;
use super::task::Task;
use super::turn::Turn;
use crate::git::{Edit, GitError, LogEntry};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{Action, Intent, Outcome, Phase, RELEASE_FILE, Release};

/// How many commits are looked at for the state: about a second, in which the writer does nothing else.
const COMMITS_MAX: usize = 10_000;

/// A commit that may speak as the service for a release without saying so itself.
pub(super) type Speaker = (ReleaseKey, CommitId);

/// Takes a restored directory over, as a rollback would: its files stay, origin and rollout are new. Continues with the
/// document where it is something else.
pub(super) fn take_over(
    turn: &mut Turn<'_>,
    key: &ReleaseKey,
    pushed: Release,
    before: Option<&Release>,
    touched: &Touched,
) -> Result<ControlFlow<(), Release>, GitError> {
    let Some(older) = state_of(turn, key, &pushed, before, touched)? else {
        return Ok(ControlFlow::Continue(pushed));
    };
    let task = Task { requested_by: Some(touched.by.clone()), ..Task::by_itself(key.clone(), Intent::Rerender) };
    let mut release = pushed;
    release.rollout.rejected = match before {
        Some(before) => before.rollout.rejected.clone(),
        None => apply::retracted(turn, key)?.unwrap_or_default().rejected,
    };
    let serves = release.stable().map(|variant| variant.version.clone());
    release.rollout.rejected.retain(|rejected| Some(&rejected.version) != serves.as_ref());
    release.rollout.outcome = Some(Outcome::RolledBack);
    release.rollout.restores = Some(older.clone());
    release.rollout.since = turn.now();
    release.origin = apply::origin(turn, &task, None, Some(&release.spec.model));
    let mut edits = vec![Edit {
        path: format!("{}/{RELEASE_FILE}", key.directory()),
        content: Some(release.to_yaml().into_bytes()),
    }];
    let note = key.retracted_path();
    if !matches!(turn.read(&note), Ok(None)) {
        edits.push(Edit { path: note, content: None });
    }
    let version = serves.map_or_else(|| "?".to_owned(), |version| version.to_string());
    let write = Write {
        edits,
        subject: release.clone(),
        after: Some(release),
        action: Action::Adopt,
        summary: format!("take over version {version}, restored by hand"),
        body: format!("The files are those of {older}."),
        created: before.is_none(),
        more: None,
    };
    turn.following.is_committed |= turn.commit(write, &task)?.is_some();
    Ok(ControlFlow::Break(()))
}

/// The commit of the service's that wrote exactly what lies there, where it is a settled state and not the last one.
pub(super) fn state_of(
    turn: &mut Turn<'_>,
    key: &ReleaseKey,
    pushed: &Release,
    before: Option<&Release>,
    touched: &Touched,
) -> Result<Option<CommitId>, GitError> {
    let is_other = before.is_none_or(|before| before.rendered != pushed.rendered);
    if !is_other || pushed.rollout.phase != Phase::Settled || pushed.rendered.files.is_empty() {
        return Ok(None);
    }
    let repository = &turn.shared.repository;
    let tip = turn.tip().clone();
    let directory = key.directory();
    let Some(tree) = repository.tree_id(&tip, &directory)? else { return Ok(None) };
    // Cheap, and wrong for nearly everything that people push but this.
    if !drifted(repository, &tree, pushed)?.is_empty() {
        return Ok(None);
    }
    match repository.origin_of(&touched.base, &directory, &tree, COMMITS_MAX)? {
        Some(found) => spoken_by(turn, key, found),
        None => Ok(None),
    }
}

/// The commit of the service's that speaks for what a commit did to a release: itself, what it merged, or itself as the proposal whose files it has.
///
/// A squash has nothing of the proposal but its files, and the proposal's branch is gone: who reads Git alone takes it for a person's.
fn spoken_by(turn: &mut Turn<'_>, key: &ReleaseKey, found: LogEntry) -> Result<Option<CommitId>, GitError> {
    let (author, directory) = (&turn.shared.settings.author, key.directory());
    let speaker = (key.clone(), found.commit.clone());
    let is_ours = |came: &Came| says_ours(&came.entry, author) && came.entry.changed.contains(&directory);
    let came = merged_as(&turn.shared.repository, author, None, found)?;
    if let Some(came) = came.into_iter().find(is_ours) {
        return Ok(Some(came.change));
    }
    Ok(match turn.speakers.get(&speaker) {
        Some(is_ours) => is_ours.then_some(speaker.1),
        None => {
            turn.following.unknown.insert(speaker);
            None
        }
    })
}

/// Looks up in the index of the history which commits speak as the service.
pub(super) async fn look_up(shared: &Shared, unknown: &BTreeSet<Speaker>) -> BTreeMap<Speaker, bool> {
    let mut found = BTreeMap::new();
    for speaker in unknown {
        let (key, commit) = speaker;
        let row = shared.store.indexed_commit(key, commit).await.unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                release.key = %key,
                "Whether the files of `{key}` are those of an older state is not known: {error}; push them again, or ask with `--adopt`"
            );
            None
        });
        found.insert(speaker.clone(), row.is_some_and(|row| !row.release_id.is_empty()));
    }
    found
}
