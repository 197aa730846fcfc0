//! The clusters that are watched, what was seen in each, and what changed since it was asked last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::watch::watch;
use crate::live::{
    Blindness, Index, Kind, Object, Touched, WireApplication, WireDeployment, WirePod, WireRoute, WireSeldon,
    WireService,
};

/// A connection on which nothing comes for so long is dead: an API server has something for every watch once a minute, a bookmark at least. Nobody says
/// that a line was cut where a router forgot it.
const SILENT: Duration = Duration::from_secs(90);

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The one that the service runs in, by its service account.
    InCluster,
    /// By a kubeconfig file and one of its contexts; the file's own unless named.
    Kubeconfig { path: PathBuf, context: Option<String> },
}

/// Which clusters there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// By the names that environments use.
    pub clusters: BTreeMap<String, Address>,
    /// The one that Argo CD's Applications lie in.
    pub hub: String,
    /// Argo CD's namespace there.
    pub argocd_namespace: String,
}

/// Why a cluster cannot be tried at all: one sentence for the person who configured it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

/// The clusters. Cheap to clone.
#[derive(Clone)]
pub struct Clusters {
    settings: Arc<Settings>,
    watching: Arc<BTreeMap<String, Arc<Watching>>>,
    news: Arc<News>,
}

/// What changed since it was asked last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Clusters of which something can be seen that could not be, or the other way round: everything there is to be looked at.
    pub clusters: BTreeSet<String>,
    /// By cluster.
    pub touched: BTreeSet<(String, Touched)>,
}

/// What changed, until somebody asks: as much as there are objects at most, whoever asks how late.
#[derive(Debug, Default)]
struct News {
    changes: Mutex<Changes>,
    wake: Notify,
}

/// One cluster and what was seen in it.
pub(super) struct Watching {
    pub(super) name: String,
    pub(super) client: Client,
    index: RwLock<Index>,
    news: Arc<News>,
}

impl std::fmt::Debug for Clusters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clusters").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Clusters {
    /// Prepares the way to every cluster; none is asked anything yet.
    ///
    /// # Errors
    /// A kubeconfig or a service account cannot be used.
    pub async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        let news = Arc::new(News::default());
        let mut watching = BTreeMap::new();
        for (name, address) in &settings.clusters {
            let client = client(name, address).await?;
            let index = RwLock::default();
            let cluster = Watching { name: name.clone(), client, index, news: Arc::clone(&news) };
            watching.insert(name.clone(), Arc::new(cluster));
        }
        Ok(Self { settings: Arc::new(settings), watching: Arc::new(watching), news })
    }

    /// Whether a cluster of that name is watched.
    pub fn has(&self, cluster: &str) -> bool {
        self.watching.contains_key(cluster)
    }

    /// The name of the cluster that Argo CD's Applications lie in.
    pub fn hub(&self) -> &str {
        &self.settings.hub
    }

    /// Watches all of them until it is dropped.
    pub async fn run(&self) {
        let mut watches = JoinSet::new();
        for (name, cluster) in self.watching.iter() {
            let at = || Arc::clone(cluster);
            if *name == self.settings.hub {
                let namespace = Some(self.settings.argocd_namespace.clone());
                watches.spawn(watch::<WireApplication>(at(), Kind::Application, namespace));
            }
            watches.spawn(watch::<WireSeldon>(at(), Kind::Seldon, None));
            watches.spawn(watch::<WireDeployment>(at(), Kind::Deployment, None));
            watches.spawn(watch::<WirePod>(at(), Kind::Pod, None));
            watches.spawn(watch::<WireRoute>(at(), Kind::HttpRoute, None));
            watches.spawn(watch::<WireRoute>(at(), Kind::GrpcRoute, None));
            watches.spawn(watch::<WireService>(at(), Kind::Service, None));
        }
        while watches.join_next().await.is_some() {}
    }

    /// What was seen in a cluster; nothing where there is none of that name.
    pub fn see<T>(&self, cluster: &str, read: impl FnOnce(&Index) -> T) -> Option<T> {
        let watching = self.watching.get(cluster)?;
        Some(read(&watching.index.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Waits until something changed, and says what did since it was asked last.
    pub async fn changes(&self) -> Changes {
        loop {
            let changes = std::mem::take(&mut *self.news.changes.lock().unwrap_or_else(PoisonError::into_inner));
            if changes != Changes::default() {
                return changes;
            }
            self.news.wake.notified().await;
        }
    }

    pub(super) fn argocd_namespace(&self) -> &str {
        &self.settings.argocd_namespace
    }

    pub(super) fn watching(&self, cluster: &str) -> Option<&Arc<Watching>> {
        self.watching.get(cluster)
    }
}

impl Watching {
    pub(super) fn replace(&self, kind: Kind, objects: Vec<Object>) {
        let (touched, was_blind) = self.change(|index| {
            let was_blind = index.blindness(&[kind]).is_some();
            (index.replace(kind, objects), was_blind)
        });
        if was_blind {
            tracing::info!(cluster.name = %self.name, "{}s of the cluster `{}` are watched", kind.as_str(), self.name);
        }
        self.tell(touched, was_blind);
    }

    pub(super) fn apply(&self, object: Object) {
        let touched = self.change(|index| index.apply(object));
        self.tell(touched, false);
    }

    /// Takes in what was read beside the watch, where it is newer.
    pub(super) fn catch_up(&self, object: Option<Object>) {
        let Some(object) = object else { return };
        let touched = self.change(|index| index.catch_up(object));
        self.tell(touched, false);
    }

    pub(super) fn remove(&self, kind: Kind, (namespace, name): (&str, &str)) {
        let touched = self.change(|index| index.remove(kind, namespace, name));
        self.tell(touched, false);
    }

    pub(super) fn is_blind(&self, kind: Kind, why: Blindness) {
        let (is_said, is_new) = self.change(|index| (index.says(&why), index.is_blind(kind, why.clone())));
        if is_new && !is_said {
            tracing::warn!(cluster.name = %self.name, "{}; it is tried again", why.reason);
        }
        if is_new {
            self.tell([], true);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, touched: impl IntoIterator<Item = Touched>, is_all: bool) {
        let mut changes = self.news.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if is_all {
            changes.clusters.insert(self.name.clone());
        }
        changes.touched.extend(touched.into_iter().map(|touched| (self.name.clone(), touched)));
        drop(changes);
        self.news.wake.notify_one();
    }
}

/// A client of a cluster.
async fn client(name: &str, address: &Address) -> Result<Client, ConnectError> {
    let mut config = match address {
        Address::InCluster => kube::Config::incluster().map_err(|error| {
            ConnectError(format!("the cluster `{name}` cannot be reached from here by a service account: {error}"))
        })?,
        Address::Kubeconfig { path, context } => {
            let shown = path.display();
            // The words of the parser may quote the file, which has keys in it.
            let unusable = |why: &str| ConnectError(format!("the kubeconfig `{shown}` of the cluster `{name}` {why}"));
            if !path.exists() {
                return Err(unusable("is not there"));
            }
            let file = Kubeconfig::read_from(path).map_err(|_| unusable("is not one"))?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            let unknown = match context {
                Some(context) => format!("has no usable context `{context}`"),
                None => "has no usable current context".to_owned(),
            };
            kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|_| unusable(&unknown))?
        }
    };
    config.read_timeout = Some(SILENT);
    // What counts is when something was asked, not when a connection that is kept was heard of last.
    config.reset_reader_on_write = true;
    let client = Client::try_from(config);
    client.map_err(|_| ConnectError(format!("the credentials of the cluster `{name}` cannot be used")))
}
