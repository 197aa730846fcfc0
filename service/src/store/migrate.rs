//! Taking a store over from a file to a database server, all of it or nothing.

use std::path::Path;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::db::{Connection, Place, Statement, Value};
use super::ledger::Ledger;
use super::{Address, Limits, StoreError, idempotency};

/// What a column keeps.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Text,
    Number,
    Body,
}

/// A table and its columns: those of text, those of numbers, and the body.
pub(super) struct Table {
    pub(super) name: &'static str,
    texts: &'static [&'static str],
    numbers: &'static [&'static str],
    body: Option<&'static str>,
    /// The column that the engine counts up.
    counted: Option<&'static str>,
}

impl Table {
    /// Its columns, in one order.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        let Self { name: _, texts, numbers, body, counted: _ } = self;
        let of = |kind| move |column: &&'static str| (*column, kind);
        texts
            .iter()
            .map(of(Kind::Text))
            .chain(numbers.iter().map(of(Kind::Number)))
            .chain(body.iter().map(of(Kind::Body)))
    }
}

/// Every table of the store but the count of what waits.
pub(super) const TABLES: [Table; 13] = [
    Table {
        name: "deliveries",
        texts: &[
            "source",
            "delivery_id",
            "received_at",
            "state",
            "next_attempt_at",
            "release",
            "commit_id",
            "reason",
            "cure",
            "waits_for",
            "event",
            "answer",
        ],
        numbers: &["number", "attempt", "leased_in"],
        body: Some("body"),
        counted: Some("number"),
    },
    Table {
        name: "past_deliveries",
        texts: &["delivery_id", "source", "state", "received_at"],
        numbers: &["number"],
        body: None,
        counted: None,
    },
    Table { name: "registry", texts: &["model", "state"], numbers: &[], body: None, counted: None },
    Table {
        name: "live",
        texts: &["release", "commit_id", "at", "applied_at", "ready_at"],
        numbers: &[],
        body: None,
        counted: None,
    },
    Table { name: "policies", texts: &["name", "text", "remembered_at"], numbers: &[], body: None, counted: None },
    Table {
        name: "holds",
        texts: &["environment", "reason", "held_by", "since"],
        numbers: &[],
        body: None,
        counted: None,
    },
    Table {
        name: "audit",
        texts: &["at", "actor", "action", "release", "outcome", "reason"],
        numbers: &["number"],
        body: None,
        counted: Some("number"),
    },
    Table {
        name: "commits",
        texts: &[
            "environment",
            "namespace",
            "name",
            "commit_id",
            "action",
            "version",
            "strategy",
            "phase",
            "at",
            "release_id",
            "requested_by",
            "delivery_id",
            "subject",
        ],
        numbers: &["position"],
        body: None,
        counted: Some("position"),
    },
    Table {
        name: "newest_commits",
        texts: &["environment", "namespace", "name"],
        numbers: &["position"],
        body: None,
        counted: None,
    },
    Table { name: "indexed_tip", texts: &["commit_id", "lacks"], numbers: &["only_row"], body: None, counted: None },
    Table {
        name: "tokens",
        texts: &["id", "hash", "name", "role", "scopes", "created_at", "expires_at", "revoked_at"],
        numbers: &[],
        body: None,
        counted: None,
    },
    Table {
        name: "idempotency_keys",
        texts: &["token_id", "path", "key", "body_hash", "claimed_at", "answer"],
        numbers: &["status", "claimed_by"],
        body: None,
        counted: None,
    },
    Table { name: "last_sweep", texts: &["report"], numbers: &["only_row"], body: None, counted: None },
];

/// Rows that are read before they are written: bodies of a few MiB at most are in memory.
const ROWS_READ_MAX: usize = 32;

