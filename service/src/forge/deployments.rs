//! Deployments, which GitHub shows per environment beside the code; other forges have none.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::Call;
use super::kind::escaped;
use super::told::shortened;
use super::{Forge, ForgeError};
use crate::names::CommitId;

/// Something that came to an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub id: u64,
    /// The commit that it was made of, as the forge says it.
    pub commit: String,
    pub payload: Payload,
    pub state: DeploymentState,
}

/// What the service keeps with a deployment. One that somebody else made has none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Payload {
    /// What it brings.
    pub brings: String,
    /// What was there before; empty for nothing.
    pub before: String,
    /// The deployment that it replaces once it has succeeded.
    pub replaces: Option<u64>,
}

/// How a deployment fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentState {
    Pending,
    InProgress,
    Success,
    Failure,
    /// Another one has replaced it.
    Inactive,
}

/// The fields of a deployment that matter.
#[derive(Deserialize)]
struct Wire {
    id: u64,
    #[serde(default)]
    sha: String,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct WireStatus {
    state: String,
}

impl DeploymentState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Inactive => "inactive",
        }
    }

    /// `error` is one that somebody else set; `queued` is as good as none.
    fn parse(text: &str) -> Self {
        match text {
            "in_progress" => Self::InProgress,
            "success" => Self::Success,
            "failure" | "error" => Self::Failure,
            "inactive" => Self::Inactive,
            _ => Self::Pending,
        }
    }
}

impl Forge {
    /// Whether the forge shows deployments.
    pub fn has_deployments(&self) -> bool {
        self.api.kind.has_deployments()
    }

    /// The newest deployment of a task in an environment, as it fares; nothing where there is none.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn newest_deployment(&self, environment: &str, task: &str) -> Result<Option<Deployment>, ForgeError> {
        let query = format!("/deployments?environment={}&task={}&per_page=1", escaped(environment), escaped(task));
        let listed = self.api.ask(&Call::get("list deployments", self.api.of_repository(&query))).await?;
        let listed = Vec::<Wire>::deserialize(listed).map_err(|_| self.api.stranger())?;
        let Some(Wire { id, sha: commit, payload }) = listed.into_iter().next() else { return Ok(None) };
        let path = self.api.of_repository(&format!("/deployments/{id}/statuses?per_page=1"));
        let statuses = self.api.ask(&Call::get("read how a deployment fares", path)).await?;
        let statuses = Vec::<WireStatus>::deserialize(statuses).map_err(|_| self.api.stranger())?;
        let state = statuses.first().map_or(DeploymentState::Pending, |status| DeploymentState::parse(&status.state));
        Ok(Some(Deployment { id, commit, payload: Payload::read(&payload), state }))
    }

    /// Makes a deployment of a commit, as it is: nothing is merged for it, and no check of the commit is waited for, because what is told
    /// is on the branch already.
    ///
    /// # Errors
    /// The forge refuses or does not answer; where it broke off, there may be one.
    pub async fn deploy(
        &self,
        (environment, task): (&str, &str),
        commit: &CommitId,
        payload: &Payload,
    ) -> Result<u64, ForgeError> {
        let body = json!({
            "ref": commit.as_str(), "environment": environment, "task": task, "payload": payload,
            "description": shortened(&payload.brings), "auto_merge": false, "required_contexts": [],
        });
        let call = Call::make("make a deployment", self.api.of_repository("/deployments"), &body);
        let made = Wire::deserialize(self.api.ask(&call).await?).map_err(|_| self.api.stranger())?;
        Ok(made.id)
    }

    /// Says how a deployment fares. Those of other releases in the environment stay as they are.
    ///
    /// # Errors
    /// The forge refuses or does not answer.
    pub async fn set_deployment(
        &self,
        id: u64,
        state: DeploymentState,
        (description, url): (&str, Option<&str>),
    ) -> Result<(), ForgeError> {
        let mut body = json!({"state": state.as_str(), "description": shortened(description), "auto_inactive": false});
        if let Some(url) = url {
            body["environment_url"] = Value::from(url);
        }
        let path = self.api.of_repository(&format!("/deployments/{id}/statuses"));
        self.api.ask(&Call::write("say how a deployment fares", Method::POST, path, &body)).await.map(drop)
    }
}

impl Payload {
    /// GitHub gives an object back as one, or as its text.
    fn read(value: &Value) -> Self {
        let parsed = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        Self::deserialize(parsed.as_ref().unwrap_or(value)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_with_a_deployment_is_read_from_both_forms_of_it() {
        let kept = Payload { brings: "v8".to_owned(), before: "v7".to_owned(), replaces: Some(3) };
        let object = json!({"brings": "v8", "before": "v7", "replaces": 3});
        assert_eq!(Payload::read(&object), kept);
        assert_eq!(Payload::read(&Value::from(object.to_string())), kept);
        for strange in [json!("deploy"), Value::Null, json!({"brings": 8}), json!({"web": 1})] {
            assert_eq!(Payload::read(&strange), Payload::default(), "{strange}");
        }
    }

    #[test]
    fn each_state_is_read_as_it_is_written_and_an_unknown_one_is_to_come() {
        use DeploymentState::{Failure, InProgress, Inactive, Pending, Success};
        for state in [Pending, InProgress, Success, Failure, Inactive] {
            assert_eq!(DeploymentState::parse(state.as_str()), state);
        }
        assert_eq!((DeploymentState::parse("queued"), DeploymentState::parse("error")), (Pending, Failure));
    }
}
