//! Settings of the forge that the branch lives at, and of what goes through it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Environment, EnvironmentConfig, GitConfig, SecretText, read_secret_file};
use crate::names::EnvironmentName;

/// The forge that the branch lives at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgeConfig {
    pub kind: ForgeKind,
    /// Where its API is, where the address of the repository does not say that.
    pub api_url: Option<String>,
    /// The token of the API, where it is another one than the password of pushes.
    pub token_file: Option<PathBuf>,
    /// The text of the token file, or the secret of the environment.
    #[serde(skip)]
    pub token: Option<SecretText>,
}

/// Which forge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForgeKind {
    /// No forge.
    None,
    /// Gitea or Forgejo.
    Gitea,
}

/// How changes reach the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are pushed to it.
    Push,
    /// What changes versions or the strategy is a pull request first.
    PullRequest,
}

impl ForgeConfig {
    pub(super) fn read_token(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let given = environment.get("KMLFLOW__GIT__FORGE__TOKEN").filter(|text| !text.trim().is_empty());
        self.token = match &self.token_file {
            Some(path) => Some(read_secret_file(path)?),
            None => given.map(|text| SecretText::new(text)),
        };
        Ok(())
    }
}

impl GitConfig {
    /// The token that the forge's API is asked with: its own, or the password of pushes.
    pub fn forge_token(&self) -> Option<&SecretText> {
        self.forge.token.as_ref().or(self.credentials.password.as_ref())
    }

    /// Checks that there is a forge where an environment, or a setting of it, needs one.
    pub(super) fn check_forge(
        &self,
        environments: &BTreeMap<EnvironmentName, EnvironmentConfig>,
    ) -> Result<(), ConfigError> {
        let ForgeConfig { kind, .. } = &self.forge;
        let needing = environments.iter().find(|(_, environment)| environment.mode == Mode::PullRequest);
        if let (ForgeKind::None, Some((name, _))) = (kind, needing) {
            return Err(ConfigError::new(
                format!("`environments.{name}.mode: pull_request` needs a forge, and `git.forge.kind` names none"),
                "set `git.forge.kind` to gitea, which Forgejo is too",
            ));
        }
        if *kind == ForgeKind::None {
            return Ok(());
        }
        if self.is_embedded() {
            let cure = "set `git.url` to the address of a repository there";
            return Err(ConfigError::new("`git.forge` needs a repository at the forge".to_owned(), cure));
        }
        if self.forge_token().is_none() {
            let cure = "set `git.forge.token_file`, or `git.credentials.password_file` to the same token";
            return Err(ConfigError::new("`git.forge` needs a token".to_owned(), cure));
        }
        Ok(())
    }
}
