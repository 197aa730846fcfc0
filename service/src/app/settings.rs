//! The configuration, taken apart into what each part needs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::first_start::Secrets;
use crate::access::TokenHash;
use crate::config::{
    ArgoCdWebhookConfig, Config, ConfigError, EnvironmentConfig, GitConfig, IN_CLUSTER, ImagesConfig, KubernetesMode,
    LeaseConfig, MlflowConfig, Mode, Reached, SecretText, SenderConfig, StoreConfig, read_secret_file, read_templates,
};
use crate::git::{Author, SigningKey};
use crate::images::Resolver;
use crate::mlflow::proxy::Hosts;
use crate::mlflow::{self, Client, Password};
use crate::plan::EnvironmentTarget;
use crate::release::{Links, Serving};
use crate::render::Templates;
use crate::store::Address;
use crate::sync::{self, Clusters, DoorSettings, Doors, Lease, LeaseSettings, Sign};
use crate::webhook::live::LiveSecrets;
use crate::webhook::signature::{Secret, SecretError, sign_github_body};
use crate::worker::{EnvironmentSettings, RegistrySettings};
use crate::{web, worker};

/// Name and address of who makes the commits.
const AUTHOR: (&str, &str) = ("Kmlflow", "kmlflow@localhost");

/// How long the Lease of a leader lasts: longer than one that lost the database takes to know it and to end (six seconds and three), and as short as that
/// allows, because so long nothing is released when a leader has died without releasing it.
const LEASE_DURATION: Duration = Duration::from_secs(10);

/// Refuses to be reached from elsewhere with nothing but the secrets that the first start made for this machine; GitHub's and Argo CD's are
/// not asked for, because nobody who has neither should have to make one up, and a door believes nobody until its sender is told the first start's.
pub(super) fn check_reach(config: &Config, address: SocketAddr) -> Result<(), StartError> {
    let senders = [
        ("webhooks.mlflow.secret_files", &config.webhooks.mlflow),
        ("webhooks.generic.secret_files", &config.webhooks.generic),
    ];
    let missing: Vec<&str> =
        senders.iter().filter(|(_, sender)| sender.secrets.is_empty()).map(|(key, _)| *key).collect();
    if address.ip().is_loopback() || missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join("` and `");
    let sentence =
        format!("listening on {address}, beyond this machine, needs webhook secrets, and `{missing}` are not set");
    Err(StartError::new(sentence).cure("name a file with a secret for each, or listen on 127.0.0.1"))
}

/// Who makes the commits.
pub(super) fn author() -> Author {
    Author { name: AUTHOR.0.to_owned(), email: AUTHOR.1.to_owned() }
}

/// The key that signs them, where one is configured.
///
/// # Errors
/// The file holds no key that can sign.
pub(super) fn signing_key(config: &GitConfig) -> Result<Option<SigningKey>, StartError> {
    let (Some(file), Some(text)) = (&config.signing_key_file, &config.signing_key) else { return Ok(None) };
    let key = SigningKey::parse(text.expose()).map_err(|error| {
        StartError::new(format!("`git.signing_key_file` cannot be used: `{}` {error}", file.display()))
            .cure(error.cure(file))
    })?;
    tracing::info!("Commits are signed with {key}");
    Ok(Some(key))
}

/// What the worker needs.
pub(super) fn of_worker(config: &Config, data_dir: &Path, address: SocketAddr) -> Result<worker::Settings, StartError> {
    let page = config.public_url(address);
    let environments = config.environments.iter();
    let environments =
        environments.map(|(name, environment)| (name.clone(), of_environment(config, environment, &page)));
    let runtime = config.runtimes.default_image().map(str::to_owned);
    Ok(worker::Settings {
        data_dir: data_dir.to_owned(),
        remote: None,
        store: store(&config.store),
        seed: super::seed::seed(config.mlflow.tracking_uri.is_some()),
        author: author(),
        signing_key: signing_key(&config.git)?,
        environments: environments.collect(),
        templates: templates(config.templates_dir.as_deref())?,
        serving: Serving { runtime, ..Serving::defaults() },
        runtimes: config.runtimes.clone(),
        images: images(config)?,
        registry: registry(&config.mlflow)?,
        clusters: None,
        lease: None,
        doors: None,
    })
}

/// Where the store is.
fn store(config: &StoreConfig) -> Address {
    Address::new(&config.url, config.password.as_ref().map(SecretText::expose))
}

/// What asks the registries of images, where tags are to be resolved.
fn images(config: &Config) -> Result<Option<Arc<Resolver>>, StartError> {
    let ImagesConfig { resolve: _, insecure, auth_file: _, credentials } = &config.images;
    if !config.resolves_images() {
        return Ok(None);
    }
    let resolver = Resolver::new(insecure, credentials.as_ref().map(SecretText::expose));
    let resolver = resolver.map_err(|error| StartError::new(format!("`images` cannot be used: {error}")))?;
    Ok(Some(Arc::new(resolver)))
}

