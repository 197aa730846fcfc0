//! Settings: one YAML file and the environment become a checked [`Config`], or one sentence that says what is wrong with them.
//!
//! The only reader of the environment. Ends where a stage gets its own few settings by value: no stage sees the whole `Config`.

mod client;
mod clusters;
mod forge;
mod git;
mod github_app;
mod images;
mod overlay;
mod secret;
mod store;
mod templates;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use client::*;
pub use clusters::*;
pub use forge::*;
pub use git::*;
pub use github_app::*;
pub use images::*;
pub use secret::*;
pub use store::*;
pub use templates::read_templates;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use self::overlay::{Layer, defaults, lay_over, not_supported, overlay, set};
use crate::names::EnvironmentName;
use crate::release::{GatewayRef, Links, MonitoringTarget, Period};
use crate::servable::Runtimes;

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
    pub mlflow: MlflowConfig,
    pub monitoring: MonitoringTarget,
    pub routing: RoutingConfig,
    pub kubernetes: KubernetesConfig,
    /// Clusters beside the one of `kubernetes`, by the names that environments use.
    pub clusters: BTreeMap<String, ClusterConfig>,
    pub argocd: ArgoCdConfig,
    pub environments: BTreeMap<EnvironmentName, EnvironmentConfig>,
    /// Images that serve an artifact, by image.
    pub runtimes: Runtimes,
    pub images: ImagesConfig,
    /// Grafana's and MLflow's base addresses; the release's own link is made per release.
    pub links: Links,
    pub templates_dir: Option<PathBuf>,
    /// `PATH`, where programs are looked for.
    #[serde(skip)]
    pub search_path: Option<String>,
}

/// The doors for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksConfig {
    pub mlflow: SenderConfig,
    pub generic: SenderConfig,
    /// GitHub, Gitea and Forgejo.
    pub github: SenderConfig,
    pub argocd: CallerConfig,
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

/// Whom a sender that signs nothing is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerConfig {
    pub token_files: Vec<PathBuf>,
    /// The texts of the token files and the token of the environment, every one of them live; empty: none is configured.
    #[serde(skip)]
    pub tokens: Vec<SecretText>,
}

/// The tracking server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlflowConfig {
    /// Its address, without a slash at the end once loaded.
    pub tracking_uri: Option<String>,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    /// The text of the password file, or the secret of the environment.
    #[serde(skip)]
    pub password: Option<SecretText>,
    /// What stands for `mlflow-artifacts:/` where a cluster reads, without a slash at the end once loaded.
    pub artifacts_destination: Option<String>,
    pub proxy: bool,
    /// The address of its own that MLflow's pages are reached by as well, without a slash at the end once loaded.
    pub public_url: Option<String>,
    pub sweep_interval: Period,
    pub write_back: bool,
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
    pub mode: Mode,
    /// Whether a release whose new predictor stalls is taken back by a commit.
    pub auto_rollback: bool,
    /// How long a phase lasts where no cluster is watched.
    pub blind_delay: Period,
    /// Whether an image must be pinned to a digest.
    pub require_digest: bool,
    /// The most releases made anew within a minute.
    pub new_releases_per_minute: u32,
}

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

/// The shortest time between two sweeps: each asks the tracking server for its whole registry.
const SWEEP_SECONDS_MIN: u64 = 1;

/// The variables of the environment.
pub type Environment = BTreeMap<String, String>;

/// The default of every key, with a comment each.
pub const DEFAULT_FILE: &str = include_str!("../config.default.yaml");

