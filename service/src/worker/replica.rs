//! Several services on one store and one branch: one leads, and carries out what all of them accept; the others answer from what it did.
//!
//! What any of them accepts is durable in the shared inbox first, and whoever leads takes it up from there, so it matters to nobody who that is, or
//! whether it still lives. The outcome comes back the same way: the store has it before anybody is told. Who leads is decided by
//! `store::lead`, beside which `sync` shows it in a Lease, and that one who was replaced stores nothing any more by `store::term`; the compare-and-swap of the push and the trailers of the commits
//! see to it that nothing is done twice in the branch.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::Fault;
use super::conclusion::Concluded;
use super::conveyor::Conveyor;
use super::history::key_of_directory;
use super::holds;
use super::index::Index;
use super::leading::Leading;
use super::load::{At, Unreadable, add_last_good, each_newest, read_some};
use super::policies::{self, POLICY_DIR};
use super::shared::{Shared, Waits, git_fault, read, store_fault, write};
use super::start::{OpenError, begin_to_write, look_at_reviews};
use super::turn::Turn;
use crate::chance::share_of;
use crate::names::{CommitId, ReleaseKey};
use crate::rollout::Decision;
use crate::store::{Change, Newest, StoreError, TakenUp};

/// What the leader of a store leads.
pub(super) const WRITER: &str = "writer";

/// The longest pause after a try to lead that failed: the database or the remote is away.
pub(super) const LEAD_RETRY: Duration = Duration::from_secs(2);

/// Deliveries that are taken up at once: as many as are kept in memory where the branch is elsewhere.
const TAKEN_UP_MAX: u32 = 512;

/// Releases whose newest commit is asked for one by one; where more have changed, those of all are read at once.
const ASKED_ONE_BY_ONE_MAX: usize = 32;

/// How this service stands to the others on its store.
#[derive(Debug)]
pub(super) struct Replica {
    /// Others may be there: whatever is accepted passes through the store.
    pub(super) is_one: bool,
    leads: AtomicBool,
    /// Ends with the term of this service as the leader.
    term: RwLock<CancellationToken>,
    /// What the readers see while another one leads. Whoever takes something up or over has the lock.
    seen: Mutex<Option<Seen>>,
}

/// What the readers see while another one leads.
#[derive(Debug)]
struct Seen {
    /// The commit that is shown. It may be ahead of the index: at a start and at the end of a term it is where the branch was.
    shown: CommitId,
    /// The commit that the index in the store was at before that; nothing where it was not there yet.
    indexed: Option<CommitId>,
}

impl Replica {
    /// One that follows for now, or the only one.
    pub(super) fn new(is_one: bool) -> Self {
        let (leads, term) = (AtomicBool::new(!is_one), RwLock::default());
        Self { is_one, leads, term, seen: Mutex::default() }
    }

    /// Whether this service carries out what is accepted.
    pub(super) fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// Ends when this service leads no more.
    pub(super) fn term(&self) -> CancellationToken {
        read(&self.term).clone()
    }

    /// Notes what the readers see, and where the index was before the branch was looked at.
    pub(super) async fn sees(&self, shown: CommitId, indexed: Option<CommitId>) {
        *self.seen.lock().await = Some(Seen { shown, indexed });
    }
}

/// Waits until this service leads, and takes in what there is to know for that.
pub(super) async fn lead(shared: &Arc<Shared>) -> (Conveyor, Leading) {
    loop {
        match try_to_lead(shared).await {
            Ok(leading) => return leading,
            Err(error) => {
                shared.store.step_down();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "This replica cannot lead: {error}; it tries again"
                );
                tokio::time::sleep(share_of(LEAD_RETRY)).await;
            }
        }
    }
}

async fn try_to_lead(shared: &Arc<Shared>) -> Result<(Conveyor, Leading), OpenError> {
    let lock = shared.store.lead(WRITER).await?;
    let leading = Leading::with(lock, shared.settings.lease.as_ref()).await?;
    match begin_term(shared).await {
        Ok(conveyor) => Ok((conveyor, leading)),
        Err(error) => {
            leading.end().await;
            Err(error)
        }
    }
}

/// Begins the term of whoever leads.
async fn begin_term(shared: &Arc<Shared>) -> Result<Conveyor, OpenError> {
    let _seen = shared.replica.seen.lock().await;
    shared.store.take_over().await?;
    let is_unseen = match shared.repository.look().await {
        Err(error) if error.is_of_the_remote() => {
            tracing::warn!("{error}; this replica leads with what it has of it");
            true
        }
        looked => looked.map(|()| false)?,
    };
    look_at_reviews(&shared.repository, &shared.settings).await;
    let conveyor = begin_to_write(shared).await?;
    if is_unseen {
        shared.inbox.note_push();
    }
    *write(&shared.replica.term) = shared.state.stopping.child_token();
    shared.replica.leads.store(true, Ordering::Relaxed);
    // What was shown of them is followed from now on. Whoever looks on begins no look any more, and one that is under way shows nothing.
    shared.reviews.forget();
    tracing::info!("This replica leads: it carries out what all of them accept");
    Ok(conveyor)
}

