//! Image registries: which digest a tag names at this moment.
//!
//! By the OCI distribution API (<https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>). A registry that cannot say
//! is no reason to refuse a release: the image is then marked as not pinned. One that says that there is no such image is. Nothing is
//! pulled or kept beyond a short memory.

mod challenge;
mod credentials;
mod memory;
mod reference;
mod registry;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::redirect;

use self::credentials::Credentials;
pub use self::credentials::UnreadableCredentials;
use self::memory::Memory;
use self::reference::Reference;
use self::registry::{Registry, Trouble};
use crate::names::{Digest, shown};
use crate::release::{Artifact, Refusal, Violations};

/// How long a registry may take to be reached.
const CONNECT: Duration = Duration::from_secs(2);

/// How long one image may take in all, tokens and redirects included: a caller waits for it within its ten seconds.
const WHOLE: Duration = Duration::from_secs(5);

/// The most redirects that are followed; registries answer manifests themselves.
const REDIRECTS_MAX: usize = 3;

/// What a tag was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The image with its digest: `registry.example/fraud:8@sha256:…`.
    Pinned(String),
    /// The registry did not say; the reason is a sentence for people, without anything secret.
    Unpinned { reason: String },
}

/// Asks registries. One for the whole service: it remembers answers for a moment.
#[derive(Debug)]
pub struct Resolver {
    client: reqwest::Client,
    insecure: Vec<String>,
    credentials: Credentials,
    memory: Mutex<Memory>,
    whole: Duration,
}

/// What a resolver cannot be made from, as a sentence.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    #[error(transparent)]
    Credentials(#[from] UnreadableCredentials),
    #[error("no connections to registries can be made: {0}")]
    Client(#[source] reqwest::Error),
}

impl Resolver {
    /// A resolver that speaks without TLS to the registries `insecure`, and knows the credentials of a Docker `config.json`.
    ///
    /// # Errors
    /// The credentials cannot be read.
    pub fn new(insecure: &[String], credentials: Option<&str>) -> Result<Self, ResolverError> {
        Self::with_limits(insecure, credentials, CONNECT, WHOLE)
    }

    fn with_limits(
        insecure: &[String],
        credentials: Option<&str>,
        connect: Duration,
        whole: Duration,
    ) -> Result<Self, ResolverError> {
        // An error means that it is chosen already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .connect_timeout(connect)
            .timeout(whole)
            .redirect(redirect::Policy::custom(follow))
            .referer(false)
            .build()
            .map_err(ResolverError::Client)?;
        let credentials = credentials.map(Credentials::parse).transpose()?.unwrap_or_default();
        let insecure =
            insecure.iter().map(|registry| reference::known_as(&registry.to_ascii_lowercase()).to_owned()).collect();
        Ok(Self { client, insecure, credentials, memory: Mutex::default(), whole })
    }

    /// Finds the digest that an image's tag names now. An image that has its digest already is returned as it is.
    ///
    /// # Errors
    /// It is no image's name, or its registry has no such image.
    pub async fn resolve(&self, image: &str) -> Result<Resolution, Refusal> {
        let mut found = Violations::default();
        Artifact::of_image(image.to_owned()).check("", &mut found);
        let found = found.into_vec();
        if !found.is_empty() {
            return Err(Refusal::violations(found));
        }
        let Some(reference) = Reference::parse(image) else { return Ok(Resolution::Pinned(image.to_owned())) };
        let now = Instant::now();
        if let Some(known) = self.memory().get(image, &reference.registry, now) {
            return Ok(known);
        }
        match self.ask(&reference).await {
            Ok(digest) => {
                let resolution = Resolution::Pinned(format!("{image}@{digest}"));
                self.memory().keep(image, &resolution, now);
                Ok(resolution)
            }
            Err(Trouble::Absent) => Err(absent(&reference)),
            Err(trouble) => {
                let resolution = Resolution::Unpinned { reason: trouble.reason(&reference.registry) };
                if trouble.is_of_the_whole_registry() {
                    self.memory().keep_unreachable(&reference.registry, &resolution, Instant::now());
                }
                Ok(resolution)
            }
        }
    }

    async fn ask(&self, reference: &Reference) -> Result<Digest, Trouble> {
        let registry = Registry {
            client: &self.client,
            is_insecure: self.insecure.contains(&reference.registry),
            login: self.credentials.of(&reference.registry),
        };
        tokio::time::timeout(self.whole, registry.digest(reference)).await.unwrap_or(Err(Trouble::Late))
    }

    /// Nothing panics while it holds the lock, and a memory that is half-written would still be a memory.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows a few redirects, and none to another scheme: credentials must not leave TLS. To another host reqwest sends no credentials.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let from = attempt.previous().last().map(|url| url.scheme().to_owned());
    if attempt.previous().len() > REDIRECTS_MAX || from.is_some_and(|scheme| scheme != attempt.url().scheme()) {
        return attempt.stop();
    }
    attempt.follow()
}

fn absent(reference: &Reference) -> Refusal {
    let Reference { registry, repository, tag } = reference;
    Refusal::invalid(
        format!("the registry `{}` has no image `{}`", shown(registry), shown(&format!("{repository}:{tag}"))),
        "push the image first, or correct its name and tag",
    )
}

#[cfg(test)]
mod tests;
