//! `policies/<name>.yaml`: the document as people write it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::names::{AliasName, EnvironmentName, Namespace, PolicyName, ReleaseName};
use crate::release::{ApiVersion, Role, Serving, StepRequest, Strategy};

/// A policy: from a model's aliases and tags to the release that should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReleasePolicy {
    pub api_version: ApiVersion,
    pub kind: PolicyKind,
    pub metadata: PolicyMetadata,
    pub spec: PolicySpec,
}

/// `ReleasePolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum PolicyKind {
    #[default]
    ReleasePolicy,
}

/// Which policy it is; the name is the file's stem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyMetadata {
    pub name: PolicyName,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicySpec {
    /// Model names or globs (`*`, `?`, `[ab]`, `{a,b}`).
    pub models: Vec<String>,
    pub release: Place,
    pub stable: StableRule,
    /// From the top; the first that holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub second: Vec<SecondRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestRule>,
    #[serde(default)]
    pub when_stable_goes: WhenStableGoes,
    #[serde(default)]
    pub defaults: PolicyDefaults,
}

/// Where the release goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub environment: EnvironmentName,
    /// The namespace, without the environment's prefix.
    pub namespace: Namespace,
    /// The model's name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ReleaseName>,
}

/// Which version is the stable one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StableRule {
    pub alias: AliasName,
    /// All of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
}

/// A tag that a version must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Its key.
    pub tag: String,
    /// The exact value.
    pub equals: String,
}

/// Which version stands beside the stable one, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondRule {
    pub alias: AliasName,
    pub strategy: Strategy,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// Canary: the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepRequest>>,
    /// Shadow: the mirrored share in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// A/B: the shares of the arms `a` and `b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, u8>>)]
    pub weights: Option<IndexMap<Role, u8>>,
}

/// A tag by which a notebook asks for a release of the version that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRule {
    /// Its key; its value is the name of a strategy.
    pub tag: String,
}

/// What becomes of the release when the stable alias is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenStableGoes {
    /// It stays as it is.
    #[default]
    Nothing,
    /// It is retracted.
    Retract,
}

/// What a release gets where nobody says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDefaults {
    /// A template of the image, with `model` and `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
}