impl Config {
    /// Loads the file (`--config`, or `kmlflow.yaml` in the data directory), lays the environment over it, fills in the defaults
    /// and checks all of it.
    ///
    /// # Errors
    /// One sentence: what cannot be read, which key is unknown and what was meant, which value does not fit, what is not supported yet.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let from_environment = overlay(environment)?;
        let named = flags.config.as_deref().map(read_file).transpose()?;
        let data_dir = find_data_dir(flags, named.as_ref(), &from_environment, environment)?;
        let beside = data_dir.join("kmlflow.yaml");
        let file = match named {
            Some(file) => file,
            None if beside.exists() => read_file(&beside)?,
            None => Value::Null,
        };
        let mut settings = defaults(&file)?;
        lay_over(&mut settings, &file, "", Layer::File)?;
        for (path, text) in &from_environment {
            set(&mut settings, path, text)?;
        }
        let mut config: Self = serde_path_to_error::deserialize(settings).map_err(|error| {
            let key = error.path().to_string();
            let reason = error.into_inner().to_string();
            ConfigError::new(
                format!("`{key}` in the configuration is not right: {reason}"),
                "`kmlflow serve --defaults` prints every key with its default",
            )
        })?;
        config.listen = flags.listen.unwrap_or(config.listen);
        config.data_dir = Some(data_dir);
        config.search_path = environment.get("PATH").cloned();
        config.read_secrets(environment)?;
        config.check()?;
        Ok(config)
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new("."))
    }

    /// The address that others reach the service by, without a slash at the end, once it is known where it listens.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        let given = self.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        given.unwrap_or_else(|| format!("http://localhost:{}", bound.port()))
    }

    /// Whether tags are resolved to digests.
    pub fn resolves_images(&self) -> bool {
        match self.images.resolve {
            Resolve::On => true,
            Resolve::Off => false,
            Resolve::Auto => self.mlflow.tracking_uri.is_some() || self.environments.values().any(|e| e.require_digest),
        }
    }

    fn read_secrets(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let WebhooksConfig { mlflow, generic, github, argocd, allow_from: _, trusted_proxies: _ } = &mut self.webhooks;
        for (files, secrets, variable) in [
            (&mlflow.secret_files, &mut mlflow.secrets, "KMLFLOW__WEBHOOKS__MLFLOW__SECRET"),
            (&generic.secret_files, &mut generic.secrets, "KMLFLOW__WEBHOOKS__GENERIC__SECRET"),
            (&github.secret_files, &mut github.secrets, "KMLFLOW__WEBHOOKS__GITHUB__SECRET"),
            (&argocd.token_files, &mut argocd.tokens, "KMLFLOW__WEBHOOKS__ARGOCD__TOKEN"),
        ] {
            *secrets = files.iter().map(|path| read_secret_file(path)).collect::<Result<_, _>>()?;
            secrets.extend(
                environment.get(variable).filter(|text| !text.trim().is_empty()).map(|text| SecretText::new(text)),
            );
        }
        self.kubernetes.read(environment);
        self.argocd.read_secret(environment)?;
        self.images.read_credentials()?;
        self.git.read_secrets(environment)?;
        self.git.forge.read_token(environment)?;
        self.store.read_password(environment)?;
        self.mlflow.read_password(environment)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Self {
            listen,
            internal_listen: _,
            public_url,
            data_dir: _,
            store,
            git,
            webhooks,
            mlflow,
            monitoring: _,
            routing: _,
            kubernetes,
            clusters,
            argocd,
            environments,
            runtimes,
            images,
            ..
        } = self;
        store.check()?;
        git.check()?;
        git.check_forge(environments)?;
        for (name, environment) in environments {
            environment.check(name)?;
        }
        if environments.is_empty() {
            return Err(ConfigError::new(
                "`environments` names no environment, so nothing could be released".to_owned(),
                "name at least one, for example `environments: {production: {}}`",
            ));
        }
        check_runtimes(runtimes)?;
        images.check(environments)?;
        kubernetes.check(clusters)?;
        argocd.check()?;
        if public_url.as_deref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            return Err(ConfigError::new(
                "`public_url` must begin with http:// or https://".to_owned(),
                "write it like https://kmlflow.example.com",
            ));
        }
        mlflow.check()?;
        webhooks.check_open_to(*listen)
    }
}

