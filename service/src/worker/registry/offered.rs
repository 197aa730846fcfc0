//! What serves a version for which the request names nothing, as far as nobody has to be asked: policies and tags.

use indexmap::IndexMap;

use super::inquiry::IMAGE_TAG;
use crate::names::Version;
use crate::plan::Findings;
use crate::policy::{self, PolicyDefaults};
use crate::release::{Refusal, Wanted, WantedArm};
use crate::worker::apply::Ground;

/// The images that the policy names for versions for which the request names nothing.
pub(in crate::worker) fn default_images(
    wanted: Option<&Wanted>,
    defaults: Option<&PolicyDefaults>,
) -> Result<IndexMap<Version, String>, Refusal> {
    let mut images = IndexMap::new();
    let (Some(wanted), Some(defaults)) = (wanted, defaults) else { return Ok(images) };
    let is_silent = |arm: &&WantedArm| arm.artifact.image.is_none() && arm.artifact.model_uri.is_none();
    for arm in wanted.arms.iter().chain(&wanted.stable).filter(is_silent) {
        let image = policy::image_for(defaults, &wanted.model, &arm.version).map_err(|error| {
            Refusal::invalid(
                error.to_string(),
                "correct `defaults.image` of the policy, or name `image` in the request",
            )
        })?;
        images.extend(image.map(|image| (arm.version.clone(), image)));
    }
    Ok(images)
}

/// What was found out, and beside it the images that versions name by tags, as far as the registry's events told of them.
pub(in crate::worker) fn with_tags(ground: &dyn Ground, wanted: Option<&Wanted>, findings: &Findings) -> Findings {
    let mut findings = findings.clone();
    let Some(wanted) = wanted else { return findings };
    let Some(state) = ground.registry_of(&wanted.model) else { return findings };
    for arm in wanted.arms.iter().chain(&wanted.stable) {
        if let Some(image) = state.tag(&arm.version, IMAGE_TAG).filter(|image| !image.is_empty()) {
            findings.versions.entry(arm.version.clone()).or_default().image.get_or_insert_with(|| image.to_owned());
        }
    }
    findings
}
