//! How the store fails, in words that a caller may read; the cause is for the log.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::migrate::MigrateError;

/// A failure of the store. The text is fit for a caller; the source is not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The URL names something else than SQLite in a file or a PostgreSQL server.
    #[error("`store.url` is not supported; use `sqlite:`, `sqlite:FILE` or `postgres://USER@HOST/DATABASE`")]
    Unsupported,
    /// A server's URL is not right.
    #[error("`store.url` {0}")]
    Url(&'static str),
    /// What lies there is no database, or is damaged.
    #[error("the store's file is not an intact database; move it away and restore a backup")]
    Corrupt(#[source] Cause),
    /// A later release of this program wrote it.
    #[error("the store was written by a newer version of kmlflow; start that version")]
    Newer,
    /// No room is left.
    #[error("the disk of the store is full; free some space")]
    DiskFull(#[source] Cause),
    /// It cannot be opened, read or written at the moment.
    #[error("the store cannot be reached; check its disk and permissions")]
    Unavailable(#[source] Cause),
    /// No connection to the server, or it went away.
    #[error("the database server of the store cannot be reached; check that it runs and that `store.url` names it")]
    ServerAway(#[source] Cause),
    /// The connection to the server broke while something was being kept, and the server could not be asked whether it was.
    #[error(
        "the connection to the database server broke while this was being kept, and it is not known whether it was"
    )]
    Unsure(#[source] Cause),
    /// The server knows no such user, or another password.
    #[error("the database server refused the user or the password; check `store.url` and `store.password_file`")]
    Denied(#[source] Cause),
    /// The server has no database of that name.
    #[error("the database that `store.url` names is not there; make it with `createdb`")]
    NoDatabase(#[source] Cause),
    /// The user may not do that.
    #[error("the user of `store.url` may not do that in the database; make it the database's owner")]
    NotAllowed(#[source] Cause),
    /// The server is a standby, or was told to be read only.
    #[error("the database server only lets itself be read; name the primary in `store.url`")]
    ReadOnly(#[source] Cause),
    /// The server has as many connections as it takes.
    #[error("the database server takes no more connections; raise its `max_connections`")]
    Crowded(#[source] Cause),
    /// Another replica, or somebody with `psql`, held what was to be written.
    #[error(
        "the store was busy for too long; try again, and look for a transaction that stays open on the database server"
    )]
    Busy(#[source] Cause),
    /// The server does not prove who it is, or speaks no TLS.
    #[error(
        "no safe connection to the database server: it speaks no TLS, or its certificate is not trusted; name its authority with `?sslrootcert=FILE` in `store.url`, or write `?sslmode=disable` where the network is safe"
    )]
    Tls(#[source] Cause),
    /// The server answered with an error of another kind.
    #[error("the database server answered with an error; look into the log")]
    Failed(#[source] Cause),
    /// It has rows already, where an empty one is needed.
    #[error("the database has rows in `{table}` already; name an empty one")]
    NotEmpty {
        /// The first table that has some.
        table: &'static str,
    },
    /// It is on a server, and this is only done with a file.
    #[error("the store is on a database server; `pg_dump` copies it and `pg_restore` brings it back")]
    Elsewhere,
    /// A store is only taken over from a file to a server.
    #[error("a store is taken over from `sqlite:` to `postgres://USER@HOST/DATABASE` and in no other direction")]
    Direction,
    /// The file that is to be copied is not there.
    #[error("there is no store at `{path}`")]
    NoFile {
        /// Where it should be.
        path: String,
    },
    /// The file was taken over to a server, and whoever goes on with it would not know what happens there.
    #[error(
        "the store in this file was taken over to {to}; set `store.url` to that (KMLFLOW__STORE__URL), or delete `{}` to go on with the file all the same",
        mark.display()
    )]
    Moved {
        /// The database, without a password.
        to: String,
        /// The file that says so.
        mark: PathBuf,
    },
    /// A row does not say what a row of its table should.
    #[error("the store holds a value of {what} that this version cannot read")]
    Unreadable {
        /// Which column.
        what: &'static str,
    },
    /// As many deliveries wait as may.
    #[error("the inbox is full; try again when fewer deliveries wait")]
    Full,
    /// Another replica has taken over what this one led.
    #[error("another replica leads now")]
    NotLeading,
    /// It was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why, for the log. Shared, because one failed transaction fails everybody who was in it.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// SQLite's primary result codes that have an answer of their own (<https://sqlite.org/rescode.html>).
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<u32>().ok());
        // The low byte is the primary code; the rest says more about it.
        match code.map(|code| code & 0xff) {
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Self::Corrupt(Arc::new(error)),
            Some(SQLITE_FULL) => Self::DiskFull(Arc::new(error)),
            _ => Self::Unavailable(Arc::new(error)),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => Self::Newer,
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Unavailable(Arc::new(other)),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull(Arc::new(error)),
            _ => Self::Unavailable(Arc::new(error)),
        }
    }
}
