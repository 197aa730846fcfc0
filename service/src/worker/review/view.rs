//! A review as the API shows it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A change that waits for people at the forge, or what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewView {
    /// `awaiting-review`, `merged` or `closed`.
    pub state: ReviewState,
    /// The branch that it is on.
    pub branch: String,
    /// The number of its pull request, once that is open.
    pub number: Option<u64>,
    /// The page of its pull request.
    pub url: Option<String>,
    /// What it is about.
    pub summary: String,
    /// Who approves of it as it is.
    pub approved_by: Vec<String>,
    /// Who asks for changes.
    pub changes_requested_by: Vec<String>,
    /// Whether it is to be merged without a person.
    pub merges_itself: bool,
    /// What keeps it from going on, where something does.
    pub trouble: Option<String>,
}

/// What became of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewState {
    AwaitingReview,
    Merged,
    Closed,
}

impl ReviewState {
    /// Its name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingReview => "awaiting-review",
            Self::Merged => "merged",
            Self::Closed => "closed",
        }
    }

    /// The same for people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::AwaitingReview => "awaiting review",
            Self::Merged => "merged",
            Self::Closed => "closed without being merged",
        }
    }
}
