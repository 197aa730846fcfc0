//! What was found out about what a request would serve. It takes asking registries, so it is found out before the plan and handed in.

use indexmap::IndexMap;

use crate::names::Version;
use crate::release::Refusal;
use crate::servable::{MlModel, Requirements, Runtimes, Signature, SignatureChange, signature_change};

/// What was found out about images and versions; what is not here was not asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// By image as it is named.
    pub images: IndexMap<String, ImageFinding>,
    pub versions: IndexMap<Version, VersionFinding>,
}

/// What the image's registry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFinding {
    /// The image with its digest.
    Pinned(String),
    /// It could not be resolved, for this reason.
    Unpinned(String),
    /// It is not there.
    Missing(Refusal),
}

/// What the tracking server says of a version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VersionFinding {
    /// Whether it says that there is no such version.
    pub is_absent: bool,
    /// The image that it names by a tag of its own or of its run.
    pub image: Option<String>,
    /// Where a cluster finds its files, or why it cannot.
    pub location: Option<Result<String, Refusal>>,
    /// Its `MLmodel`, or why that says nothing.
    pub model: Option<Result<MlModel, Refusal>>,
    pub requirements: Option<Requirements>,
}

/// What the configuration says about serving.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServingRules {
    pub runtimes: Runtimes,
    /// Where a cluster finds what MLflow calls `mlflow-artifacts:/`.
    pub artifacts_destination: Option<String>,
    /// Whether an image must be pinned to a digest.
    pub require_digest: bool,
}

impl Findings {
    /// What a candidate changes for those who call the live version. None: they are the same, or nothing is known of the candidate.
    pub fn signature_change(&self, live: &Version, candidate: &Version) -> Option<SignatureChange> {
        let is_known = self.versions.get(candidate).is_some_and(|finding| matches!(finding.model, Some(Ok(_))));
        (live != candidate && is_known).then(|| signature_change(self.signature(live), self.signature(candidate)))
    }

    /// What callers of a version send, where it is known.
    fn signature(&self, version: &Version) -> Option<&Signature> {
        let model = self.versions.get(version)?.model.as_ref()?.as_ref().ok()?;
        model.signature.as_ref()
    }
}
