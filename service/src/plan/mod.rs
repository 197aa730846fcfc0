//! 4: what must become different.
//!
//! `plan` takes an absolute intent and the situation (what Git holds, what the cluster shows, the time) and says which one commit comes
//! next, or that nothing has to, or what it waits for, or why not. It does no I/O and reads no clock.

use crate::names::{CommitId, ReleaseKey};
use crate::release::{Act, Deployed, GatewayRef, Intent, Links, MonitoringTarget, Refusal, Release, ReleasePlan, Situation, Target};

/// A commit after which the release was settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub commit: CommitId,
    pub release: Release,
}

/// Where the releases of an environment go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentTarget {
    pub cluster: String,
    pub namespace_prefix: String,
    pub host_suffix: String,
    pub gateway: GatewayRef,
    pub monitoring: MonitoringTarget,
    pub links: Links,
}

/// Says which one commit comes next for an intent.
pub fn plan(intent: &Intent, situation: &Situation) -> ReleasePlan {
    let _ = (intent, situation);
    todo!()
}

/// Makes an act absolute: "next" and "the other" become names, from what is deployed and its settled states, newest first.
///
/// # Errors
/// A refusal where the act makes no sense from what is deployed.
pub fn absolute(act: &Act, deployed: &Deployed, history: &[Settled]) -> Result<Intent, Refusal> {
    let _ = (act, deployed, history);
    todo!()
}

/// Works out where a release goes.
///
/// # Errors
/// A refusal where a name would be too long.
pub fn target(key: &ReleaseKey, environment: &EnvironmentTarget) -> Result<Target, Refusal> {
    let _ = (key, environment);
    todo!()
}
