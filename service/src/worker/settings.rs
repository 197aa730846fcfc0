//! What the worker needs of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::command::Git;
use crate::forge::Forge;
use crate::git::{self, Author, SigningKey};
use crate::images::Resolver;
use crate::mlflow::Client;
use crate::names::EnvironmentName;
use crate::plan::EnvironmentTarget;
use crate::release::{Period, Serving};
use crate::render::Templates;
use crate::servable::Runtimes;
use crate::store::{Address, Limits as StoreLimits};
use crate::sync::{Clusters, Doors, Lease};

/// What the worker needs of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Everything it keeps lies here; the repository in `gitops.git`.
    pub data_dir: PathBuf,
    /// Where the branch lives; nothing for a repository in the data directory itself.
    pub remote: Option<RemoteSettings>,
    /// `sqlite:` for the file in the data directory.
    pub store: Address,
    /// Paths and contents that a new repository begins with.
    pub seed: Vec<(String, Vec<u8>)>,
    /// Who makes the commits.
    pub author: Author,
    /// Signs them, where they are to be signed.
    pub signing_key: Option<SigningKey>,
    pub environments: BTreeMap<EnvironmentName, EnvironmentSettings>,
    pub templates: Templates,
    /// Settings of every new release.
    pub serving: Serving,
    /// The images that serve artifacts.
    pub runtimes: Runtimes,
    /// Says which digest a tag of an image names, where that is wanted.
    pub images: Option<Arc<Resolver>>,
    /// The tracking server, where there is one; otherwise its signed events are believed.
    pub registry: Option<RegistrySettings>,
    /// The clusters that are watched, where there are any.
    pub clusters: Option<Clusters>,
    /// The Lease that a replica has while it leads, where one is configured.
    pub lease: Option<Lease>,
    /// Argo CD's doors, where it is told of pushes to releases whose cluster is not watched.
    pub doors: Option<Doors>,
}

/// A branch that lives elsewhere.
#[derive(Debug, Clone)]
pub struct RemoteSettings {
    pub remote: git::remote::Settings,
    /// Fetches from it.
    pub git: Git,
    /// Between two looks at the branch where nobody tells of a push, and between two at the pull requests.
    pub poll_interval: Period,
    /// The forge that it is at, where there is one.
    pub forge: Option<Arc<Forge>>,
}

impl Settings {
    /// The forge that the branch is at.
    pub(super) fn forge(&self) -> Option<&Arc<Forge>> {
        self.remote.as_ref()?.forge.as_ref()
    }
}

/// The tracking server.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    pub client: Client,
    /// Between the end of a sweep and the next.
    pub sweep_interval: Period,
    /// Whether versions get `kmlflow.status.*` tags.
    pub write_back: bool,
    /// Where a cluster finds what MLflow calls `mlflow-artifacts:/`.
    pub artifacts_destination: Option<String>,
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentSettings {
    pub target: EnvironmentTarget,
    /// Where no cluster is watched: how long after a commit it counts as applied.
    pub blind_delay: Period,
    /// The storm guard: releases that events may newly make in a minute.
    pub new_releases_per_minute: u32,
    /// Whether an image must be pinned to a digest.
    pub require_digest: bool,
    /// Whether a commit that stalls by its own fault is taken back.
    pub auto_rollback: bool,
    /// Whether what changes versions or the strategy waits for a review.
    pub is_reviewed: bool,
}

/// Bounds that nobody sets; tests make them small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most deliveries kept in memory: two batches, so that the writer never waits for the store, at some 4 kB each.
    pub(super) queued: usize,
    /// The most deliveries of one turn, and the most releases whose time has come.
    pub(super) turn: usize,
    /// How many commits one request may lead to where phases follow at once: a run from its start to its end has far fewer.
    pub(super) following: usize,
    pub(super) store: StoreLimits,
}

impl Default for Limits {
    /// A turn of twice the size goes little faster, because its two syncs are shared by enough already, and takes twice the memory.
    fn default() -> Self {
        Self { queued: 256, turn: 64, following: 32, store: StoreLimits::default() }
    }
}

impl Limits {
    /// For a branch elsewhere: a push takes as long as the way there and back, so more go together.
    pub(super) fn far() -> Self {
        Self { queued: 512, turn: 256, ..Self::default() }
    }
}
