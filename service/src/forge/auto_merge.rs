//! Merging without a person, once the rules of the branch let it.

use reqwest::Method;
use serde_json::{Value, json};

use super::call::{Call, words};
use super::line::GRAPHQL;
use super::{Forge, ForgeError, Kind, PullRequest};

/// The ways to merge at GitHub, in the order in which they are tried: one that the repository does not allow is followed by the next.
const METHODS: [&str; 3] = ["MERGE", "SQUASH", "REBASE"];

/// GitHub's words for a way that the repository does not allow.
const NOT_THIS_WAY: &str = "not allowed on this repository";

/// GitHub's word for a pull request that nothing keeps from being merged: then there is nothing to wait for, and it does not wait.
const CLEAN: &str = "clean status";

/// What became of the wish that a pull request be merged by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AutoMerge {
    /// It is merged once what the branch asks for is there, or is merged already.
    Scheduled,
    /// The forge does not do that here; its words.
    Refused(String),
}

impl Forge {
    /// Has a pull request merged as soon as the branch's rules let it.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn merge_when_ready(&self, pull: &PullRequest) -> Result<AutoMerge, ForgeError> {
        if self.api.kind == Kind::Gitea {
            let body = json!({"Do": "merge", "merge_when_checks_succeed": true});
            let path = self.api.of_repository(&format!("/pulls/{}/merge", pull.number));
            return self.wish(&Call::make("merge a pull request by itself", path, &body)).await;
        }
        let mut wished = AutoMerge::Refused(String::new());
        for method in METHODS {
            wished = self.wish_at_github(pull, method).await?;
            match &wished {
                AutoMerge::Refused(words) if words.contains(CLEAN) => return self.merge_now(pull, method).await,
                AutoMerge::Refused(words) if words.contains(NOT_THIS_WAY) => {}
                _ => break,
            }
        }
        Ok(wished)
    }

    /// By <https://docs.github.com/en/graphql/reference/mutations#enablepullrequestautomerge>.
    async fn wish_at_github(&self, pull: &PullRequest, method: &str) -> Result<AutoMerge, ForgeError> {
        let input = format!("{{pullRequestId: $id, mergeMethod: {method}}}");
        let query =
            format!("mutation($id: ID!) {{ enablePullRequestAutoMerge(input: {input}) {{ clientMutationId }} }}");
        let body = json!({"query": query, "variables": {"id": pull.node}});
        self.wish(&Call::make("merge a pull request by itself", GRAPHQL.to_owned(), &body)).await
    }

    /// Merges what nothing keeps from it, as it was seen.
    async fn merge_now(&self, pull: &PullRequest, method: &str) -> Result<AutoMerge, ForgeError> {
        let mut body = json!({"merge_method": method.to_lowercase()});
        if let Some(head) = &pull.head {
            body["sha"] = head.as_str().into();
        }
        let path = self.api.of_repository(&format!("/pulls/{}/merge", pull.number));
        let call = Call { method: Method::PUT, ..Call::make("merge a pull request", path, &body) };
        match self.api.ask(&call).await {
            Ok(_) => Ok(AutoMerge::Scheduled),
            Err(ForgeError::Refused { words, .. } | ForgeError::Forbidden { words, .. }) => {
                Ok(AutoMerge::Refused(words))
            }
            Err(error) => Err(error),
        }
    }

    async fn wish(&self, call: &Call<'_>) -> Result<AutoMerge, ForgeError> {
        match self.api.ask(call).await {
            Ok(answer) => Ok(match said(&answer) {
                Some(words) => AutoMerge::Refused(words),
                None => AutoMerge::Scheduled,
            }),
            // It is scheduled already.
            Err(ForgeError::Refused { status: 409, .. }) => Ok(AutoMerge::Scheduled),
            Err(ForgeError::Refused { words, .. } | ForgeError::Forbidden { words, .. }) => {
                Ok(AutoMerge::Refused(words))
            }
            Err(error) => Err(error),
        }
    }
}

/// What GitHub's other API found wrong, which it says with a success.
fn said(answer: &Value) -> Option<String> {
    let errors = answer.get("errors")?.as_array().filter(|errors| !errors.is_empty())?;
    Some(words(&json!({"errors": errors}).to_string().into_bytes()))
}
