//! The Lease in which the replica that leads writes its name, for people and for the next leader.
//!
//! It elects nobody: whoever comes here leads already, by the lock of the database. It shows who that is (`kubectl get lease`), and has the next leader
//! wait for one that does not know yet that it is over. Where the cluster does not answer or refuses, the lock alone decides, as without a Lease.

mod claim;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1 as wire;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::claim::{Claim, Next};
use super::access::LEASES;
use super::cluster::Clusters;
use super::failure;

/// How long calls may take: an API server answers within milliseconds, and nothing is released meanwhile.
const CALL_MAX: Duration = Duration::from_secs(2);

/// How long an end waits for the release; after that it expires.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// How long a leader waits for another one that goes on renewing. One that lost its lock knows within six seconds and is given three to end, so this
/// one is stuck, or is none of ours.
const PATIENCE_DURATIONS: u32 = 3;

/// A Lease, and who takes it.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    pub name: String,
    /// The pod's name.
    pub holder: String,
    /// How long it lasts after it was renewed last, in whole seconds.
    pub duration: Duration,
}

/// The Lease. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lease {
    api: Api<wire::Lease>,
    cluster: Arc<str>,
    settings: Arc<LeaseSettings>,
    is_held: Arc<AtomicBool>,
}

/// What is done about a Lease for as long as its holder leads: it is renewed, and taken as soon as it can be. Whoever drops it has it released.
#[derive(Debug)]
pub struct Holding {
    task: JoinHandle<()>,
    end: DropGuard,
    replaced: CancellationToken,
}

/// What a try came to.
enum Tried {
    Held,
    /// Somebody else has written meanwhile.
    Changed,
    /// It is another's, for so long at least.
    Wait {
        holder: String,
        left: Duration,
    },
}

impl Clusters {
    /// A Lease in the namespace that the service runs in, or that the kubeconfig names.
    pub fn lease(&self, settings: LeaseSettings) -> Option<Lease> {
        let client = self.watching(self.hub())?.client.clone();
        let (api, cluster) = (Api::default_namespaced(client), self.hub().into());
        Some(Lease { api, cluster, settings: Arc::new(settings), is_held: Arc::default() })
    }
}

impl Lease {
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether it names this replica, as far as that is known.
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// Takes it, for a replica that has the lock. Waits for another holder until that releases it, or until it is over; not where it goes on and on,
    /// and not where the cluster does not answer or refuses: then the replica leads without it, and takes it as soon as it can.
    pub async fn take(&self) -> Holding {
        let mut candidate = Candidate::new(self.clone());
        let missed = candidate.take().await;
        candidate.note(missed);
        let (end, replaced) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn(candidate.keep(end.clone(), replaced.clone()));
        Holding { task, end: end.drop_guard(), replaced }
    }
}

impl Holding {
    /// Waits until another one has the Lease that this replica had: whoever takes it has the lock, so this one has it no more.
    pub async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Releases it, so that the next leader need not wait.
    pub async fn release(self) {
        let Self { task, end, replaced: _ } = self;
        drop(end);
        if timeout(RELEASE_MAX, task).await.is_err() {
            tracing::warn!(
                "The Lease of the leader could not be released in time; the next leader waits until it is over"
            );
        }
    }
}

/// One leader's dealings with the Lease.
struct Candidate {
    lease: Lease,
    claim: Claim,
    /// The Lease as this replica wrote it: it is renewed without being read.
    ours: Option<wire::Lease>,
    /// When it was last written.
    renewed: Option<Instant>,
    /// Whether this replica leads without it, once that was said.
    is_without: Option<bool>,
}

impl Candidate {
    fn new(lease: Lease) -> Self {
        let claim = Claim::new(&lease.settings.holder, lease.settings.duration);
        Self { lease, claim, ours: None, renewed: None, is_without: None }
    }

    /// Between two renewals: four may fail.
    fn pause(&self) -> Duration {
        self.lease.settings.duration / 5
    }

    /// Waits until it is taken, or until there is a reason not to wait.
    async fn take(&mut self) -> Option<String> {
        let (begun, patience) = (Instant::now(), self.lease.settings.duration * PATIENCE_DURATIONS);
        let mut waits_for = None;
        loop {
            let (holder, left) = match self.attempt().await {
                Ok(Tried::Held) => return None,
                Ok(Tried::Wait { holder, left }) => (Some(holder), left),
                Ok(Tried::Changed) => (None, Duration::ZERO),
                Err(reason) => return Some(reason),
            };
            if begun.elapsed() >= patience {
                return Some(match holder {
                    Some(holder) => format!("`{holder}` goes on renewing {}", self.named()),
                    None => format!("somebody else goes on changing {}", self.named()),
                });
            }
            if holder.is_some() && holder != waits_for {
                waits_for = holder;
                let holder = waits_for.as_deref().unwrap_or_default();
                tracing::info!(
                    "This replica has the lock, and `{holder}` has {}: it waits until that is over",
                    self.named()
                );
            }
            // A release is to be seen soon.
            sleep(left.min(self.pause() / 4).max(Duration::from_millis(10))).await;
        }
    }

