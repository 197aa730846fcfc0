//! What a person pushed: a changed `release.yaml` is rendered, a rendered file changed by hand is seen and left alone, an older
//! state put back is taken over.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::adopt::drifted;
use super::apply::{self, Ground, Write};
use super::history::{Came, key_of_directory, text_of};
use super::index::Entry;
use super::restored;
use super::review::proposed_document;
use super::task::Task;
use super::turn::{Owed, Turn};
use crate::event::Guard;
use crate::git::{GitError, LogEntry, Repository};
use crate::names::{CommitId, ReleaseKey, TreeId, readable};
use crate::plan;
use crate::release::{Action, Intent, RELEASE_FILE, Refusal, RefusalKind, Release};
use crate::render;

/// Why a directory without the document cannot be used: what Argo CD applies is still there.
const NO_DOCUMENT: &str = "`release.yaml` is not there; remove the whole directory to retract by hand";

/// What is said of a document that somebody changed, while nothing follows from that.
const NOT_RENDERED: &str = "`release.yaml` was changed by a push and is not rendered yet, because the branch does not take that with everything else; it is asked for by itself";

/// What is said of an older state that somebody put back, while it is not taken over.
const NOT_TAKEN_OVER: &str = "an older state was put back by a push and is not taken over yet, because the branch does not take that with everything else; it is asked for by itself";

/// How much is shown of why a document cannot be used, which may repeat what somebody wrote.
const WHY_CHARS_MAX: usize = 300;

/// How a file begins that stands for one in Git LFS (its `docs/spec.md`).
const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/";

/// Why such a file cannot be used, and what helps.
const IN_LFS: &str = "it is a pointer of Git LFS, and what it points to is not in the repository; take `*.yaml` out of LFS with `git lfs untrack '*.yaml'` and `git add --renormalize .`, and push the file itself";

/// A release that a person changed: on what, and who.
#[derive(Debug, Clone)]
pub(super) struct Touched {
    /// The commit before the first change.
    pub(super) base: CommitId,
    pub(super) by: String,
}

/// A release's directory as a commit has it.
pub(super) struct Directory {
    pub(super) tree: TreeId,
    /// Its document, or why nobody can use it.
    pub(super) document: Result<Release, String>,
}

/// The releases that commits changed, by who changed them last.
#[derive(Debug, Default)]
pub(super) struct Changed {
    theirs: BTreeMap<ReleaseKey, Touched>,
    /// By pushes of the service that nobody saw end.
    ours: BTreeSet<ReleaseKey>,
}

/// Finds the releases that were changed since `from`.
pub(super) fn changed_since(from: &CommitId, came: &[Came], is_ours: impl Fn(&LogEntry) -> bool) -> Changed {
    let mut found = Changed::default();
    let mut before = from.clone();
    for Came { entry, .. } in came {
        let ours = is_ours(entry);
        for key in entry.changed.iter().filter_map(|directory| key_of_directory(directory)) {
            if ours {
                found.theirs.remove(&key);
                found.ours.insert(key);
            } else {
                found.ours.remove(&key);
                let touched =
                    || Touched { base: before.clone(), by: crate::names::line_of_a_person(&entry.author.name) };
                found.theirs.entry(key).or_insert_with(touched);
            }
        }
        before = entry.commit.clone();
    }
    found
}

/// Reads the directories of some releases; those that are not there are left out.
pub(super) fn directories<'k>(
    repository: &Repository,
    at: &CommitId,
    keys: impl IntoIterator<Item = &'k ReleaseKey>,
) -> Result<HashMap<ReleaseKey, Directory>, GitError> {
    let keys: Vec<&ReleaseKey> = keys.into_iter().collect();
    let paths: Vec<String> = keys.iter().map(|key| key.directory()).collect();
    let found = repository.read_each(at, &paths, RELEASE_FILE, |position, tree, read| {
        let text = text_of(read)?.unwrap_or_else(|| Err(NO_DOCUMENT.to_owned()));
        Ok(Directory { tree, document: text.and_then(|text| checked(keys[position], &text)) })
    })?;
    let there = keys.iter().zip(found).filter_map(|(key, directory)| Some(((*key).clone(), directory?)));
    Ok(there.collect())
}

