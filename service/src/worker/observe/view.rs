//! What is shown of a cluster: the bodies of the API's answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::drift::Difference;
use crate::live::LiveState;

/// What the cluster makes of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Status {
    /// `syncing`, `live`, `degraded`, `stalled`, `retracting` or `unknown`.
    pub state: StatusState,
    pub reason: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// What helps, where a person can do something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// The state of a release in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusState {
    Syncing,
    Live,
    Degraded,
    Stalled,
    Retracting,
    Unknown,
}

impl StatusState {
    /// Its name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syncing => "syncing",
            Self::Live => "live",
            Self::Degraded => "degraded",
            Self::Stalled => "stalled",
            Self::Retracting => "retracting",
            Self::Unknown => "unknown",
        }
    }
}

/// The end of the log of a container that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogView {
    pub pod: String,
    pub container: String,
    /// Whether it is of the run before the present one, which is the one that failed.
    pub previous: bool,
    pub text: String,
}

/// Whether Git and the cluster agree on a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClusterDiff {
    /// Written `environment/namespace/name`.
    pub release: String,
    /// How the release fares; `unknown` where the cluster cannot be seen. Then only what differs within Git is listed.
    pub state: StatusState,
    /// One sentence: whether they agree, or why that cannot be said.
    pub reason: String,
    pub differences: Vec<Difference>,
    /// The same as lines: what Git wants behind `-`, what is there behind `+`.
    pub diff: String,
}

/// Where Git and a cluster differ for one release, or for what belongs to none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drift {
    /// Written `environment/namespace/name`; none where no release of Git wants it.
    pub release: Option<String>,
    pub cluster: String,
    /// The cluster's namespace and the name there, as `namespace/name`.
    pub place: String,
    pub differences: Vec<Difference>,
}

impl From<LiveState> for StatusState {
    fn from(state: LiveState) -> Self {
        match state {
            LiveState::Syncing => Self::Syncing,
            LiveState::Live => Self::Live,
            LiveState::Degraded => Self::Degraded,
            LiveState::Stalled => Self::Stalled,
        }
    }
}
