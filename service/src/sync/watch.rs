//! One watch: a kind of one cluster, listed, followed, and listed anew whenever it breaks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;

use super::access::resource;
use super::cluster::Watching;
use super::failure;
use super::kinds::{Small, api_resource};
use crate::live::{Kind, Object, Watched};

/// After a failure, the time before the next try: doubled from one to the next, so that a server that is back is found soon and one that is
/// away for long is left alone.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(8);

/// Objects of one answer of a list: the server holds no more than that for us at once.
const PAGE: u32 = 500;

/// Watches a kind for as long as it is not dropped.
pub(super) async fn watch<W>(watching: Arc<Watching>, kind: Kind, namespace: Option<String>)
where
    W: Watched + DeserializeOwned + Clone + Send + Sync + 'static,
{
    let of = api_resource(kind);
    let api: Api<Small<W>> = match &namespace {
        Some(namespace) => Api::namespaced_with(watching.client.clone(), namespace, &of),
        None => Api::all_with(watching.client.clone(), &of),
    };
    let mut pause = RETRY_MIN;
    let mut unread = Unread::new(&watching.name, kind);
    loop {
        let mut config = watcher::Config::default().page_size(PAGE);
        if let Some(selector) = resource(kind).selector {
            config = config.labels(selector);
        }
        let mut events = watcher(api.clone(), config).boxed();
        let mut listed: Vec<Object> = Vec::new();
        let failure = loop {
            match events.try_next().await {
                Ok(Some(Event::Init)) => listed.clear(),
                Ok(Some(Event::InitApply(object))) => {
                    unread.note(&object);
                    listed.extend(object.kept(kind));
                }
                Ok(Some(Event::InitDone)) => {
                    watching.replace(kind, std::mem::take(&mut listed));
                    pause = RETRY_MIN;
                }
                Ok(Some(Event::Apply(object))) => {
                    unread.note(&object);
                    match object.kept(kind) {
                        Some(kept) => watching.apply(kept),
                        // It may have been ours until now.
                        None => watching.remove(kind, object.at()),
                    }
                }
                Ok(Some(Event::Delete(object))) => {
                    unread.forget(&object);
                    watching.remove(kind, object.at());
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        // A version that is too old is normal, and the list that follows says all there is; until then what is known still counts.
        if let Some(error) = failure.filter(|error| !is_too_old(error)) {
            watching.is_blind(kind, failure::of_watch(&watching.name, kind, &error));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// The objects of a kind that cannot be read: each is named once, and left out.
struct Unread {
    cluster: String,
    kind: Kind,
    /// As many as there are of the kind at most.
    names: BTreeSet<String>,
}

impl Unread {
    fn new(cluster: &str, kind: Kind) -> Self {
        Self { cluster: cluster.to_owned(), kind, names: BTreeSet::new() }
    }

    fn note<W: Watched>(&mut self, object: &Small<W>) {
        let Some(why) = object.unread() else { return self.forget(object) };
        let (namespace, name) = object.at();
        if self.names.insert(format!("{namespace}/{name}")) {
            let (cluster, kind) = (&self.cluster, self.kind.as_str());
            let why = crate::live::plain(why);
            tracing::warn!(cluster.name = %cluster, "The {kind} `{namespace}/{name}` of the cluster `{cluster}` cannot be read and is left out: {why}");
        }
    }

    fn forget<W: Watched>(&mut self, object: &Small<W>) {
        let (namespace, name) = object.at();
        if !self.names.is_empty() {
            self.names.remove(&format!("{namespace}/{name}"));
        }
    }
}

fn is_too_old(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == 410,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
    }
}