impl MlflowConfig {
    fn read_password(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let given = environment.get("KMLFLOW__MLFLOW__PASSWORD").filter(|text| !text.trim().is_empty());
        self.password = match &self.password_file {
            Some(path) => Some(read_secret_file(path)?),
            None => given.map(|text| SecretText::new(text)),
        };
        let addresses = [&mut self.tracking_uri, &mut self.artifacts_destination, &mut self.public_url];
        for address in addresses.into_iter().flatten() {
            address.truncate(address.trim_end_matches('/').len());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Self { tracking_uri, username, password, public_url, sweep_interval, .. } = self;
        let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        let wrong = match tracking_uri.as_deref() {
            // What is between `//` and `@` would be a password in a log.
            Some(uri) if uri.contains('@') => Some((
                "tracking_uri",
                "must not have a user or a password in it",
                "set `mlflow.username` and `mlflow.password_file`",
            )),
            Some(uri) if !is_web(uri) => {
                Some(("tracking_uri", "must begin with http:// or https://", "write it like http://mlflow:5000"))
            }
            _ if public_url.as_deref().is_some_and(|url| !is_web(url)) => {
                Some(("public_url", "must begin with http:// or https://", "write it like https://mlflow.example.com"))
            }
            _ if username.is_some() != password.is_some() => Some((
                "username",
                "and a password are needed together",
                "set `mlflow.username` and `mlflow.password_file`, or neither",
            )),
            _ if *sweep_interval < Period::from_seconds(SWEEP_SECONDS_MIN) => {
                Some(("sweep_interval", "must be at least 1s", "60s is the default"))
            }
            _ => None,
        };
        match wrong {
            Some((key, rule, cure)) => Err(ConfigError::new(format!("`mlflow.{key}` {rule}"), cure)),
            None => Ok(()),
        }
    }
}

impl EnvironmentConfig {
    fn check(&self, name: &EnvironmentName) -> Result<(), ConfigError> {
        let Self {
            cluster,
            namespace_prefix,
            host_suffix,
            mode: _,
            auto_rollback: _,
            blind_delay: _,
            require_digest: _,
            new_releases_per_minute,
        } = self;
        let label = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let wrong = if cluster.trim().is_empty() {
            Some(("cluster", "must name a cluster, for example in-cluster"))
        } else if !label(namespace_prefix) || namespace_prefix.starts_with('-') || namespace_prefix.len() > 40 {
            Some(("namespace_prefix", "must be at most 40 lower-case letters, digits or `-`, for example team-"))
        } else if host_suffix.len() > 150 || !host_suffix.split('.').all(|part| !part.is_empty() && label(part)) {
            Some(("host_suffix", "must be a domain name of at most 150 characters, for example k5w.localhost"))
        } else if *new_releases_per_minute == 0 {
            Some(("new_releases_per_minute", "must be at least 1; to stop all releases use `kmlflow hold`"))
        } else {
            None
        };
        match wrong {
            Some((key, rule)) => {
                Err(ConfigError::new(format!("`environments.{name}.{key}` {rule}"), "change it in the configuration"))
            }
            None => Ok(()),
        }
    }
}

impl WebhooksConfig {
    /// Refuses to be reached from elsewhere with nothing but the secrets that the first start made for this machine. GitHub's and Argo
    /// CD's are not asked for: who has neither would have to make one up, and until they are told the ones of the first start, those doors believe nobody.
    fn check_open_to(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        let missing: Vec<&str> =
            [("webhooks.mlflow.secret_files", &self.mlflow), ("webhooks.generic.secret_files", &self.generic)]
                .into_iter()
                .filter(|(_, sender)| sender.secrets.is_empty())
                .map(|(key, _)| key)
                .collect();
        if listen.ip().is_loopback() || missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join("` and `");
        Err(ConfigError::new(
            format!("listening on {listen}, beyond this machine, needs webhook secrets, and `{missing}` are not set"),
            "name a file with a secret for each (`openssl rand -hex 32` makes one), or listen on 127.0.0.1",
        ))
    }
}

impl ConfigError {
    pub(super) fn new(sentence: String, cure: &str) -> Self {
        Self { sentence, cure: cure.to_owned() }
    }
}

/// Reads the environment: the one place that does.
pub fn environment() -> Environment {
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// Whether output to a terminal may be coloured, by `NO_COLOR` and `TERM`.
pub fn color_allowed(environment: &Environment) -> bool {
    let of = |name: &str| environment.get(name).map_or("", String::as_str);
    of("NO_COLOR").is_empty() && of("TERM") != "dumb"
}

/// The data directory that is used where no flag names one: `KMLFLOW__DATA_DIR`, or the XDG data directory + `kmlflow`.
pub fn default_data_dir(environment: &Environment) -> Option<PathBuf> {
    let of = |name: &str| environment.get(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let xdg =
        || of("XDG_DATA_HOME").filter(|path| path.is_absolute()).or_else(|| Some(of("HOME")?.join(".local/share")));
    of("KMLFLOW__DATA_DIR").or_else(|| Some(xdg()?.join("kmlflow")))
}

fn find_data_dir(
    flags: &Flags,
    file: Option<&Value>,
    overlay: &[(String, String)],
    environment: &Environment,
) -> Result<PathBuf, ConfigError> {
    let overridden = overlay.iter().any(|(path, text)| path == "data_dir" && !text.is_empty());
    let in_file = file.and_then(|file| file.get("data_dir")?.as_str().map(PathBuf::from)).filter(|_| !overridden);
    let found = flags.data_dir.clone().or(in_file).or_else(|| default_data_dir(environment));
    found.ok_or_else(|| {
        ConfigError::new(
            "there is no data directory: neither XDG_DATA_HOME nor HOME is set".to_owned(),
            "name one with --data-dir",
        )
    })
}

fn read_file(path: &Path) -> Result<Value, ConfigError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return ConfigError::new(format!("there is no file `{shown}`"), "check its path, or leave out --config");
        }
        ConfigError::new(
            format!("the configuration {shown} cannot be read: {}", error.kind()),
            "check its path, or leave out --config",
        )
    })?;
    let value: Value = serde_yaml::from_str(&text).map_err(|error| {
        ConfigError::new(format!("the configuration {shown} is not YAML: {error}"), "correct it at the line named")
    })?;
    match value {
        Value::Mapping(_) | Value::Null => Ok(value),
        _ => Err(ConfigError::new(
            format!("the configuration {shown} is not a mapping of keys"),
            "write keys and values, for example `listen: 127.0.0.1:8080`",
        )),
    }
}

#[cfg(test)]
mod tests;
