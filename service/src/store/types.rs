//! What goes into the store and comes out of it, besides deliveries themselves.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Delivery, DeliveryState, Source, Verdict};
use crate::names::{CommitId, EnvironmentName, ReleaseKey, Version};
use crate::registry::RegistryState;
use crate::release::{Action, Phase, Refusal, Strategy};

/// What the inbox says to a delivery that arrives. The delivery inside comes without its body, as everywhere but from
/// [`super::Store::delivery`].
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// Seen for the first time; it waits now.
    New(Delivery),
    /// Its id was refused; it waits again.
    Again(Delivery),
    /// Its id had failed and waits to be tried; now that is at once. Whoever carries it out has it.
    Sooner(Delivery),
    /// Its id still waits, or was applied, unchanged or ignored; nothing was stored.
    Repeat {
        /// The number it got when it arrived first.
        number: i64,
        /// What has become of it so far.
        state: DeliveryState,
    },
    /// Too much waits already; nothing was stored.
    Full,
}

/// What came of letting a delivery wait again.
#[derive(Debug, Clone, PartialEq)]
pub enum Redelivered {
    /// It was done with, whatever became of it; it waits again.
    Again(Delivery),
    /// It still waits, and what it was put off for is over. Whoever carries it out has it.
    Sooner(Delivery),
}

/// What a leader takes up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TakenUp {
    /// What has arrived, or waits again.
    pub arrived: Vec<Delivery>,
    /// The numbers of what it has and somebody gave in again, so that it is tried now.
    pub sooner: Vec<i64>,
}

/// Which deliveries to list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeliveryQuery {
    pub source: Option<Source>,
    pub state: Option<DeliveryState>,
    pub release: Option<ReleaseKey>,
    /// Only those that arrived before this number.
    pub before: Option<i64>,
    /// At most so many; more than [`super::PAGE_ROWS_MAX`] counts as that.
    pub limit: u32,
}

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryOutcome {
    pub number: i64,
    pub state: DeliveryState,
    pub verdict: Verdict,
    pub attempt: u32,
    pub next_attempt_at: Option<Timestamp>,
    /// What whoever waits for it is told beside the verdict; nothing where nobody asks the store for that, or nobody is told yet.
    pub told: Option<Told>,
}

/// What a verdict does not say to whoever waits for the outcome of a delivery.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Told {
    #[serde(default)]
    pub created: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// A commit of the repository as the history index keeps it, once for each release that it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexedCommit {
    pub key: ReleaseKey,
    pub commit: CommitId,
    pub action: Action,
    pub version: Version,
    pub strategy: Strategy,
    /// The phase that the release is in from this commit on; none after a retraction.
    pub phase: Option<Phase>,
    pub at: Timestamp,
    pub release_id: String,
    pub requested_by: Option<String>,
    pub delivery_id: Option<String>,
    pub subject: String,
}

/// The newest commit of a release in the history index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    pub key: ReleaseKey,
    pub commit: CommitId,
    pub at: Timestamp,
    /// The service made it.
    pub is_ours: bool,
}

impl From<&IndexedCommit> for Newest {
    fn from(row: &IndexedCommit) -> Self {
        let IndexedCommit { key, commit, at, release_id, .. } = row;
        Self { key: key.clone(), commit: commit.clone(), at: *at, is_ours: !release_id.is_empty() }
    }
}

/// Where some commits are in what was before the history index was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceInPast {
    pub is_first: bool,
    pub is_last: bool,
}

/// Everything that one turn of the conveyor leaves behind; stored as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    pub outcomes: Vec<DeliveryOutcome>,
    /// Oldest first.
    pub commits: Vec<IndexedCommit>,
    /// Up to where the history index reaches now.
    pub indexed_tip: Option<CommitId>,
    pub registry: Vec<RegistryState>,
    pub audit: Vec<AuditEntry>,
}

/// Something that was refused or that an admin did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Who did it: a token's name, a sender; nobody known where proof was missing.
    pub actor: Option<String>,
    /// What was tried, for example `release`, `token create`, `hold`.
    pub action: String,
    pub release: Option<ReleaseKey>,
    /// How it ended, for example `done`, `refused`.
    pub outcome: String,
    /// One sentence.
    pub reason: Option<String>,
}

/// An audit entry and its place in the order of entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    pub number: i64,
    #[serde(flatten)]
    pub entry: AuditEntry,
}

/// An order to accept and keep everything, and apply nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The environment it is for; none means all.
    pub environment: Option<EnvironmentName>,
    pub reason: String,
    pub by: Option<String>,
    #[schema(value_type = String)]
    pub since: Timestamp,
}

/// Under what an idempotency key is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimKey {
    pub token_id: String,
    /// Method and path of the request.
    pub path: String,
    /// The caller's `Idempotency-Key`.
    pub key: String,
}

/// What is known of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is the caller's now; it must be answered or given back.
    New,
    /// The same: whoever claimed it at this moment went down, or failed, before the answer, and may have carried out the same request.
    Interrupted(Timestamp),
    /// Somebody is being answered under it at this moment.
    InFlight,
    /// The same request was answered before: status and body.
    Same(u16, String),
    /// Another body was sent under it.
    Other,
}

/// What revoking a token came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    Done,
    /// There is none, or it is revoked already.
    Unknown,
    /// It is the last one that is good for everything, and stays so.
    LastAdmin,
}

/// What a pruning removed, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    pub deliveries: u64,
    pub delivery_ids: u64,
    pub idempotency_keys: u64,
    pub audit_entries: u64,
    /// Notes of when a commit was first seen live.
    pub live: u64,
}
