//! The versions of a request, matched with what is deployed: which pods are there already, and what new ones are called.

use super::artifact::choose;
use super::situation::Situation;
use crate::names::{PredictorName, Version};
use crate::release::{Artifact, Refusal, Release, Role, Serving, Variant, Violations, Wanted, WantedArm};

/// A version of a request with everything resolved that makes its pods.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arm {
    pub(super) version: Version,
    pub(super) artifact: Artifact,
    /// All settings, none left to a default.
    pub(super) serving: Serving,
}

impl Arm {
    /// The deployed variant with the very same pods.
    pub(super) fn deployed_in<'a>(&self, release: &'a Release) -> Option<&'a Variant> {
        release.spec.variants.iter().find(|variant| self.has_pods_of(release, variant))
    }

    /// Whether the variant's pods are this arm's.
    pub(super) fn has_pods_of(&self, release: &Release, variant: &Variant) -> bool {
        variant.version == self.version
            && variant.artifact == self.artifact
            && pod_settings(&release.serving_of(variant)) == pod_settings(&self.serving)
    }

    /// The arm as a variant: with the name of the same pods where they are there, else with a new one.
    pub(super) fn variant(&self, role: Role, release: &Release) -> Variant {
        let predictor = self
            .deployed_in(release)
            .map_or_else(|| free_name(&self.version, release), |variant| variant.predictor.clone());
        let base = release.spec.serving.over(&Serving::defaults());
        let serving = self.serving.differing_from(&base);
        Variant { role, version: self.version.clone(), predictor, artifact: self.artifact.clone(), serving }
    }
}

/// Resolves one version of a request for a release that is deployed.
///
/// What the request leaves out is as deployed: for the same version its own, else the stable variant's settings.
pub(super) fn resolve(
    arm: &WantedArm,
    wanted: &Wanted,
    release: &Release,
    situation: &Situation,
) -> Result<Arm, Refusal> {
    // Of two sets of pods of one version the newest is meant.
    let same_version =
        release.spec.variants.iter().filter(|v| v.version == arm.version).max_by_key(|v| v.predictor.parts().1);
    let base = match same_version.or_else(|| release.stable()) {
        _ if wanted.target.is_some() => Serving::defaults(),
        Some(variant) => release.serving_of(variant),
        None => release.spec.serving.over(&Serving::defaults()),
    };
    complete(arm, wanted, &base, same_version, situation)
}

/// Resolves the one version of a release that is not deployed yet.
pub(super) fn resolve_new(arm: &WantedArm, wanted: &Wanted, situation: &Situation) -> Result<Arm, Refusal> {
    let base = Serving { runtime: None, ..situation.serving.over(&Serving::defaults()) };
    complete(arm, wanted, &base, None, situation)
}

fn complete(
    arm: &WantedArm,
    wanted: &Wanted,
    base: &Serving,
    deployed: Option<&Variant>,
    situation: &Situation,
) -> Result<Arm, Refusal> {
    let for_all = wanted.serving.as_ref().map_or_else(|| base.clone(), |serving| serving.over(base));
    let mut serving = arm.serving.as_ref().map_or_else(|| for_all.clone(), |serving| serving.over(&for_all));
    // Only an artifact needs a runtime: the default one is no setting of what an image serves.
    let runtime = serving.runtime.clone().or_else(|| situation.serving.runtime.clone());
    let artifact = choose((&wanted.model, arm), runtime.as_deref(), deployed, situation)?;
    if artifact.model_uri.is_some() {
        serving.runtime = runtime;
    }
    // What a tag of the registry, a policy or the configuration says is checked like what a request says, and now as a whole.
    let mut found = Violations::default();
    artifact.check("", &mut found);
    serving.check_whole("serving", &mut found);
    let found = found.into_vec();
    if !found.is_empty() {
        return Err(Refusal::violations(found));
    }
    Ok(Arm { version: arm.version.clone(), artifact, serving })
}

/// The next free predictor name of a version: `v7`, then `v7r2`, one above the highest that is deployed.
pub(super) fn free_name(version: &Version, release: &Release) -> PredictorName {
    let deployed = release.spec.variants.iter().filter(|variant| variant.version == *version);
    let highest = deployed.map(|variant| variant.predictor.parts().1).max().unwrap_or(0);
    PredictorName::of(version, highest + 1)
}

/// What of the settings restarts pods when it changes: all but the number of pods and the docs path, which is the route's.
pub(super) fn pod_settings(serving: &Serving) -> Serving {
    Serving { replicas: None, docs_path: None, ..serving.clone() }
}
