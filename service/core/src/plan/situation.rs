//! Everything a plan is made from, besides the intent.

use indexmap::IndexMap;
use jiff::Timestamp;

use super::findings::{Findings, ServingRules};
use crate::names::{ReleaseKey, Version};
use crate::release::{Deployed, Observed, Origin, Restorable, Retracted, Serving, Target};

/// Something in the cluster that has a name which a new release would take, and that is not the release's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// `SeldonDeployment/fraud`.
    pub object: String,
    /// The release that it says it belongs to, where it says one.
    pub owner: Option<String>,
}

/// Everything a plan is made from, besides the intent.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Which release it is about.
    pub key: ReleaseKey,
    /// What the repository holds, where it holds something.
    pub deployed: Option<Deployed>,
    /// The settled state that the intent, or the release's `rollout.restores`, names.
    pub restorable: Option<Restorable>,
    /// What a retraction left behind under this name.
    pub retracted: Option<Retracted>,
    pub observed: Observed,
    /// What has the place of a new release in the cluster, as far as that is seen and nobody has said that it is to be taken over.
    pub occupant: Option<Occupant>,
    /// Where a new release goes.
    pub target: Target,
    /// The configuration's and the policy's settings for a new release.
    pub serving: Serving,
    /// The image that the policy names for a version, where it names one.
    pub default_images: IndexMap<Version, String>,
    /// What was found out about what would serve.
    pub findings: Findings,
    pub rules: ServingRules,
    /// Why the release would be asked for: written into `origin`.
    pub origin: Origin,
    /// Who asks.
    pub requested_by: Option<String>,
    /// The present moment, in whole seconds.
    pub now: Timestamp,
}
