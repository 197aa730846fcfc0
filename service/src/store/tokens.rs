//! Tokens: kept by the hash of their clear text.

use jiff::Timestamp;

use super::columns::{from_json, get, json, parse, parse_some, time, word};
use super::db::{Connection, Readers, Row, Statement};
use super::ledger::Ledger;
use super::writer::Write;
use super::{Revoked, StoreError};
use crate::access::{NewToken, Token, TokenHash};

/// The answer says whether id and hash were new.
impl Write for NewToken {
    type Answer = bool;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<bool, sqlx::Error> {
        let Self { token, hash } = self;
        let Token { id, name, role, scopes, created_at, expires_at, revoked_at } = token;
        let query = Statement::new(
            "INSERT INTO tokens (id, hash, name, role, scopes, created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        );
        let query = query.bind(id).bind(hash.as_str()).bind(name).bind(role.as_str()).bind(json(&scopes)?);
        let query = query.bind(time(created_at)).bind(expires_at.map(time)).bind(revoked_at.map(time));
        Ok(db.execute(query).await? > 0)
    }
}

/// Revokes a token, unless nobody could make another one then.
pub(super) struct RevokeToken {
    pub(super) id: String,
    pub(super) now: Timestamp,
}

/// A token that is good for everything now; `$2` is now.
const IS_LIVE_ADMIN: &str =
    "role = 'admin' AND scopes = '[]' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";

impl Write for RevokeToken {
    type Answer = Revoked;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<Revoked, sqlx::Error> {
        let Self { id, now } = self;
        // One that is good for everything goes only where another one is.
        let revoke = Statement::new(format!(
            "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL AND (NOT ({IS_LIVE_ADMIN})
             OR EXISTS (SELECT 1 FROM tokens others WHERE id <> $1 AND {IS_LIVE_ADMIN}))"
        ));
        if db.execute(revoke.bind(id.as_str()).bind(time(now))).await? > 0 {
            return Ok(Revoked::Done);
        }
        let is_there = Statement::new("SELECT count(*) FROM tokens WHERE id = $1 AND revoked_at IS NULL");
        let is_there = db.number(is_there.bind(id)).await? > 0;
        Ok(if is_there { Revoked::LastAdmin } else { Revoked::Unknown })
    }
}

/// All tokens, newest first.
pub(super) async fn list(db: &Readers) -> Result<Vec<Token>, StoreError> {
    let rows = db.rows(Statement::new("SELECT * FROM tokens ORDER BY created_at DESC, id")).await?;
    rows.iter().map(token).collect()
}

/// The token of a hash.
pub(super) async fn by_hash(db: &Readers, hash: &TokenHash) -> Result<Option<Token>, StoreError> {
    let row = db.row(Statement::new("SELECT * FROM tokens WHERE hash = $1").bind(hash.as_str())).await?;
    row.as_ref().map(token).transpose()
}

fn token(row: &Row) -> Result<Token, StoreError> {
    Ok(Token {
        id: get(row, "id")?,
        name: get(row, "name")?,
        role: word(row, "role")?,
        scopes: from_json(row, "scopes")?,
        created_at: parse(row, "created_at")?,
        expires_at: parse_some(row, "expires_at")?,
        revoked_at: parse_some(row, "revoked_at")?,
    })
}
