//! Settings of a GitHub App, which lets the service in instead of a password.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::{ConfigError, Environment, SecretText, read_secret_file};

/// A GitHub App as it is installed for the owner of the repository: all of it, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubAppConfig {
    #[serde(deserialize_with = "number")]
    pub id: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub installation: Option<u64>,
    pub private_key_file: Option<PathBuf>,
    /// The text of the key file, or the key of the environment.
    #[serde(skip)]
    pub private_key: Option<SecretText>,
}

impl GithubAppConfig {
    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        self.id.is_some() || self.installation.is_some() || self.private_key.is_some()
    }

    /// Its number, that of its installation, and its key.
    pub fn parts(&self) -> Option<(u64, u64, &SecretText)> {
        Some((self.id?, self.installation?, self.private_key.as_ref()?))
    }

    pub(super) fn read_key(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let given = environment.get("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__PRIVATE_KEY");
        self.private_key = match &self.private_key_file {
            Some(path) => Some(read_secret_file(path)?),
            None => given.filter(|text| !text.trim().is_empty()).map(|text| SecretText::new(text)),
        };
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let missing = match (self.id, self.installation, &self.private_key) {
            _ if !self.is_set() => return Ok(()),
            (None, ..) => "id",
            (_, None, _) => "installation",
            (.., None) => "private_key_file",
            _ => return Ok(()),
        };
        Err(ConfigError::new(
            format!("`git.credentials.github_app` needs `{missing}` too"),
            &format!("set `git.credentials.github_app.{missing}`; the App's pages at GitHub have it"),
        ))
    }
}

/// A number, or its digits as a text, which is what a variable is.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Number(u64),
        Text(String),
    }
    match Option::<Given>::deserialize(from)? {
        None => Ok(None),
        Some(Given::Number(number)) => Ok(Some(number)),
        Some(Given::Text(text)) => {
            text.trim().parse().map(Some).map_err(|_| serde::de::Error::custom("it must be a number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Flags, ForgeKind};
    use super::*;

    const KEY: (&str, &str) = ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__PRIVATE_KEY", "hunter2");

    fn load(git: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kmlflow.yaml"), git).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&Flags { data_dir: Some(dir.path().to_owned()), ..Flags::default() }, &variables.collect())
    }

    #[test]
    fn an_app_is_read_from_a_file_and_from_variables_and_its_key_is_not_shown() {
        let url = "https://github.com/acme/gitops.git";
        let app = "credentials: {github_app: {id: 4711, installation: 815}}";
        let config = load(&format!("git: {{url: \"{url}\", {app}}}"), &[KEY]).unwrap();
        let (id, installation, key) = config.git.credentials.github_app.parts().unwrap();
        assert_eq!((id, installation, key.expose()), (4711, 815, "hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
        let variables = [
            ("KMLFLOW__GIT__URL", url),
            ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__ID", "4711"),
            ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__INSTALLATION", "815"),
            KEY,
        ];
        assert_eq!(load("", &variables).unwrap().git, config.git);
        assert_eq!(config.git.forge_kind(), ForgeKind::Github);
    }

    #[test]
    fn github_is_found_by_its_address_where_there_is_a_way_in() {
        let kind = |git: &str| load(git, &[]).unwrap().git.forge_kind();
        assert_eq!(kind("git: {url: \"https://github.com/a/b\"}"), ForgeKind::None);
        assert_eq!(kind("git: {url: \"git@github.com:a/b\"}"), ForgeKind::None);
        let with = |url: &str| {
            let password = ("KMLFLOW__GIT__CREDENTIALS__PASSWORD", "t0ken");
            load(&format!("git: {{url: \"{url}\"}}"), &[password]).unwrap().git.forge_kind()
        };
        assert_eq!(with("https://github.com/a/b"), ForgeKind::Github);
        assert_eq!(with("https://git.example/a/b"), ForgeKind::None);
    }

    #[test]
    fn half_an_app_or_one_beside_something_else_is_refused_with_what_helps() {
        let app = "github_app: {id: 1, installation: 2}";
        let github = "url: \"https://github.com/a/b\"";
        let token = ("KMLFLOW__GIT__FORGE__TOKEN", "t0ken");
        for (git, variables, says) in [
            (format!("{github}, credentials: {{{app}}}"), vec![], "needs `private_key_file` too"),
            (format!("{github}, credentials: {{github_app: {{id: 1}}}}"), vec![KEY], "needs `installation` too"),
            (format!("{github}, credentials: {{github_app: {{id: x}}}}"), vec![KEY], "must be a number"),
            (format!("url: \"https://git.example/a/b\", credentials: {{{app}}}"), vec![KEY], "needs GitHub"),
            (format!("{github}, credentials: {{{app}}}"), vec![KEY, token], "makes its own tokens"),
            (
                format!("{github}, credentials: {{github_app: {{private_key: x}}}}"),
                vec![],
                "never stands in the configuration",
            ),
        ] {
            let error = load(&format!("git: {{{git}}}"), &variables).unwrap_err();
            assert!(error.sentence.contains(says) && !error.cure.is_empty(), "{git}: {error:?}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn pull_requests_at_github_need_a_way_in() {
        let reviewed = "git: {url: \"https://github.com/a/b\"}\nenvironments: {production: {mode: pull_request}}";
        let error = load(reviewed, &[]).unwrap_err();
        assert!(error.cure.contains("git.credentials.github_app"), "{error:?}");
        assert!(load(reviewed, &[("KMLFLOW__GIT__FORGE__TOKEN", "t0ken")]).is_ok());
    }
}
