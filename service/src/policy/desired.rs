//! What a policy makes of a model's registry state.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::Timestamp;

use super::{PolicyDefaults, ReleasePolicy, WhenStableGoes};
use crate::names::{PolicyName, ReleaseKey, Version};
use crate::registry::RegistryState;
use crate::release::{RegistryView, Role, Step, Strategy};

/// The release that should be by a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    pub key: ReleaseKey,
    pub policy: PolicyName,
    /// The version that should serve; none where the alias is not set or a requirement is not met.
    pub stable: Option<Version>,
    pub second: Option<Second>,
    /// What the request tag asks for.
    pub request: Option<Wish>,
    /// The part of the registry state that the policy reads.
    pub view: RegistryView,
    /// The newest time that an alias the policy reads was pointed at a version.
    pub set_at: BTreeMap<Version, Timestamp>,
    /// Whether the stable alias itself is gone (or was never set): only then `when_stable_goes` counts.
    pub stable_gone: bool,
    pub when_stable_goes: WhenStableGoes,
    pub defaults: PolicyDefaults,
    /// Plain sentences: which rule said what, and why nothing.
    pub because: Vec<String>,
}

/// The version beside the stable one.
#[derive(Debug, Clone, PartialEq)]
pub struct Second {
    pub version: Version,
    pub strategy: Strategy,
    pub steps: Option<Vec<Step>>,
    pub percent: Option<u8>,
    pub weights: Option<IndexMap<Role, u8>>,
    /// Number of the rule in the policy, from 1.
    pub rule: usize,
}

/// What a request tag asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub version: Version,
    pub strategy: Strategy,
    /// The tag, to be deleted once answered.
    pub tag: String,
    /// When it was set.
    pub at: Timestamp,
}

/// Works out the release that should be.
pub fn desired(state: &RegistryState, policy: &ReleasePolicy) -> Desired {
    let _ = (state, policy);
    todo!()
}
