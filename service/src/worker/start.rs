//! The start: data directory, store and repository are opened, and what happened while nobody looked is taken in.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};

use jiff::Timestamp;

use super::Accounts;
use super::adopt::drifted;
use super::conveyor::Conveyor;
use super::events::Ring;
use super::foreign::{Directory, directories};
use super::handle::Handle;
use super::history;
use super::index::{Entry, Index};
use super::interrupted;
use super::lock::{DataDirLock, LockError};
use super::metrics::Metrics;
use super::policies;
use super::publish::rewritten_hold;
use super::queue::Inbox;
use super::registry::{Outbox, Reader};
use super::review::{BRANCHES, Reviews, merged_as};
use super::settings::{Limits, RemoteSettings, Settings};
use super::shared::{Shared, WorkerState};
use super::statuses::Statuses;
use super::writer::{Worker, outcome};
use crate::clock::Clock;
use crate::git::{Author, GitError, LogEntry, Repository, on_every_core};
use crate::names::{CommitId, PolicyName, ReleaseKey, TreeId};
use crate::release::Release;
use crate::store::{Batch, IndexedCommit, Store, StoreError};

/// Where the embedded repository lies in the data directory, and where the clone of one that lives elsewhere.
pub(super) const REPOSITORY_DIR: &str = "gitops.git";
const CLONE_DIR: &str = "clone.git";

/// Releases whose documents are read at once at the start: in full they are some 10 kB each, and the index keeps a tenth of that.
const READ_AT_ONCE: usize = 512;

/// What the one writer of a store leads.
const WRITER: &str = "writer";

/// Why the worker could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("another kmlflow uses the database")]
    Led,
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("the start ended early by a mistake in the service")]
    Interrupted,
}

impl OpenError {
    /// What helps, where a person can do something.
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Lock(LockError::Taken) => Some("stop it, or start this one with another `--data-dir`".to_owned()),
            Self::Led => Some("stop it; whoever starts this one again and again takes over once it is gone".to_owned()),
            Self::Git(error) => error.cure(),
            _ => None,
        }
    }
}

/// What the repository and the index say at the start.
struct Loaded {
    repository: Repository,
    index: Index,
    policies: policies::Read,
    walked: history::Walked,
    /// The commit up to which the index reaches, where that commit is in the branch.
    known: CommitId,
    tip: CommitId,
    /// Releases whose document at the tip cannot be read, and why.
    unreadable: Vec<Unreadable>,
    /// The index did not belong to this branch.
    is_anew: bool,
    /// The commit that the index reached, where the branch elsewhere had it and has it no more.
    gone: Option<CommitId>,
}

/// Opens data directory, store and repository, takes in what happened while nobody looked, and hands out both ends.
///
/// # Errors
/// The data directory is in use, or one of its parts cannot be opened.
pub async fn open(settings: Settings, clock: Clock) -> Result<(Handle, Worker), OpenError> {
    let limits = if settings.remote.is_some() { Limits::far() } else { Limits::default() };
    open_with(settings, clock, limits).await
}

/// Opens with bounds of the caller's choice.
pub(super) async fn open_with(settings: Settings, clock: Clock, limits: Limits) -> Result<(Handle, Worker), OpenError> {
    let lock = DataDirLock::take(&settings.data_dir)?;
    let store = Store::open(&settings.store, &settings.data_dir).await?;
    let leadership = store.try_lead(WRITER).await?.ok_or(OpenError::Led)?;
    let remembered = store.policies().await?;
    let now = clock.now();
    let mut loaded = load_beside(&store, &settings, now, &remembered).await?;
    let ours = if loaded.is_anew { HashSet::new() } else { history::ours(&loaded.walked.rows).collect() };
    tell_store(&store, &mut loaded, &remembered, now).await?;
    if let Some(gone) = &loaded.gone {
        store.hold(rewritten_hold(gone, &loaded.tip, now)).await?;
    }
    let Loaded { repository, index, policies, walked, known, tip, .. } = loaded;
    let registry = store.registry().await?.into_iter().map(|state| (state.model.clone(), Arc::new(state))).collect();
    let is_behind = known != tip;
    let mut conveyor = conveyor(known, &policies, remembered, &index, now);
    conveyor.done_before = walked.done;
    conveyor.ours = ours;
    let inbox = Inbox::new(limits.queued);
    read_inbox(&store, &inbox, &mut conveyor, now).await?;
    if is_behind {
        inbox.note_push();
    }
    let holds = store.holds().await?;
    let shared = Arc::new(Shared {
        ring: Ring::new(clock.now_exact()),
        metrics: Metrics::new(),
        accounts: Accounts::new(store.clone(), clock.clone()),
        settings,
        limits,
        clock,
        store,
        repository,
        index: RwLock::new(index),
        registry: RwLock::new(registry),
        policies: RwLock::new(policies.set),
        holds: RwLock::new(holds),
        waits: RwLock::new(HashMap::new()),
        inbox,
        reviews: Reviews::default(),
        statuses: Statuses::default(),
        reader: Reader::default(),
        outbox: Outbox::default(),
        swept: RwLock::new(None),
        sweeper: tokio::sync::Mutex::default(),
        many_pushes: tokio::sync::Notify::new(),
        state: WorkerState::default(),
        _lock: lock,
    });
    Ok((Handle::new(Arc::clone(&shared)), Worker::new(shared, conveyor, leadership)))
}

