//! How the versions of a model fare, read off its releases.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::write_back::Which;
use crate::names::{CommitId, ReleaseKey, STATUS_TAG_PREFIX, Version};
use crate::release::{Phase, Refusal, Release, Role, Variant};
use crate::worker::read::endpoint;

/// The longest reason in characters that is written to a version: MLflow's page shows a tag in one line.
const REASON_CHARS_MAX: usize = 500;

/// How a version fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::worker) struct VersionStatus {
    pub(in crate::worker) state: State,
    pub(in crate::worker) release: ReleaseKey,
    pub(in crate::worker) commit: Option<CommitId>,
    /// The address that a caller posts to.
    pub(in crate::worker) url: Option<String>,
    pub(in crate::worker) reason: Option<String>,
}

/// The state of a version in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum State {
    /// Callers get it: the stable version, or the active colour.
    Serving,
    /// Its predictor is added; nobody is sent there yet.
    Entering,
    /// It runs beside the one that serves: candidate, another arm, shadow.
    Running,
    /// The colour that is not active.
    Idle,
    /// No route names it any more; its predictor is removed next.
    Leaving,
    /// It served or ran, and another took its place.
    Retired,
    /// It was rolled back or aborted; no policy brings it back.
    Rejected,
    /// It was asked for and could not be released.
    Refused,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Entering => "entering",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Leaving => "leaving",
            Self::Retired => "retired",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
        }
    }
}

impl VersionStatus {
    /// The tags to set and, without a value, to delete so that a version with these tags says it. The state comes last, because it is
    /// what others look at.
    pub(super) fn differences(&self, present: &BTreeMap<String, String>) -> Vec<(String, Option<String>)> {
        let differs = |(key, value): &(String, Option<String>)| present.get(key) != value.as_ref();
        self.tags().into_iter().filter(differs).collect()
    }

    /// Whether a version with these tags says it. A reason that stands beside it is why something else was refused since.
    pub(super) fn is_said(&self, present: &BTreeMap<String, String>) -> bool {
        let is_beside = |key: &str| self.reason.is_none() && key == reason_key();
        self.differences(present).iter().all(|(key, _)| is_beside(key))
    }

    fn tags(&self) -> [(String, Option<String>); 5] {
        let Self { state, release, commit, url, reason } = self;
        let key = |name: &str| format!("{STATUS_TAG_PREFIX}{name}");
        let reason = reason.as_ref().map(|reason| reason.chars().take(REASON_CHARS_MAX).collect());
        [
            (key("release"), Some(release.to_string())),
            (key("commit"), commit.as_ref().map(ToString::to_string)),
            (key("url"), url.clone()),
            (reason_key(), reason),
            (key("state"), Some(state.as_str().to_owned())),
        ]
    }
}

fn reason_key() -> String {
    format!("{STATUS_TAG_PREFIX}reason")
}

/// How the versions of a release fare from a commit on: those it has, and those it had before.
pub(super) fn statuses(
    key: &ReleaseKey,
    commit: &CommitId,
    (before, after): (Option<&Release>, Option<&Release>),
) -> Vec<(Which, VersionStatus)> {
    let mut found: IndexMap<Which, VersionStatus> = IndexMap::new();
    if let Some(after) = after {
        found.extend(of_release(key, commit, after));
    }
    let rejected: IndexMap<Which, VersionStatus> = after.into_iter().flat_map(|after| rejected(key, after)).collect();
    for (which, status) in before.into_iter().flat_map(|before| of_release(key, commit, before)) {
        let retired = VersionStatus { state: State::Retired, url: None, ..status };
        found.entry(which).or_insert_with_key(|which| rejected.get(which).cloned().unwrap_or(retired));
    }
    found.into_iter().collect()
}

/// How the versions that a release has fare; a version that is there twice, with other pods, as the one that stays.
pub(super) fn of_release(key: &ReleaseKey, commit: &CommitId, release: &Release) -> Vec<(Which, VersionStatus)> {
    let mut found: IndexMap<Which, VersionStatus> = IndexMap::new();
    for variant in &release.spec.variants {
        let state = state(release, variant);
        let url = (state != State::Leaving).then(|| endpoint(release));
        let status = VersionStatus { state, release: key.clone(), commit: Some(commit.clone()), url, reason: None };
        found.entry((release.spec.model.clone(), variant.version.clone())).or_insert(status);
    }
    found.into_iter().collect()
}

/// The versions that were rolled back or aborted and are not in the release any more.
pub(super) fn rejected(key: &ReleaseKey, release: &Release) -> Vec<(Which, VersionStatus)> {
    let is_gone = |version: &Version| release.spec.variants.iter().all(|variant| variant.version != *version);
    let rejected = release.rollout.rejected.iter().filter(|no| is_gone(&no.version)).map(|no| {
        let (commit, reason) = (Some(no.commit.clone()), Some(no.reason.clone()));
        let status = VersionStatus { state: State::Rejected, release: key.clone(), commit, url: None, reason };
        ((release.spec.model.clone(), no.version.clone()), status)
    });
    rejected.collect()
}

/// How a version fares whose tags say that a release has it, where none has it any more.
pub(super) fn retired(tags: &BTreeMap<String, String>) -> Option<VersionStatus> {
    const IN_A_RELEASE: [State; 5] = [State::Serving, State::Entering, State::Running, State::Idle, State::Leaving];
    let tag = |name: &str| tags.get(&format!("{STATUS_TAG_PREFIX}{name}"));
    let said = tag("state")?;
    if !IN_A_RELEASE.iter().any(|state| state.as_str() == said) {
        return None;
    }
    let release = ReleaseKey::parse(tag("release")?).ok()?;
    let commit = tag("commit").and_then(|commit| commit.parse().ok());
    Some(VersionStatus { state: State::Retired, release, commit, url: None, reason: None })
}

/// The tag that tells that a version was told how it fares.
pub(super) fn state_tag() -> String {
    format!("{STATUS_TAG_PREFIX}state")
}

fn state(release: &Release, variant: &Variant) -> State {
    let serves = match release.spec.blue_green.as_ref().filter(|_| release.rollout.phase == Phase::Running) {
        Some(plan) => variant.role == plan.active,
        None => release.stable().is_some_and(|stable| stable.predictor == variant.predictor),
    };
    match release.rollout.phase {
        _ if variant.role == Role::Leaving => State::Leaving,
        _ if serves => State::Serving,
        Phase::Entering => State::Entering,
        Phase::Running if release.spec.blue_green.is_some() => State::Idle,
        Phase::Running | Phase::Leaving | Phase::Settled => State::Running,
    }
}

/// How a version fares that could not be released.
pub(super) fn refused(key: &ReleaseKey, refusal: &Refusal) -> VersionStatus {
    let reason = match &refusal.cure {
        Some(cure) => format!("{}; {cure}", refusal.reason),
        None => refusal.reason.clone(),
    };
    VersionStatus { state: State::Refused, release: key.clone(), commit: None, url: None, reason: Some(reason) }
}
