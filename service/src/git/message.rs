//! The message of a commit: subject, a body in plain words, trailers.

use crate::names::{DeliveryId, ModelName, ReleaseId, ReleaseKey, Version};
use crate::release::{Action, Strategy};

/// Everything that a commit message of the service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub key: ReleaseKey,
    /// The end of the subject, at most 50 characters; longer ones are cut.
    pub subject_what: String,
    pub body: String,
    pub release_id: ReleaseId,
    pub delivery_id: Option<DeliveryId>,
    pub requested_by: Option<String>,
    pub strategy: Strategy,
    pub model: ModelName,
    pub version: Version,
    pub action: Action,
}

impl Message {
    /// The text of the message, without anything of a caller that could break out of its line.
    pub fn to_text(&self) -> String {
        todo!()
    }
}

/// Reads the trailers of a message: those of its last paragraph, and only if that is nothing but trailers.
pub fn parse_trailers(message: &str) -> Vec<(String, String)> {
    todo!()
}
