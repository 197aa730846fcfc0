//! What a forge is told about commits and pull requests: a status, and one comment that is kept up to date.

use reqwest::Method;
use serde_json::{Value, json};

use super::call::Call;
use super::{Forge, ForgeError};
use crate::names::CommitId;

/// The longest description of a status, in characters: GitHub takes 140.
const DESCRIPTION_CHARS_MAX: usize = 140;

/// How what a commit leads to fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitState {
    Pending,
    Success,
    Failure,
}

/// A status of a commit; the newest of a context counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    pub state: CommitState,
    pub context: String,
    /// One sentence; what is longer is cut.
    pub description: String,
    /// A page about it.
    pub url: Option<String>,
}

impl CommitState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl Forge {
    /// Sets a status of a commit.
    ///
    /// # Errors
    /// The forge does not know the commit, refuses, or does not answer.
    pub async fn set_status(&self, commit: &CommitId, status: &CommitStatus) -> Result<(), ForgeError> {
        let description = shortened(&status.description);
        let mut body = json!({"state": status.state.as_str(), "context": status.context, "description": description});
        if let Some(url) = &status.url {
            body["target_url"] = Value::from(url.as_str());
        }
        let path = self.api.of_repository(&format!("/statuses/{commit}"));
        let call = Call { is_idempotent: true, ..Call::make("set a status", path, &body) };
        self.api.ask(&call).await.map(drop)
    }

    /// Keeps one comment of a pull request: found by its first line, made or changed where it says something else.
    ///
    /// # Errors
    /// The forge refuses or does not answer.
    pub async fn keep_comment(&self, number: u64, first_line: &str, text: &str) -> Result<(), ForgeError> {
        let comments = format!("/issues/{number}/comments");
        let listed = self.api.list("read the comments", &comments).await?;
        let said = |comment: &Value| comment.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
        let wanted = format!("{first_line}\n{text}");
        let body = json!({"body": wanted});
        match listed.iter().find(|comment| said(comment).lines().next() == Some(first_line)) {
            Some(comment) if said(comment) == wanted => Ok(()),
            Some(comment) => {
                let id = comment.get("id").and_then(Value::as_u64).ok_or_else(|| self.api.stranger())?;
                let path = self.api.of_repository(&format!("/issues/comments/{id}"));
                self.api.ask(&Call::write("change a comment", Method::PATCH, path, &body)).await.map(drop)
            }
            None => {
                let path = self.api.of_repository(&comments);
                self.api.ask(&Call::make("comment", path, &body)).await.map(drop)
            }
        }
    }
}

/// A description of the length that a forge takes.
pub(super) fn shortened(description: &str) -> String {
    description.chars().take(DESCRIPTION_CHARS_MAX).collect()
}
