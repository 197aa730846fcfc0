//! The worker as others see it: everything that can be asked of it, cheap to clone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::json;

use super::given_again;
use super::holds::{self, by_a_person, lifted_by};
use super::observe;
use super::read;
use super::replica::catch_up;
use super::request::inbox_full;
use super::shared::{Shared, not_deployed, read as locked, store_fault};
use super::{
    Accounts, ClusterDiff, DeliveryView, EnvironmentView, Fault, HistoryEntry, HoldView, LogView, Page, PolicyVerdict,
    ReleaseFilter, ReleaseView, RerenderSelection, Rerendered, StatusState, Subscription, TimelineEntry,
};
use super::{preview, rerender};
use crate::event::{DeliveryState, NewDelivery, Source};
use crate::git::Visit;
use crate::names::{AliasName, CommitId, EnvironmentName, ModelName, ReleaseKey, Version};
use crate::release::{Act, Intent, Phase, Refusal, RefusalKind};
use crate::store::{Accepted, Hold, Redelivered};

/// How long a look at a branch elsewhere is waited for before an act is refused: as long as for any answer.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// What others hold of the worker.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// What became of a delivery at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Durable now, and carried out soon (202).
    Accepted,
    /// It was carried out, or concerned nothing, before (200).
    Repeat,
}

