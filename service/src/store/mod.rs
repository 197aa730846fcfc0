//! The SQL store: the inbox of deliveries and their outcome, tokens, the history index, what the registry said, holds, audit.
//!
//! Accepted means durable. Everything that is written passes through one writer, which takes what is queued and writes it in one
//! transaction, so one sync of the disk serves everybody who waited for it. Whoever need not wait hands over and goes on; what is read
//! afterwards waits for that. The store decides nothing: it keeps and finds.

mod address;
mod audit;
mod batch;
mod changes;
mod columns;
mod copy;
mod db;
mod error;
mod history;
mod idempotency;
mod inbox;
mod lead;
mod ledger;
mod live;
mod migrate;
mod orders;
mod presence;
mod prune;
mod term;
#[cfg(test)]
mod tests;
mod tokens;
mod types;
mod unheard;
mod writer;

use std::path::Path;

use jiff::Timestamp;

use crate::access::{NewToken, Token, TokenHash};
use crate::event::{Delivery, DeliveryState, Event, NewDelivery, Source};
use crate::names::{CommitId, EnvironmentName, PolicyName, ReleaseKey};
use crate::registry::RegistryState;

use db::{Place, Readers};
use history::{AddPast, BeginIndex, ForgetIndex};
use idempotency::{ClaimAnew, ClaimFor, Settle};
use inbox::{MakeAbsolute, Redeliver};
use lead::Leaders;
use live::NoteLive;
pub use live::SeenLive;
use orders::{KeepSweep, RememberPolicy, SetHold, Unhold};
use presence::{Agree, Presence};
use prune::PruneStep;
use term::{Led, TakeOver, TakeUp, Term};
use tokens::RevokeToken;
use writer::Writer;

pub use address::Address;
pub use batch::Reserved;
pub use changes::{Change, Changes};
pub use error::{Cause, StoreError};
pub use lead::Leadership;
pub use migrate::Copied;
pub use types::*;
pub use writer::{HandedOver, WriterCounts};

/// The most rows of one page of any list.
pub const PAGE_ROWS_MAX: u32 = 1_000;

/// The store; a clone is another handle of the same one.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    readers: Readers,
    leaders: Leaders,
    term: Term,
    presence: Presence,
}

/// How much the store takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Deliveries that may wait. At a KiB or two each that is a disk's small change, and hours of work for one repository.
    pub waiting_max: u64,
    /// Deliveries that are kept after they are done.
    pub deliveries_max: u32,
    /// Pages of 4 KiB that a database in a file may have; as many as the disk holds where nothing is said.
    pub pages_max: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { waiting_max: 100_000, deliveries_max: 100_000, pages_max: None }
    }
}

impl Store {
    /// Opens the store of an address, makes it where there is none, and brings its tables up to date. `sqlite:` is `kmlflow.db` in the data
    /// directory, `sqlite:FILE` a file of its own, `postgres://USER@HOST/DATABASE` a database of a server, which must be there.
    pub async fn open(address: impl Into<Address>, data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(address, data_dir, Limits::default()).await
    }

    /// Opens the store with other limits than the usual ones.
    pub async fn open_with(address: impl Into<Address>, data_dir: &Path, limits: Limits) -> Result<Self, StoreError> {
        let place = Place::of(&address.into(), data_dir)?;
        place.check_is_here()?;
        let mut db = place.prepare(limits).await?;
        if !place.is_shared() {
            idempotency::interrupt_all(&mut db).await?;
        }
        let readers = place.readers();
        let (leaders, presence) = (Leaders::of(&place), Presence::new()?);
        let writer = Writer::spawn(place, db, &readers, (limits, presence)).await?;
        Ok(Self { writer, readers, leaders, term: Term::default(), presence })
    }

    /// Whether other replicas may use it too.
    pub fn is_shared(&self) -> bool {
        self.readers.is_shared()
    }

    /// Keeps a delivery: once this returns `New` or `Again`, it survives a crash.
    pub async fn accept(&self, delivery: NewDelivery) -> Result<Accepted, StoreError> {
        self.writer.accept(delivery).await
    }

    /// Takes a delivery whose id was made for it, and gives it with its number before it is durable. It becomes so with whatever is
    /// written next, or once somebody waits for it. Whoever stops waiting for this itself has handed in nothing.
    pub async fn hand_in(&self, delivery: NewDelivery) -> Result<(Delivery, HandedOver<Accepted>), StoreError> {
        self.writer.hand_in(delivery).await
    }

    /// Whether the inbox was full a moment ago.
    pub fn is_full(&self) -> bool {
        self.writer.is_full()
    }

