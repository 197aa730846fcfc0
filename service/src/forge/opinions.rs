//! What people think of a pull request.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Forge, ForgeError, PullRequest};
use crate::names::{CommitId, is_plain_text};

/// What people think of a pull request, by name, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opinions {
    pub approved_by: Vec<String>,
    pub changes_requested_by: Vec<String>,
}

#[derive(Deserialize)]
struct WireReview {
    #[serde(default)]
    state: String,
    #[serde(default)]
    dismissed: bool,
    #[serde(default)]
    stale: bool,
    /// What was looked at; a forge may have forgotten it.
    #[serde(default)]
    commit_id: Option<String>,
    user: Option<WireUser>,
}

#[derive(Deserialize)]
struct WireUser {
    login: String,
}

impl Forge {
    /// What people think of a pull request, each by their last word that decides. Who approved of another commit than the one that is there has
    /// not seen what would be merged.
    ///
    /// # Errors
    /// There is none, or the forge does not answer.
    pub async fn opinions(&self, pull: &PullRequest) -> Result<Opinions, ForgeError> {
        let reviews = self.api.list("read the reviews", &format!("/pulls/{}/reviews", pull.number)).await?;
        let reviews = Vec::<WireReview>::deserialize(Value::from(reviews)).map_err(|_| self.api.stranger())?;
        Ok(Opinions::of(reviews, pull.head.as_ref()))
    }
}

impl Opinions {
    /// Forges list reviews from the oldest on; a comment decides nothing.
    fn of(reviews: Vec<WireReview>, head: Option<&CommitId>) -> Self {
        let mut last = BTreeMap::new();
        for review in reviews {
            let Some(WireUser { login }) = review.user.filter(|user| is_plain_text(&user.login)) else { continue };
            let is_of_head = review.commit_id.as_deref() == head.map(CommitId::as_str);
            let says = match review.state.as_str() {
                "APPROVED" => (!review.dismissed && !review.stale && is_of_head).then_some(true),
                "REQUEST_CHANGES" | "CHANGES_REQUESTED" => (!review.dismissed).then_some(false),
                "DISMISSED" => None,
                _ => continue,
            };
            last.insert(login, says);
        }
        let of = |wanted: bool| {
            last.iter().filter(|(_, says)| **says == Some(wanted)).map(|(login, _)| login.clone()).collect()
        };
        Self { approved_by: of(true), changes_requested_by: of(false) }
    }
}
