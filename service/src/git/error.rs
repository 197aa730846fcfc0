//! What can go wrong with the repository, as one sentence for callers and the detail for the log.

use crate::command::CommandError;

/// A failure of the repository. The text is for callers: no path of the host, no cause; the cause is `source`, for the log.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is something at the repository's place, but not a repository that can be used.
    #[error("the repository is damaged: {what}; restore it with `kmlflow restore`")]
    Corrupt {
        what: String,
        #[source]
        cause: Option<git2::Error>,
    },
    /// Another program holds the lock of the branch.
    #[error(
        "the branch is locked by another program; if no push is running, remove `refs/heads/main.lock` inside the repository"
    )]
    Locked,
    /// The disk is full or a quota is used up.
    #[error("the disk of the repository is full; make room, it is tried again")]
    DiskFull(#[source] std::io::Error),
    /// The repository's files cannot be read or written.
    #[error(
        "the repository's files cannot be read or written; look at the disk and at the owner of the data directory"
    )]
    Disk(#[source] std::io::Error),
    /// A commit that was named is not in the repository.
    #[error("commit `{0}` is not in the repository")]
    UnknownCommit(crate::names::CommitId),
    /// A path that cannot be in a repository, or that leads through a file.
    #[error("`{0}` is not a path that the repository can have")]
    InvalidPath(String),
    /// Git itself is missing, too old or failed.
    #[error(transparent)]
    Program(#[from] CommandError),
    /// Anything else that libgit2 reports.
    #[error("the repository could not be read or written")]
    Other(#[source] git2::Error),
}
