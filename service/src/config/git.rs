//! Settings of the GitOps repository: where it lives, and with what it lets us in.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Environment, ForgeConfig, GithubAppConfig, SecretText, not_supported, read_secret_file};
use crate::release::Period;

/// The address that stands for the repository in the data directory.
const EMBEDDED: &str = "embedded";

/// The branch of the repository in the data directory.
const EMBEDDED_BRANCH: &str = "main";

/// The shortest time between two looks at a branch elsewhere: each starts Git, and asks the remote.
const POLL_SECONDS_MIN: u64 = 1;

/// The GitOps repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitConfig {
    /// `embedded`, or an address as `git clone` takes it.
    pub url: String,
    pub branch: String,
    pub credentials: GitCredentials,
    pub forge: ForgeConfig,
    /// The only authorities that are believed to sign for an address of https.
    pub ca_file: Option<PathBuf>,
    /// Whether http to another machine is spoken.
    pub allow_plain_http: bool,
    /// Words for the remote's hooks.
    pub push_options: Vec<String>,
    /// Between two looks at a branch elsewhere.
    pub poll_interval: Period,
    /// The private SSH key that signs the commits of the service.
    pub signing_key_file: Option<PathBuf>,
    /// The text of that file.
    #[serde(skip)]
    pub signing_key: Option<SecretText>,
}

/// With what the remote lets us in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitCredentials {
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    /// The text of the password file, or the secret of the environment.
    #[serde(skip)]
    pub password: Option<SecretText>,
    pub ssh_key_file: Option<PathBuf>,
    pub known_hosts_file: Option<PathBuf>,
    pub github_app: GithubAppConfig,
}

impl GitConfig {
    /// Whether the repository is the one in the data directory.
    pub fn is_embedded(&self) -> bool {
        self.url == EMBEDDED
    }

    pub(super) fn read_secrets(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let given = environment.get("KMLFLOW__GIT__CREDENTIALS__PASSWORD").filter(|text| !text.trim().is_empty());
        self.credentials.password = match &self.credentials.password_file {
            Some(path) => Some(read_secret_file(path)?),
            None => given.map(|text| SecretText::new(text)),
        };
        self.credentials.github_app.read_key(environment)?;
        self.signing_key = self.signing_key_file.as_deref().map(read_secret_file).transpose()?;
        Ok(())
    }

    /// Checks what does not depend on the kind of the address.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let GitCredentials { username, password, ssh_key_file, known_hosts_file, .. } = &self.credentials;
        if self.is_embedded() && self.branch != EMBEDDED_BRANCH {
            return Err(not_supported("git.branch", "main, where git.url is `embedded`"));
        }
        // What is between `//` and `@` would be a password in a log; over ssh it is only a name.
        let has_user = |rest: &str| rest.split('/').next().is_some_and(|authority| authority.contains('@'));
        let is_web = |scheme: &str| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
        let wrong = if self.url.split_once("://").is_some_and(|(scheme, rest)| is_web(scheme) && has_user(rest)) {
            let cure = "set `git.credentials.username` and `git.credentials.password_file`";
            Some(("url", "must not have a user or a password in it", cure))
        } else if username.is_some() && password.is_none() {
            Some(("credentials.username", "needs a password", "set `git.credentials.password_file`"))
        } else if ssh_key_file.is_some() != known_hosts_file.is_some() {
            let cure = "set `git.credentials.ssh_key_file` and `git.credentials.known_hosts_file`, which `ssh-keyscan HOST` prints";
            Some(("credentials", "need a key and the hosts that are believed, together", cure))
        } else if password.is_some() && ssh_key_file.is_some() {
            Some(("credentials", "are a password or a key, not both", "leave out what the address does not need"))
        } else if self.poll_interval < Period::from_seconds(POLL_SECONDS_MIN) {
            Some(("poll_interval", "must be at least 1s", "1m is the default"))
        } else {
            None
        };
        match wrong {
            Some((key, rule, cure)) => Err(ConfigError::new(format!("`git.{key}` {rule}"), cure)),
            None => Ok(()),
        }
    }
}
