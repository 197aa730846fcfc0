//! One change of one release: plan, render, the files of a commit. Touches nothing; the turn and the dry run do with it what is theirs.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;

use super::EnvironmentSettings;
use super::adopt::drifted;
use super::foreign::{checked, occupied};
use super::index::Entry;
use super::observe::{observed, occupant};
use super::registry::{default_images, with_tags};
use super::shared::{PolicySet, Shared, not_deployed};
use super::task::Task;
use crate::git::{Edit, GitError};
use crate::names::{CommitId, ModelName, PredictorName, ReleaseKey};
use crate::plan::{self, ServingRules, Situation};
use crate::policy;
use crate::registry::RegistryState;
use crate::release::{
    Action, Change, Files, Intent, Observed, Origin, RELEASE_FILE, Refusal, RefusalKind, RegistryView, Release,
    ReleasePlan, Restorable, Retracted, Serving, Target,
};
use crate::render;

/// What is known when a change is worked out; `tip` is the commit that is built on.
pub(super) trait Ground {
    fn shared(&self) -> &Shared;
    fn entry(&self, key: &ReleaseKey) -> Option<Entry>;
    fn registry_of(&self, model: &ModelName) -> Option<Arc<RegistryState>>;
    fn tip(&self) -> CommitId;
    fn now(&self) -> Timestamp;
    fn collision(&self, key: &ReleaseKey, target: &Target) -> Option<Refusal>;
    fn policies(&self) -> Arc<PolicySet>;

    /// What is known of the cluster about a release.
    fn observed(&self, release: (&ReleaseKey, Option<&Entry>), environment: &EnvironmentSettings) -> Observed {
        observed(self.shared(), release, environment, self.now())
    }

    /// Takes the manifests that were rendered ahead for a release, where they are for this very document.
    fn rendered_ahead(&self, _release: &Release) -> Option<render::Manifests> {
        None
    }

    /// Reads a file of the commit that is built on.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        self.shared().repository.read(&self.tip(), path)
    }
}

/// Why something did not come about: a person must act, or the repository fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum Hindrance {
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Failed(#[from] GitError),
}

impl From<Refusal> for Hindrance {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a task comes to.
#[derive(Debug)]
pub(super) enum Proposal {
    Write(Box<Write>),
    Nothing(String),
    Wait(String),
    Refused(Refusal),
}

/// One commit.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) edits: Vec<Edit>,
    /// The release from then on; none after a retraction.
    pub(super) after: Option<Release>,
    /// The release that the commit is about, for its message.
    pub(super) subject: Release,
    pub(super) action: Action,
    pub(super) summary: String,
    pub(super) body: String,
    pub(super) created: bool,
    /// What is still to be done for the same intent, where something is.
    pub(super) more: Option<String>,
}

/// Works out the next commit of a task.
pub(super) fn propose(ground: &dyn Ground, task: &Task) -> Result<Proposal, GitError> {
    let entry = ground.entry(&task.key);
    if let Some(refusal) = forbidden(ground, task, entry.as_ref())? {
        return Ok(Proposal::Refused(refusal));
    }
    let situation = match situation(ground, task, entry.as_ref()) {
        Ok(situation) => situation,
        Err(Hindrance::Refused(refusal)) => return Ok(Proposal::Refused(refusal)),
        Err(Hindrance::Failed(error)) => return Err(error),
    };
    let force =
        task.guard.force && entry.as_ref().is_some_and(|entry| !entry.drifted.is_empty() || entry.invalid.is_some());
    match plan::plan(&task.intent, &situation) {
        ReleasePlan::Create(change) => match ground.collision(&task.key, &change.release.spec.target) {
            Some(refusal) => Ok(Proposal::Refused(refusal)),
            None => write(ground, *change, None, situation.retracted.is_some().then(|| task.key.retracted_path())),
        },
        ReleasePlan::Update(change) => write(ground, *change, entry.as_ref(), None),
        ReleasePlan::Delete(retracted) => Ok(entry
            .map_or_else(|| Proposal::Nothing("it is not deployed".to_owned()), |entry| delete(&entry, &retracted))),
        ReleasePlan::Nothing(_) if force => match plan::plan(&Intent::Rerender, &situation) {
            ReleasePlan::Update(change) => write(ground, *change, entry.as_ref(), None),
            _ => Ok(Proposal::Nothing("it is already so".to_owned())),
        },
        ReleasePlan::Nothing(reason) => Ok(Proposal::Nothing(reason)),
        ReleasePlan::Wait(reason) => Ok(Proposal::Wait(reason)),
        ReleasePlan::Refused(refusal) => Ok(Proposal::Refused(refusal)),
    }
}

