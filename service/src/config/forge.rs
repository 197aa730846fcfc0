//! Settings of the forge that the branch lives at, and of what goes through it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, Environment, EnvironmentConfig, GitConfig, SecretText, read_secret_file};
use crate::names::EnvironmentName;

/// GitHub's own host.
const GITHUB: &str = "github.com";

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
    /// GitHub where the address is one of its own and there is something to be let in by, else none.
    Auto,
    /// No forge.
    None,
    /// Gitea or Forgejo.
    Gitea,
    Github,
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

    /// The file that this token lies in, with the key that names it; nothing where the environment has it.
    pub fn forge_token_file(&self) -> Option<(&'static str, &Path)> {
        let own = self.forge.token_file.as_deref().map(|path| ("git.forge.token_file", path));
        if own.is_some() || self.forge.token.is_some() {
            return own;
        }
        self.credentials.password_file.as_deref().map(|path| ("git.credentials.password_file", path))
    }

    /// Which forge it is, where `auto` is made out.
    pub fn forge_kind(&self) -> ForgeKind {
        let has_access = self.forge_token().is_some() || self.credentials.github_app.is_set();
        match self.forge.kind {
            ForgeKind::Auto if is_of_github(&self.url) && has_access => ForgeKind::Github,
            ForgeKind::Auto => ForgeKind::None,
            kind => kind,
        }
    }

    /// Checks that there is a forge where an environment, or a setting of it, needs one.
    pub(super) fn check_forge(
        &self,
        environments: &BTreeMap<EnvironmentName, EnvironmentConfig>,
    ) -> Result<(), ConfigError> {
        let wrong = |sentence: &str, cure: &str| Err(ConfigError::new(sentence.to_owned(), cure));
        let (kind, app) = (self.forge_kind(), &self.credentials.github_app);
        app.check()?;
        let needing = environments.iter().find(|(_, environment)| environment.mode == Mode::PullRequest);
        if let (ForgeKind::None, Some((name, _))) = (kind, needing) {
            let sentence =
                format!("`environments.{name}.mode: pull_request` needs a forge, and `git.forge.kind` names none");
            let cure = if is_of_github(&self.url) {
                "set `git.credentials.github_app`, or `git.forge.token_file`, so that GitHub lets the service in"
            } else {
                "set `git.forge.kind` to github, or to gitea, which Forgejo is too"
            };
            return Err(ConfigError::new(sentence, cure));
        }
        if app.is_set() && kind != ForgeKind::Github {
            return wrong("`git.credentials.github_app` needs GitHub", "set `git.forge.kind` to github");
        }
        if app.is_set() && self.forge_token().is_some() {
            let cure = "leave out the password and `git.forge.token_file`, or the App";
            return wrong("`git.credentials.github_app` makes its own tokens, and another one is set", cure);
        }
        if kind == ForgeKind::None {
            return Ok(());
        }
        if self.is_embedded() {
            let cure = "set `git.url` to the address of a repository there";
            return wrong("`git.forge` needs a repository at the forge", cure);
        }
        if self.forge_token().is_none() && !app.is_set() {
            let cure = "set `git.forge.token_file`, or `git.credentials.password_file` to the same token";
            return wrong("`git.forge` needs a token", cure);
        }
        Ok(())
    }
}

/// Whether an address of Git is at GitHub itself, over https or ssh.
fn is_of_github(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split([':', '/']).next().unwrap_or_default();
    host.rsplit('@').next().is_some_and(|host| host.eq_ignore_ascii_case(GITHUB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn github_is_known_by_its_host_alone() {
        for url in [
            "https://github.com/a/b",
            "https://GitHub.com:443/a/b.git",
            "ssh://git@github.com/a/b",
            "git@github.com:a/b",
        ] {
            assert!(is_of_github(url), "{url}");
        }
        for url in [
            "embedded",
            "https://notgithub.com/a/b",
            "https://example.com/github.com/b",
            "https://github.com.example/a/b",
        ] {
            assert!(!is_of_github(url), "{url}");
        }
    }
}
