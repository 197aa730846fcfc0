//! Idempotency keys: the same request under the same key gets the same answer, for 24 hours.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};

use super::columns::time;
use super::prune::IDEMPOTENCY_KEYS_KEPT;
use super::writer::{Ledger, Write};
use super::{Claim, ClaimKey};

/// Claims a key for a request.
pub(super) struct ClaimFor {
    pub(super) key: ClaimKey,
    pub(super) body_hash: String,
    pub(super) now: Timestamp,
}

impl Write for ClaimFor {
    type Answer = Claim;

    async fn run(self, db: &mut SqliteConnection, _: &mut Ledger) -> Result<Claim, sqlx::Error> {
        let Self { key: ClaimKey { token_id, path, key }, body_hash, now } = self;
        let forgotten = now.checked_sub(IDEMPOTENCY_KEYS_KEPT).unwrap_or(Timestamp::MIN);
        // An entry that is old enough to be forgotten is taken over as if it were not there.
        let claim = sqlx::query(
            "INSERT INTO idempotency_keys (token_id, path, key, body_hash, claimed_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (token_id, path, key) DO UPDATE SET body_hash = excluded.body_hash, claimed_at = excluded.claimed_at,
             status = NULL, answer = NULL WHERE idempotency_keys.claimed_at < $6",
        );
        let claim = claim.bind(&token_id).bind(&path).bind(&key).bind(&body_hash).bind(time(now)).bind(time(forgotten));
        if claim.execute(&mut *db).await?.rows_affected() > 0 {
            return Ok(Claim::New);
        }
        let known = sqlx::query(
            "SELECT body_hash, status, answer FROM idempotency_keys WHERE token_id = $1 AND path = $2 AND key = $3",
        );
        let known = known.bind(token_id).bind(path).bind(key).fetch_one(db).await?;
        let status: Option<u16> = known.try_get("status")?;
        Ok(match status {
            _ if known.try_get::<&str, _>("body_hash")? != body_hash => Claim::Other,
            None => Claim::InFlight,
            Some(status) => Claim::Same(status, known.try_get::<Option<String>, _>("answer")?.unwrap_or_default()),
        })
    }
}

/// Keeps the answer to a claimed request, or gives the claim back where there is none.
pub(super) struct Settle {
    pub(super) key: ClaimKey,
    pub(super) answer: Option<(u16, String)>,
}

impl Write for Settle {
    type Answer = ();

    async fn run(self, db: &mut SqliteConnection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let Self { key: ClaimKey { token_id, path, key }, answer } = self;
        let query = match &answer {
            Some(_) => sqlx::query(
                "UPDATE idempotency_keys SET status = $4, answer = $5 WHERE token_id = $1 AND path = $2 AND key = $3 AND status IS NULL",
            ),
            None => sqlx::query(
                "DELETE FROM idempotency_keys WHERE token_id = $1 AND path = $2 AND key = $3 AND status IS NULL",
            ),
        };
        let mut query = query.bind(token_id).bind(path).bind(key);
        if let Some((status, body)) = answer {
            query = query.bind(status).bind(body);
        }
        query.execute(db).await?;
        Ok(())
    }
}

/// Gives back what nobody is left to answer: whoever claimed it went down with the process before this one.
pub(super) async fn give_back_all(db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM idempotency_keys WHERE status IS NULL").execute(db).await?;
    Ok(())
}