/// The document that a task most likely leads to, where it is carried out on what is deployed now.
pub(super) fn guess(ground: &dyn Ground, task: &Task) -> Option<Release> {
    let entry = ground.entry(&task.key);
    let situation = situation(ground, task, entry.as_ref()).ok()?;
    match plan::plan(&task.intent, &situation) {
        ReleasePlan::Create(change) | ReleasePlan::Update(change) if change.files == Files::Render => {
            Some(change.release)
        }
        _ => None,
    }
}

/// What a task may not do whatever the plan would say.
fn forbidden(ground: &dyn Ground, task: &Task, entry: Option<&Entry>) -> Result<Option<Refusal>, GitError> {
    if let Err(refusal) = ground.shared().environment(&task.key.environment) {
        return Ok(Some(refusal));
    }
    if entry.is_none()
        && !task.guard.force
        && let Some(refusal) = occupied(ground, &task.key)?
    {
        return Ok(Some(refusal));
    }
    if entry.is_none() && !matches!(task.intent, Intent::Put(_) | Intent::Retract) {
        return Ok(Some(not_deployed(&task.key)));
    }
    if let Some(wanted) = &task.guard.if_match
        && entry.map(|entry| &entry.tree) != Some(wanted)
    {
        return Ok(Some(Refusal {
            kind: RefusalKind::Precondition,
            reason: format!("release `{}` is not what `If-Match` names any more", task.key),
            cure: Some("read it again and send the new `ETag`".to_owned()),
            violations: Vec::new(),
        }));
    }
    if task.guard.if_absent && entry.is_some() {
        return Ok(Some(Refusal {
            kind: RefusalKind::Precondition,
            reason: format!("release `{}` is there, and `If-None-Match: *` asks that it be not", task.key),
            cure: Some("leave the header out, or choose another name".to_owned()),
            violations: Vec::new(),
        }));
    }
    let Some(entry) = entry.filter(|_| !task.guard.force) else { return Ok(None) };
    let (what, cure) = match (&entry.invalid, entry.drifted.as_slice()) {
        (Some(why), _) => (
            format!("the `release.yaml` in the repository cannot be used: {why}"),
            "correct it by a push, or write over it with `force=true` (`--force`)",
        ),
        (None, []) => return Ok(None),
        (None, files) => (
            format!("changed by hand: {}", files.join(", ")),
            "take the change over with `adopt=true` (`--adopt`), or render over it with `force=true` (`--force`)",
        ),
    };
    Ok(Some(Refusal { kind: RefusalKind::Drifted, reason: what, cure: Some(cure.to_owned()), violations: Vec::new() }))
}

/// Puts together what the plan is made from.
pub(super) fn situation(ground: &dyn Ground, task: &Task, entry: Option<&Entry>) -> Result<Situation, Hindrance> {
    let shared = ground.shared();
    let environment = shared.environment(&task.key.environment)?;
    let target = match entry {
        Some(entry) => entry.release.spec.target.clone(),
        None => plan::target(&task.key, &environment.target)?,
    };
    let policies = ground.policies();
    let wanted = if let Intent::Put(wanted) = &task.intent { Some(wanted.as_ref()) } else { None };
    let model = wanted.map(|wanted| &wanted.model).or_else(|| entry.map(|entry| &entry.release.spec.model));
    let defaults =
        model.and_then(|model| policies.policies.select(model)).map(|selection| selection.policy.spec.defaults.clone());
    let default_images = default_images(wanted, defaults.as_ref())?;
    let findings = with_tags(ground, wanted, &task.findings);
    let restores = match &task.intent {
        Intent::Rollback { to } => Some(to.clone()),
        _ => entry.and_then(|entry| entry.release.rollout.restores.clone()),
    };
    let restorable = match restores {
        Some(commit) => restorable(shared, &task.key, &commit)?,
        None => None,
    };
    if let Some(refusal) = left_the_branch(shared, task, entry)? {
        return Err(refusal.into());
    }
    let retracted = if entry.is_none() && wanted.is_some() { retracted(ground, &task.key)? } else { None };
    let may_take_over = task.guard.adopt || task.guard.force || entry.is_some();
    let occupant = if may_take_over { None } else { occupant(shared, &task.key, &target) };
    let base = defaults.and_then(|defaults| defaults.serving).unwrap_or_default();
    Ok(Situation {
        key: task.key.clone(),
        deployed: entry.map(Entry::deployed),
        restorable,
        retracted,
        observed: ground.observed((&task.key, entry), environment),
        occupant,
        target,
        serving: Serving::over(&base, &shared.settings.serving),
        default_images,
        findings,
        rules: ServingRules {
            runtimes: shared.settings.runtimes.clone(),
            artifacts_destination: shared.settings.registry.as_ref().and_then(|r| r.artifacts_destination.clone()),
            require_digest: environment.require_digest,
        },
        origin: origin(ground, task, entry, model),
        requested_by: task.requested_by.clone(),
        now: ground.now(),
    })
}