/// Takes the changed releases in.
pub(super) fn take_in(turn: &mut Turn<'_>, changed: &Changed) -> Result<(), GitError> {
    let Changed { theirs: touched, ours } = changed;
    read_anew(turn, ours)?;
    let repository = &turn.shared.repository;
    let mut now = directories(repository, turn.tip(), touched.keys())?;
    let mut bases: HashMap<&CommitId, Vec<&ReleaseKey>> = HashMap::new();
    for (key, touched) in touched {
        bases.entry(&touched.base).or_default().push(key);
    }
    let mut known: HashMap<ReleaseKey, Directory> = HashMap::new();
    for (base, keys) in bases {
        known.extend(directories(repository, base, keys)?);
    }
    for (key, touched) in touched {
        let Some(directory) = now.remove(key) else {
            tracing::info!(release.key = %key, "Release `{key}` was removed by hand by {}", touched.by);
            turn.remove(key);
            continue;
        };
        // Where Git's own is not readable either, the last one that was counts.
        let before = known
            .remove(key)
            .and_then(|directory| directory.document.ok())
            .or_else(|| turn.entry(key).map(|entry| Release::clone(&entry.release)));
        take_in_one(turn, key, directory, before, touched)?;
    }
    Ok(())
}

/// Takes a history that was rewritten as it is: every release that is another one than at a commit before is read anew, as a start reads it.
pub(super) fn accept(turn: &mut Turn<'_>, before: &CommitId) -> Result<(), GitError> {
    let (repository, tip) = (&turn.shared.repository, turn.tip().clone());
    let directory = |path: String| Some(path.rsplit_once('/')?.0.to_owned());
    let changed = repository.changed(before, &tip)?.into_iter().filter_map(directory);
    read_anew(turn, &changed.filter_map(|directory| key_of_directory(&directory)).collect())
}

/// Reads releases as a start does.
fn read_anew(turn: &mut Turn<'_>, keys: &BTreeSet<ReleaseKey>) -> Result<(), GitError> {
    let (repository, tip) = (&turn.shared.repository, turn.tip().clone());
    let mut now = directories(repository, &tip, keys)?;
    for key in keys {
        turn.look_at(key);
        match now.remove(key) {
            None => turn.remove(key),
            Some(Directory { tree, document: Ok(release) }) => {
                let drifted = drifted(repository, &tree, &release)?;
                entry(turn, key, (release, tree), State { drifted, notes: Vec::new(), invalid: None });
            }
            Some(Directory { tree, document: Err(why) }) => {
                let known = turn.entry(key).map(|entry| Release::clone(&entry.release));
                invalid(turn, key, tree, known, why);
            }
        }
    }
    Ok(())
}

/// Takes one changed release in; what fails about it alone makes it invalid.
fn take_in_one(
    turn: &mut Turn<'_>,
    key: &ReleaseKey,
    directory: Directory,
    before: Option<Release>,
    touched: &Touched,
) -> Result<(), GitError> {
    let Directory { tree, document } = directory;
    // Where people merged a proposal with changes of their own, theirs are what differs from it.
    let proposed = match &document {
        Ok(release) => proposed_document(turn.shared, &touched.base, (key, release))?,
        Err(_) => None,
    };
    let before = proposed.or(before);
    let placed = document.and_then(|release| placed(turn, key, release, before.as_ref()));
    let taken = match placed {
        Ok(release) if turn.as_it_lies => note_as_it_lies(turn, key, (release, &tree), before.as_ref(), touched),
        Ok(release) => match restored::take_over(turn, key, release, before.as_ref(), touched) {
            Ok(ControlFlow::Break(())) => Ok(Ok(())),
            Ok(ControlFlow::Continue(release)) => changed(turn, key, (release, &tree), before.as_ref(), touched),
            Err(error) => Err(error),
        },
        Err(why) => Ok(Err(why)),
    };
    let why = match taken {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(error) if error.is_about_the_request() => error.to_string(),
        Err(error) => return Err(error),
    };
    invalid(turn, key, tree, before, why);
    Ok(())
}

