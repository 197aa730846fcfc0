//! A release that is not there yet: one version, settled from its first commit.

use super::arms;
use super::change::change;
use super::situation::{Occupant, Situation};
use crate::names::ReleaseKey;
use crate::release::{
    Action, ApiVersion, Metadata, Origin, Phase, Refusal, Release, ReleaseKind, ReleasePlan, ReleaseSpec, Rendered,
    Rollout, RouteSettings, Strategy, Target, Variant, Wanted,
};

/// Plans the first commit of a release.
pub(super) fn create(wanted: &Wanted, situation: &Situation) -> Result<ReleasePlan, Refusal> {
    let [arm] = wanted.arms.as_slice() else { return Err(needs_stable(wanted)) };
    if wanted.strategy != Strategy::Single {
        return Err(needs_stable(wanted));
    }
    let rejected = situation.retracted.as_ref().map(|retracted| retracted.rejected.clone()).unwrap_or_default();
    if wanted.by_registry && rejected.iter().any(|r| r.version == arm.version) {
        return Ok(ReleasePlan::Nothing(format!(
            "version {} was rejected and its alias was not set anew",
            arm.version
        )));
    }
    if let Some(occupant) = &situation.occupant {
        return Err(occupied(occupant, &situation.key, &situation.target));
    }
    let rejected = rejected.into_iter().filter(|r| r.version != arm.version).collect();
    let arm = arms::resolve_new(arm, wanted, situation)?;
    let summary = format!("create with version {}", arm.version);
    let release = Release {
        api_version: ApiVersion::V1,
        kind: ReleaseKind::Release,
        metadata: metadata_of(situation),
        spec: ReleaseSpec {
            model: wanted.model.clone(),
            strategy: Strategy::Single,
            variants: vec![Variant {
                role: Strategy::Single.stable_role(),
                predictor: crate::names::PredictorName::of(&arm.version, 1),
                version: arm.version,
                artifact: arm.artifact,
                serving: None,
            }],
            canary: None,
            ab: None,
            blue_green: None,
            shadow: None,
            serving: arm.serving,
            route: RouteSettings::default(),
            deadline: wanted.deadline.unwrap_or_else(ReleaseSpec::default_deadline),
            target: situation.target.clone(),
        },
        origin: origin_of(situation),
        rollout: Rollout {
            phase: Phase::Settled,
            step: None,
            since: situation.now,
            paused: None,
            outcome: None,
            restores: None,
            docs: None,
            rejected,
        },
        rendered: Rendered::default(),
    };
    Ok(ReleasePlan::Create(Box::new(change(release, Action::Create, summary))))
}

/// Why the release is as it is from now on: who asked, and what the registry said at that moment.
pub(super) fn origin_of(situation: &Situation) -> Origin {
    Origin {
        requested_by: situation.requested_by.clone().or_else(|| situation.origin.requested_by.clone()),
        ..situation.origin.clone()
    }
}

fn metadata_of(situation: &Situation) -> Metadata {
    let crate::names::ReleaseKey { environment, namespace, name } = situation.key.clone();
    Metadata { name, namespace, environment }
}

/// The refusal of a release in whose place something else is: Argo CD would write over it.
pub fn occupied(occupant: &Occupant, key: &ReleaseKey, target: &Target) -> Refusal {
    let Occupant { object, owner } = occupant;
    let ReleaseKey { environment, namespace, name } = key;
    let whose = match owner {
        Some(owner) => format!("it is of the release `{owner}`"),
        None => "no release made it".to_owned(),
    };
    let there = &target.namespace;
    let cure = match owner {
        None if object.starts_with("SeldonDeployment/") => format!(
            "choose another name; `kmlflow import {name} -n {namespace} -e {environment}` shows what release it would be, and with `--apply` takes it over"
        ),
        _ => "choose another name, or delete it first; `adopt=true` (`--adopt`) has it taken over".to_owned(),
    };
    Refusal::conflict(format!("`{object}` is in the namespace `{there}` already, and {whose}"), cure)
}

fn needs_stable(wanted: &Wanted) -> Refusal {
    Refusal::conflict(
        format!("a release by `{}` needs a stable version to compare with, and none is deployed", wanted.strategy),
        "release the stable version first with the strategy `single`",
    )
}
