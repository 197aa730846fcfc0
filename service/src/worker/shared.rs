//! What the writer and the readers share: only the writer changes it, and only once Git and store have it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::events::Ring;
use super::index::{Entry, Index};
use super::metrics::Metrics;
use super::observe::{Observations, Untold};
use super::past::Past;
use super::queue::Inbox;
use super::registry::{Outbox, Reader, Sweeper};
use super::replica::Replica;
use super::review::Reviews;
use super::settings::Limits;
use super::statuses::Statuses;
use super::{Accounts, EnvironmentSettings, Fault, Settings, SweepReport};
use crate::bounds::RETRY_AFTER_SECONDS;
use crate::clock::Clock;
use crate::event::Delivery;
use crate::git::{GitError, Repository};
use crate::names::{EnvironmentName, ModelName, ReleaseKey};
use crate::policy::Policies;
use crate::registry::RegistryState;
use crate::release::{Refusal, RefusalKind};
use crate::store::{Hold, Store, StoreError};

/// What the writer and the readers share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) accounts: Accounts,
    pub(super) repository: Repository,
    pub(super) index: RwLock<Index>,
    /// What the registry is known to say, by model.
    pub(super) registry: RwLock<HashMap<ModelName, Arc<RegistryState>>>,
    pub(super) policies: RwLock<Arc<PolicySet>>,
    pub(super) holds: RwLock<Vec<Hold>>,
    /// Held while the holds are changed or read anew: what is known here is what the store had last.
    pub(super) changing_holds: tokio::sync::Mutex<()>,
    /// What the remote refused of each release, until it is another one; none for releases that are not there.
    pub(super) remote_refusals: RwLock<HashMap<ReleaseKey, String>>,
    /// Why a release does not go on and when it will, where something is known.
    pub(super) waits: RwLock<HashMap<ReleaseKey, Waits>>,
    pub(super) inbox: Inbox,
    /// What waits for people at the forge.
    pub(super) reviews: Reviews,
    /// What the forge is to be told about commits.
    pub(super) statuses: Statuses,
    /// What the clusters show of the releases.
    pub(super) observations: Observations,
    /// What Argo CD's doors are still to be told.
    pub(super) untold: Untold,
    /// Reads models anew.
    pub(super) reader: Reader,
    /// What the registry is to be told.
    pub(super) outbox: Outbox,
    /// What the last sweep found.
    pub(super) swept: RwLock<Option<SweepReport>>,
    /// One sweep at a time, and what it remembers.
    pub(super) sweeper: tokio::sync::Mutex<Sweeper>,
    /// Wakes whoever keeps the repository small.
    pub(super) many_pushes: Notify,
    /// The history before the first fetch.
    pub(super) past: Past,
    pub(super) ring: Ring,
    pub(super) metrics: Metrics,
    pub(super) state: WorkerState,
    pub(super) replica: Replica,
    /// Holds the data directory until the last user is gone.
    pub(super) _lock: super::lock::DataDirLock,
}

/// How the worker is doing, for those who ask whether the service is ready.
#[derive(Debug, Default)]
pub(super) struct WorkerState {
    /// The service takes nothing new any more; what is under way is still answered.
    pub(super) closing: CancellationToken,
    /// It is to end.
    pub(super) stopping: CancellationToken,
    /// The store refuses what Git has already; nothing new is taken in until it takes it, but for a way back.
    pub(super) is_store_behind: AtomicBool,
    /// Wakes whoever waits for the store, when it refuses.
    pub(super) store_refuses: Notify,
    /// The last turn that had to do with the branch failed for the repository; nothing is released until one succeeds.
    pub(super) is_repository_failing: AtomicBool,
    /// Why that turn failed, be it for the repository or for a remote.
    pub(super) trouble: RwLock<Option<String>>,
    /// How many looks at the branch were begun by turns.
    pub(super) looks_begun: AtomicU64,
    /// The newest of them that came to its end, or failed.
    pub(super) looked: tokio::sync::watch::Sender<u64>,
    /// It ended, as it was told to or by a mistake.
    pub(super) has_ended: AtomicBool,
}

/// The policies in force, and what is wrong with those that are not.
#[derive(Debug, Default)]
pub(super) struct PolicySet {
    pub(super) policies: Policies,
    /// One sentence each.
    pub(super) problems: Vec<String>,
}

/// What a release waits for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Waits {
    pub(super) reason: Option<String>,
    pub(super) until: Option<Timestamp>,
}

impl Shared {
    /// Whether there is somebody to ask about what a request would serve.
    pub(super) fn asks_about_requests(&self) -> bool {
        self.settings.registry.is_some() || self.settings.images.is_some()
    }

    /// A release as the readers see it.
    pub(super) fn entry(&self, key: &ReleaseKey) -> Option<Entry> {
        read(&self.index).get(key)
    }

