//! Keeping the number of loose objects and packs small, off the push path. Never removes an object.
//!
//! libgit2 starts no maintenance by itself, and `gc.auto` is off, because a collection while a batch is being built could take objects
//! that no branch names yet. Git's geometric repack takes every loose object into a pack, reachable or not, so nothing is ever lost.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::{GitError, Repository};
use crate::command::{Call, Git};

/// What maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintained {
    /// There was too little to do.
    NotDue,
    Repacked,
}

/// Loose objects from which on it is due, Git's own number for `gc.auto`: some 700 commits of the service.
const LOOSE_OBJECTS_DUE: usize = 6_700;
/// Packs from which on it is due, Git's own number for `gc.autoPackLimit`. Each of them is asked for every object.
const PACKS_DUE: usize = 50;

/// A repack of 10,000 commits takes some 5 seconds; a small machine and a large repository need more.
const REPACK_LIMIT: Duration = Duration::from_secs(1_800);
/// It is quiet; a few words are let by.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

impl Repository {
    /// Packs small packs and loose objects with Git's own repack once there are many. Removes nothing, reachable or not. Commits go on meanwhile.
    pub async fn maintain(&self, git: &Git) -> Result<Maintained, GitError> {
        let objects = self.path().join("objects");
        if !is_due(&objects)? {
            return Ok(Maintained::NotDue);
        }
        self.repack(git).await?;
        // The packs that went are not to come back out of the journal.
        self.checkpoint()?;
        Ok(Maintained::Repacked)
    }

    /// Packs loose objects now.
    pub(super) async fn repack(&self, git: &Git) -> Result<(), GitError> {
        // No bitmaps and no `-a`: the first is for large servers, the second would drop what is unreachable.
        let arguments = ["repack", "-d", "-l", "-q", "--geometric=2"];
        // The old files go once the new ones are on disk; one thread, because the other core is for deliveries.
        let settings =
            [("core.fsync", "committed"), ("pack.threads", "1"), ("repack.writeBitmaps", "false"), ("gc.auto", "0")];
        let call = Call {
            what: "repack",
            repository: self.path(),
            arguments: &arguments,
            settings: &settings,
            protocol: None,
        };
        git.run(&call, REPACK_LIMIT, OUTPUT_BYTES_MAX).await?;
        Ok(())
    }
}

/// Whether there is enough to pack. Objects are spread evenly over 256 directories, so one of them tells, as it does for Git.
fn is_due(objects: &Path) -> Result<bool, GitError> {
    let loose = count(&objects.join("17"), "")? * 256;
    Ok(loose >= LOOSE_OBJECTS_DUE || count(&objects.join("pack"), ".pack")? >= PACKS_DUE)
}

fn count(directory: &Path, suffix: &str) -> Result<usize, GitError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    Ok(entries.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy().ends_with(suffix)).count())
}
