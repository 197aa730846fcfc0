//! How the store fails, in words that a caller may read; the cause is for the log.

use std::sync::Arc;

use sqlx::migrate::MigrateError;

/// A failure of the store. The text is fit for a caller; the source is not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The URL names something else than SQLite in a file.
    #[error("the store's URL is not supported yet; use `sqlite:` or `sqlite:FILE`")]
    Unsupported,
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
    /// A row does not say what a row of its table should.
    #[error("the store holds a value of {what} that this version cannot read")]
    Unreadable {
        /// Which column.
        what: &'static str,
    },
    /// As many deliveries wait as may.
    #[error("the inbox is full; try again when fewer deliveries wait")]
    Full,
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