/// A table's name and how many rows of it were copied.
pub type Copied = (&'static str, u64);

/// Copies a store in a file into an empty database of a server, in one transaction. Nothing else may use the file meanwhile; it stays as it is,
/// but for its tables being brought up to date, and has a mark beside it that says where its place is now.
pub(super) async fn migrate(from: &Address, data_dir: &Path, address: &Address) -> Result<Vec<Copied>, StoreError> {
    let place = Place::of(from, data_dir)?;
    let target = Place::of(address, data_dir)?;
    let (Place::Sqlite(path), Place::Postgres(_)) = (&place, &target) else { return Err(StoreError::Direction) };
    if !path.is_file() {
        return Err(StoreError::NoFile { path: path.display().to_string() });
    }
    let (mut from, mut to) = (place.prepare(Limits::default()).await?, target.prepare(Limits::default()).await?);
    let copied = copy_all(&mut from, &mut to, || place.note_moved(address.url())).await;
    // What was begun on either side and not committed is rolled back by that. The file was only read.
    for db in [from, to] {
        db.close().await.unwrap_or_else(|error| tracing::warn!(error = %error, "a connection did not close cleanly"));
    }
    copied
}

async fn copy_all(
    from: &mut Connection,
    to: &mut Connection,
    mark: impl FnOnce() -> Result<(), StoreError>,
) -> Result<Vec<Copied>, StoreError> {
    // Whoever writes into the file all the same waits, and then fails.
    from.begin().await?;
    idempotency::interrupt_all(from).await?;
    to.begin().await.map_err(|error| to.failed(error))?;
    for table in &TABLES {
        let any = format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT 1) AS any_row", table.name);
        if to.number(Statement::new(any)).await.map_err(|error| to.failed(error))? > 0 {
            return Err(StoreError::NotEmpty { table: table.name });
        }
    }
    let Connection::Sqlite(from) = from else { return Err(StoreError::Direction) };
    let mut copied = Vec::new();
    for table in &TABLES {
        copied.push((table.name, copy_table(&mut from.db, to, table).await?));
    }
    let waiting = go_on_counting(to).await.map_err(|error| to.failed(error))?;
    // Before the commit, of which nobody may hear: there is no moment at which a service would begin with either.
    mark()?;
    to.commit(Some(waiting)).await.map_err(|error| to.failed(error))?;
    Ok(copied)
}

async fn copy_table(from: &mut SqliteConnection, to: &mut Connection, table: &Table) -> Result<u64, StoreError> {
    let columns: Vec<(&str, Kind)> = table.columns().collect();
    let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let read = format!("SELECT {names} FROM {}", table.name);
    let mut rows = sqlx::query(AssertSqlSafe(read)).fetch(from).try_chunks(ROWS_READ_MAX);
    let mut copied = 0;
    while let Some(chunk) = rows.try_next().await.map_err(|error| StoreError::from(error.1))? {
        let values: Result<Vec<Vec<Value<'static>>>, sqlx::Error> =
            chunk.iter().map(|row| columns.iter().map(|column| value(row, *column)).collect()).collect();
        let mut insert = Statement::new(format!("INSERT INTO {} ({names}) ", table.name));
        insert.push_rows(values?);
        copied += to.execute(insert).await.map_err(|error| to.failed(error))?;
    }
    Ok(copied)
}

fn value(row: &SqliteRow, (column, kind): (&str, Kind)) -> Result<Value<'static>, sqlx::Error> {
    Ok(match kind {
        Kind::Text => row.try_get::<Option<String>, _>(column)?.into(),
        Kind::Number => row.try_get::<Option<i64>, _>(column)?.into(),
        Kind::Body => Value::Body(row.try_get::<String, _>(column)?.into()),
    })
}

/// Lets the server count on from what was copied, and says how many deliveries wait.
async fn go_on_counting(to: &mut Connection) -> Result<u64, sqlx::Error> {
    for Table { name, counted, .. } in &TABLES {
        let Some(column) = counted else { continue };
        // Numbers whose rows are gone are not given again either, as far as anything still tells of them.
        let past = if *name == "deliveries" { "coalesce((SELECT max(number) FROM past_deliveries), 0)" } else { "0" };
        let set = format!(
            "SELECT setval(pg_get_serial_sequence('{name}', '{column}'), greatest(coalesce((SELECT max({column}) FROM {name}), 0), {past}, 1))"
        );
        to.number(Statement::new(set)).await?;
    }
    Ok(Ledger::read(to, Limits::default()).await?.waiting)
}
