//! Strategies, the roles of their variants, and the settings of each.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Period;

/// How a version comes to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One version serves; a settled release is single.
    #[default]
    Single,
    /// A candidate gets a growing share.
    Canary,
    /// Two to eight arms get fixed shares.
    Ab,
    /// Two colours, one of them active.
    BlueGreen,
    /// A copy of the traffic goes to the shadow, whose answers are dropped.
    Shadow,
}

impl Strategy {
    /// Every strategy, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Single, Self::Canary, Self::Ab, Self::BlueGreen, Self::Shadow];

    /// Its name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Canary => "canary",
            Self::Ab => "ab",
            Self::BlueGreen => "blue-green",
            Self::Shadow => "shadow",
        }
    }

    /// The role of the variant that serves before the run; it is always the first.
    pub const fn stable_role(self) -> Role {
        match self {
            Self::Single | Self::Shadow => Role::Live,
            Self::Canary => Role::Stable,
            Self::Ab => Role::A,
            Self::BlueGreen => Role::Blue,
        }
    }

    /// The role of the (first) new variant. A single release has one only while it changes engine or ports.
    pub const fn new_role(self) -> Role {
        match self {
            Self::Single | Self::Canary => Role::Candidate,
            Self::Ab => Role::B,
            Self::BlueGreen => Role::Green,
            Self::Shadow => Role::Shadow,
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Strategy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
            format!(
                "strategy `{}` is not known: it is single, canary, ab, blue-green or shadow",
                crate::names::shown(text)
            )
        })
    }
}

/// What a variant is for inside its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Live,
    Stable,
    Candidate,
    A,
    B,
    C,
    D,
    E,
    F,
    G,
    H,
    Blue,
    Green,
    Shadow,
    /// On its way out: last, and named by no route.
    Leaving,
}

impl Role {
    /// The arms of an A/B release in order.
    pub const ARMS: [Self; 8] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::G, Self::H];

    /// Its name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stable => "stable",
            Self::Candidate => "candidate",
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::D => "d",
            Self::E => "e",
            Self::F => "f",
            Self::G => "g",
            Self::H => "h",
            Self::Blue => "blue",
            Self::Green => "green",
            Self::Shadow => "shadow",
            Self::Leaving => "leaving",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The settings of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The steps in order; their weights rise.
    pub steps: Vec<Step>,
}

/// One step of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The candidate's share in percent, 1 to 99.
    pub weight: u8,
    /// How long the step lasts once seen live; without it the step waits for a person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pause: Option<Period>,
}

/// The settings of an A/B release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ab {
    /// Each arm's share in percent, 1 to 99, together 100.
    #[schema(value_type = std::collections::BTreeMap<String, u8>)]
    pub weights: IndexMap<Role, u8>,
    /// Requests that go to one arm whatever the weights say.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HeaderMatch>,
}

/// Requests with this header and value go to one arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Name of the header, in lower case.
    pub header: String,
    /// The exact value.
    pub value: String,
    /// The arm.
    pub variant: Role,
}

/// The settings of a blue-green release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BlueGreen {
    /// The colour that gets the traffic: `blue` or `green`.
    pub active: Role,
    /// How long the colour left behind by a flip is kept.
    pub scale_down_delay: Period,
    /// Flips to green by itself this long after green runs; without it a person flips.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub auto_promote_after: Option<Period>,
}

/// The settings of a shadow release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The share of requests that is mirrored, in percent, 1 to 100.
    pub percent: u8,
}
