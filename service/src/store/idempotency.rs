//! Idempotency keys: the same request under the same key gets the same answer, for 24 hours.

use jiff::{SignedDuration, Timestamp};

use super::columns::time;
use super::db::{Connection, Statement};
use super::ledger::Ledger;
use super::presence::{HOLDS, Presence};
use super::prune::IDEMPOTENCY_KEYS_KEPT;
use super::writer::Write;
use super::{Claim, ClaimKey};

/// How long a claim may go unanswered by a replica that is there: much longer than any request is waited for.
const UNANSWERED_MAX: SignedDuration = SignedDuration::from_hours(1);

/// How long it may by one that is not: one that only lost its connection has answered by then, or has the next one.
const UNANSWERED_BY_NOBODY_MAX: SignedDuration = SignedDuration::from_secs(20);

/// Claims a key for a request.
pub(super) struct ClaimFor {
    pub(super) key: ClaimKey,
    pub(super) body_hash: String,
    pub(super) now: Timestamp,
    /// Who answers.
    pub(super) by: Presence,
}

impl Write for ClaimFor {
    type Answer = Claim;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<Claim, sqlx::Error> {
        let Self { key: ClaimKey { token_id, path, key }, body_hash, now, by } = self;
        let before = |kept| time(now.checked_sub(kept).unwrap_or(Timestamp::MIN));
        // An entry that is old enough to be forgotten is taken over as if it were not there.
        let is_gone = if db.is_shared() {
            format!("NOT EXISTS ({HOLDS} idempotency_keys.claimed_by)")
        } else {
            "FALSE".to_owned()
        };
        let claim = Statement::new(format!(
            "INSERT INTO idempotency_keys (token_id, path, key, body_hash, claimed_at, claimed_by) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (token_id, path, key) DO UPDATE SET body_hash = excluded.body_hash, claimed_at = excluded.claimed_at,
             claimed_by = excluded.claimed_by, status = NULL, answer = NULL WHERE idempotency_keys.claimed_at < $7
             OR (idempotency_keys.status IS NULL AND idempotency_keys.claimed_by IS NOT NULL AND (idempotency_keys.claimed_at < $8
                 OR (idempotency_keys.claimed_at < $9 AND {is_gone})))"
        ));
        let claim = claim.bind(&token_id).bind(&path).bind(&key).bind(&body_hash).bind(time(now)).bind(by.number());
        let claim = claim.bind(before(IDEMPOTENCY_KEYS_KEPT)).bind(before(UNANSWERED_MAX));
        let claim = claim.bind(before(UNANSWERED_BY_NOBODY_MAX));
        if db.execute(claim).await? > 0 {
            return Ok(Claim::New);
        }
        let known = Statement::new(
            "SELECT body_hash, status, answer, claimed_at, claimed_by FROM idempotency_keys
             WHERE token_id = $1 AND path = $2 AND key = $3",
        );
        let known = db.row(known.bind(&token_id).bind(&path).bind(&key)).await?.ok_or(sqlx::Error::RowNotFound)?;
        let status: Option<i64> = known.get("status")?;
        Ok(match status {
            _ if known.get::<&str>("body_hash")? != body_hash => Claim::Other,
            None if known.get::<Option<i64>>("claimed_by")?.is_none() => {
                let at = known.get::<&str>("claimed_at")?.parse();
                let again = Statement::new(
                    "UPDATE idempotency_keys SET claimed_by = $4 WHERE token_id = $1 AND path = $2 AND key = $3",
                );
                db.execute(again.bind(token_id).bind(path).bind(key).bind(by.number())).await?;
                Claim::Interrupted(at.map_err(|error| sqlx::Error::Decode(Box::new(error)))?)
            }
            None => Claim::InFlight,
            Some(status) => {
                let status = u16::try_from(status).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
                Claim::Same(status, known.get::<Option<String>>("answer")?.unwrap_or_default())
            }
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

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let Self { key: ClaimKey { token_id, path, key }, answer } = self;
        let query = match &answer {
            Some(_) => Statement::new(
                "UPDATE idempotency_keys SET status = $4, answer = $5 WHERE token_id = $1 AND path = $2 AND key = $3 AND status IS NULL",
            ),
            None => Statement::new(
                "DELETE FROM idempotency_keys WHERE token_id = $1 AND path = $2 AND key = $3 AND status IS NULL",
            ),
        };
        let mut query = query.bind(token_id).bind(path).bind(key);
        if let Some((status, body)) = answer {
            query = query.bind(status).bind(body);
        }
        db.execute(query).await?;
        Ok(())
    }
}

/// Notes what nobody is left to answer: whoever claimed it went down with the process before this one, and may have carried it out. Not for a
/// store that replicas share, where another may be answering.
pub(super) async fn interrupt_all(db: &mut Connection) -> Result<(), sqlx::Error> {
    db.execute(Statement::new("UPDATE idempotency_keys SET claimed_by = NULL WHERE status IS NULL")).await?;
    Ok(())
}