/// Refuses a document whose target is another release's, or lies outside the namespace that its path says.
fn placed(
    ground: &dyn Ground,
    key: &ReleaseKey,
    release: Release,
    before: Option<&Release>,
) -> Result<Release, String> {
    let target = &release.spec.target;
    if before.is_some_and(|before| before.spec.target == *target) {
        return Ok(release);
    }
    let environment = ground.shared().environment(&key.environment).map_err(|refusal| refusal.reason)?;
    let expected = plan::target(key, &environment.target).map_err(|refusal| refusal.reason)?;
    if (&target.namespace, &target.cluster) != (&expected.namespace, &expected.cluster) {
        return Err(format!(
            "`spec.target` must stay in the namespace `{}` of the cluster `{}`",
            expected.namespace, expected.cluster
        ));
    }
    match ground.collision(key, target) {
        Some(refusal) => Err(refusal.reason),
        None => Ok(release),
    }
}

/// The refusal of what is not deployed while its directory is there, which is somebody's; nothing where the place is free.
pub(super) fn occupied(ground: &dyn Ground, key: &ReleaseKey) -> Result<Option<Refusal>, GitError> {
    let (repository, tip) = (&ground.shared().repository, ground.tip());
    if repository.tree_id(&tip, &key.directory())?.is_none() {
        return Ok(None);
    }
    let Some(directory) = directories(repository, &tip, [key])?.remove(key) else { return Ok(None) };
    let why = match directory.document.and_then(|release| placed(ground, key, release, None)) {
        Ok(_) => "it was pushed a moment ago and is not taken in yet".to_owned(),
        Err(why) => readable(&why, WHY_CHARS_MAX),
    };
    Ok(Some(Refusal {
        kind: RefusalKind::Drifted,
        reason: format!(
            "release `{key}` is not deployed, and a person's directory that cannot be used is in its place: {why}"
        ),
        cure: Some(
            "correct its `release.yaml` or remove the directory by a push, or write over it with `force=true` (`--force`)".to_owned(),
        ),
        violations: Vec::new(),
    }))
}

/// Reads a document that lies where this release's does, and refuses what the service would not have written.
pub(super) fn checked(key: &ReleaseKey, text: &str) -> Result<Release, String> {
    if text.starts_with(LFS_POINTER) {
        return Err(IN_LFS.to_owned());
    }
    let release = Release::parse(text)?;
    if release.key() != *key {
        return Err(format!("its metadata name the release `{}`", release.key()));
    }
    let found = release.violations();
    if found.is_empty() { Ok(release) } else { Err(Refusal::violations(found).reason) }
}

/// Renders what was changed, or says what stands in the way; the inner error is why the document cannot be used.
fn changed(
    turn: &mut Turn<'_>,
    key: &ReleaseKey,
    (mut release, tree): (Release, &TreeId),
    before: Option<&Release>,
    touched: &Touched,
) -> Result<Result<(), String>, GitError> {
    let mut notes = Vec::new();
    if let Some(before) = before {
        let by_hand = [
            ("rollout", release.rollout != before.rollout),
            ("origin", release.origin != before.origin),
            ("rendered", release.rendered != before.rendered),
        ];
        for (section, _) in by_hand.iter().filter(|(_, differs)| *differs) {
            notes.push(format!("`{section}` was edited by {} and is ignored: the service writes it", touched.by));
        }
        release.rollout = before.rollout.clone();
        release.origin = before.origin.clone();
        release.rendered = before.rendered.clone();
    }
    let mut drifted = drifted(&turn.shared.repository, tree, &release)?;
    if before.is_none() && drifted.len() == release.rendered.files.len() && is_alone(turn, key, &drifted)? {
        // A copy of the document alone: what it says of rendered files is about another directory.
        release.rendered = crate::release::Rendered::default();
        drifted.clear();
    }
    let is_same = before == Some(&release);
    if !drifted.is_empty() || (is_same && notes.is_empty()) {
        tracing::info!(release.key = %key, "Release `{key}` was changed by hand by {}: {}", touched.by, drifted.join(", "));
        entry(turn, key, (release, tree.clone()), State { drifted, notes, invalid: None });
        return Ok(Ok(()));
    }
    if turn.as_it_lies {
        notes.push(NOT_RENDERED.to_owned());
        entry(turn, key, (release, tree.clone()), State { drifted, notes, invalid: None });
        turn.following.owed.insert(key.clone(), Owed { by: touched.by.clone(), guard: Guard::default() });
        return Ok(Ok(()));
    }
    let manifests = match apply::render(turn.shared, &release) {
        Ok(manifests) => manifests,
        Err(refusal) => return Ok(Err(refusal.reason)),
    };
    if release.rendered.files.is_empty() {
        // Nobody rendered it before: what lies there under a rendered file's name is a person's, and is not overwritten.
        let theirs = theirs(turn, key, &manifests)?;
        if !theirs.is_empty() {
            entry(turn, key, (release, tree.clone()), State { drifted: theirs, notes, invalid: None });
            return Ok(Ok(()));
        }
    }
    render::finish(&mut release, &manifests, &turn.shared.settings.templates);
    let files = manifests.files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    let write = Write {
        edits: apply::edits(key, &release, files, before),
        subject: release.clone(),
        after: Some(release.clone()),
        action: Action::Render,
        summary: "render what was changed by hand".to_owned(),
        body: "The files follow `release.yaml`, which was changed by a push.".to_owned(),
        created: false,
        more: None,
    };
    let task = Task { requested_by: Some(touched.by.clone()), ..Task::by_itself(key.clone(), Intent::Rerender) };
    let is_committed = turn.commit(write, &task)?.is_some();
    turn.following.is_committed |= is_committed;
    if (!is_committed || !notes.is_empty())
        && let Some(tree) = turn.shared.repository.tree_id(turn.tip(), &key.directory())?
    {
        entry(turn, key, (release, tree), State { drifted: Vec::new(), notes, invalid: None });
    }
    Ok(Ok(()))
}

