//! What a person pushed: a changed `release.yaml` is rendered, a rendered file changed by hand is seen and left alone, an older
//! state put back is taken over.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::adopt::drifted;
use super::apply::{self, Ground, Task, Write};
use super::history::{is_ours, key_of, text_of};
use super::index::Entry;
use super::restored;
use super::shared::Shared;
use super::turn::Turn;
use crate::git::{GitError, LogEntry};
use crate::names::{CommitId, ReleaseKey};
use crate::plan;
use crate::release::{Action, Intent, RELEASE_FILE, Refusal, Release};
use crate::render;

/// Why a directory without the document cannot be used: what Argo CD applies is still there.
pub(super) const NO_DOCUMENT: &str = "`release.yaml` is not there; remove the whole directory to retract by hand";

/// A release that a person changed: on what, and who.
#[derive(Debug, Clone)]
pub(super) struct Touched {
    /// The commit before the first change.
    pub(super) base: CommitId,
    pub(super) by: String,
}

/// Finds the releases that commits of others changed since `from`, but for those that the service took in afterwards.
pub(super) fn touched(shared: &Shared, from: &CommitId, entries: &[LogEntry]) -> HashMap<ReleaseKey, Touched> {
    let mut found: HashMap<ReleaseKey, Touched> = HashMap::new();
    let mut before = from.clone();
    for entry in entries {
        let ours = is_ours(entry, &shared.settings.author);
        for key in entry.changed.iter().filter_map(|directory| key_of(directory)) {
            if ours {
                found.remove(&key);
            } else {
                found
                    .entry(key)
                    .or_insert_with(|| Touched { base: before.clone(), by: crate::names::shown(&entry.author.name) });
            }
        }
        before = entry.commit.clone();
    }
    found
}

/// Takes one changed release in.
pub(super) fn take_in(turn: &mut Turn<'_>, key: &ReleaseKey, touched: &Touched) -> Result<(), GitError> {
    let tip = turn.tip().clone();
    if turn.shared.repository.tree_id(&tip, &key.directory())?.is_none() {
        tracing::info!(release.key = %key, "Release `{key}` was removed by hand by {}", touched.by);
        turn.remove(key);
        return Ok(());
    }
    let text = text_of(turn.read(&format!("{}/{RELEASE_FILE}", key.directory())))?;
    let text = text.unwrap_or_else(|| Err(NO_DOCUMENT.to_owned()));
    // Where Git's own is not readable either, the last one that was counts.
    let before = known_before(turn.shared, key, touched)?
        .or_else(|| turn.entry(key).map(|entry| Release::clone(&entry.release)));
    let checked =
        text.and_then(|text| checked(key, &text)).and_then(|release| placed(turn, key, release, before.as_ref()));
    match checked {
        Ok(release) => match restored::take_over(turn, key, release, before.as_ref(), touched)? {
            ControlFlow::Break(()) => Ok(()),
            ControlFlow::Continue(release) => changed(turn, key, release, before, touched),
        },
        Err(why) => invalid(turn, key, before, why),
    }
}

/// Refuses a document whose target is another release's, or lies outside the namespace that its path says.
fn placed(turn: &Turn<'_>, key: &ReleaseKey, release: Release, before: Option<&Release>) -> Result<Release, String> {
    let target = &release.spec.target;
    if before.is_some_and(|before| before.spec.target == *target) {
        return Ok(release);
    }
    let environment = turn.shared.environment(&key.environment).map_err(|refusal| refusal.reason)?;
    let expected = plan::target(key, &environment.target).map_err(|refusal| refusal.reason)?;
    if (&target.namespace, &target.cluster) != (&expected.namespace, &expected.cluster) {
        return Err(format!(
            "`spec.target` must stay in the namespace `{}` of the cluster `{}`",
            expected.namespace, expected.cluster
        ));
    }
    match turn.collision(key, target) {
        Some(refusal) => Err(refusal.reason),
        None => Ok(release),
    }
}

/// The document before the person's change, as Git had it.
fn known_before(shared: &Shared, key: &ReleaseKey, touched: &Touched) -> Result<Option<Release>, GitError> {
    Ok(apply::restorable(shared, key, &touched.base)?.map(|found| found.release))
}

/// Reads a document that lies where this release's does, and refuses what the service would not have written.
pub(super) fn checked(key: &ReleaseKey, text: &str) -> Result<Release, String> {
    let release = Release::parse(text)?;
    if release.key() != *key {
        return Err(format!("its metadata name the release `{}`", release.key()));
    }
    let found = release.violations();
    if found.is_empty() { Ok(release) } else { Err(Refusal::violations(found).reason) }
}