/// Reads the repository, and what the store says about it.
async fn load_beside(
    store: &Store,
    settings: &Settings,
    now: Timestamp,
    remembered: &[(PolicyName, String)],
) -> Result<Loaded, OpenError> {
    let source = Source {
        repository: open_repository(settings, now).await?,
        author: settings.author.clone(),
        indexed: store.indexed_tip().await?,
        newest: store.newest_commits().await?,
        remembered: remembered.to_vec(),
    };
    let loaded = tokio::task::spawn_blocking(move || load(source)).await.map_err(|_| OpenError::Interrupted)??;
    Ok(loaded)
}

/// Opens the embedded repository, or a clone of the one that lives elsewhere.
async fn open_repository(settings: &Settings, now: Timestamp) -> Result<Repository, OpenError> {
    if let Some(RemoteSettings { remote, git, forge, .. }) = &settings.remote {
        let path = settings.data_dir.join(CLONE_DIR);
        let repository = Repository::open_clone(&path, remote.clone(), git).await?;
        if forge.is_some()
            && let Err(error) = repository.look_beside(BRANCHES).await
        {
            tracing::warn!("{error}; what waits for a review is looked up when it is needed");
        }
        return Ok(repository.signed_with(settings.signing_key.clone()));
    }
    let (path, seed, author) = (settings.data_dir.join(REPOSITORY_DIR), settings.seed.clone(), settings.author.clone());
    let signing_key = settings.signing_key.clone();
    let open = move || Repository::open_or_seed(&path, &seed, &author, now, signing_key);
    let (repository, _) = tokio::task::spawn_blocking(open).await.map_err(|_| OpenError::Interrupted)??;
    Ok(repository)
}

/// Tells the store what it did not know about the repository, and takes from its history what the tip does not say.
async fn tell_store(
    store: &Store,
    loaded: &mut Loaded,
    remembered: &[(PolicyName, String)],
    now: Timestamp,
) -> Result<(), OpenError> {
    if loaded.is_anew {
        store.forget_index().await?;
    }
    let commits = std::mem::take(&mut loaded.walked.rows);
    let outcomes = interrupted::conclusions(store, &mut loaded.walked.done).await?.iter().filter_map(outcome).collect();
    store.commit(Batch { commits, outcomes, indexed_tip: Some(loaded.tip.clone()), ..Batch::default() }).await?;
    for found in std::mem::take(&mut loaded.unreadable) {
        if let Some((key, entry)) = last_good(store, &loaded.repository, found).await? {
            loaded.index.put(key, entry);
        }
    }
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
    .await
}

struct Source {
    repository: Repository,
    author: Author,
    indexed: Option<CommitId>,
    newest: Vec<IndexedCommit>,
    remembered: Vec<(PolicyName, String)>,
}

fn load(source: Source) -> Result<Loaded, GitError> {
    let Source { repository, author, indexed, mut newest, remembered } = source;
    let tip = repository.tip()?;
    let is_ours = |commit: &CommitId| match repository.is_ancestor(commit, &tip) {
        Ok(is_ours) => Ok(is_ours),
        Err(GitError::UnknownCommit(_)) => Ok(false),
        Err(error) => Err(error),
    };
    let (from, gone) = match indexed {
        Some(commit) if is_ours(&commit)? => (Some(commit), None),
        gone => (None, gone.filter(|_| repository.address().is_some())),
    };
    let is_anew = from.is_none();
    if is_anew {
        newest.clear();
    }
    let seen = if from.as_ref() == Some(&tip) {
        Vec::new()
    } else {
        let seen = |entry: LogEntry| {
            let entry = match &from {
                Some(from) => merged_as(&repository, &author, from, entry)?,
                None => entry,
            };
            history::seen(&repository, &entry, history::says_ours(&entry, &author))
        };
        repository.each_commit(from.as_ref(), &tip, seen)?
    };
    let walked = history::walked(seen.into_iter().flatten());
    let (index, unreadable) = read_index(&repository, &tip, newest, &walked.rows)?;
    let policies = policies::read(&repository, &tip, &remembered)?;
    // Without an index nobody can say what is new; then every release is looked at as it is.
    let known = from.unwrap_or_else(|| tip.clone());
    Ok(Loaded { repository, index, policies, walked, known, tip, unreadable, is_anew, gone })
}

