//! Idempotency keys: the same request under the same key gets the same answer, for 24 hours.

use jiff::{SignedDuration, Timestamp};

use super::columns::time;
use super::db::{Connection, Statement};
use super::ledger::Ledger;
use super::presence::{HOLDS, Presence};
use super::prune::IDEMPOTENCY_KEYS_KEPT;
use super::writer::Write;
use super::{Claim, ClaimKey};

/// How long a claim may go unanswered by a replica that is there: much longer than any request is waited for, so the answer could not be kept.
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
        let claim = Statement::new(
            "INSERT INTO idempotency_keys (token_id, path, key, body_hash, claimed_at, claimed_by) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (token_id, path, key) DO UPDATE SET body_hash = excluded.body_hash, claimed_at = excluded.claimed_at,
             claimed_by = excluded.claimed_by, status = NULL, answer = NULL WHERE idempotency_keys.claimed_at < $7",
        );
        let claim = claim.bind(&token_id).bind(&path).bind(&key).bind(&body_hash).bind(time(now)).bind(by.number());
        if db.execute(claim.bind(before(IDEMPOTENCY_KEYS_KEPT))).await? > 0 {
            return Ok(Claim::New);
        }
        let is_gone = if db.is_shared() { format!("NOT EXISTS ({HOLDS} claimed_by)") } else { "FALSE".to_owned() };
        let known = Statement::new(format!(
            "SELECT body_hash, status, answer, claimed_at,
             (claimed_by IS NULL OR claimed_at < $4 OR (claimed_at < $5 AND {is_gone})) AS is_left
             FROM idempotency_keys WHERE token_id = $1 AND path = $2 AND key = $3"
        ));
        let known = known.bind(&token_id).bind(&path).bind(&key);
        let known = known.bind(before(UNANSWERED_MAX)).bind(before(UNANSWERED_BY_NOBODY_MAX));
        let known = db.row(known).await?.ok_or(sqlx::Error::RowNotFound)?;
        let status: Option<i64> = known.get("status")?;
        Ok(match status {
            _ if known.get::<&str>("body_hash")? != body_hash => Claim::Other,
            None if known.get("is_left")? => {
                let at = known.get::<&str>("claimed_at")?.parse();
                // Since when stays as it is: by that the inbox and Git know the request.
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

/// Begins anew under a key that is claimed: what was done under it so far was refused, and what is done now is another attempt.
pub(super) struct ClaimAnew {
    pub(super) key: ClaimKey,
    pub(super) now: Timestamp,
    pub(super) by: Presence,
}

impl Write for ClaimAnew {
    /// Whether the key is still claimed by whoever begins anew.
    type Answer = bool;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<bool, sqlx::Error> {
        let Self { key: ClaimKey { token_id, path, key }, now, by } = self;
        let anew = Statement::new(
            "UPDATE idempotency_keys SET claimed_at = $5
             WHERE token_id = $1 AND path = $2 AND key = $3 AND claimed_by = $4 AND status IS NULL",
        );
        Ok(db.execute(anew.bind(token_id).bind(path).bind(key).bind(by.number()).bind(time(now))).await? > 0)
    }
}

/// Keeps the answer to a claimed request, or gives the claim back where there is none. Nothing where another replica has taken the claim up.
pub(super) struct Settle {
    pub(super) key: ClaimKey,
    pub(super) answer: Option<(u16, String)>,
    pub(super) by: Presence,
}

impl Write for Settle {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let Self { key: ClaimKey { token_id, path, key }, answer, by } = self;
        // Without an answer nobody knows for certain that nothing was done, so the key goes on naming the same request.
        let set = if answer.is_some() { "status = $5, answer = $6" } else { "claimed_by = NULL" };
        let mut query = Statement::new(format!(
            "UPDATE idempotency_keys SET {set}
             WHERE token_id = $1 AND path = $2 AND key = $3 AND claimed_by = $4 AND status IS NULL"
        ));
        query = query.bind(token_id).bind(path).bind(key).bind(by.number());
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
