//! The versions of a request, matched with what is deployed: which pods are there already, and what new ones are called.

use crate::names::{PredictorName, Version};
use crate::release::{Artifact, Refusal, Release, Role, Serving, Situation, Variant, Violations, Wanted, WantedArm};

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
    let named = arm.artifact.image.is_some() || arm.artifact.model_uri.is_some();
    let artifact = match same_version {
        _ if named => arm.artifact.clone(),
        Some(variant) => variant.artifact.clone(),
        None => default_artifact(&arm.version, situation)?,
    };
    complete(arm, wanted, artifact, &base)
}

/// Resolves the one version of a release that is not deployed yet.
pub(super) fn resolve_new(arm: &WantedArm, wanted: &Wanted, situation: &Situation) -> Result<Arm, Refusal> {
    let base = situation.serving.over(&Serving::defaults());
    let named = arm.artifact.image.is_some() || arm.artifact.model_uri.is_some();
    let artifact = if named { arm.artifact.clone() } else { default_artifact(&arm.version, situation)? };
    complete(arm, wanted, artifact, &base)
}

fn complete(arm: &WantedArm, wanted: &Wanted, artifact: Artifact, base: &Serving) -> Result<Arm, Refusal> {
    let for_all = wanted.serving.as_ref().map_or_else(|| base.clone(), |serving| serving.over(base));
    let serving = arm.serving.as_ref().map_or_else(|| for_all.clone(), |serving| serving.over(&for_all));
    // What a tag of the registry, a policy or the configuration says is checked like what a request says, and now as a whole.
    let mut found = Violations::default();
    artifact.check("", &mut found);
    serving.check_whole("serving", &mut found);
    let found = found.into_vec();
    if !found.is_empty() {
        return Err(Refusal::violations(found));
    }
    if artifact.model_uri.is_some() && serving.runtime.is_none() {
        return Err(Refusal::invalid(
            "no runtime is configured that serves a model artifact",
            "name one in `serving.runtime`, or set `runtimes` in the configuration",
        ));
    }
    Ok(Arm { version: arm.version.clone(), artifact, serving })
}

fn default_artifact(version: &Version, situation: &Situation) -> Result<Artifact, Refusal> {
    let image = situation.default_images.get(version).ok_or_else(|| {
        Refusal::invalid(
            format!("it is not known what serves version {version}"),
            "name `image` or `modelUri` in the request, or `defaults.image` in the policy",
        )
    })?;
    Ok(Artifact::of_image(image.clone()))
}

/// The next free predictor name of a version: `v7`, then `v7r2`, one above the highest that is deployed.
fn free_name(version: &Version, release: &Release) -> PredictorName {
    let deployed = release.spec.variants.iter().filter(|variant| variant.version == *version);
    let highest = deployed.map(|variant| variant.predictor.parts().1).max().unwrap_or(0);
    PredictorName::of(version, highest + 1)
}

/// What of the settings restarts pods when it changes: all but the number of pods and the docs path, which is the route's.
pub(super) fn pod_settings(serving: &Serving) -> Serving {
    Serving { replicas: None, docs_path: None, ..serving.clone() }
}