/// Leads no more, and forgets what it had taken up: the next leader has all of it.
pub(super) async fn step_down(shared: &Shared, known: CommitId) {
    let mut seen = shared.replica.seen.lock().await;
    shared.replica.leads.store(false, Ordering::Relaxed);
    shared.replica.term().cancel();
    shared.store.step_down();
    shared.inbox.clear();
    shared.reader.forget();
    shared.reviews.forget();
    shared.statuses.forget();
    shared.state.is_store_behind.store(false, Ordering::Relaxed);
    shared.state.is_repository_failing.store(false, Ordering::Relaxed);
    *write(&shared.state.trouble) = None;
    *seen = Some(Seen { shown: known.clone(), indexed: Some(known) });
    tracing::warn!("This replica leads no more; it follows until it does again");
}

/// Does what the others' writes ask for, until it is dropped: takes up what arrived, follows what was done, and answers who waits here.
pub(super) async fn keep_up(shared: Arc<Shared>) {
    let mut changes = shared.store.changes();
    loop {
        let change = changes.next().await;
        if let Err(fault) = look_around(&shared, change).await {
            tracing::warn!(fault = ?fault, "What other replicas did cannot be seen at the moment");
        }
    }
}

async fn look_around(shared: &Arc<Shared>, change: Change) -> Result<(), Fault> {
    look_at_holds(shared).await?;
    if shared.replica.leads() {
        take_up(shared).await?;
        // Its own callers are told by the turns; only who asked before it led is not.
        return if change == Change::Due { answer(shared).await } else { Ok(()) };
    }
    if change == Change::Due {
        look_at_registry(shared).await?;
        catch_up(shared).await?;
    }
    answer(shared).await
}

async fn look_at_holds(shared: &Shared) -> Result<(), Fault> {
    if holds::read_anew(shared).await.map_err(store_fault)? {
        shared.inbox.note_holds();
    }
    Ok(())
}

async fn look_at_registry(shared: &Shared) -> Result<(), Fault> {
    let states = shared.store.registry().await.map_err(store_fault)?;
    *write(&shared.registry) = states.into_iter().map(|state| (state.model.clone(), Arc::new(state))).collect();
    Ok(())
}

/// Takes up what arrived anywhere.
async fn take_up(shared: &Shared) -> Result<(), Fault> {
    let _seen = shared.replica.seen.lock().await;
    while shared.replica.leads() {
        match shared.store.take_up(TAKEN_UP_MAX).await {
            Ok(TakenUp { arrived, sooner }) if arrived.is_empty() && sooner.is_empty() => break,
            Ok(TakenUp { arrived, sooner }) => {
                arrived.into_iter().for_each(|delivery| shared.inbox.push(delivery));
                sooner.into_iter().for_each(|number| shared.inbox.try_now(number));
            }
            // What may be taken up by this term, and is not known here, is for the next one to take over.
            Err(StoreError::NotLeading | StoreError::Unsure(_)) => {
                shared.replica.term().cancel();
                break;
            }
            Err(error) => return Err(store_fault(error)),
        }
    }
    Ok(())
}

/// Tells whoever waits here what the store knows.
async fn answer(shared: &Arc<Shared>) -> Result<(), Fault> {
    let numbers = shared.inbox.waited_for();
    if numbers.is_empty() {
        return Ok(());
    }
    let told = shared.store.told(&numbers).await.map_err(store_fault)?;
    // What changed nothing here was judged by what the leader did before, which may not be seen here yet.
    let is_shown = told.iter().any(|(delivery, _)| delivery.state.shows_release());
    if is_shown && let Err(fault) = catch_up(shared).await {
        tracing::warn!(fault = ?fault, "What the leader did is answered before it is seen here");
    }
    for (delivery, told) in told {
        let (state, verdict) = (delivery.state, delivery.verdict);
        let concluded = Concluded { state, verdict, refusal: told.refusal, created: told.created };
        shared.inbox.answer(delivery.number, concluded);
    }
    Ok(())
}

/// Sees what the leader has done and anybody may have been told of. Nothing to do for whoever leads.
///
/// # Errors
/// The store or the remote does not answer; then what is seen may be old.
pub(super) async fn catch_up(shared: &Arc<Shared>) -> Result<(), Fault> {
    if shared.replica.leads() {
        return Ok(());
    }
    let mut seen = shared.replica.seen.lock().await;
    let (Some(Seen { shown, indexed }), Some(tip)) =
        (seen.as_mut(), shared.store.indexed_tip().await.map_err(store_fault)?)
    else {
        return Ok(());
    };
    // It may lead by now.
    if *shown == tip || shared.replica.leads() {
        *indexed = Some(tip);
        return Ok(());
    }
    if !has(shared, &tip)? {
        shared.repository.look().await.map_err(git_fault)?;
    }
    // An index that goes on comes to what is shown. One that went back does not: the history was rewritten, and counts as it is now.
    let goes_on = match indexed {
        Some(before) => is_ancestor(shared, before, &tip)?,
        None => true,
    };
    if goes_on && is_ancestor(shared, &tip, shown)? {
        *indexed = Some(tip);
        return Ok(());
    }
    follow(shared, shown, &tip).await?;
    (*shown, *indexed) = (tip.clone(), Some(tip));
    Ok(())
}