/// Which deliveries to list, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryFilter {
    pub source: Option<Source>,
    pub state: Option<DeliveryState>,
    pub release: Option<ReleaseKey>,
    /// Only those that arrived before the one with this number.
    pub before: Option<i64>,
    pub limit: Option<u32>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Tokens, idempotency keys and the audit.
    pub fn accounts(&self) -> Accounts {
        self.shared.accounts.clone()
    }

    /// Stores a delivery durably, then lets it be carried out; does not wait for that.
    ///
    /// # Errors
    /// The inbox is full or the store fails; then nothing is stored.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<Received, Fault> {
        let shared = Arc::clone(&self.shared);
        to_its_end(async move {
            match shared.store.accept(delivery).await.map_err(store_fault)? {
                Accepted::New(delivery) | Accepted::Again(delivery) => {
                    let arrived = json!({"id": delivery.id, "number": delivery.number, "source": delivery.source, "state": delivery.state});
                    shared.ring.push("delivery", &arrived);
                    shared.has_arrived(delivery);
                    Ok(Received::Accepted)
                }
                Accepted::Sooner(delivery) => {
                    shared.is_wanted_now(delivery.number);
                    Ok(Received::Accepted)
                }
                Accepted::Repeat { state, .. } if state.is_waiting() => Ok(Received::Accepted),
                Accepted::Repeat { .. } => Ok(Received::Repeat),
                Accepted::Full => Err(inbox_full()),
            }
        })
        .await
    }

    /// Makes an act absolute against what is deployed now. Where another service leads, that is what anybody was told it did.
    ///
    /// # Errors
    /// The act makes no sense from what is deployed, or what is deployed cannot be seen.
    pub async fn absolute(&self, key: &ReleaseKey, act: Act) -> Result<Intent, Fault> {
        catch_up(&self.shared).await?;
        read::absolute(&self.shared, key, act).await
    }

    /// The same for an act that is to be done now: where it makes no sense by what a branch elsewhere was seen to have, that is looked at first, once for all
    /// who ask meanwhile. While the remote is away it is refused by what is known, for nothing is dropped by that.
    ///
    /// # Errors
    /// As of [`Self::absolute`].
    pub async fn absolute_now(&self, key: &ReleaseKey, act: Act) -> Result<Intent, Fault> {
        match self.absolute(key, act.clone()).await {
            Err(Fault::Refused(_)) if self.has_looked().await => self.absolute(key, act).await,
            told => told,
        }
    }

    /// Has a branch elsewhere looked at where this service leads, and waits for that: not for a look that is under way, which may have seen what was
    /// there before.
    async fn has_looked(&self) -> bool {
        let shared = &self.shared;
        if shared.repository.address().is_none() || !shared.replica.leads() || locked(&shared.state.trouble).is_some() {
            return false;
        }
        let before = shared.state.looks_begun.load(Ordering::SeqCst);
        let mut looked = shared.state.looked.subscribe();
        shared.inbox.note_push();
        let looked = looked.wait_for(|look| *look > before);
        tokio::time::timeout(LOOK_WITHIN, looked).await.is_ok_and(|looked| looked.is_ok())
    }

    /// The releases that a filter lets through, by key.
    pub fn releases(&self, filter: &ReleaseFilter) -> Page<ReleaseView> {
        read::releases(&self.shared, filter)
    }

    /// One release.
    ///
    /// # Errors
    /// It is not deployed.
    pub async fn release(&self, key: &ReleaseKey) -> Result<ReleaseView, Fault> {
        self.shared.environment(&key.environment)?;
        self.catch_up_if_it_can().await;
        let waiting = read::waiting(&self.shared, key).await;
        let leaving = || read::leaving(&self.shared, key).filter(|_| waiting.is_none());
        match read::view(&self.shared, key).or_else(leaving) {
            Some(view) => Ok(ReleaseView { waiting, ..view }),
            None => {
                let key = key.clone();
                self.shared.blocking(move |shared| Err(read::absent(shared, &key, waiting)?.into())).await
            }
        }
    }

    /// Reads the end of the log of a release's pod that is in trouble.
    ///
    /// # Errors
    /// No such release, no cluster, no pod in trouble, or its log cannot be read.
    pub async fn logs(&self, key: &ReleaseKey) -> Result<Page<LogView>, Fault> {
        self.shared.environment(&key.environment)?;
        self.shared.entry(key).ok_or_else(|| not_deployed(key))?;
        observe::logs(&self.shared, key).await.map(|items| Page { items, next: None })
    }

    /// Whether the cluster of an environment is watched.
    pub fn is_watched(&self, environment: &EnvironmentName) -> bool {
        observe::watched(&self.shared, environment).is_some()
    }

    /// Waits until a release is live with nothing under way, or stalled, at most `wait`; answers it as it is then.
    pub async fn until_live(&self, key: &ReleaseKey, wait: Duration) -> Option<ReleaseView> {
        let mut news = self.shared.ring.subscribe(None);
        let is_over = |view: &ReleaseView| match view.status.state {
            StatusState::Live => matches!(view.release.rollout.phase, Phase::Running | Phase::Settled),
            state => state == StatusState::Stalled,
        };
        let waiting = async {
            while read::view(&self.shared, key).is_some_and(|view| !is_over(&view)) {
                if news.next().await.is_none() {
                    break;
                }
            }
        };
        let _is_late = tokio::time::timeout(wait, waiting).await;
        read::view(&self.shared, key)
    }

    /// The commits of a release, newest first.
    ///
    /// # Errors
    /// There never was such a release, or the store fails.
    pub async fn history(
        &self,
        key: &ReleaseKey,
        before: Option<CommitId>,
        limit: Option<u32>,
    ) -> Result<Page<HistoryEntry>, Fault> {
        read::history(&self.shared, key, before, limit).await
    }

    /// The files of a release, `release.yaml` first, now or at a commit of its history.
    ///
    /// # Errors
    /// It is not deployed, or was not at that commit.
    pub async fn manifests(
        &self,
        key: &ReleaseKey,
        commit: Option<CommitId>,
    ) -> Result<IndexMap<String, String>, Fault> {
        let key = key.clone();
        self.catch_up_if_it_can().await;
        self.shared.blocking(move |shared| read::manifests(shared, &key, commit)).await
    }

    /// Sees what anybody was told another service did; where it cannot, what is shown may be old.
    pub(super) async fn catch_up_if_it_can(&self) {
        if let Err(fault) = catch_up(&self.shared).await {
            tracing::warn!(fault = ?fault, "What is shown may be old");
        }
    }

    /// Git against the cluster.
    ///
    /// # Errors
    /// The release is not deployed.
    pub async fn diff(&self, key: &ReleaseKey) -> Result<ClusterDiff, Fault> {
        self.release(key).await?;
        observe::diff(&self.shared, key).await
    }

    /// What happened to a release, newest first.
    ///
    /// # Errors
    /// There never was such a release, or the store fails.
    pub async fn timeline(&self, key: &ReleaseKey) -> Result<Page<TimelineEntry>, Fault> {
        read::timeline(&self.shared, key).await
    }

    /// Deliveries of the inbox, newest first; `next` is the `before` of the next page.
    ///
    /// # Errors
    /// The store fails.
    pub async fn deliveries(&self, filter: DeliveryFilter) -> Result<Page<DeliveryView>, Fault> {
        read::deliveries(&self.shared, filter).await
    }

    /// One delivery, by its sender's id or its number.
    ///
    /// # Errors
    /// There is none.
    pub async fn delivery(&self, id: &str) -> Result<DeliveryView, Fault> {
        read::delivery(&self.shared, id).await.map(DeliveryView::from)
    }

    /// Carries out a delivery once more, whatever became of it; one that still waits is tried now. Not over what was asked of its release since it was
    /// carried out: then it is answered as unchanged, with the reason, and stays as it was.
    ///
    /// # Errors
    /// There is none, or the store fails.
    pub async fn redeliver(&self, id: &str) -> Result<DeliveryView, Fault> {
        let delivery = read::delivery(&self.shared, id).await?;
        if let Some(overtaken) = given_again::overtaken(&self.shared, &delivery).await? {
            return Ok(overtaken.into());
        }
        let shared = Arc::clone(&self.shared);
        let given = to_its_end(async move {
            let given = shared.store.redeliver(delivery.number).await.map_err(store_fault)?;
            match &given {
                Some(Redelivered::Again(delivery)) => shared.has_arrived(delivery.clone()),
                Some(Redelivered::Sooner(delivery)) => shared.is_wanted_now(delivery.number),
                None => {}
            }
            Ok(given)
        });
        let Some(Redelivered::Again(delivery) | Redelivered::Sooner(delivery)) = given.await? else {
            return Err(read::no_delivery(id).into());
        };
        Ok(delivery.into())
    }

    /// Accepts and keeps everything from now on, and applies nothing, in one environment or in all.
    ///
    /// # Errors
    /// The environment is not configured, or the store fails.
    pub async fn hold(
        &self,
        environment: Option<EnvironmentName>,
        reason: &str,
        by: &str,
    ) -> Result<Vec<HoldView>, Fault> {
        if let Some(name) = &environment {
            self.shared.environment(name)?;
        }
        let hold =
            Hold { environment, reason: reason.to_owned(), by: Some(by.to_owned()), since: self.shared.clock.now() };
        holds::set(&self.shared, move |holds| by_a_person(holds, hold)).await.map_err(store_fault)?;
        Ok(self.holds_changed())
    }

    /// Applies again, beginning with what was kept; the reason, which may be empty, is for the log.
    ///
    /// # Errors
    /// The environment is not configured, something else is held, or the store fails.
    pub async fn unhold(
        &self,
        environment: Option<EnvironmentName>,
        reason: &str,
        by: &str,
    ) -> Result<Vec<HoldView>, Fault> {
        if let Some(name) = &environment {
            self.shared.environment(name)?;
        }
        let was_held = holds::lift(&self.shared, environment.as_ref()).await.map_err(store_fault)?;
        if !was_held {
            // What is so already is done; where something else is held, this was not what was meant.
            let held = self.holds();
            return if held.is_empty() { Ok(held) } else { Err(self.not_held(environment).into()) };
        }
        tracing::info!(reason, "A hold was lifted by {by}");
        Ok(self.holds_changed())
    }

    /// The refusal to lift a hold that is not there, with the holds that are.
    fn not_held(&self, environment: Option<EnvironmentName>) -> Refusal {
        let reason = environment.map_or_else(
            || "there is no hold of everything".to_owned(),
            |name| format!("environment `{name}` is not held"),
        );
        let held: Vec<String> = locked(&self.shared.holds).iter().map(lifted_by).collect();
        Refusal::conflict(reason, format!("lift what is held with {}", held.join(" or ")))
    }

    fn holds_changed(&self) -> Vec<HoldView> {
        self.shared.inbox.note_holds();
        self.holds()
    }

    /// The holds in force.
    pub fn holds(&self) -> Vec<HoldView> {
        locked(&self.shared.holds).iter().cloned().map(HoldView::from).collect()
    }

    /// Refuses an environment that is named and not there, naming those that are.
    ///
    /// # Errors
    /// It is not configured.
    pub fn check_environment(&self, name: Option<&EnvironmentName>) -> Result<(), Fault> {
        Ok(name.map_or(Ok(()), |name| self.shared.environment(name).map(drop))?)
    }

    /// Renders outdated releases with the present templates; where the selection names a rate, later and one after the other.
    ///
    /// # Errors
    /// The environment is not configured, or a release that was named is not deployed.
    pub async fn rerender(
        &self,
        selection: RerenderSelection,
        dry_run: bool,
        by: &str,
    ) -> Result<Vec<Rerendered>, Fault> {
        rerender::rerender(self, &self.shared, selection, dry_run, by).await
    }

    /// Says what the policies make of a registry state; every tag is on every version that an alias names.
    pub fn policy_test(
        &self,
        model: ModelName,
        aliases: BTreeMap<AliasName, Version>,
        tags: BTreeMap<String, String>,
    ) -> PolicyVerdict {
        preview::policy_test(&self.shared, model, aliases, tags)
    }

    /// The environments of the configuration, with the number of those releases that are to be counted.
    pub fn environments(&self, counts: impl Fn(&ReleaseKey, &ModelName) -> bool) -> Vec<EnvironmentView> {
        read::environments(&self.shared, counts)
    }

    /// Server-sent events from now on, or from after the one with this id.
    pub fn subscribe(&self, after: Option<u64>) -> Subscription {
        self.shared.ring.subscribe(after)
    }

    /// Says that somebody pushed into the embedded repository.
    pub fn pushed(&self) {
        self.shared.inbox.note_push();
    }

    /// The metrics in OpenMetrics text.
    pub async fn metrics(&self) -> String {
        read::metrics(&self.shared).await
    }

    /// Counts a delivery that was turned away at the door; `outcome` is a fixed word such as `unauthorized`.
    pub fn count_turned_away(&self, source: Source, outcome: &'static str) {
        self.shared.metrics.concluded(source, outcome, None);
    }

    /// Counts a request for MLflow's pages or API; `outcome` is a fixed word such as `answered`.
    pub fn count_proxied(&self, outcome: &'static str) {
        self.shared.metrics.proxied(outcome);
    }

    /// Counts an index page of MLflow; `outcome` is a fixed word such as `with-button`.
    pub fn count_mlflow_page(&self, outcome: &'static str) {
        self.shared.metrics.paged(outcome);
    }

    /// Counts a page of MLflow on which the button found no place; `page` is `model` or `version`.
    pub fn count_missing_anchor(&self, page: &'static str) {
        self.shared.metrics.anchor_missing(page);
    }

    /// Why the forge is told nothing and opens no pull request, with what a person does about it. Whoever follows asks the forge nothing.
    pub fn forge_refusal(&self) -> Option<String> {
        self.shared.settings.forge().filter(|_| self.shared.replica.leads())?.refusal()
    }

    /// The address of the remote that the branch lives at; nothing where it is embedded.
    pub fn remote_address(&self) -> Option<&str> {
        self.shared.repository.address()
    }

    /// Has whoever reads the embedded repository by its path find in it what was answered as done.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn put_in_place(&self) -> Result<(), Fault> {
        if !self.shared.repository.is_owing() {
            return Ok(());
        }
        self.shared.blocking(|shared| shared.repository.put_in_place().map_err(super::shared::git_fault)).await
    }

    /// Notes that somebody pushes to the embedded repository, until what is given back is dropped.
    pub fn expect_push(&self) -> Visit {
        self.shared.repository.expect_push()
    }

    /// Where the embedded repository lies, for serving it.
    pub fn repository_path(&self) -> PathBuf {
        self.shared.settings.data_dir.join(super::start::REPOSITORY_DIR)
    }
}

/// Does something to its end in a task of its own: where a caller hangs up, nothing stays stored that the writer has not heard of.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Fault> {
    tokio::spawn(work).await.unwrap_or(Err(Fault::Internal))
}

/// The refusal of a name that is not there.
pub(super) fn not_found(reason: String, cure: &str) -> Refusal {
    Refusal { kind: RefusalKind::NotFound, reason, cure: Some(cure.to_owned()), violations: Vec::new() }
}