/// The tracking server, where one is configured.
fn registry(config: &MlflowConfig) -> Result<Option<RegistrySettings>, StartError> {
    let Some(client) = tracking_client(config)? else { return Ok(None) };
    let MlflowConfig { artifacts_destination, sweep_interval, write_back, .. } = config.clone();
    Ok(Some(RegistrySettings { client, sweep_interval, write_back, artifacts_destination }))
}

/// A client of the tracking server with the service's own account, where one is configured.
pub(super) fn tracking_client(config: &MlflowConfig) -> Result<Option<Client>, StartError> {
    let MlflowConfig { tracking_uri, username, password, .. } = config.clone();
    let Some(tracking_uri) = tracking_uri else { return Ok(None) };
    let password = password.map(|password| Password::new(password.expose().to_owned()));
    let client = Client::new(mlflow::Settings { tracking_uri, username, password });
    client.map(Some).map_err(|error| StartError::new(format!("`mlflow.tracking_uri` cannot be used: {error}")))
}

/// The clusters that are watched, where any is configured.
///
/// # Errors
/// A kubeconfig or the service account cannot be used.
pub(super) async fn clusters(config: &Config) -> Result<Option<Clusters>, StartError> {
    let clusters: BTreeMap<String, sync::Address> = config
        .watched_clusters()
        .into_iter()
        .map(|(name, reached)| {
            let address = match reached {
                Reached::ByServiceAccount => sync::Address::InCluster,
                Reached::ByKubeconfig { path, context } => sync::Address::Kubeconfig { path, context },
            };
            (name, address)
        })
        .collect();
    if clusters.is_empty() {
        return Ok(None);
    }
    let argocd_namespace = config.argocd.namespace.clone();
    let settings = sync::Settings { clusters, hub: IN_CLUSTER.to_owned(), argocd_namespace };
    match Clusters::connect(settings).await {
        Ok(clusters) => Ok(Some(clusters)),
        // Nobody asked for it: a pod without a service account goes on without.
        Err(error) if config.kubernetes.mode == KubernetesMode::Auto && config.kubernetes.is_in_a_pod => {
            tracing::warn!("No cluster is watched: {error}");
            Ok(None)
        }
        Err(error) => Err(StartError::new(error.to_string())
            .cure("correct `kubernetes` or `clusters`, or set `kubernetes.mode` to `off`")),
    }
}

/// The Lease that names the replica which leads, where one is configured.
pub(super) fn lease(config: &Config, clusters: Option<&Clusters>) -> Option<Lease> {
    let LeaseConfig { name, holder } = &config.kubernetes.lease;
    let (name, holder) = (name.clone()?, holder.clone()?);
    let lease = clusters.and_then(|clusters| clusters.lease(LeaseSettings { name, holder, duration: LEASE_DURATION }));
    if lease.is_none() {
        tracing::warn!(
            "`kubernetes.lease.name` names a Lease, and no cluster can be asked for it: the database alone decides who leads"
        );
    }
    lease
}

/// Argo CD's doors, where it is told of pushes; `repository` is the address that others read the branch by.
///
/// # Errors
/// The repository has no address that Argo CD could know it by: it takes a push of any other and does nothing.
pub(super) fn argocd_doors(config: &Config, repository: &str) -> Result<Option<Doors>, StartError> {
    let ArgoCdWebhookConfig { urls, secret_file: _, secret, repository_url } = &config.argocd.webhook;
    let Some(secret) = secret.as_ref().filter(|_| !urls.is_empty()) else { return Ok(None) };
    let unusable = |why: String| {
        StartError::new(format!("`argocd.webhook` cannot be used: {why}"))
            .cure("set `argocd.webhook.repository_url` to the address by which Argo CD reads the repository")
    };
    let secret = Secret::parse(secret.expose()).map_err(|error| unusable(error.to_string()))?;
    let sign: Sign = Arc::new(move |body| sign_github_body(&secret, body));
    if repository_url.is_none() && names_this_machine(repository) {
        return Err(unusable("Argo CD cannot know the repository by an address of this machine".to_owned()));
    }
    let repository = repository_url.as_deref().unwrap_or(repository).to_owned();
    let doors = Doors::new(DoorSettings { urls: urls.clone(), repository, branch: config.git.branch.clone(), sign });
    doors.map(Some).map_err(|error| unusable(error.to_string()))
}