/// Whether a commit is in the history of another one; not where this clone lacks one of them.
fn is_ancestor(shared: &Shared, commit: &CommitId, of: &CommitId) -> Result<bool, Fault> {
    let is_known = shared.repository.is_known_ancestor(commit, of).map_err(git_fault)?;
    Ok(is_known == Some(true))
}

/// Whether this clone has a commit.
fn has(shared: &Shared, commit: &CommitId) -> Result<bool, Fault> {
    is_ancestor(shared, commit, commit)
}

/// What has changed from one commit to another.
struct Changed {
    index: Index,
    unreadable: Vec<Unreadable>,
    policies: Option<policies::Read>,
}

/// Shows the releases and policies that are others now.
async fn follow(shared: &Arc<Shared>, known: &CommitId, tip: &CommitId) -> Result<(), Fault> {
    let (from, to) = (known.clone(), tip.clone());
    let paths = shared.blocking(move |shared| shared.repository.changed(&from, &to).map_err(git_fault)).await?;
    let directory = |path: &String| key_of_directory(path.rsplit_once('/')?.0);
    let keys: Vec<ReleaseKey> = paths.iter().filter_map(directory).collect::<BTreeSet<_>>().into_iter().collect();
    let has_policies = paths.iter().any(|path| path.starts_with(&format!("{POLICY_DIR}/")));
    let remembered = shared.store.policies().await.map_err(store_fault)?;
    let newest = newest_of(shared, &keys).await?;
    let (at, these) = (tip.clone(), keys.clone());
    let read_changed = move |shared: &Shared| {
        let newest = |key: &ReleaseKey| newest.get(key).map(|row| (row, true));
        let (index, unreadable) =
            read_some(&shared.repository, At { tip: &at, begun_at: None }, &these, newest).map_err(git_fault)?;
        let policies = has_policies.then(|| policies::read(&shared.repository, &at, &remembered)).transpose();
        Ok(Changed { index, unreadable, policies: policies.map_err(git_fault)? })
    };
    let Changed { mut index, unreadable, policies } = shared.blocking(read_changed).await?;
    let last_good = add_last_good((&shared.store, &shared.repository), unreadable, &mut index).await;
    last_good.map_err(|error| Fault::Unavailable {
        sentence: error.to_string(),
        retry_after_seconds: crate::bounds::RETRY_AFTER_SECONDS,
    })?;
    {
        let mut shown = write(&shared.index);
        for key in keys.iter().filter(|key| !index.has(key)) {
            shown.remove(key);
        }
        for (key, kept) in index.iter() {
            shown.put(key.clone(), kept.entry());
        }
    }
    if let Some(read) = policies {
        *write(&shared.policies) = read.set;
    }
    tell_of(shared, tip.clone(), keys).await
}

/// The newest commit of each of these releases.
async fn newest_of(shared: &Shared, keys: &[ReleaseKey]) -> Result<HashMap<ReleaseKey, Newest>, Fault> {
    let mut found = HashMap::new();
    let put = |row: Newest| drop(found.insert(row.key.clone(), row));
    if keys.len() > ASKED_ONE_BY_ONE_MAX {
        each_newest(&shared.store, put).await.map_err(store_fault)?;
        return Ok(found);
    }
    for key in keys {
        let rows = shared.store.history(key, None, 1).await.map_err(store_fault)?;
        found.extend(rows.iter().map(|row| (row.key.clone(), Newest::from(row))));
    }
    Ok(found)
}

/// Tells the readers of events about releases that are others now, and notes what each waits for.
async fn tell_of(shared: &Arc<Shared>, tip: CommitId, keys: Vec<ReleaseKey>) -> Result<(), Fault> {
    for key in &keys {
        let data = serde_json::json!({
            "release": key.to_string(), "environment": key.environment, "namespace": key.namespace, "name": key.name,
            "commit": shared.entry(key).map_or_else(|| tip.clone(), |entry| entry.commit),
        });
        shared.ring.push("release", &data);
    }
    let decide = move |shared: &Shared| {
        let mut turn = Turn::begin(shared, &tip, shared.policy_set()).map_err(git_fault)?;
        keys.iter().for_each(|key| turn.look_at(key));
        Ok(turn.finish().map_err(git_fault)?.decisions)
    };
    let decisions = shared.blocking(decide).await?;
    let mut waits = write(&shared.waits);
    for (key, decision) in decisions {
        match decision {
            Some(Decision::Wait { until, reason }) => waits.insert(key, Waits { reason: Some(reason), until }),
            _ => waits.remove(&key),
        };
    }
    Ok(())
}
