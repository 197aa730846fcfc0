//! Can it be served? What a model's files ask for, against what a runtime has.
//!
//! Beside it: whether a new signature breaks the callers of the live one, and where a cluster finds an artifact. The files come from
//! whoever may log a model, so every parser here is bounded. Nothing is fetched: that is the registry client's.

mod bounded;
mod location;
mod ml_model;
mod requirements;
mod runtime;
mod signature;
mod signature_change;
mod version;

pub use location::resolve_location;
pub use ml_model::{MlModel, PythonFunction};
pub use requirements::{Requirement, Requirements};
pub use runtime::{Runtime, Runtimes};
pub use signature::{Column, Inputs, Signature, Tensor};
pub use signature_change::{Break, SHOWN_MAX, SignatureChange, signature_change};

use crate::release::Refusal;

/// A file of a model that cannot be read, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{file}` {fault}")]
pub struct Unreadable {
    /// Which file: `MLmodel` or `requirements.txt`.
    pub file: &'static str,
    /// What is wrong with it, as the end of the sentence.
    pub fault: String,
}

impl From<Unreadable> for Refusal {
    fn from(error: Unreadable) -> Self {
        Self::invalid(error.to_string(), "log the model again with MLflow, or release an image")
    }
}
