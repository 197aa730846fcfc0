//! Keeping the number of loose objects and packs small, off the push path. Never removes an object.

use super::{GitError, Repository};
use crate::command::Git;

/// What maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintained {
    /// There was too little to do.
    NotDue,
    Repacked,
}

impl Repository {
    /// Packs loose objects with Git's own repack once there are many. Removes nothing, reachable or not.
    pub async fn maintain(&self, git: &Git) -> Result<Maintained, GitError> {
        todo!()
    }
}
