//! Whether the data directory's disk takes anything: what store and repository need before all else.

use std::path::Path;

use super::Fault;
use crate::bounds::{BODY_BYTES_MAX, RETRY_AFTER_SECONDS};

/// Asks the file system whether the longest delivery would still fit; writes nothing, because probes ask every few seconds.
///
/// # Errors
/// The disk does not take it.
pub(super) fn check(data_dir: &Path) -> Result<(), Fault> {
    let unavailable =
        |sentence: &str| Fault::Unavailable { sentence: sentence.to_owned(), retry_after_seconds: RETRY_AFTER_SECONDS };
    let disk = rustix::fs::statvfs(data_dir)
        .map_err(|_| unavailable("the data directory cannot be reached; look at its disk and its permissions"))?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < BODY_BYTES_MAX as u64 {
        return Err(unavailable("the disk of the data directory is full; make room on it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_reached_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path()).unwrap();
        let sentence = check(&dir.path().join("gone")).unwrap_err().to_string();
        assert!(sentence.contains("cannot be reached"), "{sentence}");
    }
}
