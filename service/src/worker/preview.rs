//! What would become of a request or of a registry state; touches nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;
use similar::TextDiff;

use super::apply::{Ground, Proposal, Write, propose};
use super::deliveries::asked_version;
use super::index::Entry;
use super::observe::observed;
use super::shared::{PolicySet, Shared, git_fault, read};
use super::task::Task;
use super::{EnvironmentSettings, Fault, PolicyVerdict, Preview, SecondView, SignatureBreak, SignatureDiff};
use crate::event::{RegistryChange, RegistryFact, Requested};
use crate::git::{Edit, GitError, Repository};
use crate::names::{AliasName, CommitId, ModelName, ReleaseKey, Version};
use crate::plan::Findings;
use crate::policy::{self, Desired};
use crate::registry::RegistryState;
use crate::release::{Observed, Period, Refusal, Target};
use crate::servable::{Break, SHOWN_MAX, SignatureChange};

/// What is deployed now, as the readers see it.
#[derive(Clone)]
pub(super) struct Now<'a> {
    pub(super) shared: &'a Shared,
    pub(super) tip: CommitId,
    pub(super) now: Timestamp,
    /// Whether what Git holds counts as applied and ready, to see what follows the wait for that.
    pub(super) is_live: bool,
    /// What counts as known of one model, where that is not what the readers see.
    pub(super) known: Option<Arc<RegistryState>>,
}

impl Ground for Now<'_> {
    fn shared(&self) -> &Shared {
        self.shared
    }

    fn entry(&self, key: &ReleaseKey) -> Option<Entry> {
        self.shared.entry(key)
    }

    fn registry_of(&self, model: &ModelName) -> Option<Arc<RegistryState>> {
        let known = self.known.as_ref().filter(|known| known.model == *model);
        known.cloned().or_else(|| self.shared.registry_of(model))
    }

    fn tip(&self) -> CommitId {
        self.tip.clone()
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn observed(&self, release: (&ReleaseKey, Option<&Entry>), environment: &EnvironmentSettings) -> Observed {
        match self.is_live {
            true => Observed::Blind { delay: Period::ZERO },
            false => observed(self.shared, release, environment, self.now),
        }
    }

    fn collision(&self, key: &ReleaseKey, target: &Target) -> Option<Refusal> {
        read(&self.shared.index).collision(key, target, &HashSet::new())
    }

    fn policies(&self) -> Arc<PolicySet> {
        self.shared.policy_set()
    }
}

/// Says what a request would do.
pub(super) fn preview(shared: &Shared, requested: &Requested, findings: Arc<Findings>) -> Result<Preview, Fault> {
    let Requested { key, intent, guard, requested_by } = requested.clone();
    let tip = shared.repository.tip().map_err(git_fault)?;
    let ground = Now { shared, tip, now: shared.clock.now(), is_live: false, known: None };
    let who = requested_by.or_else(|| Some("somebody".to_owned()));
    let task = Task { guard, requested_by: who, findings, ..Task::by_itself(key, intent) };
    let (proposal, waits_for) = match propose(&ground, &task).map_err(git_fault)? {
        Proposal::Wait(reason) => {
            (propose(&Now { is_live: true, ..ground.clone() }, &task).map_err(git_fault)?, Some(reason))
        }
        other => (other, None),
    };
    let preview = match proposal {
        Proposal::Write(write) => shown(&ground, &task.key, *write).map_err(git_fault)?,
        Proposal::Nothing(summary) => empty(false, summary),
        Proposal::Wait(reason) => empty(true, format!("what it changes can be told after the wait: {reason}")),
        Proposal::Refused(refusal) => return Err(refusal.into()),
    };
    Ok(Preview { waits_for, signature: signature(&ground, &task), ..preview })
}

fn empty(changed: bool, summary: String) -> Preview {
    let (manifests, diff) = (IndexMap::new(), String::new());
    Preview { changed, action: None, waits_for: None, summary, manifests, diff, signature: None }
}

/// How the signature of the version that a request is about differs from that of the one that serves.
fn signature(ground: &Now<'_>, task: &Task) -> Option<SignatureDiff> {
    let release = ground.entry(&task.key)?.release;
    let change = task.findings.signature_change(&release.stable()?.version, asked_version(&task.intent)?)?;
    let SignatureChange { lines, breaks, warning } = change;
    let more_breaks = breaks.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0);
    let breaks = breaks.into_iter().take(SHOWN_MAX).map(|Break { input, fault }| SignatureBreak { input, fault });
    let (breaks, warning) = (breaks.collect(), warning.map(str::to_owned));
    (warning.is_some() || !lines.is_empty()).then_some(SignatureDiff { lines, breaks, more_breaks, warning })
}