    /// Keeps it until the end, then releases it.
    async fn keep(mut self, end: CancellationToken, replaced: CancellationToken) {
        let was_ours = |this: &Self| this.renewed.is_some();
        loop {
            let tried = tokio::select! {
                biased;
                () = end.cancelled() => break,
                tried = async { sleep(self.pause()).await; self.attempt().await } => tried,
            };
            match tried {
                Ok(Tried::Held) => self.note(None),
                Ok(Tried::Changed) => {}
                Ok(Tried::Wait { holder, .. }) => {
                    if was_ours(&self) {
                        replaced.cancel();
                    }
                    self.note(Some(format!("`{holder}` has {}", self.named())));
                }
                // Until it is over, it is as good as before.
                Err(_) if self.renewed.is_some_and(|at| at.elapsed() < self.lease.settings.duration) => {}
                Err(reason) => self.note(Some(reason)),
            }
        }
        self.lease.is_held.store(false, Ordering::Relaxed);
        self.release().await;
    }

    /// Reads it where it is not known, and writes what it should be.
    async fn attempt(&mut self) -> Result<Tried, String> {
        // What fails may have been done all the same, so it is read again.
        let known = match self.ours.take() {
            Some(ours) => Some(ours),
            None => self.call("get", self.lease.api.get_opt(&self.lease.settings.name)).await?.flatten(),
        };
        let spec = known.as_ref().and_then(|lease| lease.spec.as_ref());
        let spec = match self.claim.look(spec, (Instant::now(), Timestamp::now())) {
            Next::Write(spec) => spec,
            Next::Wait { holder, left } => return Ok(Tried::Wait { holder, left }),
        };
        let Some(written) = self.write(known, spec).await? else { return Ok(Tried::Changed) };
        self.ours = Some(written);
        self.renewed = Some(Instant::now());
        Ok(Tried::Held)
    }

    /// Writes it over what was known of it; nothing where that is not so any more.
    async fn write(&self, known: Option<wire::Lease>, spec: wire::LeaseSpec) -> Result<Option<wire::Lease>, String> {
        let (api, name) = (&self.lease.api, &self.lease.settings.name);
        match known {
            // It has the version that it was read with, so that nobody's change is written over.
            Some(known) => {
                let lease = wire::Lease { spec: Some(spec), ..known };
                self.call("update", api.replace(name, &PostParams::default(), &lease)).await
            }
            None => {
                let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
                let lease = wire::Lease { metadata, spec: Some(spec) };
                self.call("create", api.create(&PostParams::default(), &lease)).await
            }
        }
    }

    async fn release(&mut self) {
        let known = match self.ours.take() {
            Some(ours) => Ok(Some(ours)),
            None if self.renewed.is_none() => return,
            None => {
                let read = self.call("get", self.lease.api.get_opt(&self.lease.settings.name)).await;
                read.map(Option::flatten)
            }
        };
        let Ok(Some(known)) = known else { return };
        let released = known.spec.as_ref().and_then(|spec| self.claim.released(spec, Timestamp::now()));
        let Some(released) = released else { return };
        if let Err(reason) = self.write(Some(known), released).await {
            tracing::info!("{reason}; the next leader waits until {} is over", self.named());
        }
    }

    /// What a call came to; nothing where somebody else was faster.
    async fn call<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, String> {
        match timeout(CALL_MAX, call).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Ok(None),
            Ok(Err(error)) => Err(failure::of_resource(&self.lease.cluster, (verb, LEASES), &error)),
            Err(_) => Err(failure::unanswered(&self.lease.cluster)),
        }
    }

    /// Takes note of whether this replica has it, and says so where that is new.
    fn note(&mut self, missed: Option<String>) {
        let is_without = missed.is_some();
        self.lease.is_held.store(!is_without, Ordering::Relaxed);
        if self.is_without.replace(is_without) == Some(is_without) {
            return;
        }
        match missed {
            Some(reason) => tracing::warn!(
                "{reason}; this replica leads by the lock of the database alone, and takes the Lease as soon as it can"
            ),
            None => tracing::info!("This replica has {}", self.named()),
        }
    }

    fn named(&self) -> String {
        format!("the Lease `{}`", self.lease.settings.name)
    }
}
