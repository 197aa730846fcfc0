//! The SQL store: the inbox of deliveries and their outcome, tokens, the history index, what the registry said, holds, audit.
//!
//! Accepted means durable. Everything that is written passes through one writer, which takes what is queued and writes it in one
//! transaction, so one sync of the disk serves everybody who waited for it. The store decides nothing: it keeps and finds.

mod error;
mod types;

use std::path::Path;

use jiff::Timestamp;

use crate::access::{NewToken, Token, TokenHash};
use crate::event::{Delivery, DeliveryState, NewDelivery, Source};
use crate::names::{CommitId, EnvironmentName, PolicyName, ReleaseKey};
use crate::registry::RegistryState;

pub use error::{Cause, StoreError};
pub use types::*;

/// The most rows of one page of any list.
pub const PAGE_ROWS_MAX: u32 = 1_000;

/// The store; a clone is another handle of the same one.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Opens the store that a URL names, makes it where there is none, and brings its tables up to date. `sqlite:` is `kmlflow.db` in the
    /// data directory, `sqlite:FILE` a file of its own.
    pub async fn open(_url: &str, _data_dir: &Path) -> Result<Self, StoreError> {
        todo!()
    }

    /// Keeps a delivery: once this returns `New` or `Again`, it survives a crash.
    pub async fn accept(&self, _delivery: NewDelivery) -> Result<Accepted, StoreError> {
        todo!()
    }

    /// Stores a batch as a whole or not at all.
    pub async fn commit(&self, _batch: Batch) -> Result<(), StoreError> {
        todo!()
    }

    /// Reads what waits, in order of arrival, after a number (0: from the start), at most `limit` of them.
    pub async fn waiting(&self, _after: i64, _limit: u32) -> Result<Vec<Delivery>, StoreError> {
        todo!()
    }

    /// Reads a delivery by its id; without a source, the newest of that id.
    pub async fn delivery(&self, _source: Option<Source>, _id: &str) -> Result<Option<Delivery>, StoreError> {
        todo!()
    }

    /// Lists deliveries, newest first.
    pub async fn deliveries(&self, _query: DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
        todo!()
    }

    /// Counts the deliveries in each state.
    pub async fn inbox_depth(&self) -> Result<Vec<(DeliveryState, u64)>, StoreError> {
        todo!()
    }

    /// Lets a delivery wait again, whatever became of it. Nothing where there is none of that number.
    pub async fn redeliver(&self, _number: i64) -> Result<Option<Delivery>, StoreError> {
        todo!()
    }

    /// Reads what the registry is known to say of every model.
    pub async fn registry(&self) -> Result<Vec<RegistryState>, StoreError> {
        todo!()
    }

    /// Lists the commits of a release before one of them, newest first.
    pub async fn history(
        &self,
        _key: &ReleaseKey,
        _before: Option<&CommitId>,
        _limit: u32,
    ) -> Result<Vec<IndexedCommit>, StoreError> {
        todo!()
    }

    /// Reads the newest commit of every release, of retracted ones too.
    pub async fn newest_commits(&self) -> Result<Vec<IndexedCommit>, StoreError> {
        todo!()
    }

    /// Reads up to which commit the history index reaches.
    pub async fn indexed_tip(&self) -> Result<Option<CommitId>, StoreError> {
        todo!()
    }

    /// Empties the history index, so that it is built anew.
    pub async fn forget_index(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Reads the last text of each policy that could be parsed.
    pub async fn policies(&self) -> Result<Vec<(PolicyName, String)>, StoreError> {
        todo!()
    }

    /// Keeps the text of a policy that could be parsed.
    pub async fn remember_policy(&self, _name: &PolicyName, _text: &str, _now: Timestamp) -> Result<(), StoreError> {
        todo!()
    }

    /// Forgets a policy whose file is gone.
    pub async fn forget_policy(&self, _name: &PolicyName) -> Result<(), StoreError> {
        todo!()
    }

    /// Sets a hold; one that is there for the same environment gets the new reason.
    pub async fn hold(&self, _hold: Hold) -> Result<(), StoreError> {
        todo!()
    }

    /// Lifts the hold of an environment, or the one for all. Says whether there was one.
    pub async fn unhold(&self, _environment: Option<&EnvironmentName>) -> Result<bool, StoreError> {
        todo!()
    }

    /// Lists the holds.
    pub async fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        todo!()
    }

    /// Keeps a new token. Says whether it could: its id and hash must be new.
    pub async fn create_token(&self, _token: NewToken) -> Result<bool, StoreError> {
        todo!()
    }

    /// Lists the tokens, newest first, revoked and expired ones too.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        todo!()
    }

    /// Revokes a token. Says whether there was one that was not revoked yet.
    pub async fn revoke_token(&self, _id: &str, _now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }

    /// Finds a token by the hash of its clear text, a revoked or expired one too: ask [`Token::is_live`].
    pub async fn token_by_hash(&self, _hash: &TokenHash) -> Result<Option<Token>, StoreError> {
        todo!()
    }

    /// Claims an idempotency key for a request with this body; a claim is forgotten after 24 hours.
    pub async fn claim(&self, _key: ClaimKey, _body_hash: String, _now: Timestamp) -> Result<Claim, StoreError> {
        todo!()
    }

    /// Keeps the answer to a claimed request.
    pub async fn answer(&self, _key: ClaimKey, _status: u16, _body: String) -> Result<(), StoreError> {
        todo!()
    }

    /// Gives a claim back without an answer, so that the request can be tried again under its key.
    pub async fn give_back(&self, _key: ClaimKey) -> Result<(), StoreError> {
        todo!()
    }

    /// Adds to the audit.
    pub async fn record(&self, _entry: AuditEntry) -> Result<(), StoreError> {
        todo!()
    }

    /// Lists the audit before a number, newest first.
    pub async fn audit(&self, _before: Option<i64>, _limit: u32) -> Result<Vec<Audited>, StoreError> {
        todo!()
    }

    /// Removes what has been kept long enough. Takes turns with other writes.
    pub async fn prune(&self, _now: Timestamp) -> Result<Pruned, StoreError> {
        todo!()
    }

    /// Writes a whole and consistent copy into a file that is not there yet.
    pub async fn checkpointed_copy(&self, _to: &Path) -> Result<(), StoreError> {
        todo!()
    }

    /// Writes what is queued and closes the store; whatever is asked of it later fails.
    pub async fn close(&self) {
        todo!()
    }
}
