//! Settings: one YAML file and the environment become a checked [`Config`], or one sentence that says what is wrong with them.
//!
//! The only reader of the environment. Ends where a stage gets its own few settings by value: no stage sees the whole `Config`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::names::EnvironmentName;
use crate::release::{GatewayRef, Links, MonitoringTarget, Period};

/// Everything that can be set, checked and with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Another address for health and metrics.
    pub internal_listen: Option<SocketAddr>,
    /// The address that others reach the service by, where one was given; see [`Config::public_url`].
    public_url: Option<String>,
    /// Where store, embedded repository and secrets lie; always set once loaded, see [`Config::data_dir`].
    data_dir: Option<PathBuf>,
    pub store: StoreConfig,
    pub git: GitConfig,
    pub webhooks: WebhooksConfig,
    pub monitoring: MonitoringTarget,
    pub routing: RoutingConfig,
    pub environments: BTreeMap<EnvironmentName, EnvironmentConfig>,
    /// Images that serve an artifact, by image.
    pub runtimes: IndexMap<String, RuntimeConfig>,
    /// Grafana's and MLflow's base addresses; the release's own link is made per release.
    pub links: Links,
    pub templates_dir: Option<PathBuf>,
}

/// The SQL store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `sqlite:` is `kmlflow.db` in the data directory.
    pub url: String,
}

/// The GitOps repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitConfig {
    /// `embedded`.
    pub url: String,
    pub branch: String,
}

/// The doors for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksConfig {
    pub mlflow: SenderConfig,
    pub generic: SenderConfig,
    /// Who may deliver; empty: anyone who can sign.
    pub allow_from: Vec<IpNet>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// What a sender signs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderConfig {
    pub secret_files: Vec<PathBuf>,
    /// The texts of the secret files and the secret of the environment, every one of them live; empty: none is configured.
    #[serde(skip)]
    pub secrets: Vec<SecretText>,
}

/// Where routes attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingConfig {
    pub gateway: GatewayRef,
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentConfig {
    pub cluster: String,
    pub namespace_prefix: String,
    pub host_suffix: String,
    /// `push`.
    pub mode: String,
    /// How long a phase lasts where no cluster is watched.
    pub blind_delay: Period,
    /// The most releases made anew within a minute.
    pub new_releases_per_minute: u32,
}

/// An image that serves artifacts, and what it loads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    pub python: Option<String>,
    pub mlflow: Option<String>,
    pub flavours: Vec<String>,
    /// The one that serves where a request names none.
    pub default: bool,
}

/// A secret's text, which neither a log nor an error ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

/// What is wrong with the settings, for the person who wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct ConfigError {
    pub sentence: String,
    pub cure: String,
}

/// What the command line says about the settings of the service.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
}

/// How the command line reaches a service.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Base address without a slash at the end.
    pub url: String,
    pub token: Option<SecretText>,
}

impl Config {
    /// Loads the file (`--config`, or `kmlflow.yaml` in the data directory), lays the environment over it, fills in the defaults and checks all of it.
    pub fn load(_flags: &Flags, _environment: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        todo!()
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new("."))
    }

    /// The address that others reach the service by, without a slash at the end, once it is known where it listens.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", bound.port()))
    }
}

impl SecretText {
    /// Wraps a secret, without the white space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Reads a secret's file.
///
/// # Errors
/// It cannot be read, is empty, or can be read by everybody and does not lie on a projected Kubernetes volume.
pub fn read_secret_file(_path: &Path) -> Result<SecretText, ConfigError> {
    todo!()
}
