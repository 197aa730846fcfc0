//! The image of a version for which nobody named one.

use super::PolicyDefaults;
use crate::names::{ModelName, Version};

/// The default image that the first embedded start without a tracking server seeds: a placeholder that shows the form.
pub const SEED_IMAGE: &str = "registry.example/{{ model }}:{{ version }}";

/// A `defaults.image` that does not give an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy's `defaults.image` does not work: {0}")]
pub struct ImageError(pub String);

/// The image that a policy's defaults name for a version, where they name one.
pub fn image_for(defaults: &PolicyDefaults, model: &ModelName, version: &Version) -> Result<Option<String>, ImageError> {
    let _ = (defaults, model, version);
    todo!()
}

/// The seed's `policies/default.yaml` with its `defaults.image` filled in.
pub fn seeded_default_policy() -> String {
    todo!()
}
