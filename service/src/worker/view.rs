//! What the worker shows of its state: the bodies of the API's answers.

use std::num::NonZeroU32;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::observe::{Drift, Status};
use super::review::ReviewView;
use crate::event::{Delivery, DeliveryState, Source};
use crate::names::{
    CommitId, EnvironmentName, ModelName, Namespace, PolicyName, PredictorName, ReleaseKey, ReleaseName, TreeId,
    Version,
};
use crate::release::{Action, Phase, Release, Role, Strategy};
use crate::store::{Hold, IndexedCommit};

/// A release as the API answers it: its document and what is known about it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseView {
    #[serde(flatten)]
    pub release: Release,
    /// Whether the repository holds it.
    pub deployed: bool,
    /// The newest commit that changed it.
    pub commit: CommitId,
    /// The tree id of its directory, its entity tag.
    pub etag: TreeId,
    /// When that commit was made.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
    pub status: Status,
    /// What is to be said about its files; empty where they are as rendered by the present templates.
    pub files: Vec<FileState>,
    /// What was found in its files that a person should know, one sentence each.
    pub notes: Vec<String>,
    /// The address that a caller posts to.
    pub endpoint: String,
    /// Who gets how much of the traffic.
    pub split: Vec<Share>,
    /// What is waited for, where something is.
    pub waits_for: Option<String>,
    /// A request that is queued for it; said where one release is asked for.
    pub waiting: Option<Waiting>,
    /// When the next step is due by itself, where one is.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// The last change of it that waited for people at the forge, where one did since the service began.
    pub review: Option<ReviewView>,
}

/// A request that is durable and not yet carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The id of its delivery.
    pub delivery: String,
    pub number: i64,
    pub waits_for: String,
}

/// Something about the files of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// Rendered by another template set than the present one.
    Outdated,
    /// A rendered file was changed by hand.
    Drifted,
    /// Its `release.yaml` was changed by hand and cannot be rendered.
    Invalid,
}

/// One variant's share of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Share {
    pub role: Role,
    pub version: Version,
    pub predictor: PredictorName,
    /// Percent of the answers that callers get.
    pub weight: u8,
    /// Percent of the requests that are mirrored to it.
    pub mirror: u8,
}

/// Which releases to list; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ReleaseFilter {
    pub environment: Option<EnvironmentName>,
    pub namespace: Option<Namespace>,
    pub model: Option<ModelName>,
    pub strategy: Option<Strategy>,
    pub phase: Option<Phase>,
    pub status: Option<String>,
    /// A part of the name or of the model's.
    pub q: Option<String>,
    /// At most this many, 100 unless given and never more.
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Hand it back as `cursor` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Committed and pushed, or nothing had to change.
    Done(Box<Done>),
    /// Durable, and done later.
    Queued { delivery: String, waits_for: String },
}

/// A request that is carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The release as it is now; none after a retraction.
    pub release: Option<ReleaseView>,
    pub key: ReleaseKey,
    /// The last commit that carries it out; the present one where nothing had to change.
    pub commit: Option<CommitId>,
    pub changed: bool,
    /// Whether the release was not there before.
    pub created: bool,
    /// Why nothing had to change, where nothing had to.
    pub reason: Option<String>,
}

/// What a request would do.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    pub changed: bool,
    pub action: Option<Action>,
    /// What the request would wait for. The files are then those of its first commit after that, where that can be told now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// One sentence.
    pub summary: String,
    /// The files that would be there, `release.yaml` first.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub manifests: IndexMap<String, String>,
    /// A unified diff from what the repository holds.
    pub diff: String,
    /// What the new version takes otherwise than the one that serves, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureDiff>,
}

/// How the input signature of a version differs from that of the one that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignatureDiff {
    /// `- amount: double (required)` and `+ …`.
    pub lines: Vec<String>,
    /// What of it callers of the version that serves would run into; the rest is merely added, or takes what they send as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<SignatureBreak>,
    /// How many more inputs break callers, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_breaks: Option<usize>,
    /// What cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// An input whose change breaks callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SignatureBreak {
    /// Its name, or its position from 1 on.
    pub input: String,
    /// What is the matter with it, as the end of a sentence about it.
    pub fault: String,
}

/// A commit in the history of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    pub commit: CommitId,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What the service did; none where a person committed it.
    pub action: Option<Action>,
    pub summary: String,
    pub version: Version,
    pub strategy: Strategy,
    /// The phase after it; none after a retraction.
    pub phase: Option<Phase>,
    /// The id of the intent that it carries out; empty where a person committed it.
    pub release_id: String,
    /// Who asked for it, or the author of a person's commit.
    pub requested_by: Option<String>,
    pub delivery_id: Option<String>,
    /// The number of that delivery, as long as the inbox has it.
    pub delivery_number: Option<i64>,
}

/// Something that happened to a release: a commit, a delivery that named it, or how far a commit had come in the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `delivery`, `commit`, `sync` (applied), `pods` (ready), `live` (traffic as the commit says); `status`: how it fares now, and since when.
    pub kind: String,
    pub summary: String,
    pub commit: Option<CommitId>,
    pub delivery: Option<String>,
}

/// A delivery of the inbox as the API answers it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    pub number: i64,
    pub id: String,
    pub source: Source,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    pub state: DeliveryState,
    /// The release it led to, written `environment/namespace/name`.
    pub release: Option<String>,
    pub commit: Option<CommitId>,
    pub reason: Option<String>,
    pub cure: Option<String>,
    pub waits_for: Option<String>,
    pub attempt: u32,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// What it says happened.
    #[schema(value_type = Object)]
    pub event: serde_json::Value,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let Delivery { number, source, id, received_at, body: _, event, state, verdict, attempt, next_attempt_at } =
            delivery;
        Self {
            number,
            id: id.to_string(),
            source,
            received_at,
            state,
            release: verdict.release.map(|key| key.to_string()),
            commit: verdict.commit,
            reason: verdict.reason,
            cure: verdict.cure,
            waits_for: verdict.waits_for,
            attempt,
            next_attempt_at,
            event: serde_json::to_value(event).unwrap_or_default(),
        }
    }
}

