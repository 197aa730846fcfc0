//! What serves a version: what the request names, else what the version names, its artifact, or the policy's image. In that order.

use super::findings::{ImageFinding, VersionFinding};
use super::situation::Situation;
use crate::names::{ModelName, Version};
use crate::release::{Artifact, Refusal, Variant, WantedArm};
use crate::servable::resolve_location;

/// Chooses what serves the version of an arm of a model; `deployed` is the variant of the same version that is there already.
///
/// # Errors
/// Nothing is known that would serve it, or what there is would not work.
pub(super) fn choose(
    (model, arm): (&ModelName, &WantedArm),
    runtime: Option<&str>,
    deployed: Option<&Variant>,
    situation: &Situation,
) -> Result<Artifact, Refusal> {
    let finding = situation.findings.versions.get(&arm.version);
    let default = situation.default_images.get(&arm.version);
    // What is deployed serves on, also where the registry lost it meanwhile.
    if deployed.is_none() && finding.is_some_and(|finding| finding.is_absent) {
        return Err(Refusal::invalid(
            format!("MLflow has no version {} of the model `{model}`", arm.version),
            "name a version that is there, or register it in MLflow first",
        ));
    }
    if let Some(image) = &arm.artifact.image {
        return of_image(image, deployed, situation);
    }
    if let Some(uri) = &arm.artifact.model_uri {
        return of_uri(uri, (model, &arm.version, runtime), deployed, situation);
    }
    if let Some(deployed) = deployed {
        return Ok(deployed.artifact.clone());
    }
    if let Some(image) = finding.and_then(|finding| finding.image.as_ref()) {
        return of_image(image, None, situation);
    }
    let of_artifact = finding.and_then(|finding| of_files(finding, (&arm.version, runtime), situation));
    match (of_artifact, default) {
        (Some(Ok(artifact)), _) => Ok(artifact),
        (_, Some(image)) => of_image(image, None, situation),
        (Some(Err(refusal)), None) => Err(refusal),
        (None, None) => Err(Refusal::invalid(
            format!("it is not known what serves version {}", arm.version),
            "name `image` or `modelUri` in the request, set the tag `serving_image` on the version, or name `defaults.image` in the policy",
        )),
    }
}

/// Whether a new version breaks those who call the one that serves.
///
/// # Errors
/// It does, and the request does not say that it may.
pub(super) fn check_callers(live: &Version, candidate: &Version, situation: &Situation) -> Result<(), Refusal> {
    let change = situation.findings.signature_change(live, candidate);
    change.and_then(|change| change.refusal(live, candidate)).map_or(Ok(()), Err)
}

/// The image with its digest, where its registry says which that is.
fn of_image(image: &str, deployed: Option<&Variant>, situation: &Situation) -> Result<Artifact, Refusal> {
    let why = match situation.findings.images.get(image) {
        Some(ImageFinding::Pinned(pinned)) => return Ok(Artifact::of_image(pinned.clone())),
        Some(ImageFinding::Missing(refusal)) => return Err(refusal.clone()),
        Some(ImageFinding::Unpinned(why)) => why.as_str(),
        None => "its registry was not asked",
    };
    // What was resolved before is not forgotten because the registry is silent now: the pods would restart.
    let before = deployed.and_then(|variant| variant.artifact.image.as_ref());
    if let Some(pinned) = before.filter(|before| before.strip_prefix(image).is_some_and(|rest| rest.starts_with('@'))) {
        return Ok(Artifact::of_image(pinned.clone()));
    }
    let artifact = Artifact::of_image(image.to_owned());
    if situation.rules.require_digest && artifact.is_unpinned() {
        return Err(Refusal::invalid(
            format!(
                "the image `{}` is not pinned to a digest ({why}), and `{}` requires that",
                crate::names::shown(image),
                situation.key.environment
            ),
            "name it with its digest (`…@sha256:…`), or see to it that the service can ask its registry",
        ));
    }
    Ok(artifact)
}

