//! A directory that a person put back to an older settled state of the service's: taken over as it is.

use std::ops::ControlFlow;

use super::adopt::drifted;
use super::apply::{self, Ground, Write};
use super::foreign::Touched;
use super::history::says_ours;
use super::task::Task;
use super::turn::Turn;
use crate::git::{Edit, GitError};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{Action, Intent, Outcome, Phase, RELEASE_FILE, Release};

/// How many commits are looked at for the state: about a second, in which the writer does nothing else.
const COMMITS_MAX: usize = 10_000;

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
fn state_of(
    turn: &Turn<'_>,
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
    let found = repository.origin_of(&touched.base, &directory, &tree, COMMITS_MAX)?;
    Ok(found.filter(|entry| says_ours(entry, &turn.shared.settings.author)).map(|entry| entry.commit))
}
