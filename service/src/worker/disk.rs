//! Whether the data directory's disk takes anything: what store and repository need before all else.

use std::io::Write as _;
use std::path::Path;

use super::Fault;
use crate::bounds::{BODY_BYTES_MAX, RETRY_AFTER_SECONDS};

/// Writes as much as the longest delivery has into a file that is gone again at once.
///
/// # Errors
/// The disk does not take it.
pub(super) fn check(data_dir: &Path) -> Result<(), Fault> {
    let written = tempfile::tempfile_in(data_dir).and_then(|mut file| file.write_all(&vec![0; BODY_BYTES_MAX]));
    written.map_err(|error| Fault::Unavailable {
        sentence: format!(
            "the data directory takes nothing more ({}); make room or check its permissions",
            error.kind()
        ),
        retry_after_seconds: RETRY_AFTER_SECONDS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_takes_nothing_is_said_so_and_one_that_does_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let sentence = check(&dir.path().join("gone")).unwrap_err().to_string();
        assert!(sentence.contains("takes nothing more"), "{sentence}");
    }
}