    /// The settings of an environment.
    ///
    /// # Errors
    /// A refusal that names the known ones.
    pub(super) fn environment(&self, name: &EnvironmentName) -> Result<&EnvironmentSettings, Refusal> {
        self.settings.environments.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.settings.environments.keys().map(EnvironmentName::as_str).collect();
            Refusal {
                kind: RefusalKind::NotFound,
                reason: format!("environment `{name}` is not configured"),
                cure: Some(format!("the known environments are: {}", known.join(", "))),
                violations: Vec::new(),
            }
        })
    }

    /// Whether changes of a release wait for a review.
    pub(super) fn is_reviewed(&self, key: &ReleaseKey) -> bool {
        self.settings.forge().is_some()
            && self.environment(&key.environment).is_ok_and(|environment| environment.is_reviewed)
    }

    /// The hold that keeps an environment from changing, where there is one; that of everything rather than its own.
    pub(super) fn hold_of(&self, environment: &EnvironmentName) -> Option<Hold> {
        let holds = read(&self.holds);
        let of_it = holds.iter().filter(|hold| hold.environment.as_ref().is_none_or(|held| held == environment));
        of_it.min_by_key(|hold| hold.environment.is_some()).cloned()
    }

    /// The registry's state of a model as far as it is known.
    pub(super) fn registry_of(&self, model: &ModelName) -> Option<Arc<RegistryState>> {
        read(&self.registry).get(model).cloned()
    }

    /// Lets a delivery be carried out that the store has or will have. Where others may lead, whoever does finds it there.
    pub(super) fn has_arrived(&self, delivery: Delivery) {
        if !self.replica.is_one {
            self.inbox.push(delivery);
        }
    }

    /// Has a delivery tried now that still waits. Where others may lead, whoever does reads in the store that it was given in again.
    pub(super) fn is_wanted_now(&self, number: i64) {
        if !self.replica.is_one {
            self.inbox.try_now(number);
        }
    }

    /// The policies in force.
    pub(super) fn policy_set(&self) -> Arc<PolicySet> {
        Arc::clone(&read(&self.policies))
    }

    /// Runs something that reads or writes the repository off the threads that answer.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let shared = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(error = %error, "Work on the repository ended early: {error}");
                Err(Fault::Internal)
            }
        }
    }
}

/// Reads under a lock. A writer that panicked left nothing half done: every change under these locks is one assignment.
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Writes under a lock.
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// A failing repository as callers see it; the details go to the log.
pub(super) fn git_fault(error: GitError) -> Fault {
    if error.is_about_the_request() {
        return about_the_request(&error).into();
    }
    if !matches!(error, GitError::NotFetched) {
        tracing::error!(error = &error as &dyn std::error::Error, "The repository failed: {error}");
    }
    Fault::Unavailable { sentence: error.for_callers(), retry_after_seconds: RETRY_AFTER_SECONDS }
}

/// The refusal of what the repository cannot do for one caller, while it is well.
pub(super) fn about_the_request(error: &GitError) -> Refusal {
    let (kind, cure) = match error {
        GitError::UnknownCommit(_) => (RefusalKind::NotFound, "`kmlflow history NAME` shows the commits"),
        GitError::TooLarge { .. } => (RefusalKind::Conflict, "make the file smaller by a push"),
        _ => (RefusalKind::Conflict, "remove by a push what lies there, or choose another name"),
    };
    Refusal { kind, reason: error.to_string(), cure: Some(cure.to_owned()), violations: Vec::new() }
}

/// What helps whoever does not know whether it was kept what they asked for.
const LOOK_FIRST: &str = "look whether it is there before you ask for it again; under the same `Idempotency-Key` (`--idempotency-key`) the same request can be sent again at any time, and is carried out once";

/// A failing store as callers see it; the details go to the log.
pub(super) fn store_fault(error: StoreError) -> Fault {
    tracing::error!(error = &error as &dyn std::error::Error, "The store failed: {error}");
    let (sentence, retry_after_seconds) = (error.to_string(), RETRY_AFTER_SECONDS);
    match error {
        StoreError::Unsure(_) => Fault::Unsure { sentence, cure: LOOK_FIRST, retry_after_seconds },
        _ => Fault::Unavailable { sentence, retry_after_seconds },
    }
}

/// The answer where nothing of that name is deployed.
pub fn not_deployed(key: &ReleaseKey) -> Refusal {
    Refusal {
        kind: RefusalKind::NotFound,
        reason: format!("release `{key}` is not deployed"),
        cure: Some(
            "`kmlflow list` shows what is, `kmlflow history NAME` what was; `kmlflow release NAME --model M --version V` makes it"
                .to_owned(),
        ),
        violations: Vec::new(),
    }
}
