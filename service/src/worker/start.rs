//! The start: data directory, store and repository are opened, and what happened while nobody looked is taken in.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use jiff::Timestamp;

use super::Accounts;
use super::conveyor::{Conveyor, storm_since};
use super::events::Ring;
use super::handle::Handle;
use super::history;
use super::holds::{self, after_a_rewrite};
use super::index::Index;
use super::interrupted;
use super::leading::Leading;
use super::load::{Loaded, add_last_good, load_beside};
use super::lock::{DataDirLock, LockError};
use super::metrics::Metrics;
use super::observe::{Observations, Untold};
use super::past::{self, Past};
use super::policies;
use super::queue::Inbox;
use super::registry::{Outbox, Reader};
use super::replica::{Replica, WRITER};
use super::review::{BRANCHES, Reviews, recall};
use super::settings::{Limits, RemoteSettings, Settings};
use super::shared::{Shared, WorkerState, write};
use super::statuses::Statuses;
use super::told::outcome;
use super::writer::Worker;
use crate::clock::Clock;
use crate::git::remote::History;
use crate::git::{GitError, Repository};
use crate::names::{CommitId, PolicyName};
use crate::store::{Batch, Store, StoreError};

/// Where the embedded repository lies in the data directory, and where the clone of one that lives elsewhere.
pub(super) const REPOSITORY_DIR: &str = "gitops.git";
pub(super) const CLONE_DIR: &str = "clone.git";

/// In a repository that was moved elsewhere: where to.
pub(super) const MOVED: &str = "moved-to";

/// Why the worker could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("another kmlflow uses the database")]
    Led,
    #[error("the other services on this database release to {theirs}, and this one is to release to {ours}")]
    OtherBranch { theirs: String, ours: String },
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("the repository in the data directory was moved to {to}, and `git.url` names no other")]
    Moved { to: String, mark: PathBuf },
    #[error("the start ended early by a mistake in the service")]
    Interrupted,
}

impl OpenError {
    /// What helps, where a person can do something.
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Lock(LockError::Taken) => Some("stop it, or start this one with another `--data-dir`".to_owned()),
            Self::Led => Some(
                "stop it, or let both work on a branch elsewhere that both can reach (`git.url`): then they are replicas"
                    .to_owned(),
            ),
            Self::OtherBranch { .. } => Some(
                "give all of them the same `git.url` and `git.branch`, or give this one a database of its own; to move all of them, stop all first"
                    .to_owned(),
            ),
            Self::Moved { to, mark } => Some(format!(
                "set `git.url` to {to}; to go on with the old one all the same, delete `{}`",
                mark.display()
            )),
            Self::Git(error) => error.cure(),
            _ => None,
        }
    }

    /// What the start waits for, where it may come about later without being asked for again: the database server, or a remote that has to be cloned.
    pub fn waits_for(&self) -> Option<&'static str> {
        match self {
            Self::Store(StoreError::ServerAway(_) | StoreError::Unsure(_) | StoreError::Crowded(_)) => {
                Some("the database server")
            }
            Self::Git(GitError::Remote(error)) if !error.is_of_the_settings() => Some("the remote of its repository"),
            _ => None,
        }
    }

    /// The text for callers, with what helps.
    pub fn for_callers(&self) -> String {
        match self {
            Self::Git(error) => error.for_callers_with_cure(),
            error => error.to_string(),
        }
    }
}

/// Opens data directory, store and repository, takes in what happened while nobody looked, and hands out both ends.
///
/// # Errors
/// The data directory is in use, or one of its parts cannot be opened.
pub async fn open(settings: Settings, clock: Clock) -> Result<(Handle, Worker), OpenError> {
    let limits = if settings.remote.is_some() { Limits::far() } else { Limits::default() };
    open_with(settings, clock, limits).await
}

