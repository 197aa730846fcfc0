//! The history in one walk, with the releases that each commit changed.

use jiff::Timestamp;

use super::{Author, GitError, Repository};
use crate::names::CommitId;

/// One commit of the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub commit: CommitId,
    pub author: Author,
    /// When it was committed.
    pub at: Timestamp,
    pub message: String,
    /// The trailers of the last paragraph, in order.
    pub trailers: Vec<(String, String)>,
    /// The release directories that differ from the first parent, `releases/<environment>/<namespace>/<name>`.
    pub changed: Vec<String>,
}

impl Repository {
    /// The commits of the branch's first-parent line after `from` (from the beginning where none) up to `to`, oldest first.
    pub fn log(&self, from: Option<&CommitId>, to: &CommitId) -> Result<Vec<LogEntry>, GitError> {
        todo!()
    }

    /// The paths of files that differ between two commits.
    pub fn changed(&self, from: &CommitId, to: &CommitId) -> Result<Vec<String>, GitError> {
        todo!()
    }

    /// Whether `commit` contains `ancestor` in its history, or is it.
    pub fn is_ancestor(&self, ancestor: &CommitId, commit: &CommitId) -> Result<bool, GitError> {
        todo!()
    }
}