/// Takes note of a change whose consequences the branch does not take with everything else. An older state that was put back is to be taken over by itself.
fn note_as_it_lies(
    turn: &mut Turn<'_>,
    key: &ReleaseKey,
    (release, tree): (Release, &TreeId),
    before: Option<&Release>,
    touched: &Touched,
) -> Result<Result<(), String>, GitError> {
    let is_restored = restored::state_of(turn, key, &release, before, touched)?.is_some();
    let taken = changed(turn, key, (release, tree), before, touched)?;
    if is_restored {
        turn.note(key, NOT_TAKEN_OVER.to_owned());
        let guard = Guard { adopt: true, ..Guard::default() };
        turn.following.owed.insert(key.clone(), Owed { by: touched.by.clone(), guard });
    }
    Ok(taken)
}

/// The files that are there under a rendered file's name and say something else.
fn theirs(turn: &Turn<'_>, key: &ReleaseKey, manifests: &render::Manifests) -> Result<Vec<String>, GitError> {
    let mut theirs = Vec::new();
    for (name, text) in &manifests.files {
        let is_other = match turn.read(&format!("{}/{name}", key.directory())) {
            Err(GitError::TooLarge { .. }) => true,
            there => there?.is_some_and(|there| there != text.as_bytes()),
        };
        if is_other {
            theirs.push(name.clone());
        }
    }
    Ok(theirs)
}

/// Whether none of these files is there.
fn is_alone(turn: &Turn<'_>, key: &ReleaseKey, files: &[String]) -> Result<bool, GitError> {
    for name in files {
        match turn.read(&format!("{}/{name}", key.directory())) {
            Ok(None) => {}
            Ok(Some(_)) | Err(GitError::TooLarge { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn invalid(turn: &mut Turn<'_>, key: &ReleaseKey, tree: TreeId, before: Option<Release>, why: String) {
    let why = readable(&why, WHY_CHARS_MAX);
    tracing::warn!(release.key = %key, "The `release.yaml` of `{key}` cannot be used: {why}; its rendered files stay in force");
    // Where nothing is known that it could be shown as, the directory itself is found in the way of what is asked.
    if let Some(release) = before {
        entry(turn, key, (release, tree), State { drifted: Vec::new(), notes: Vec::new(), invalid: Some(why) });
    }
}

struct State {
    drifted: Vec<String>,
    notes: Vec<String>,
    invalid: Option<String>,
}

fn entry(turn: &mut Turn<'_>, key: &ReleaseKey, (release, tree): (Release, TreeId), state: State) {
    let State { drifted, notes, invalid } = state;
    // What others put on top of it is no commit of this release.
    let (commit, changed_at) = turn.last_change(key).unwrap_or_else(|| (turn.tip().clone(), turn.now()));
    turn.set_entry(
        key,
        Entry { release: Arc::new(release), commit, tree, changed_at, is_undated: false, drifted, invalid, notes },
    );
}
