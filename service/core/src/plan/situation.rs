//! Everything a plan is made from, besides the intent.

use indexmap::IndexMap;
use jiff::Timestamp;

use super::findings::{Findings, ServingRules};
use crate::names::{ReleaseKey, Version};
use crate::release::{Deployed, Observed, Origin, Restorable, Retracted, Serving, Target};

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