/// Opens with bounds of the caller's choice. Where replicas share store and branch, this one reads for now, whoever leads; else it is the only
/// one, and leads from the start.
pub(super) async fn open_with(settings: Settings, clock: Clock, limits: Limits) -> Result<(Handle, Worker), OpenError> {
    let lock = DataDirLock::take(&settings.data_dir)?;
    let store = Store::open_with(&settings.store, &settings.data_dir, limits.store).await?;
    let ours = branch_of(&settings);
    if let Some(theirs) = store.agree_on(&ours).await? {
        return Err(OpenError::OtherBranch { theirs, ours });
    }
    let is_one_of_many = store.is_shared() && settings.remote.is_some();
    let leadership = match is_one_of_many {
        true => None,
        false => Some(store.try_lead(WRITER).await?.ok_or(OpenError::Led)?),
    };
    let indexed = store.indexed_tip().await?;
    let repository = open_repository(&settings, &store, clock.now()).await?;
    // Where another service may lead, this one is told of its outcomes, not of its troubles.
    let missed = repository.missed().filter(|_| !is_one_of_many);
    let trouble = RwLock::new(missed.map(|error| error.for_callers_with_cure()));
    let shared = Arc::new(Shared {
        ring: Ring::new(clock.now_exact()),
        metrics: Metrics::of(settings.environments.keys()),
        accounts: Accounts::new(store.clone(), clock.clone()),
        untold: Untold::for_doors(settings.doors.as_ref()),
        settings,
        limits,
        clock,
        store,
        repository,
        index: RwLock::default(),
        registry: RwLock::default(),
        policies: RwLock::default(),
        holds: RwLock::default(),
        changing_holds: tokio::sync::Mutex::default(),
        waits: RwLock::default(),
        remote_refusals: RwLock::default(),
        inbox: Inbox::new(limits.queued),
        reviews: Reviews::default(),
        statuses: Statuses::default(),
        observations: Observations::default(),
        reader: Reader::default(),
        outbox: Outbox::default(),
        swept: RwLock::new(None),
        sweeper: tokio::sync::Mutex::default(),
        many_pushes: tokio::sync::Notify::new(),
        past: Past::default(),
        state: WorkerState { trouble, ..WorkerState::default() },
        replica: Replica::new(is_one_of_many),
        _lock: lock,
    });
    let leading = match leadership {
        Some(leadership) => Some((begin_to_write(&shared).await?, Leading::alone(leadership))),
        None => {
            begin_to_read(&shared, indexed).await?;
            None
        }
    };
    past::look_what_is_missing(&shared).await?;
    Ok((Handle::new(Arc::clone(&shared)), Worker::new(shared, leading)))
}

/// Takes in what happened while this service did not lead, and begins to: what waits is its to carry out.
pub(super) async fn begin_to_write(shared: &Arc<Shared>) -> Result<Conveyor, OpenError> {
    let (store, now) = (&shared.store, shared.clock.now());
    let remembered = store.policies().await?;
    recall_since(shared, store.indexed_tip().await?).await?;
    let mut loaded = load_beside(shared, &remembered).await?;
    let ours = if loaded.is_anew { HashSet::new() } else { history::ours(&loaded.walked.rows).collect() };
    tell_store(shared, &mut loaded, &remembered, now).await?;
    if let Some(gone) = loaded.gone.take() {
        let tip = loaded.tip.clone();
        store.hold(move |holds| after_a_rewrite(holds, &gone, &tip, now)).await?;
    }
    let Loaded { index, policies, walked, known, tip, .. } = loaded;
    let is_behind = known != tip;
    let mut conveyor = conveyor(known, &policies, remembered, &index, now);
    conveyor.done_before = walked.done;
    conveyor.ours = ours;
    conveyor.count_made(store.made_by_events(storm_since(now)).await?);
    show(shared, index, policies).await?;
    shared.inbox.clear();
    read_inbox(store, &shared.inbox, &mut conveyor, now).await?;
    if is_behind || shared.repository.is_unsure() {
        shared.inbox.note_push();
    }
    Ok(conveyor)
}

/// Takes in what there is to be seen while another service leads; `indexed` is where the index was before the branch was looked at.
async fn begin_to_read(shared: &Arc<Shared>, indexed: Option<CommitId>) -> Result<(), OpenError> {
    let remembered = shared.store.policies().await?;
    let Loaded { mut index, policies, unreadable, tip, .. } = load_beside(shared, &remembered).await?;
    add_last_good((&shared.store, &shared.repository), unreadable, &mut index).await?;
    show(shared, index, policies).await?;
    shared.replica.sees(tip, indexed).await;
    Ok(())
}

/// Lets the readers see it.
async fn show(shared: &Shared, index: Index, policies: policies::Read) -> Result<(), OpenError> {
    let registry = shared.store.registry().await?;
    *write(&shared.registry) = registry.into_iter().map(|state| (state.model.clone(), Arc::new(state))).collect();
    holds::read_anew(shared).await?;
    *write(&shared.index) = index;
    *write(&shared.policies) = policies.set;
    write(&shared.waits).clear();
    Ok(())
}

/// The branch that is released to, as replicas compare it and people read it.
fn branch_of(settings: &Settings) -> String {
    match &settings.remote {
        Some(RemoteSettings { remote, .. }) => format!("`{}` of `{}`", remote.branch.as_str(), remote.endpoint),
        None => "the repository in its data directory".to_owned(),
    }
}

