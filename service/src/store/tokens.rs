//! Tokens: kept by the hash of their clear text.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqlitePool};

use super::StoreError;
use super::columns::{from_json, get, json, parse, parse_some, time, word};
use super::writer::{Ledger, Write};
use crate::access::{NewToken, Token, TokenHash};

/// The answer says whether id and hash were new.
impl Write for NewToken {
    type Answer = bool;

    async fn run(self, db: &mut SqliteConnection, _: &mut Ledger) -> Result<bool, sqlx::Error> {
        let Self { token, hash } = self;
        let Token { id, name, role, scopes, created_at, expires_at, revoked_at } = token;
        let query = sqlx::query(
            "INSERT INTO tokens (id, hash, name, role, scopes, created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        );
        let query = query.bind(id).bind(hash.as_str()).bind(name).bind(role.as_str()).bind(json(&scopes)?);
        let query = query.bind(time(created_at)).bind(expires_at.map(time)).bind(revoked_at.map(time));
        Ok(query.execute(db).await?.rows_affected() > 0)
    }
}

/// Revokes a token; the answer says whether that changed something.
pub(super) struct RevokeToken {
    pub(super) id: String,
    pub(super) now: Timestamp,
}

impl Write for RevokeToken {
    type Answer = bool;

    async fn run(self, db: &mut SqliteConnection, _: &mut Ledger) -> Result<bool, sqlx::Error> {
        let query = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
        Ok(query.bind(self.id).bind(time(self.now)).execute(db).await?.rows_affected() > 0)
    }
}

/// All tokens, newest first.
pub(super) async fn list(db: &SqlitePool) -> Result<Vec<Token>, StoreError> {
    let rows = sqlx::query("SELECT * FROM tokens ORDER BY created_at DESC, id").fetch_all(db).await?;
    rows.iter().map(token).collect()
}

/// The token of a hash.
pub(super) async fn by_hash(db: &SqlitePool, hash: &TokenHash) -> Result<Option<Token>, StoreError> {
    let row = sqlx::query("SELECT * FROM tokens WHERE hash = $1").bind(hash.as_str()).fetch_optional(db).await?;
    row.as_ref().map(token).transpose()
}

fn token(row: &SqliteRow) -> Result<Token, StoreError> {
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
