//! The two engines that the store runs on, behind one face: SQLite in a file, or a PostgreSQL server.
//!
//! Each statement has one text that both take. What they do not share is here and in the migrations: how a transaction begins and ends, where
//! the next number comes from, and how a list of numbers is spread out.

mod backoff;
mod numbers;
mod postgres;
mod row;
mod sqlite;
mod statement;
mod together;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _, SqlitePool};

use super::changes::CHANNEL;
use super::{Address, Limits, StoreError};

pub(super) use backoff::Backoff;
pub(super) use numbers::Numbers;
pub(super) use postgres::{failed as postgres_failed, listener as postgres_listener};
pub(super) use row::Row;
pub(super) use statement::{Statement, Value, Values};
use together::Together;

/// How long a connection that is given up may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Waits for something that a server answers for as long as an answer may take; a file is waited for without end.
pub(super) async fn within<T>(is_shared: bool, answer: impl Future<Output = T>) -> Result<T, StoreError> {
    match is_shared {
        true => tokio::time::timeout(postgres::ANSWER_MAX, answer).await.map_err(postgres::too_late),
        false => Ok(answer.await),
    }
}

/// What the name of a file ends with that says of the store's beside it that it was taken over to a server.
const MOVED: &str = ".moved-to";

/// Where a store is.
#[derive(Clone)]
pub(super) enum Place {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Place {
    /// Where an address says that it is.
    pub(super) fn of(address: &Address, data_dir: &Path) -> Result<Self, StoreError> {
        match address.is_postgres() {
            true => Ok(Self::Postgres(Box::new(postgres::options(address)?))),
            false => Ok(Self::Sqlite(sqlite::path_of(address.url(), data_dir)?)),
        }
    }