/// The refusal of a rollback to a state that the branch does not have any more: what it goes to was settled on when it was asked for, and the history may have
/// been rewritten since. One that was begun goes on.
fn left_the_branch(shared: &Shared, task: &Task, entry: Option<&Entry>) -> Result<Option<Refusal>, GitError> {
    let (Intent::Rollback { to }, repository) = (&task.intent, &shared.repository) else { return Ok(None) };
    let is_begun = entry.is_some_and(|entry| entry.release.rollout.restores.as_ref() == Some(to));
    if is_begun || repository.address().is_none() {
        return Ok(None);
    }
    match repository.is_ancestor(to, &repository.tip()?) {
        Ok(false) => Ok(Some(Refusal::conflict(
            format!(
                "the history of the branch was rewritten, and commit {to}, which this rollback goes to, is not in it any more"
            ),
            "`kmlflow history NAME` shows the states that are; ask for the rollback again",
        ))),
        // One that is not here at all is no state of the release.
        Ok(true) | Err(GitError::UnknownCommit(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why the release will be as it will be: the task's own reason; a person's stands until the registry says something new.
pub(super) fn origin(ground: &dyn Ground, task: &Task, entry: Option<&Entry>, model: Option<&ModelName>) -> Origin {
    match &task.origin {
        Some(origin) => origin.clone(),
        None if task.requested_by.is_some() => Origin {
            policy: None,
            registry: model.and_then(|model| view(ground, model)),
            requested_by: task.requested_by.clone(),
        },
        None => entry.map(|entry| entry.release.origin.clone()).unwrap_or_default(),
    }
}

/// What the policy of a model reads in the registry at present.
fn view(ground: &dyn Ground, model: &ModelName) -> Option<RegistryView> {
    let policies = ground.policies();
    let selection = policies.policies.select(model)?;
    let state = ground.registry_of(model)?;
    Some(policy::desired(&state, selection.policy).view)
}

/// Reads the state of a commit that a rollback may go to: its files are those that its document says were rendered.
pub(super) fn restorable(shared: &Shared, key: &ReleaseKey, commit: &CommitId) -> Result<Option<Restorable>, GitError> {
    let repository = &shared.repository;
    let Some(tree) = if_known(repository.tree_id(commit, &key.directory()))? else { return Ok(None) };
    let text = if_known(repository.read_in(&tree, RELEASE_FILE))?;
    let Some(release) = text.and_then(|text| checked(key, &String::from_utf8_lossy(&text)).ok()) else {
        return Ok(None);
    };
    let is_whole = drifted(repository, &tree, &release)?.is_empty();
    Ok(is_whole.then(|| Restorable { commit: commit.clone(), release }))
}

/// Nothing where what was asked for is not there, or cannot be taken.
fn if_known<T>(read: Result<Option<T>, GitError>) -> Result<Option<T>, GitError> {
    match read {
        Err(error) if error.is_about_the_request() => Ok(None),
        read => read,
    }
}

/// Reads what a retraction left; a file that does not parse counts as none, because it only holds things back.
pub(super) fn retracted(ground: &dyn Ground, key: &ReleaseKey) -> Result<Option<Retracted>, GitError> {
    let text = match ground.read(&key.retracted_path()) {
        Err(GitError::TooLarge { .. }) => None,
        other => other?,
    };
    Ok(text.map(|text| serde_yaml::from_slice(&text).unwrap_or_default()))
}

fn write(
    ground: &dyn Ground,
    change: Change,
    before: Option<&Entry>,
    retracted_path: Option<String>,
) -> Result<Proposal, GitError> {
    let Change { mut release, action, summary, body, files, more } = change;
    let subject = release.clone();
    let key = release.key();
    let files = match files {
        Files::Render => {
            let manifests = match ground.rendered_ahead(&release).map_or_else(|| render(ground.shared(), &release), Ok)
            {
                Ok(manifests) => manifests,
                Err(refusal) => return Ok(Proposal::Refused(refusal)),
            };
            if let Some(refusal) =
                before.and_then(|before| restarts(&before.release, &release, &manifests.pods, action))
            {
                return Ok(Proposal::Refused(refusal));
            }
            render::finish(&mut release, &manifests, &ground.shared().settings.templates);
            manifests.files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()
        }
        Files::Restore(commit) => match restored(ground.shared(), &key, &commit, &mut release)? {
            Some(files) => files,
            None => {
                return Ok(Proposal::Refused(Refusal::conflict(
                    format!("the files of commit {commit} are gone"),
                    "`kmlflow history NAME` shows the states",
                )));
            }
        },
    };
    let mut edits = edits(&key, &release, files, before.map(|before| before.release.as_ref()));
    edits.extend(retracted_path.map(|path| Edit { path, content: None }));
    Ok(Proposal::Write(Box::new(Write {
        edits,
        after: Some(release),
        subject,
        action,
        summary,
        body,
        created: before.is_none(),
        more,
    })))
}

/// Renders, and counts how long that takes.
pub(super) fn render(shared: &Shared, release: &Release) -> Result<render::Manifests, Refusal> {
    let begin = std::time::Instant::now();
    let manifests = render::render(release, &shared.settings.templates).map_err(|error| error.refusal());
    shared.metrics.rendered(begin.elapsed());
    manifests
}

/// File names in a release's directory, and the files' contents.
type NamedFiles = Vec<(String, Vec<u8>)>;

/// The files of an older commit, byte for byte; `release` gets the digests that belong to them.
fn restored(
    shared: &Shared,
    key: &ReleaseKey,
    commit: &CommitId,
    release: &mut Release,
) -> Result<Option<NamedFiles>, GitError> {
    let Some(older) = restorable(shared, key, commit)? else { return Ok(None) };
    release.rendered = older.release.rendered;
    let mut files = Vec::new();
    for name in release.rendered.files.keys() {
        match shared.repository.read(commit, &format!("{}/{name}", key.directory()))? {
            Some(bytes) => files.push((name.clone(), bytes)),
            None => return Ok(None),
        }
    }
    Ok(Some(files))
}

/// The document, its files, and the removal of those that are no longer rendered.
pub(super) fn edits(key: &ReleaseKey, release: &Release, files: NamedFiles, before: Option<&Release>) -> Vec<Edit> {
    let directory = key.directory();
    let at = |name: &str| format!("{directory}/{name}");
    let kept: HashSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let gone = before.into_iter().flat_map(|before| before.rendered.files.keys()).filter(|name| !kept.contains(*name));
    let gone: Vec<Edit> = gone.map(|name| Edit { path: at(name), content: None }).collect();
    let document = Edit { path: at(RELEASE_FILE), content: Some(release.to_yaml().into_bytes()) };
    let files = files.into_iter().map(|(name, bytes)| Edit { path: at(&name), content: Some(bytes) });
    std::iter::once(document).chain(files).chain(gone).collect()
}

/// Why the change must not be: newer templates would restart the pods of a predictor that only stays.
fn restarts(
    before: &Release,
    after: &Release,
    pods: &IndexMap<PredictorName, crate::names::Digest>,
    action: Action,
) -> Option<Refusal> {
    let may_restart = matches!(
        action,
        Action::Create
            | Action::Update
            | Action::Render
            | Action::Adopt
            | Action::Rollback
            | Action::Abort
            | Action::Retract
    );
    if may_restart {
        return None;
    }
    let restarted =
        before.rendered.pods.iter().find(|(predictor, digest)| pods.get(*predictor).is_some_and(|new| new != *digest));
    let (predictor, _) = restarted?;
    let Release { metadata, .. } = after;
    Some(Refusal {
        kind: RefusalKind::TemplatesChanged,
        reason: format!("the templates have changed, and {predictor}, which stays, would be restarted"),
        cure: Some(format!(
            "`kmlflow rerender {} -n {} -e {}` brings the release up to date and says who restarts",
            metadata.name, metadata.namespace, metadata.environment
        )),
        violations: Vec::new(),
    })
}

fn delete(entry: &Entry, retracted: &Retracted) -> Proposal {
    let release = entry.release.as_ref();
    let key = release.key();
    let left = crate::release::to_yaml(retracted).unwrap_or_default();
    let edits = vec![
        Edit { path: key.directory(), content: None },
        Edit { path: key.retracted_path(), content: Some(left.into_bytes()) },
    ];
    let version = release.stable().map_or_else(String::new, |variant| format!(" (version {})", variant.version));
    Proposal::Write(Box::new(Write {
        edits,
        after: None,
        subject: release.clone(),
        action: Action::Retract,
        summary: format!("retract{version}"),
        body: format!("{} is no longer served here.", release.spec.model),
        created: false,
        more: None,
    }))
}
