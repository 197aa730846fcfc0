//! What can go wrong between a request and its answer, as the caller needs to know it.

use crate::release::Refusal;

/// Why a call to the worker has no answer of the kind that was hoped for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// It is not done, and trying again without a change would not help.
    #[error("{0}")]
    Refused(Refusal),
    /// It may work a little later: the inbox is full, the disk is full, the repository is locked.
    #[error("{sentence}")]
    Unavailable { sentence: String, retry_after_seconds: u32 },
    /// Nobody can say whether it is done or will be: what would have said so broke.
    #[error("{sentence}")]
    Unsure { sentence: String, cure: &'static str, retry_after_seconds: u32 },
    /// A mistake in the service; the details are in its log.
    #[error("the service made a mistake; its log has the details")]
    Internal,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