/// What the doors and pages need.
pub(super) fn of_web(
    config: &Config,
    made: &Secrets,
    address: SocketAddr,
    sign_in_code: &TokenHash,
) -> Result<web::Settings, StartError> {
    let webhooks = &config.webhooks;
    Ok(web::Settings {
        mlflow_secrets: live_of_mlflow(&webhooks.mlflow, made)?,
        generic_secrets: live_of(&webhooks.generic.secrets, &made.generic, ("generic", Secret::parse_standard))?,
        github_secrets: live_of(&webhooks.github.secrets, &made.github, ("github", Secret::parse))?,
        argocd_tokens: live_of(&webhooks.argocd.tokens, &made.argocd, ("argocd", Secret::parse))?,
        allow_from: webhooks.allow_from.clone(),
        trusted_proxies: webhooks.trusted_proxies.clone(),
        public_url: config.public_url(address),
        sign_in_code: sign_in_code.clone(),
        with_health: config.internal_listen.is_none(),
    })
}

/// The host names that MLflow's pages are served under.
pub(super) fn hosts(config: &Config, address: SocketAddr) -> Arc<Hosts> {
    let own =
        config.mlflow.public_url.as_deref().filter(|_| config.mlflow.tracking_uri.is_some() && config.mlflow.proxy);
    Arc::new(Hosts::new(address.ip(), &config.public_url(address), own))
}

/// Whether the service is for this machine alone: it listens nowhere else, and nobody is told another name for it. Whoever puts a proxy before
/// it names it by its public address, and then a caller over loopback may be anybody.
pub(super) fn is_local(config: &Config, address: SocketAddr) -> bool {
    let page = config.public_url(address);
    let names = std::iter::once(page.as_str()).chain(config.mlflow.public_url.as_deref());
    address.ip().is_loopback() && names.into_iter().all(names_this_machine)
}

fn names_this_machine(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_own = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_own || host == "localhost" || host.ends_with(".localhost")
}

/// `page` is where the service's own pages are.
fn of_environment(config: &Config, environment: &EnvironmentConfig, page: &str) -> EnvironmentSettings {
    let EnvironmentConfig {
        cluster,
        namespace_prefix,
        host_suffix,
        mode,
        auto_rollback,
        blind_delay,
        require_digest,
        new_releases_per_minute,
    } = environment.clone();
    let links = Links { release: Some(page.to_owned()), ..config.links.clone() };
    let (gateway, monitoring) = (config.routing.gateway.clone(), config.monitoring.clone());
    let target = EnvironmentTarget { cluster, namespace_prefix, host_suffix, gateway, monitoring, links };
    let is_reviewed = mode == Mode::PullRequest;
    EnvironmentSettings { target, blind_delay, new_releases_per_minute, require_digest, auto_rollback, is_reviewed }
}

/// Every live secret of MLflow: the configured ones or, where there is none, those of the file that the first start made, which
/// `kmlflow mlflow connect` changes while the service runs.
fn live_of_mlflow(configured: &SenderConfig, made: &Secrets) -> Result<LiveSecrets, StartError> {
    if configured.secrets.is_empty() {
        let read = |path: &Path| {
            let text = read_secret_file(path).map_err(|error| error.sentence)?;
            Secret::parse_lines(text.expose()).map_err(|error| error.to_string())
        };
        return LiveSecrets::of_file(made.mlflow.clone(), read).map_err(StartError::new);
    }
    Ok(LiveSecrets::fixed(parsed(&configured.secrets, "mlflow", Secret::parse)?))
}

/// Every live secret of a door: the configured ones or, where there is none, the one that the first start made.
fn live_of(
    configured: &[SecretText],
    made: &SecretText,
    (name, parse): (&str, Parse),
) -> Result<Vec<Secret>, StartError> {
    let texts = if configured.is_empty() { std::slice::from_ref(made) } else { configured };
    parsed(texts, name, parse)
}

/// Reads the text of a secret as its door wants it.
type Parse = fn(&str) -> Result<Secret, SecretError>;

fn parsed(texts: &[SecretText], name: &str, parse: Parse) -> Result<Vec<Secret>, StartError> {
    let parsed = texts.iter().map(|text| parse(text.expose())).collect::<Result<_, _>>();
    parsed.map_err(|error| StartError::new(format!("a secret of `webhooks.{name}` cannot be used: {error}")))
}

fn templates(dir: Option<&Path>) -> Result<Templates, StartError> {
    let Some(dir) = dir else { return Ok(Templates::built_in()) };
    let files = read_templates(dir)?;
    Templates::with_overrides(files)
        .map_err(|error| StartError::new(format!("a template in `templates_dir` cannot be used: {error}")))
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::new(error.sentence).cure(error.cure)
    }
}

#[cfg(test)]
mod tests {
    use super::names_this_machine;

    #[test]
    fn only_names_of_this_machine_make_a_service_local() {
        for local in ["http://localhost:8080", "http://mlflow.localhost", "http://127.0.0.1:1/x", "http://[::1]"] {
            assert!(names_this_machine(local), "{local}");
        }
        for other in ["https://kmlflow.example", "http://localhost.example", "http://10.0.0.1", "nothing"] {
            assert!(!names_this_machine(other), "{other}");
        }
    }
}