fn shown(ground: &Now<'_>, key: &ReleaseKey, write: Write) -> Result<Preview, GitError> {
    let Write { edits, after: _, subject: _, action, summary, body: _, created: _, more: _ } = write;
    let directory = format!("{}/", key.directory());
    let diff = diff(&ground.shared.repository, &ground.tip, &edits)?;
    let mut manifests = IndexMap::new();
    for Edit { path, content } in edits {
        if let (Some(name), Some(bytes)) = (path.strip_prefix(&directory), content) {
            manifests.insert(name.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(Preview { changed: true, action: Some(action), waits_for: None, summary, manifests, diff, signature: None })
}

/// A unified diff of what edits change in the files of a commit.
pub(super) fn diff(repository: &Repository, tip: &CommitId, edits: &[Edit]) -> Result<String, GitError> {
    let mut diff = String::new();
    for Edit { path, content } in edits {
        let after = content.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
        for (path, before) in before(repository, tip, path)? {
            diff.push_str(&unified(&path, before.as_deref(), after.as_deref()));
        }
    }
    Ok(diff)
}

/// The files that an edit of a path changes: the file itself, or those of a directory that goes.
fn before(repository: &Repository, tip: &CommitId, path: &str) -> Result<Vec<(String, Option<String>)>, GitError> {
    let files = repository.list(tip, path).unwrap_or_default();
    let paths = if files.is_empty() {
        vec![path.to_owned()]
    } else {
        files.iter().map(|(name, _)| format!("{path}/{name}")).collect()
    };
    let text = |path: String| {
        let bytes = repository.read(tip, &path)?;
        Ok((path, bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
    };
    paths.into_iter().map(text).collect()
}

/// A unified diff of one file as Git writes it.
fn unified(path: &str, before: Option<&str>, after: Option<&str>) -> String {
    let (old, new) = (before.unwrap_or_default(), after.unwrap_or_default());
    if old == new {
        return String::new();
    }
    let name =
        |side: &str, text: Option<&str>| if text.is_some() { format!("{side}/{path}") } else { "/dev/null".to_owned() };
    TextDiff::from_lines(old, new).unified_diff().header(&name("a", before), &name("b", after)).to_string()
}

/// Says what the policies make of a registry state.
pub(super) fn policy_test(
    shared: &Shared,
    model: ModelName,
    aliases: BTreeMap<AliasName, Version>,
    tags: BTreeMap<String, String>,
) -> PolicyVerdict {
    let state = state(&model, &aliases, &tags, shared.clock.now());
    let set = shared.policy_set();
    let mut warnings = set.problems.clone();
    let Some(selection) = set.policies.select(&model) else {
        let because = vec![format!("no policy speaks for the model `{model}`")];
        return PolicyVerdict {
            model,
            policy: None,
            release: None,
            stable: None,
            second: None,
            request: None,
            because,
            warnings,
        };
    };
    warnings.extend(selection.warning);
    let Desired { key, policy, stable, second, request, because, .. } = policy::desired(&state, selection.policy);
    PolicyVerdict {
        model,
        policy: Some(policy),
        release: Some(key.to_string()),
        stable,
        second: second.map(|second| SecondView {
            version: second.version,
            strategy: second.strategy,
            rule: second.rule,
        }),
        request: request
            .and_then(|wish| Some(SecondView { version: wish.version, strategy: wish.strategy.ok()?, rule: 0 })),
        because,
        warnings,
    }
}

fn state(
    model: &ModelName,
    aliases: &BTreeMap<AliasName, Version>,
    tags: &BTreeMap<String, String>,
    at: Timestamp,
) -> RegistryState {
    let mut state = RegistryState::new(model.clone());
    let mut apply = |fact: RegistryFact| state.apply(&RegistryChange { model: model.clone(), at, fact });
    for (alias, version) in aliases {
        apply(RegistryFact::AliasSet { alias: alias.clone(), version: version.clone() });
        for (key, value) in tags {
            apply(RegistryFact::TagSet { version: version.clone(), key: key.clone(), value: value.clone() });
        }
    }
    state
}