/// An environment as the API answers it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentView {
    pub name: EnvironmentName,
    pub cluster: String,
    pub namespace_prefix: String,
    pub host_suffix: String,
    #[schema(value_type = String)]
    pub blind_delay: crate::release::Period,
    pub new_releases_per_minute: u32,
    pub releases: usize,
    /// Why nothing is applied here, where it is held.
    pub hold: Option<HoldView>,
}

/// A hold: everything is accepted and kept, nothing applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HoldView {
    /// None: every environment.
    pub environment: Option<EnvironmentName>,
    pub reason: String,
    pub by: String,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        let Hold { environment, reason, by, since } = hold;
        Self { environment, reason, by: by.unwrap_or_else(|| "somebody".to_owned()), since }
    }
}

impl From<IndexedCommit> for HistoryEntry {
    fn from(row: IndexedCommit) -> Self {
        let IndexedCommit {
            key: _,
            commit,
            action,
            version,
            strategy,
            phase,
            at,
            release_id,
            requested_by,
            delivery_id,
            subject,
        } = row;
        Self {
            commit,
            at,
            action: (!release_id.is_empty()).then_some(action),
            summary: subject,
            version,
            strategy,
            phase,
            release_id,
            requested_by,
            delivery_id,
            delivery_number: None,
        }
    }
}

/// Which releases to render again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RerenderSelection {
    pub environment: Option<EnvironmentName>,
    pub namespace: Option<Namespace>,
    /// These; every outdated one where it is empty.
    pub names: Vec<ReleaseName>,
    /// One after the other, at most so many a minute, instead of all at once.
    pub per_minute: Option<NonZeroU32>,
}

/// What rendering again did to one release.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Rerendered {
    /// Written `environment/namespace/name`.
    pub release: String,
    /// `rendered`, `unchanged`, `queued` or `refused`; in a dry run `would-render`.
    pub outcome: String,
    /// The predictors whose pods restart.
    pub restarts: Vec<PredictorName>,
    pub reason: Option<String>,
    pub commit: Option<CommitId>,
    /// The delivery that carries it out later, where it is `queued`.
    pub delivery: Option<String>,
}

/// What a policy makes of a registry state.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyVerdict {
    pub model: ModelName,
    /// The policy that applies; none where none matches.
    pub policy: Option<PolicyName>,
    /// The release it is about, written `environment/namespace/name`.
    pub release: Option<String>,
    pub stable: Option<Version>,
    pub second: Option<SecondView>,
    /// A wish by tag.
    pub request: Option<SecondView>,
    /// Which rule said what, one sentence each.
    pub because: Vec<String>,
    /// Policies that do not parse, ties, one sentence each.
    pub warnings: Vec<String>,
}

/// What a sweep found: the whole registry compared with what is deployed, and that with the clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SweepReport {
    #[schema(value_type = String)]
    pub at: Timestamp,
    pub took_ms: u64,
    /// Whether a registry was compared with Git: there may be none.
    #[serde(default)]
    pub registry: bool,
    /// Models of the registry.
    pub models: usize,
    /// The clusters that Git was compared with.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// Releases that were compared with their cluster.
    #[serde(default)]
    pub releases: usize,
    /// Releases that were left out because they are on their way to live.
    #[serde(default)]
    pub under_way: usize,
    /// Nothing was repaired, only looked at.
    pub dry_run: bool,
    /// Where registry and Git differ, by release.
    pub differences: Vec<SweepDifference>,
    /// Where Git and the clusters differ, by release.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// Why a cluster could not be compared with Git, one sentence each.
    #[serde(default)]
    pub unseen: Vec<String>,
}

/// Where the registry and Git differ for one release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SweepDifference {
    /// Written `environment/namespace/name`.
    pub release: String,
    pub model: ModelName,
    pub kind: DifferenceKind,
    /// One sentence: what differs, or why it stays so.
    pub reason: String,
    pub cure: Option<String>,
    /// The delivery that repairs it, where one does.
    pub delivery: Option<String>,
}

/// What a sweep does about a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// It is repaired, or would be.
    Repaired,
    /// It is repaired once what it waits for is there.
    Waiting,
    /// It cannot be repaired; a person must act.
    Refused,
    /// Somebody decided otherwise, and that stands until the registry changes.
    Stands,
    /// A version that serves or runs is not in the registry.
    Deleted,
    /// The files of a version that serves are others than were released.
    Changed,
}

impl DifferenceKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Repaired, Self::Waiting, Self::Refused, Self::Stands, Self::Deleted, Self::Changed];

    /// Its name as it is written, also in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repaired => "repaired",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Stands => "stands",
            Self::Deleted => "deleted",
            Self::Changed => "changed",
        }
    }
}

/// The second variant that a policy wants.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SecondView {
    pub version: Version,
    pub strategy: Strategy,
    /// The number of the rule, from 1; 0 for a tag.
    pub rule: usize,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    /// Rises by one.
    pub id: u64,
    /// `release`, `delivery`, `rollout`, `sync` or `reset`.
    pub kind: &'static str,
    /// A JSON object as text: thousands are kept, and hardly one of them is ever looked into.
    pub data: Box<str>,
}