    /// Opens the connection that writes.
    pub(super) async fn connect(&self, limits: Limits) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(Connection::Sqlite(Together::new(sqlite::open_writer(path, limits).await?))),
            Self::Postgres(options) => Ok(Connection::Postgres(postgres::connect(options).await?)),
        }
    }

    /// Makes the store where there is none, brings its tables up to date, and gives the connection that writes.
    pub(super) async fn prepare(&self, limits: Limits) -> Result<Connection, StoreError> {
        if let Self::Sqlite(path) = self {
            sqlite::create_file(path)?;
        }
        let mut db = self.connect(limits).await?;
        // Not `run`: it borrows in a way that keeps the future from being sent between threads.
        match &mut db {
            Connection::Sqlite(Together { db, .. }) => {
                sqlx::migrate!("migrations/sqlite").run_direct(None, db, false).await?
            }
            Connection::Postgres(db) => {
                let migrated = sqlx::migrate!("migrations/postgres").run_direct(None, db, false).await;
                migrated.map_err(postgres::migration_failed)?;
                postgres::warn_of_lost_writes(db).await?;
            }
        }
        Ok(db)
    }

    /// Notes beside a file that it was taken over to a server, and to which.
    pub(super) fn note_moved(&self, to: &str) -> Result<(), StoreError> {
        let Some(mark) = self.mark() else { return Ok(()) };
        let mut file = File::create(mark)?;
        file.write_all(format!("{to}\n").as_bytes())?;
        Ok(file.sync_all()?)
    }

    fn mark(&self) -> Option<PathBuf> {
        let Self::Sqlite(path) = self else { return None };
        let mut mark = path.clone().into_os_string();
        mark.push(MOVED);
        Some(mark.into())
    }

    /// Makes sure that it was not taken over to another place.
    ///
    /// # Errors
    /// It was.
    pub(super) fn check_is_here(&self) -> Result<(), StoreError> {
        let Some(mark) = self.mark() else { return Ok(()) };
        match std::fs::read_to_string(&mark) {
            Ok(to) => Err(StoreError::Moved { to: to.trim().to_owned(), mark }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Prepares the connections that read; they are opened when they are needed.
    pub(super) fn readers(&self) -> Readers {
        match self {
            Self::Sqlite(path) => Readers::Sqlite(sqlite::readers(path)),
            Self::Postgres(options) => Readers::Postgres(postgres::readers(options)),
        }
    }

    /// Whether other replicas may write there too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

/// What a server says to the one whose turn it is to write.
pub(super) struct Begun {
    /// How many deliveries wait.
    pub(super) waiting: u64,
    /// The term of whoever leads.
    pub(super) term: i64,
    /// The number of the transaction.
    pub(super) transaction: i64,
}

/// The connection that writes.
pub(super) enum Connection {
    Sqlite(Together),
    Postgres(PgConnection),
}

impl Connection {
    /// Carries out a statement, and says how many rows it changed.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(db) => Ok(db.run(statement).await?.changed),
            Self::Postgres(db) => Ok(statement.for_postgres().execute(db).await?.rows_affected()),
        }
    }

    /// Has a statement carried out before the next one, where that saves time. A failure may be told with that one.
    pub(super) async fn put_off(&mut self, statement: Statement<'_>) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(db) => db.put_off(statement).await,
            Self::Postgres(db) => statement.for_postgres().execute(db).await.map(drop),
        }
    }

    /// Reads all rows of a statement.
    pub(super) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(db) => Ok(db.run(statement).await?.rows.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres(db) => {
                Ok(statement.for_postgres().fetch_all(db).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Reads the first row of a statement.
    pub(super) async fn row(&mut self, statement: Statement<'_>) -> Result<Option<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(db) => Ok(db.run(statement).await?.rows.into_iter().next().map(Row::Sqlite)),
            Self::Postgres(db) => Ok(statement.for_postgres().fetch_optional(db).await?.map(Row::Postgres)),
        }
    }

    /// Reads the one whole number that a statement gives.
    pub(super) async fn number(&mut self, statement: Statement<'_>) -> Result<i64, sqlx::Error> {
        match self {
            Self::Sqlite(db) => db.run(statement).await?.rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0),
            Self::Postgres(db) => statement.for_postgres().fetch_one(db).await?.try_get(0),
        }
    }

    /// Reads the one whole number that a statement gives, then carries out another, and says how many rows that changed.
    pub(super) async fn number_before(
        &mut self,
        number: Statement<'_>,
        statement: Statement<'_>,
    ) -> Result<(i64, u64), sqlx::Error> {
        match self {
            Self::Sqlite(db) => {
                db.put_off(number).await?;
                let came = db.run(statement).await?;
                Ok((came.rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?, came.changed))
            }
            Self::Postgres(_) => Ok((self.number(number).await?, self.execute(statement).await?)),
        }
    }

    /// Begins a transaction that nobody else writes beside. Where replicas share the store, it says what its row of the ledger has.
    pub(super) async fn begin(&mut self) -> Result<Option<Begun>, sqlx::Error> {
        match self {
            Self::Sqlite(db) => {
                db.put_off(Statement::new("BEGIN IMMEDIATE")).await?;
                Ok(None)
            }
            Self::Postgres(db) => {
                // One round trip. The row's lock is the turn of the one who writes.
                let both = "BEGIN; SELECT waiting, term, txid_current() FROM ledger WHERE only_row = 1 FOR UPDATE";
                let rows = sqlx::raw_sql(both).fetch_all(db).await?;
                let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
                let (waiting, term, transaction) = (row.try_get::<i64, _>(0)?, row.try_get(1)?, row.try_get(2)?);
                Ok(Some(Begun { waiting: waiting.unsigned_abs(), term, transaction }))
            }
        }
    }

    /// Whether a server's transaction that is over was committed; nothing where the server does not know.
    pub(super) async fn was_committed(&mut self, transaction: i64) -> Result<Option<bool>, sqlx::Error> {
        let status = Statement::new("SELECT txid_status($1) AS status").bind(transaction);
        let row = self.row(status).await?.ok_or(sqlx::Error::RowNotFound)?;
        Ok(match row.get::<Option<&str>>("status")? {
            Some("committed") => Some(true),
            Some("aborted") => Some(false),
            _ => None,
        })
    }

    /// Commits, and tells the other replicas that it did, and how many deliveries wait where that has changed.
    pub(super) async fn commit(&mut self, waiting: Option<u64>) -> Result<(), sqlx::Error> {
        match (self, waiting) {
            (Self::Sqlite(db), _) => db.run(Statement::new("COMMIT")).await.map(drop),
            (Self::Postgres(db), None) => {
                sqlx::raw_sql(AssertSqlSafe(format!("NOTIFY {CHANNEL}; COMMIT"))).execute(db).await.map(drop)
            }
            (Self::Postgres(db), Some(waiting)) => {
                let both =
                    format!("UPDATE ledger SET waiting = {waiting} WHERE only_row = 1; NOTIFY {CHANNEL}; COMMIT");
                sqlx::raw_sql(AssertSqlSafe(both)).execute(db).await.map(drop)
            }
        }
    }

    /// What spreads out a JSON list of texts, given as `$1`, in `text IN (…)`.
    pub(super) fn texts_of_list(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SELECT value FROM json_each($1)",
            Self::Postgres(_) => "SELECT json_array_elements_text($1::json)",
        }
    }

    /// What spreads out a JSON list of numbers, given as `$1`, in `number IN (…)`.
    pub(super) fn numbers_of_list(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SELECT value FROM json_each($1)",
            Self::Postgres(_) => "SELECT value::bigint FROM json_array_elements_text($1::json)",
        }
    }

    /// Whether other replicas may write there too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Says what a failure on this connection means.
    pub(super) fn failed(&self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Sqlite(_) => error.into(),
            Self::Postgres(_) => postgres::failed(error),
        }
    }

    /// Closes the connection; an open transaction is rolled back by that.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(together) => together.db.close().await,
            // A server that is gone answers no goodbye; dropping the connection closes it all the same.
            Self::Postgres(db) => tokio::time::timeout(GOODBYE_MAX, db.close()).await.unwrap_or(Ok(())),
        }
    }
}

/// The connections that read.
#[derive(Debug, Clone)]
pub(super) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    /// Whether other replicas may write there too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Reads all rows of a statement.
    pub(super) async fn rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(db) => Ok(statement.for_sqlite().fetch_all(db).await?.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres(db) => {
                let mut db = postgres::reader(db).await?;
                let rows = postgres::answered(statement.for_postgres().fetch_all(&mut *db)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Reads the first row of a statement.
    pub(super) async fn row(&self, statement: Statement<'_>) -> Result<Option<Row>, StoreError> {
        match self {
            Self::Sqlite(db) => Ok(statement.for_sqlite().fetch_optional(db).await?.map(Row::Sqlite)),
            Self::Postgres(db) => {
                let mut db = postgres::reader(db).await?;
                let row = postgres::answered(statement.for_postgres().fetch_optional(&mut *db)).await?;
                Ok(row.map(Row::Postgres))
            }
        }
    }

    /// Closes them.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(db) => db.close().await,
            Self::Postgres(db) => tokio::time::timeout(GOODBYE_MAX, db.close()).await.unwrap_or_default(),
        }
    }
}
