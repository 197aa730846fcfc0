//! Settings of images: which of them serve artifacts, and how the registries of the others are asked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, EnvironmentConfig, SecretText, read_secret_file};
use crate::names::{EnvironmentName, shown};
use crate::release::{Serving, Violations};
use crate::servable::Runtimes;

/// How tags become digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesConfig {
    pub resolve: Resolve,
    /// Registries (`host` or `host:port`) that are spoken to without TLS.
    pub insecure: Vec<String>,
    pub auth_file: Option<PathBuf>,
    /// The text of `auth_file`, in the form of Docker's `config.json`.
    #[serde(skip)]
    pub credentials: Option<SecretText>,
}

/// Whether tags are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolve {
    /// Where a tracking server is set or an environment wants digests.
    Auto,
    On,
    Off,
}

impl ImagesConfig {
    pub(super) fn read_credentials(&mut self) -> Result<(), ConfigError> {
        self.credentials = self.auth_file.as_deref().map(read_secret_file).transpose()?;
        Ok(())
    }

    pub(super) fn check(&self, environments: &BTreeMap<EnvironmentName, EnvironmentConfig>) -> Result<(), ConfigError> {
        let is_host = |text: &str| {
            let bytes_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
            !text.is_empty() && bytes_ok
        };
        if let Some(wrong) = self.insecure.iter().find(|registry| !is_host(registry)) {
            return Err(ConfigError::new(
                format!("`images.insecure` names `{}`, which is no registry's name and port", shown(wrong)),
                "write it like localhost:5000",
            ));
        }
        let strict = environments.iter().find(|(_, environment)| environment.require_digest);
        match strict {
            Some((name, _)) if self.resolve == Resolve::Off => Err(ConfigError::new(
                format!("`environments.{name}.require_digest` needs digests, and `images.resolve` is `off`"),
                "set `images.resolve` to `auto`, or `require_digest` to false",
            )),
            _ => Ok(()),
        }
    }
}

/// Checks the table of images that serve artifacts.
pub(super) fn check_runtimes(runtimes: &Runtimes) -> Result<(), ConfigError> {
    for image in runtimes.0.keys() {
        let mut found = Violations::default();
        Serving { runtime: Some(image.clone()), ..Serving::default() }.check("runtimes", &mut found);
        if let Some(violation) = found.into_vec().first() {
            return Err(ConfigError::new(
                format!("`runtimes` names `{}`, which {}", shown(image), violation.detail),
                "write it like \"registry.example/mlserver:1.7.1\"",
            ));
        }
    }
    if runtimes.0.values().filter(|runtime| runtime.default).count() > 1 {
        return Err(ConfigError::new(
            "`runtimes` has more than one default".to_owned(),
            "leave `default: true` on one of them",
        ));
    }
    Ok(())
}