    /// Stores a batch as a whole or not at all; [`StoreError::NotLeading`] where another replica has taken over.
    pub async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.reserve().await?.hand_over(batch).durable().await?.ok_or(StoreError::NotLeading)
    }

    /// Reserves the next place in the queue of writes: whoever is told of a batch before it is handed over finds it there all the same, since
    /// whatever they ask of this store comes after it.
    pub async fn reserve(&self) -> Result<Reserved, StoreError> {
        Ok(Reserved::new(self.writer.reserve().await?, self.term.number()))
    }

    /// Reads what waits, in order of arrival, after a number (0: from the start), at most `limit` of them; without their bodies. Who leads in a
    /// term gets what it has taken up.
    ///
    /// Where replicas share the store, one of a lower number may become visible after one of a higher number, so what was not read yet is not
    /// found by the last number alone, but by [`Store::take_up`].
    pub async fn waiting(&self, after: i64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.writer.caught_up().await;
        inbox::waiting(&self.readers, (after, self.term.number()), limit).await
    }

    /// Reads a delivery with its body by its id; without a source, the newest of that id.
    pub async fn delivery(&self, source: Option<Source>, id: &str) -> Result<Option<Delivery>, StoreError> {
        self.writer.caught_up().await;
        inbox::by_id(&self.readers, source, id).await
    }

    /// Lists deliveries, newest first, without their bodies: a page of those could be a hundred MiB.
    pub async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
        self.writer.caught_up().await;
        inbox::list(&self.readers, &query).await
    }

    /// Counts the deliveries in each state.
    pub async fn inbox_depth(&self) -> Result<Vec<(DeliveryState, u64)>, StoreError> {
        self.writer.caught_up().await;
        inbox::depth(&self.readers).await
    }

    /// Lets a delivery wait again, whatever became of it; what still waits is tried at once. Nothing where there is none of that number; [`StoreError::Full`] where
    /// too much waits already.
    pub async fn redeliver(&self, number: i64) -> Result<Option<Redelivered>, StoreError> {
        self.writer.write(Redeliver { number }).await?
    }

    /// Writes down what an act was made absolute to: whoever carries its delivery out from now on does that, however often.
    pub async fn make_absolute(&self, number: i64, event: Event) -> Result<(), StoreError> {
        let make = Led { term: self.term.number(), write: MakeAbsolute { number, event } };
        self.writer.write(make).await?.ok_or(StoreError::NotLeading)
    }

    /// Reads what the registry is known to say of every model.
    pub async fn registry(&self) -> Result<Vec<RegistryState>, StoreError> {
        batch::registry(&self.readers).await
    }

    /// Lists the commits of a release before one of them, newest first.
    pub async fn history(
        &self,
        key: &ReleaseKey,
        before: Option<&CommitId>,
        limit: u32,
    ) -> Result<Vec<IndexedCommit>, StoreError> {
        self.writer.caught_up().await;
        history::of_release(&self.readers, key, before, limit).await
    }

    /// Reads one commit of a release, however old it is; nothing where it did not change the release.
    pub async fn indexed_commit(
        &self,
        key: &ReleaseKey,
        commit: &CommitId,
    ) -> Result<Option<IndexedCommit>, StoreError> {
        self.writer.caught_up().await;
        history::one(&self.readers, key, commit).await
    }

    /// Reads what is known of those of some commits that the service made, or that speak as it, a row for each release.
    pub async fn ours_among(&self, commits: &[CommitId]) -> Result<Vec<IndexedCommit>, StoreError> {
        self.writer.caught_up().await;
        history::ours_among(&self.readers, commits).await
    }

    /// Reads the newest commit of each release after one of them, by key, at most [`PAGE_ROWS_MAX`] of them; of retracted ones too.
    pub async fn newest_commits(&self, after: Option<&ReleaseKey>) -> Result<Vec<Newest>, StoreError> {
        history::newest(&self.readers, after).await
    }

    /// Reads which releases events newly made since a moment, by their environments, the earliest first.
    pub async fn made_by_events(&self, since: Timestamp) -> Result<Vec<(EnvironmentName, Timestamp)>, StoreError> {
        self.writer.caught_up().await;
        history::made_by_events(&self.readers, since).await
    }

    /// Reads up to which commit the history index reaches.
    pub async fn indexed_tip(&self) -> Result<Option<CommitId>, StoreError> {
        Ok(history::reach(&self.readers).await?.map(|(tip, _)| tip))
    }

    /// Reads up to which commit the history index reaches, and up to which it lacks what was before it was begun.
    pub async fn index_reach(&self) -> Result<Option<(CommitId, Option<CommitId>)>, StoreError> {
        history::reach(&self.readers).await
    }

    /// Begins the history index anew at a commit. What was up to it is added by [`Store::add_past`].
    pub async fn begin_index(&self, at: CommitId) -> Result<(), StoreError> {
        let begin = Led { term: self.term.number(), write: BeginIndex { at } };
        self.writer.write(begin).await?.ok_or(StoreError::NotLeading)
    }

    /// Adds what was before the index was begun, oldest first; `place` says where in the whole of it these commits are. Says whether the index
    /// still lacks it: it does not where it was begun anew meanwhile.
    pub async fn add_past(
        &self,
        before: &CommitId,
        commits: Vec<IndexedCommit>,
        place: PlaceInPast,
    ) -> Result<bool, StoreError> {
        let PlaceInPast { is_first, is_last } = place;
        let write = AddPast { before: before.clone(), commits, is_first, is_last };
        self.writer.write(Led { term: self.term.number(), write }).await?.ok_or(StoreError::NotLeading)
    }

    /// Empties the history index, so that it is built anew.
    pub async fn forget_index(&self) -> Result<(), StoreError> {
        let forget = Led { term: self.term.number(), write: ForgetIndex };
        self.writer.write(forget).await?.ok_or(StoreError::NotLeading)
    }

    /// Reads the last text of each policy that could be parsed.
    pub async fn policies(&self) -> Result<Vec<(PolicyName, String)>, StoreError> {
        orders::policies(&self.readers).await
    }

    /// Keeps the text of a policy that could be parsed.
    pub async fn remember_policy(&self, name: &PolicyName, text: &str, now: Timestamp) -> Result<(), StoreError> {
        let text = Some((text.to_owned(), now));
        self.writer.write(RememberPolicy { name: name.clone(), text }).await
    }

    /// Forgets a policy whose file is gone.
    pub async fn forget_policy(&self, name: &PolicyName) -> Result<(), StoreError> {
        self.writer.write(RememberPolicy { name: name.clone(), text: None }).await
    }

    /// Notes that a commit of a release was seen live; the first time counts.
    pub async fn note_live(&self, key: &ReleaseKey, seen: SeenLive) -> Result<(), StoreError> {
        self.writer.write(NoteLive { key: key.clone(), seen }).await
    }

    /// Reads when a commit of a release was first seen live.
    pub async fn live_since(&self, key: &ReleaseKey, commit: &CommitId) -> Result<Option<Timestamp>, StoreError> {
        self.writer.caught_up().await;
        live::since(&self.readers, key, commit).await
    }

    /// Reads which commits of a release were seen live, and when, the newest first.
    pub async fn seen_live(&self, key: &ReleaseKey, limit: u32) -> Result<Vec<SeenLive>, StoreError> {
        self.writer.caught_up().await;
        live::of_release(&self.readers, key, limit).await
    }

    /// Sets the hold that is made from those that are there, whoever else sets one meanwhile; one for the same environment gets the new reason.
    pub async fn hold(&self, make: impl FnOnce(&[Hold]) -> Hold + Send + 'static) -> Result<(), StoreError> {
        self.writer.write(SetHold(make)).await
    }

    /// Lifts the hold of an environment, or the one for all. Says whether there was one.
    pub async fn unhold(&self, environment: Option<&EnvironmentName>) -> Result<bool, StoreError> {
        self.writer.write(Unhold { environment: environment.cloned() }).await
    }

    /// Lists the holds.
    pub async fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        orders::holds(&self.readers).await
    }

    /// Keeps a new token. Says whether it could: its id and hash must be new.
    pub async fn create_token(&self, token: NewToken) -> Result<bool, StoreError> {
        self.writer.write(token).await
    }

    /// Lists the tokens, newest first, revoked and expired ones too.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        tokens::list(&self.readers).await
    }

    /// Revokes a token, but for the last one that is good for everything.
    pub async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<Revoked, StoreError> {
        self.writer.write(RevokeToken { id: id.to_owned(), now }).await
    }

    /// Finds a token by the hash of its clear text, a revoked or expired one too: ask [`Token::is_live`].
    pub async fn token_by_hash(&self, hash: &TokenHash) -> Result<Option<Token>, StoreError> {
        tokens::by_hash(&self.readers, hash).await
    }

    /// Claims an idempotency key for a request with this body; a claim is forgotten after 24 hours.
    pub async fn claim(&self, key: ClaimKey, body_hash: String, now: Timestamp) -> Result<Claim, StoreError> {
        self.writer.write(ClaimFor { key, body_hash, now, by: self.presence }).await
    }

    /// Begins anew under a claimed key. Says whether it is still claimed here.
    pub async fn claim_anew(&self, key: ClaimKey, now: Timestamp) -> Result<bool, StoreError> {
        self.writer.write(ClaimAnew { key, now, by: self.presence }).await
    }

    /// Keeps the answer to a request that is claimed here.
    pub async fn answer(&self, key: ClaimKey, status: u16, body: String) -> Result<(), StoreError> {
        self.writer.write(Settle { key, answer: Some((status, body)), by: self.presence }).await
    }

    /// Gives a claim back without an answer, so that the same request can be tried again under its key.
    pub async fn give_back(&self, key: ClaimKey) -> Result<(), StoreError> {
        self.writer.write(Settle { key, answer: None, by: self.presence }).await
    }

    /// Adds to the audit.
    pub async fn record(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.writer.write(entry).await
    }

    /// Lists the audit before a number, newest first.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<Audited>, StoreError> {
        self.writer.caught_up().await;
        audit::list(&self.readers, before, limit).await
    }

    /// Removes what has been kept long enough. Takes turns with other writes.
    pub async fn prune(&self, now: Timestamp) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        loop {
            let step = self.writer.write(PruneStep { now }).await?;
            if step.is_nothing() {
                return Ok(pruned);
            }
            pruned.add(step);
        }
    }

    /// Writes a whole and consistent copy into a file that is not there yet; [`StoreError::Elsewhere`] for one on a server.
    pub async fn checkpointed_copy(&self, to: &Path) -> Result<(), StoreError> {
        copy::copy(&self.readers, to).await
    }

    /// Writes a whole and consistent copy of the store of an address into a file that is not there yet, also while a service uses it.
    pub async fn copy(address: impl Into<Address>, data_dir: &Path, to: &Path) -> Result<(), StoreError> {
        let place = Place::of(&address.into(), data_dir)?;
        place.check_is_here()?;
        copy::copy(&place.readers(), to).await
    }

    /// Copies the store in a file into an empty database of a server, in one transaction, and says how many rows of which table. No service
    /// may use the file meanwhile, and none begins with it after that.
    pub async fn migrate(
        from: impl Into<Address>,
        data_dir: &Path,
        to: impl Into<Address>,
    ) -> Result<Vec<Copied>, StoreError> {
        migrate::migrate(&from.into(), data_dir, &to.into()).await
    }

    /// Begins a term as the leader, for whoever leads by [`Store::try_lead`]: all that waits is its own from now on, and whoever led before
    /// stores nothing more.
    pub async fn take_over(&self) -> Result<(), StoreError> {
        // Whoever has a file has it alone.
        if !self.is_shared() {
            return Ok(());
        }
        self.term.begin(self.writer.write(TakeOver).await?);
        Ok(())
    }

    /// Ends the term: from here on this replica stores nothing of a leader's until the next one.
    pub fn step_down(&self) {
        self.term.end();
    }

    /// Takes up what has arrived at any replica and nobody has taken up, oldest first, at most `limit` of it.
    /// With it, at most as many numbers of what is to be tried at once.
    pub async fn take_up(&self, limit: u32) -> Result<TakenUp, StoreError> {
        if !term::is_something_free(&self.readers).await? {
            return Ok(TakenUp::default());
        }
        let taken = self.writer.write(Led { term: self.term.number(), write: TakeUp { limit } }).await?;
        taken.ok_or(StoreError::NotLeading)?
    }

    /// Reads what whoever waits for these deliveries can be told; those of which nothing is known yet are left out.
    pub async fn told(&self, numbers: &[i64]) -> Result<Vec<(Delivery, Told)>, StoreError> {
        term::told(&self.readers, numbers).await
    }

    /// Hears of what other replicas write.
    pub fn changes(&self) -> Changes {
        Changes::of(&self.readers)
    }

    /// Tries to be the one who writes to something, for example a branch of a remote. Nothing where another replica is.
    pub async fn try_lead(&self, what: &str) -> Result<Option<Leadership>, StoreError> {
        self.leaders.try_lead(what).await
    }

    /// Waits until this replica is the one.
    pub async fn lead(&self, what: &str) -> Result<Leadership, StoreError> {
        self.leaders.lead(what).await
    }

    /// Agrees with the other replicas on the branch that all of them release to. Gives theirs where that is another one; where no other is there,
    /// this one decides.
    pub async fn agree_on(&self, branch: &str) -> Result<Option<String>, StoreError> {
        self.writer.write(Agree { branch: branch.to_owned() }).await
    }

    /// Keeps what the last sweep found, as JSON.
    pub async fn keep_sweep(&self, report: String) -> Result<(), StoreError> {
        self.writer.write(KeepSweep { report }).await
    }

    /// Reads what the last sweep found, whoever made it.
    pub async fn last_sweep(&self) -> Result<Option<String>, StoreError> {
        self.writer.caught_up().await;
        orders::last_sweep(&self.readers).await
    }

    /// Tells how often the writer did what, since the store was opened.
    pub fn writer_counts(&self) -> WriterCounts {
        self.writer.counts()
    }

    /// Writes what is queued and closes the store; whatever is asked of it later fails.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