fn changed(
    turn: &mut Turn<'_>,
    key: &ReleaseKey,
    mut release: Release,
    before: Option<Release>,
    touched: &Touched,
) -> Result<(), GitError> {
    let mut notes = Vec::new();
    let mut is_overridden = false;
    if let Some(before) = &before {
        let by_hand = [
            ("rollout", release.rollout != before.rollout),
            ("origin", release.origin != before.origin),
            ("rendered", release.rendered != before.rendered),
        ];
        for (section, _) in by_hand.iter().filter(|(_, differs)| *differs) {
            notes.push(format!("`{section}` was edited by {} and is ignored: the service writes it", touched.by));
            is_overridden = true;
        }
        release.rollout = before.rollout.clone();
        release.origin = before.origin.clone();
        release.rendered = before.rendered.clone();
    }
    let tip = turn.tip().clone();
    let mut drifted = drifted(&turn.shared.repository, &tip, key, &release)?;
    if before.is_none() && drifted.len() == release.rendered.files.len() && is_alone(turn, key, &drifted)? {
        // A copy of the document alone: what it says of rendered files is about another directory.
        release.rendered = crate::release::Rendered::default();
        drifted.clear();
    }
    let is_same = before.as_ref() == Some(&release);
    if !drifted.is_empty() || (is_same && !is_overridden) {
        tracing::info!(release.key = %key, "Release `{key}` was changed by hand by {}: {}", touched.by, drifted.join(", "));
        return entry(turn, key, release, State { drifted, notes, invalid: None });
    }
    let manifests = match apply::render(turn.shared, &release) {
        Ok(manifests) => manifests,
        Err(refusal) => return invalid(turn, key, before, refusal.reason),
    };
    if release.rendered.files.is_empty() {
        // Nobody rendered it before: what lies there under a rendered file's name is a person's, and is not overwritten.
        let mut theirs = Vec::new();
        for (name, text) in &manifests.files {
            let there = turn.read(&format!("{}/{name}", key.directory()))?;
            if there.is_some_and(|there| there != text.as_bytes()) {
                theirs.push(name.clone());
            }
        }
        if !theirs.is_empty() {
            return entry(turn, key, release, State { drifted: theirs, notes, invalid: None });
        }
    }
    render::finish(&mut release, &manifests, &turn.shared.settings.templates);
    let files = manifests.files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    let write = Write {
        edits: apply::edits(key, &release, files, before.as_ref()),
        subject: release.clone(),
        after: Some(release.clone()),
        action: Action::Render,
        summary: "render what was changed by hand".to_owned(),
        body: "The files follow `release.yaml`, which was changed by a push.".to_owned(),
        created: false,
        more: None,
    };
    let task = Task { requested_by: Some(touched.by.clone()), ..Task::by_itself(key.clone(), Intent::Rerender) };
    if turn.commit(write, &task)?.is_none() || !notes.is_empty() {
        return entry(turn, key, release, State { drifted: Vec::new(), notes, invalid: None });
    }
    Ok(())
}

/// Whether none of these files is there.
fn is_alone(turn: &Turn<'_>, key: &ReleaseKey, files: &[String]) -> Result<bool, GitError> {
    for name in files {
        if turn.read(&format!("{}/{name}", key.directory()))?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn invalid(turn: &mut Turn<'_>, key: &ReleaseKey, before: Option<Release>, why: String) -> Result<(), GitError> {
    let why = crate::names::shown(&why);
    tracing::warn!(release.key = %key, "The `release.yaml` of `{key}` cannot be used: {why}; its rendered files stay in force");
    match before {
        Some(release) => {
            entry(turn, key, release, State { drifted: Vec::new(), notes: Vec::new(), invalid: Some(why) })
        }
        // Nothing is known that it could be shown as; the log says it.
        None => Ok(()),
    }
}

struct State {
    drifted: Vec<String>,
    notes: Vec<String>,
    invalid: Option<String>,
}

fn entry(turn: &mut Turn<'_>, key: &ReleaseKey, release: Release, state: State) -> Result<(), GitError> {
    let State { drifted, notes, invalid } = state;
    let commit = turn.tip().clone();
    let Some(tree) = turn.shared.repository.tree_id(&commit, &key.directory())? else { return Ok(()) };
    let changed_at = turn.now();
    turn.set_entry(key, Entry { release: Arc::new(release), commit, tree, changed_at, drifted, invalid, notes });
    Ok(())
}