/// A release whose document cannot be read.
struct Unreadable {
    key: ReleaseKey,
    tree: TreeId,
    tip: CommitId,
    why: String,
}

fn read_index(
    repository: &Repository,
    tip: &CommitId,
    newest: Vec<IndexedCommit>,
    rows: &[IndexedCommit],
) -> Result<(Index, Vec<Unreadable>), GitError> {
    let mut newest: HashMap<ReleaseKey, IndexedCommit> = newest.into_iter().map(|row| (row.key.clone(), row)).collect();
    newest.extend(rows.iter().map(|row| (row.key.clone(), row.clone())));
    let unseen: HashSet<&ReleaseKey> = rows.iter().map(|row| &row.key).collect();
    let mut index = Index::default();
    let mut unreadable = Vec::new();
    let keys: Vec<ReleaseKey> = repository.release_keys(tip)?.into_iter().map(|(key, _)| key).collect();
    // Only a person's commit can have left a file that is not as it was rendered, and what a commit says of itself is believed of those
    // alone that this service made while it ran.
    let is_known = |key: &ReleaseKey, row: Option<&IndexedCommit>| {
        row.is_some_and(|row| !row.release_id.is_empty()) && !unseen.contains(key)
    };
    let read = |key: ReleaseKey, Directory { tree, document }| match document {
        Ok(release) => {
            let row = newest.get(&key);
            let drifted = if is_known(&key, row) { Vec::new() } else { drifted(repository, &tree, &release)? };
            let entry = Entry { drifted, ..entry(tip, release, tree, row) };
            Ok((key, Ok(entry)))
        }
        Err(why) => Ok((key, Err((tree, crate::names::shown(&why))))),
    };
    for keys in keys.chunks(READ_AT_ONCE) {
        let shares = on_every_core(keys, |keys| {
            let found = directories(repository, tip, keys)?.into_iter();
            found.map(|(key, directory)| read(key, directory)).collect::<Result<Vec<_>, GitError>>()
        })?;
        for (key, found) in shares.into_iter().flatten() {
            match found {
                Ok(entry) => index.put(key, entry),
                Err((tree, why)) => unreadable.push(Unreadable { key, tree, tip: tip.clone(), why }),
            }
        }
    }
    Ok((index, unreadable))
}

fn entry(tip: &CommitId, release: Release, tree: TreeId, row: Option<&IndexedCommit>) -> Entry {
    let (commit, changed_at) =
        row.map_or_else(|| (tip.clone(), release.rollout.since), |row| (row.commit.clone(), row.at));
    let release = Arc::new(release);
    Entry { release, commit, tree, changed_at, drifted: Vec::new(), invalid: None, notes: Vec::new() }
}

/// The newest document of a release that can be read, for as long as the one at the tip cannot.
async fn last_good(
    store: &Store,
    repository: &Repository,
    found: Unreadable,
) -> Result<Option<(ReleaseKey, Entry)>, OpenError> {
    /// How far back it is looked for: more edits in a row that do not parse are nobody's mistake.
    const COMMITS_MAX: u32 = 50;
    let Unreadable { key, tree, tip, why } = found;
    let commits: Vec<CommitId> =
        store.history(&key, None, COMMITS_MAX).await?.into_iter().map(|row| row.commit).collect();
    let Some(release) = history::last_valid(repository, &key, &commits)? else {
        // Who asks for the release finds the directory in its place.
        tracing::warn!(release.key = %key, "The `release.yaml` of `{key}` cannot be used and never could: {why}");
        return Ok(None);
    };
    let changed_at = release.rollout.since;
    let entry = Entry {
        release: Arc::new(release),
        commit: tip,
        tree,
        changed_at,
        drifted: Vec::new(),
        invalid: Some(why),
        notes: Vec::new(),
    };
    Ok(Some((key, entry)))
}
