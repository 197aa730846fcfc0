//! A transaction whose end nobody heard: the connection to the server broke, or fell silent, while it was being committed.
//!
//! It may be committed all the same, and then what it accepted is carried out. Whoever is told that nothing is kept must be able to believe it, so the
//! server is asked what became of it, by the number of the transaction. Every transaction locks the one row of `ledger` first, so whoever has that row
//! knows that the other one is over.
//!
//! Ends where the server does not answer in time. A standby that took its place has what was committed here as far as it promises to, and numbers of its
//! own after that: one that lags may lose what was accepted, whether its answer was heard or not.

use std::time::Duration;

use super::db::{self, Place};
use super::{Cause, Limits, StoreError};

/// How long the server is asked: one that restarts is back within a second or two, and whoever waits for the answer has it in time. What was never told to
/// end is ended by the server ten seconds after its last word.
const ASKED_WITHIN: Duration = Duration::from_secs(5);

/// Between two attempts to ask.
const ASKED_AGAIN: Duration = Duration::from_millis(100);

/// Waits until it is known how a transaction ended.
///
/// # Errors
/// It was not committed, or nobody knows.
pub(super) async fn hear_of_end(
    place: &Place,
    limits: Limits,
    transaction: i64,
    cause: Cause,
) -> Result<(), StoreError> {
    let asked = async {
        loop {
            match ask(place, limits, transaction).await {
                Ok(is_committed) => break is_committed,
                Err(error) => tracing::debug!(error = %error, "What became of a transaction is not known yet: {error}"),
            }
            tokio::time::sleep(ASKED_AGAIN).await;
        }
    };
    match tokio::time::timeout(ASKED_WITHIN, asked).await {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false)) => Err(StoreError::ServerAway(cause)),
        Ok(None) | Err(_) => Err(StoreError::Unsure(cause)),
    }
}

/// Asks on a connection of its own whether a transaction was committed.
async fn ask(place: &Place, limits: Limits, transaction: i64) -> Result<Option<bool>, StoreError> {
    let mut db = place.connect(limits).await?;
    let asked = async {
        db.begin().await?;
        let is_committed = db.was_committed(transaction).await?;
        // Where a standby is to have what is committed, it has that transaction too once it has this one.
        db.commit(None).await?;
        Ok(is_committed)
    };
    let asked: Result<_, sqlx::Error> = db::within(true, asked).await?;
    let asked = asked.map_err(|error| db.failed(error));
    if let Err(error) = db.close().await {
        tracing::debug!(error = %error, "A connection did not close cleanly");
    }
    asked
}
