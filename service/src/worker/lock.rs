//! One service per data directory: a lock on a file that ends with the process, however that ends.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// The file that is locked; its content means nothing.
pub(super) const LOCK_FILE: &str = "kmlflow.lock";

/// How long a lock that is taken is tried again: a child that was about to run Git holds it for a moment longer than the service that was killed.
const FORKED_MAX: Duration = Duration::from_millis(200);
const FORKED_PAUSE: Duration = Duration::from_millis(5);

/// The data directory, for this process alone as long as the value lives.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Why a data directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another kmlflow uses the data directory")]
    Taken,
    /// It cannot be made or written to.
    #[error("the data directory cannot be used: {0}")]
    Unusable(std::io::ErrorKind),
}

impl DataDirLock {
    /// Takes a data directory, and makes it where there is none.
    ///
    /// # Errors
    /// Another process has it, or it cannot be written to.
    pub fn take(data_dir: &Path) -> Result<Self, LockError> {
        let unusable = |error: std::io::Error| LockError::Unusable(error.kind());
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(data_dir.join(LOCK_FILE))
            .map_err(unusable)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < FORKED_MAX => std::thread::sleep(FORKED_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(LockError::Taken),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
    }
}
