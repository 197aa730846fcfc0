//! A whole and consistent copy of the store, while it is in use.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::StoreError;
use super::db::Readers;

/// Writes the copy, readable by its owner only, and returns once it is durable.
pub(super) async fn copy(db: &Readers, to: &Path) -> Result<(), StoreError> {
    let Readers::Sqlite(db) = db else { return Err(StoreError::Elsewhere) };
    // SQLite takes an empty file that is there; making it first decides who may read it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let path = to.to_str().ok_or(StoreError::Unreadable { what: "the copy's path" })?;
    if let Err(error) = sqlx::query("VACUUM INTO $1").bind(path).execute(db).await {
        // Half a copy must not be mistaken for one.
        std::fs::remove_file(to)?;
        return Err(error.into());
    }
    file.sync_all()?;
    if let Some(directory) = to.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
