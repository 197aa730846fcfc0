//! What a delivery says happened, and the delivery itself as the inbox keeps it.
//!
//! An event is a hint, never the truth: the truth is what the registry, Git or the cluster says once all events are in.

use std::fmt;
use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::names::{AliasName, CommitId, DeliveryId, ModelName, ReleaseKey, TreeId, Version};
use crate::release::{Act, Intent};

/// What happened, in the past tense, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Event {
    /// Something about a registered model changed in MLflow.
    RegistryChanged(RegistryChange),
    /// Somebody who may asked for something of a release.
    Requested(Box<Requested>),
    /// Somebody who may asked for an act that cannot be made absolute yet.
    ActRequested(Box<ActRequested>),
    /// Somebody pushed to a branch of a Git server.
    Pushed { branch: String },
    /// Something became of the pull request of a branch: somebody reviewed, merged or closed it.
    #[serde(rename_all = "camelCase")]
    ReviewChanged { branch: String },
    /// Argo CD says that something became of an Application, by its name.
    ApplicationChanged { application: String },
    /// Authentic, but nothing that concerns releases; the reason is for the inbox.
    Ignored { reason: String },
}

/// Something that was asked of one release, by the API or by a signed generic delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    pub key: ReleaseKey,
    pub intent: Intent,
    #[serde(default)]
    pub guard: Guard,
    /// Who asked, for the `Requested-By` trailer and `origin`.
    pub requested_by: Option<String>,
}

/// An act on a release as it was asked for, while nobody knows which state of the release counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActRequested {
    pub key: ReleaseKey,
    pub act: Act,
    pub guard: Guard,
    /// As of a request.
    pub requested_by: Option<String>,
}

/// Under which conditions a request may be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// Render over files that were changed by hand.
    #[serde(default)]
    pub force: bool,
    /// Take over what was changed by hand.
    #[serde(default)]
    pub adopt: bool,
    /// Only if the release's directory is this tree.
    #[serde(default)]
    pub if_match: Option<TreeId>,
    /// One after the other with others of its kind, at most so many a minute.
    #[serde(default)]
    pub per_minute: Option<NonZeroU32>,
    /// Only if there is no release.
    #[serde(default)]
    pub if_absent: bool,
}

/// One change of the registry, as MLflow's event tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryChange {
    pub model: ModelName,
    /// When MLflow says it happened; deliveries arrive out of order, so the later one of two wins whichever comes first.
    pub at: Timestamp,
    pub fact: RegistryFact,
}

/// The fact inside a registry change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum RegistryFact {
    ModelCreated,
    VersionCreated {
        version: Version,
        source: Option<String>,
        tags: Vec<(String, String)>,
    },
    TagSet {
        version: Version,
        key: String,
        value: String,
    },
    TagDeleted {
        version: Version,
        key: String,
    },
    AliasSet {
        alias: AliasName,
        version: Version,
    },
    AliasDeleted {
        alias: AliasName,
    },
    /// Nothing that an event told: the whole registry was compared with what is deployed, and here they differ.
    Compared,
}

/// Through which door a delivery came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Mlflow,
    Github,
    Generic,
    Argocd,
    /// A request by API, CLI or page.
    Api,
    /// A difference that the sweep found.
    Sweep,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 6] = [Self::Mlflow, Self::Github, Self::Generic, Self::Argocd, Self::Api, Self::Sweep];

    /// Its name as it is written, also in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mlflow => "mlflow",
            Self::Github => "github",
            Self::Generic => "generic",
            Self::Argocd => "argocd",
            Self::Api => "api",
            Self::Sweep => "sweep",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Durable, not yet carried out.
    Accepted,
    /// Carried out by a commit.
    Applied,
    /// It was already so.
    Unchanged,
    /// It concerns nothing here.
    Ignored,
    /// A person must act.
    Refused,
    /// It will be tried again.
    Failed,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Applied, Self::Unchanged, Self::Ignored, Self::Refused, Self::Failed];

    /// Its name as it is written, also in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// Whether it still waits to be carried out.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Accepted | Self::Failed)
    }

    /// Whether the release is as it was asked to be, or as it was: whoever is told so is shown the release.
    pub const fn shows_release(self) -> bool {
        matches!(self, Self::Applied | Self::Unchanged | Self::Ignored)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A delivery that was proven authentic and is about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    pub source: Source,
    pub id: DeliveryId,
    pub received_at: Timestamp,
    /// The body as it arrived.
    pub body: String,
    pub event: Event,
}

/// A delivery as the inbox keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Order of arrival, from 1.
    pub number: i64,
    pub source: Source,
    pub id: DeliveryId,
    pub received_at: Timestamp,
    pub body: String,
    pub event: Event,
    pub state: DeliveryState,
    pub verdict: Verdict,
    /// How often it was tried.
    pub attempt: u32,
    /// When it is tried again, where it failed.
    pub next_attempt_at: Option<Timestamp>,
}

/// The details of what became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The release it led to, where it did.
    pub release: Option<ReleaseKey>,
    /// The last commit that carried it out.
    pub commit: Option<CommitId>,
    /// One sentence: why nothing was done, what was refused, what failed.
    pub reason: Option<String>,
    pub cure: Option<String>,
    /// What it waits for, while it is accepted and cannot go on.
    pub waits_for: Option<String>,
}
