//! How the store's file is found, made and opened: one connection that writes, a few that read.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};

use super::super::{Limits, StoreError};

/// The store's file in the data directory.
const FILE_NAME: &str = "kmlflow.db";

/// How long a connection waits for a lock of another program, for example of somebody's `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer's page cache in KiB: the inner pages of every index of a full inbox fit in.
const WRITER_CACHE_KIB: u32 = 4 * 1024;

/// A reader's page cache in KiB.
const READER_CACHE_KIB: u32 = 256;

/// Connections that read: two per core of a small machine; each is a thread.
const READERS_MAX: u32 = 4;

/// A reader that nobody needed for so long is closed.
const READER_IDLE_MAX: Duration = Duration::from_secs(60);

/// Pages of 4 KiB in the write-ahead log before they are carried over into the database: 16 MiB, so that a steady load pays for it a
/// few times a second at most, and a start after a crash reads little.
const CHECKPOINT_PAGES: u32 = 4 * 1024;

/// What is left of the write-ahead log's file after a large transaction, in bytes.
const LOG_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Prepared statements of the writer: a multi-row insert has one per number of rows (32) and table (4), and some thirty others.
const WRITER_STATEMENTS: usize = 192;

/// Where a URL says that the store is.
pub(in super::super) fn path_of(url: &str, data_dir: &Path) -> Result<PathBuf, StoreError> {
    let rest = url.strip_prefix("sqlite:").ok_or(StoreError::Unsupported)?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    match rest {
        "" => Ok(data_dir.join(FILE_NAME)),
        // Nothing in memory is durable, and options could weaken what "accepted" means.
        text if text.starts_with(':') || text.contains('?') => Err(StoreError::Unsupported),
        // An absolute path replaces the data directory.
        text => Ok(data_dir.join(text)),
    }
}

/// Makes the file, readable by its owner only, where there is none; SQLite gives its log the same mode.
pub(super) fn create_file(path: &Path) -> Result<(), StoreError> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    Ok(())
}

/// Opens the connection that writes.
pub(super) async fn open_writer(path: &Path, limits: Limits) -> Result<SqliteConnection, StoreError> {
    let mut options = options(path, WRITER_CACHE_KIB)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", LOG_FILE_BYTES_MAX.to_string())
        .statement_cache_capacity(WRITER_STATEMENTS)
        .thread_name(|_| "store-writer".to_owned());
    if let Some(pages) = limits.pages_max {
        options = options.pragma("max_page_count", pages.to_string());
    }
    Ok(options.connect().await?)
}

/// Prepares the connections that read; they are opened when they are needed.
pub(super) fn readers(path: &Path) -> SqlitePool {
    let options = options(path, READER_CACHE_KIB).read_only(true).thread_name(|n| format!("store-reader-{n}"));
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .idle_timeout(READER_IDLE_MAX)
        .acquire_timeout(BUSY_TIMEOUT)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

fn options(path: &Path, cache_kib: u32) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        // A negative size is in KiB, a positive one in pages.
        .pragma("cache_size", format!("-{cache_kib}"))
        .disable_statement_logging()
}