/// Opens the embedded repository, or a clone of the one that lives elsewhere.
async fn open_repository(settings: &Settings, store: &Store, now: Timestamp) -> Result<Repository, OpenError> {
    if let Some(RemoteSettings { remote, git, .. }) = &settings.remote {
        let path = settings.data_dir.join(CLONE_DIR);
        // Where the index says what is known, or a delivery may be in Git already, the history is needed at once.
        let is_known = store.indexed_tip().await?.is_some() || !store.waiting(0, 1).await?.is_empty();
        let first = if is_known { History::Since } else { History::Tip };
        let repository = Repository::open_clone(&path, remote.clone(), git, first).await?;
        match repository.missed() {
            Some(error) => {
                tracing::warn!(
                    "{}; the service begins with what it has of the branch, and goes on once it can look at it",
                    error.with_cure()
                );
            }
            None => look_at_reviews(&repository, settings).await,
        }
        return Ok(repository.signed_with(settings.signing_key.clone()));
    }
    let (path, seed, author) = (settings.data_dir.join(REPOSITORY_DIR), settings.seed.clone(), settings.author.clone());
    let mark = path.join(MOVED);
    if let Ok(to) = std::fs::read_to_string(&mark) {
        return Err(OpenError::Moved { to: to.trim().to_owned(), mark });
    }
    let signing_key = settings.signing_key.clone();
    let open = move || Repository::open_or_seed(&path, &seed, &author, now, signing_key);
    let (repository, _) = tokio::task::spawn_blocking(open).await.map_err(|_| OpenError::Interrupted)??;
    Ok(repository)
}

/// Looks where the branches of reviews are, where there is a forge.
pub(super) async fn look_at_reviews(repository: &Repository, settings: &Settings) {
    if settings.forge().is_some()
        && let Err(error) = repository.look_beside(BRANCHES).await
    {
        tracing::warn!("{error}; what waits for a review is looked up when it is needed");
    }
}

/// Has what was merged since the index was written be known by what the forge keeps of it.
async fn recall_since(shared: &Shared, indexed: Option<CommitId>) -> Result<(), OpenError> {
    let (Some(indexed), repository) = (indexed, &shared.repository) else { return Ok(()) };
    if shared.settings.forge().is_none() {
        return Ok(());
    }
    let tip = repository.tip()?;
    if repository.is_known_ancestor(&indexed, &tip)? != Some(true) {
        // It is another history, or all of it is read anew.
        return Ok(());
    }
    let since = repository.line(Some(&indexed), &tip)?;
    match recall(shared, &indexed, &since).await {
        Err(GitError::NotFetched) => {
            repository.complete().await?;
            Ok(recall(shared, &indexed, &since).await?)
        }
        recalled => Ok(recalled?),
    }
}

/// Tells the store what it did not know about the repository, and takes from its history what the tip does not say.
async fn tell_store(
    shared: &Shared,
    loaded: &mut Loaded,
    remembered: &[(PolicyName, String)],
    now: Timestamp,
) -> Result<(), OpenError> {
    let store = &shared.store;
    let mut commits = std::mem::take(&mut loaded.walked.rows);
    if loaded.is_begun_here {
        store.begin_index(loaded.tip.clone()).await?;
    } else if loaded.is_anew {
        history::recall(store, &mut commits).await?;
        store.forget_index().await?;
    }
    let done = interrupted::conclusions(shared, &mut loaded.walked.done).await?;
    let outcomes: Vec<_> = done.iter().filter_map(|conclusion| outcome(shared, conclusion)).collect();
    // Where the store knows all of it nothing is written: its disk may be full.
    if !commits.is_empty() || !outcomes.is_empty() || store.indexed_tip().await?.as_ref() != Some(&loaded.tip) {
        store.commit(Batch { commits, outcomes, indexed_tip: Some(loaded.tip.clone()), ..Batch::default() }).await?;
    }
    add_last_good((store, &shared.repository), std::mem::take(&mut loaded.unreadable), &mut loaded.index).await?;
    for (name, text) in &loaded.policies.good {
        if !remembered.contains(&(name.clone(), text.clone())) {
            store.remember_policy(name, text, now).await?;
        }
    }
    Ok(())
}

/// What the writer knows at the start.
fn conveyor(
    known: CommitId,
    policies: &policies::Read,
    remembered: Vec<(PolicyName, String)>,
    index: &Index,
    now: Timestamp,
) -> Conveyor {
    let mut conveyor = Conveyor::new(known);
    let is_older = |name: &PolicyName| policies.good.iter().all(|(good, _)| good != name);
    conveyor.remembered = policies.good.clone();
    conveyor.remembered.extend(remembered.into_iter().filter(|(name, _)| is_older(name)));
    // Whatever is under way is looked at once; most that is settled has nothing to come.
    for (key, _) in index.iter().filter(|(_, kept)| !kept.is_at_rest) {
        conveyor.agenda.at(now, key);
    }
    conveyor
}

/// Takes every waiting delivery: what failed at its time, the rest at once.
async fn read_inbox(store: &Store, inbox: &Inbox, conveyor: &mut Conveyor, now: Timestamp) -> Result<(), StoreError> {
    interrupted::each_waiting(store, |delivery| match delivery.next_attempt_at {
        Some(at) if at > now => drop(conveyor.retry.insert((at, delivery.number), delivery)),
        _ => inbox.push(delivery),
    })
    .await?;
    conveyor.failures = u32::from(!conveyor.retry.is_empty());
    Ok(())
}
