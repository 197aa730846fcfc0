//! What can be asked of a release: as people write it, and made absolute so that it means the same whenever it is carried out.

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::{Artifact, HeaderMatch, Period, ReleaseSpec, Role, Serving, Step, Strategy, Target};
use crate::names::{CommitId, ModelName, PredictorName, Requester, Version};

/// A request as a person or program writes it: the short form. What it leaves out is worked out from what is deployed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReleaseRequest {
    pub model: ModelName,
    /// A string or a whole number.
    #[serde(deserialize_with = "version_or_number")]
    #[schema(schema_with = version_schema)]
    pub version: Version,
    #[serde(default)]
    pub strategy: Strategy,
    /// The version that is compared against: the stable one that is deployed, unless given; another one is a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "maybe_version_or_number")]
    #[schema(schema_with = version_schema, required = false)]
    pub baseline: Option<Version>,
    /// Canary: weights in percent, or steps with a pause. 5, 25, 50 by hand unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepRequest>>,
    /// A/B: percent per arm, equal shares unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, u8>>)]
    pub weights: Option<IndexMap<Role, u8>>,
    /// A/B: requests that go to one arm by a header.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HeaderMatch>,
    /// Shadow: mirrored share in percent, 100 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Blue-green: how long the colour left behind is kept, 30m unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down_delay: Option<Period>,
    /// Blue-green: flips by itself after this time; by hand unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_promote_after: Option<Period>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Period>,
    /// Releases the version also where its signature breaks those who call the version that serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_breaking_signature: bool,
    /// Who asks, where the caller speaks for somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// The weights of a canary where nobody says otherwise.
pub const DEFAULT_STEPS: [u8; 3] = [5, 25, 50];

/// A step of a canary: a weight alone, or with its pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a step must be a weight such as 25, or a weight with its pause such as {weight: 25, pause: 10m}"
)]
pub enum StepRequest {
    Weight(u8),
    Step(Step),
}

/// What is asked of a release by an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "camelCase")]
pub enum Act {
    /// One step on, or the flip.
    Advance,
    /// To the end; `variant` names the winner of an A/B release.
    Promote {
        variant: Option<Role>,
    },
    /// Back to the stable variant.
    Abort,
    /// To the newest settled state before the present one, or to the one named.
    Rollback {
        to: Option<RollbackTo>,
    },
    Pause,
    Resume,
    /// Other shares: per arm of an A/B release, or the percentage of a shadow.
    Weights(WeightsRequest),
    Retract,
    Rerender,
}

/// Where a rollback goes when somebody says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RollbackTo {
    Commit(CommitId),
    Version(Version),
}

/// New shares: `weights` for an A/B release, `percent` for a shadow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, u8>>)]
    pub weights: Option<IndexMap<Role, u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

/// A request made absolute: it names versions, predictors, weights and commits, never "the next" or "the other",
/// so that carrying it out twice, or after a takeover, is one effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "camelCase")]
pub enum Intent {
    /// The release shall be like this.
    Put(Box<Wanted>),
    /// The canary of this candidate shall be at this step (from 0).
    Step {
        candidate: PredictorName,
        step: u32,
    },
    /// This colour shall be active.
    Activate {
        colour: Role,
        predictor: PredictorName,
    },
    /// The run shall end with this predictor.
    Promote {
        keep: PredictorName,
    },
    /// The run of this predictor shall end, with the stable one serving.
    Abort {
        keep: PredictorName,
        reject: Vec<PredictorName>,
    },
    /// The settled state of this commit shall be restored.
    Rollback {
        to: CommitId,
    },
    Pause,
    Resume,
    /// The shares shall be these.
    Weights(WeightsRequest),
    /// The release shall not be.
    Retract,
    /// The files shall be as the present templates render them.
    Rerender,
    /// What entered shall get its traffic; decided by the rollout.
    Run {
        entered: Vec<PredictorName>,
    },
    /// These predictors, which no route names, shall go; decided by the rollout.
    Remove {
        gone: Vec<PredictorName>,
    },
    /// The release shall serve this predictor through its own Service; decided by the rollout.
    Settle {
        keep: PredictorName,
    },
    /// The documentation page of this predictor shall be routed; decided by the rollout.
    RouteDocs {
        predictor: PredictorName,
    },
}

/// The release somebody wants, in absolute terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    pub model: ModelName,
    pub strategy: Strategy,
    /// The version that must be the stable one, where one was named.
    pub baseline: Option<Version>,
    /// The new versions: one, or up to seven arms of an A/B release after the stable one.
    pub arms: Vec<WantedArm>,
    /// What the stable arm shall be when the whole `spec` was given; none: as deployed.
    pub stable: Option<WantedArm>,
    pub steps: Option<Vec<Step>>,
    pub weights: Option<IndexMap<Role, u8>>,
    pub matches: Vec<HeaderMatch>,
    pub percent: Option<u8>,
    pub scale_down_delay: Option<Period>,
    pub auto_promote_after: Option<Period>,
    /// Settings of the whole release; none: as deployed, or the defaults.
    pub serving: Option<Serving>,
    pub deadline: Option<Period>,
    /// The target of a whole `spec`; then its settings are all there are, and what it leaves out is a default, not as deployed.
    #[serde(default)]
    pub target: Option<Box<Target>>,
    /// The registry asked, not a person: a rejected version stays away unless its alias was set anew.
    pub by_registry: bool,
    /// Whether a signature may break those who call the version that serves.
    #[serde(default)]
    pub allow_breaking_signature: bool,
}

/// One version somebody wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedArm {
    pub version: Version,
    pub artifact: Artifact,
    pub serving: Option<Serving>,
}

/// The body of a PUT: the short form, or a whole release as a GET answers it.
#[derive(Debug, Clone, PartialEq)]
pub enum PutBody {
    Short(Box<ReleaseRequest>),
    Spec(Box<ReleaseSpec>),
}

/// A version as it may be written: a text, or the number that it is.
pub fn version_schema() -> Schema {
    let digits = ObjectBuilder::new().schema_type(Type::String);
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    OneOfBuilder::new().item(digits).item(number).into()
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a version must be a text or a whole number")]
enum TextOrNumber {
    Text(String),
    Number(i64),
}

impl TextOrNumber {
    fn into_version<E: serde::de::Error>(self) -> Result<Version, E> {
        let text = match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        };
        Version::parse(&text).map_err(E::custom)
    }
}

/// Reads a version as it may be written.
///
/// # Errors
/// It is neither a text nor a whole number, or no version.
pub fn version_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    TextOrNumber::deserialize(deserializer)?.into_version()
}

fn maybe_version_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Version>, D::Error> {
    Option::<TextOrNumber>::deserialize(deserializer)?.map(TextOrNumber::into_version).transpose()
}
