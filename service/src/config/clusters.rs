//! Which clusters are watched, and where Argo CD is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, Environment, SecretText, read_secret_file};
use crate::release::is_object_name;

/// The name of the cluster that `kubernetes` speaks of, and that environments name unless told otherwise.
pub const IN_CLUSTER: &str = "in-cluster";

/// The variable that Kubernetes sets in every pod.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";

/// How the cluster `in-cluster` is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesConfig {
    pub mode: KubernetesMode,
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub lease: LeaseConfig,
    /// Whether the service runs in a pod.
    #[serde(skip)]
    pub is_in_a_pod: bool,
}

/// The Lease that names the replica which leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    pub name: Option<String>,
    pub holder: Option<String>,
}

/// Whether and how a cluster is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KubernetesMode {
    /// In a pod the cluster that it runs in; elsewhere the `kubeconfig` where one is named, else none.
    Auto,
    Off,
    InCluster,
    Kubeconfig,
}

/// Another cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    pub kubeconfig: PathBuf,
    #[serde(default)]
    pub context: Option<String>,
}

/// Where Argo CD is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgoCdConfig {
    pub namespace: String,
    pub webhook: ArgoCdWebhookConfig,
}

/// How Argo CD is told of pushes where its cluster is not watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgoCdWebhookConfig {
    /// Its doors; empty: it is not told.
    pub urls: Vec<String>,
    pub secret_file: Option<PathBuf>,
    /// The text of the secret file, or the secret of the environment.
    #[serde(skip)]
    pub secret: Option<SecretText>,
    /// The address by which Argo CD reads the repository, where it is another one than ours.
    pub repository_url: Option<String>,
}

/// How a cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    ByServiceAccount,
    ByKubeconfig { path: PathBuf, context: Option<String> },
}

impl Config {
    /// Every cluster that is watched, by the name that environments use.
    pub fn watched_clusters(&self) -> BTreeMap<String, Reached> {
        let KubernetesConfig { mode, kubeconfig, context, lease: _, is_in_a_pod } = &self.kubernetes;
        let by_file =
            || kubeconfig.as_ref().map(|path| Reached::ByKubeconfig { path: path.clone(), context: context.clone() });
        let own = match mode {
            KubernetesMode::Off => return BTreeMap::new(),
            KubernetesMode::InCluster => Some(Reached::ByServiceAccount),
            KubernetesMode::Kubeconfig => by_file(),
            KubernetesMode::Auto if *is_in_a_pod => Some(Reached::ByServiceAccount),
            KubernetesMode::Auto => by_file(),
        };
        let others = self.clusters.iter().map(|(name, ClusterConfig { kubeconfig, context })| {
            (name.clone(), Reached::ByKubeconfig { path: kubeconfig.clone(), context: context.clone() })
        });
        own.map(|own| (IN_CLUSTER.to_owned(), own)).into_iter().chain(others).collect()
    }
}

impl ArgoCdConfig {
    pub(super) fn read_secret(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let given = environment.get("KMLFLOW__ARGOCD__WEBHOOK__SECRET").filter(|text| !text.trim().is_empty());
        self.webhook.secret = match &self.webhook.secret_file {
            Some(path) => Some(read_secret_file(path)?),
            None => given.map(|text| SecretText::new(text)),
        };
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let ArgoCdWebhookConfig { urls, secret_file: _, secret, repository_url } = &self.webhook;
        // What is between `//` and `@` would be a password in a log.
        let is_usable =
            |url: &String| (url.starts_with("http://") || url.starts_with("https://")) && !url.contains('@');
        let wrong = if !urls.iter().all(is_usable) {
            Some((
                "urls",
                "must begin with http:// or https:// and have no user in them",
                "write them like https://argocd.example.com/api/webhook",
            ))
        } else if !urls.is_empty() && secret.is_none() {
            Some((
                "secret_file",
                "is needed with `argocd.webhook.urls`, because Argo CD believes what is signed",
                "name a file with the `webhook.github.secret` of the Secret `argocd-secret`",
            ))
        } else if repository_url.as_ref().is_some_and(|url| url.starts_with("http") && url.contains('@')) {
            Some(("repository_url", "must have no user in it", "write it like https://git.example.com/team/gitops.git"))
        } else {
            None
        };
        match wrong {
            Some((key, rule, cure)) => Err(ConfigError::new(format!("`argocd.webhook.{key}` {rule}"), cure)),
            None => Ok(()),
        }
    }
}

impl KubernetesConfig {
    pub(super) fn read(&mut self, environment: &Environment) {
        self.is_in_a_pod = environment.get(IN_A_POD).is_some_and(|host| !host.is_empty());
    }

    pub(super) fn check(&self, others: &BTreeMap<String, ClusterConfig>) -> Result<(), ConfigError> {
        if self.mode == KubernetesMode::Kubeconfig && self.kubeconfig.is_none() {
            return Err(ConfigError::new(
                "`kubernetes.mode` is `kubeconfig`, and `kubernetes.kubeconfig` names no file".to_owned(),
                "name it, for example `kubeconfig: /etc/kmlflow/kubeconfig`",
            ));
        }
        if others.contains_key(IN_CLUSTER) {
            return Err(ConfigError::new(
                format!("`clusters.{IN_CLUSTER}` is the cluster that `kubernetes` speaks of"),
                "set `kubernetes.kubeconfig` instead, or give the cluster another name",
            ));
        }
        if self.mode != KubernetesMode::Off && !others.is_empty() && self.is_without_own() {
            return Err(ConfigError::new(
                "`clusters` names clusters, and Argo CD's own, `in-cluster`, is not configured".to_owned(),
                "set `kubernetes.kubeconfig` to reach the cluster that Argo CD runs in",
            ));
        }
        self.check_lease()
    }

    fn check_lease(&self) -> Result<(), ConfigError> {
        let LeaseConfig { name, holder } = &self.lease;
        let Some(name) = name else { return Ok(()) };
        let wrong = if !is_object_name(name) {
            Some(("is no name of an object".to_owned(), "write it like `kmlflow`: small letters, digits, `-` and `.`"))
        } else if holder.as_ref().is_none_or(|holder| holder.trim().is_empty()) {
            Some((
                "names a Lease, and `kubernetes.lease.holder` does not say who takes it".to_owned(),
                "give each replica its own name; in a pod KMLFLOW__KUBERNETES__LEASE__HOLDER by `fieldRef: {fieldPath: metadata.name}`",
            ))
        } else if self.mode == KubernetesMode::Off || self.is_without_own() {
            Some((
                "names a Lease, and no cluster is configured".to_owned(),
                "set `kubernetes.kubeconfig`, or name no Lease: the database decides who leads",
            ))
        } else {
            None
        };
        match wrong {
            Some((rule, cure)) => Err(ConfigError::new(format!("`kubernetes.lease.name` {rule}"), cure)),
            None => Ok(()),
        }
    }

    fn is_without_own(&self) -> bool {
        self.mode == KubernetesMode::Auto && !self.is_in_a_pod && self.kubeconfig.is_none()
    }
}