/// An artifact that the request names. `models:/<model>/<version>` is the version's own, wherever that is; what else only MLflow can follow
/// may be something else than the version.
fn of_uri(
    uri: &str,
    (model, version, runtime): (&ModelName, &Version, Option<&str>),
    deployed: Option<&Variant>,
    situation: &Situation,
) -> Result<Artifact, Refusal> {
    let finding = situation.findings.versions.get(version);
    let is_own =
        uri.strip_prefix("models:/").and_then(|rest| rest.strip_prefix(model.as_str())) == Some(&format!("/{version}"));
    if !is_own && is_followed_by_mlflow(uri) {
        return Err(Refusal::invalid(
            format!("`{}` is not known to be version {version} of `{model}`", crate::names::shown(uri)),
            "leave `modelUri` out: the files of the version are found in MLflow; or name where they lie, such as `s3://bucket/path`",
        ));
    }
    let found = finding.and_then(|finding| finding.location.clone()).filter(|_| is_own);
    let location = match found {
        Some(location) => location?,
        None => resolve_location(uri, situation.rules.artifacts_destination.as_deref())?,
    };
    // Files that lie elsewhere are others than the version's.
    let finding = finding.filter(|finding| finding.location.as_ref().is_some_and(|own| own.as_ref() == Ok(&location)));
    judged(&location, finding, runtime, situation)?;
    let digest = digest_of(finding).or_else(|| {
        let same =
            deployed.map(|variant| &variant.artifact).filter(|before| before.model_uri.as_ref() == Some(&location));
        same.and_then(|before| before.model_digest.clone())
    });
    Ok(Artifact::of_model(location, digest))
}

/// The version's own files; none where nothing is known of them.
fn of_files(
    finding: &VersionFinding,
    (version, runtime): (&Version, Option<&str>),
    situation: &Situation,
) -> Option<Result<Artifact, Refusal>> {
    let location = match finding.location.clone()? {
        Ok(location) => location,
        Err(refusal) => return Some(Err(refusal)),
    };
    if let Err(refusal) = judged(&location, Some(finding), runtime, situation) {
        return Some(Err(Refusal {
            reason: format!("version {version} cannot be served: {}", refusal.reason),
            ..refusal
        }));
    }
    Some(Ok(Artifact::of_model(location, digest_of(Some(finding)))))
}

/// Whether the runtime can serve the files. What is not known of them is not held against them.
fn judged(
    location: &str,
    finding: Option<&VersionFinding>,
    runtime: Option<&str>,
    situation: &Situation,
) -> Result<(), Refusal> {
    let Some(runtime) = runtime else {
        return Err(Refusal::invalid(
            format!(
                "no runtime is configured that serves a model artifact such as `{}`",
                crate::names::shown(location)
            ),
            "name one in `serving.runtime`, set `runtimes` in the configuration, or release an image",
        ));
    };
    if situation.rules.require_digest && Artifact::of_image(runtime.to_owned()).is_unpinned() {
        return Err(Refusal::invalid(
            format!(
                "the runtime `{}` is not pinned to a digest, and `{}` requires that",
                crate::names::shown(runtime),
                situation.key.environment
            ),
            "name it with its digest (`…@sha256:…`) in `serving.runtime`, or in `runtimes` of the configuration",
        ));
    }
    match finding.and_then(|finding| finding.model.as_ref()) {
        Some(Ok(model)) => {
            let requirements = finding.and_then(|finding| finding.requirements.as_ref());
            situation.rules.runtimes.judge(runtime, model, requirements)
        }
        Some(Err(refusal)) => Err(refusal.clone()),
        None => Ok(()),
    }
}

fn digest_of(finding: Option<&VersionFinding>) -> Option<crate::names::Digest> {
    let model = finding?.model.as_ref()?.as_ref().ok()?;
    Some(model.digest.clone())
}

/// Addresses that say where something is in MLflow, not where a cluster finds it.
fn is_followed_by_mlflow(uri: &str) -> bool {
    ["models:/", "runs:/"].iter().any(|scheme| uri.starts_with(scheme))
}
