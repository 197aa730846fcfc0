//! `release.yaml` → manifests.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::names::{Digest, PredictorName};
use crate::release::{Refusal, Release};

/// A parsed template set with its digest; cheap to clone.
#[derive(Debug, Clone)]
pub struct Templates(Arc<Digest>);

impl Templates {
    /// The template set compiled into the program; parsed once.
    pub fn built_in() -> Self {
        todo!()
    }

    /// The built-in set with some templates replaced by name, for example `seldon.yaml.j2`.
    ///
    /// # Errors
    /// A name that is not of the set, or a text that does not parse.
    pub fn with_overrides(_files: BTreeMap<String, String>) -> Result<Self, RenderError> {
        todo!()
    }

    /// Digest over the names and texts of the set.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

/// The rendered files of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifests {
    /// File name → text, in the order of `kustomization.yaml`.
    pub files: IndexMap<String, String>,
    /// Predictor → digest of all that restarts its pods.
    pub pods: IndexMap<PredictorName, Digest>,
}

/// Why a release could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {}

impl RenderError {
    /// It as an answer to whoever asked for the release.
    pub fn refusal(&self) -> Refusal {
        todo!()
    }
}

/// Renders a release from its document alone; `rendered` is not read.
///
/// # Errors
/// A template that fails, or a manifest that breaks a rule of its kind or of the operator.
pub fn render(_release: &Release, _templates: &Templates) -> Result<Manifests, RenderError> {
    todo!()
}

/// Writes down in the release what was rendered.
pub fn finish(_release: &mut Release, _manifests: &Manifests, _templates: &Templates) {
    todo!()
}

/// The field paths of the SeldonDeployment CRD that renders use, sorted.
pub fn seldon_field_paths() -> &'static [&'static str] {
    todo!()
}
