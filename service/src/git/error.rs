//! What can go wrong with the repository: one sentence for callers, the cause for the log.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::remote::RemoteError;
use crate::command::CommandError;
use crate::names::CommitId;

/// The detail behind a failure; it may name paths of the host, so it is for the log alone.
type Cause = Box<dyn Error + Send + Sync>;

/// A failure of the repository. The text names no path of the host but a remote's, and no cause; `source` has both, for the log. Callers get
/// [`GitError::for_callers`].
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is something at the repository's place, but no repository that can be used.
    #[error("the repository is damaged ({what}); bring it back with `kmlflow restore`")]
    Corrupt { what: &'static str, source: Option<Cause> },
    /// Another program holds the lock of the branch.
    #[error(
        "the branch is locked by another program; if no push is running, remove `refs/heads/main.lock` inside the repository"
    )]
    Locked,
    /// Somebody removed the branch's lock while pushes were to be put in place, and moved the branch.
    #[error(
        "somebody removed the lock of the branch and moved it while what was released last was being put in place; start the service again, and its log says how both are brought together"
    )]
    MovedByHand,
    /// What was pushed last is in the journal alone for too long.
    #[error(
        "what was released last is durable and not in the files of the repository yet; look at its disk, and try again"
    )]
    NotInPlace,
    /// Others pushed again and again in the time of one push.
    #[error("the branch was moved by others {times} times in a row while a push was made ready")]
    Overtaken { times: usize },
    /// The disk is full or a quota is used up.
    #[error("the disk of the repository is full; make room on it")]
    DiskFull(#[source] Cause),
    /// The repository's files cannot be read or written.
    #[error(
        "the repository's files cannot be read or written; look at the disk and at the owner of the data directory"
    )]
    Disk(#[source] Cause),
    /// A commit that was named is not in the repository.
    #[error("commit `{0}` is not in the repository")]
    UnknownCommit(CommitId),
    /// What is asked for lies before the first commit that the clone of a remote has so far.
    #[error("the older history of the branch is still being fetched; try again in a moment")]
    NotFetched,
    /// A path that cannot be in the repository, or that leads through something that is no directory.
    #[error("`{0}` is no path of the repository, or something that is no directory lies on it")]
    InvalidPath(String),
    /// A file that is larger than any the service writes or reads.
    #[error("`{path}` is larger than {max} bytes")]
    TooLarge { path: String, max: usize },
    /// Git itself is missing, too old or failed.
    #[error(transparent)]
    Program(#[from] CommandError),
    /// The remote that the branch lives at cannot be used now.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The remote refuses commits that nobody asked for.
    #[error("the remote refuses what is pushed: {words}")]
    Refused { words: String },
    /// The key that signed at the start does not any more.
    #[error("a commit cannot be signed; the log says why")]
    Unsigned(#[source] Cause),
    /// Anything else that libgit2 reports.
    #[error("the repository could not be read or written; the log says why")]
    Other(#[source] git2::Error),
}

impl GitError {
    /// Whether it concerns what was asked for alone, and the repository is well: whoever asks for something else is not concerned.
    pub fn is_about_the_request(&self) -> bool {
        match self {
            Self::UnknownCommit(_) | Self::InvalidPath(_) | Self::TooLarge { .. } => true,
            Self::Corrupt { .. }
            | Self::Locked
            | Self::MovedByHand
            | Self::NotInPlace
            | Self::NotFetched
            | Self::Overtaken { .. }
            | Self::DiskFull(_)
            | Self::Disk(_)
            | Self::Program(_)
            | Self::Remote(_)
            | Self::Refused { .. }
            | Self::Unsigned(_)
            | Self::Other(_) => false,
        }
    }

    /// Whether the fault is the remote's, and everything on this machine is well.
    pub fn is_of_the_remote(&self) -> bool {
        matches!(self, Self::Remote(_) | Self::Refused { .. } | Self::Overtaken { .. })
    }

    /// The text for callers.
    pub fn for_callers(&self) -> String {
        match self {
            Self::Remote(error) => error.for_callers(),
            error => error.to_string(),
        }
    }

    /// The text for callers and what a person can do about it, in one.
    pub fn for_callers_with_cure(&self) -> String {
        and(self.for_callers(), self.cure())
    }

    /// The text for the log and what a person can do about it, in one.
    pub fn with_cure(&self) -> String {
        and(self.to_string(), self.cure())
    }

    /// What a person can do about it, where the text does not say it already.
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Remote(error) => error.cure(),
            _ => None,
        }
    }

    /// How long whoever tries again is asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Remote(error) => error.retry_after(),
            _ => None,
        }
    }

    pub(super) fn corrupt(what: &'static str, cause: git2::Error) -> Self {
        match Self::from(cause) {
            Self::Other(cause) => Self::Corrupt { what, source: Some(Box::new(cause)) },
            better => better,
        }
    }
}

impl From<git2::Error> for GitError {
    fn from(error: git2::Error) -> Self {
        use git2::{ErrorClass, ErrorCode};
        match (error.class(), error.code()) {
            (_, ErrorCode::Locked) => Self::Locked,
            // libgit2 keeps no error number, only the words of the C library, which are English without a locale.
            (ErrorClass::Os | ErrorClass::Filesystem, _) if is_full(error.message()) => Self::DiskFull(Box::new(error)),
            (ErrorClass::Os, _) => Self::Disk(Box::new(error)),
            (ErrorClass::Zlib, _) => {
                Self::Corrupt { what: "an object cannot be unpacked", source: Some(Box::new(error)) }
            }
            (ErrorClass::Odb, ErrorCode::NotFound) => {
                Self::Corrupt { what: "an object is missing", source: Some(Box::new(error)) }
            }
            (ErrorClass::Odb | ErrorClass::Object | ErrorClass::Tree, _) => {
                Self::Corrupt { what: "an object cannot be read", source: Some(Box::new(error)) }
            }
            _ => Self::Other(error),
        }
    }
}

impl From<io::Error> for GitError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(Box::new(error)),
            _ => Self::Disk(Box::new(error)),
        }
    }
}

impl From<rustix::io::Errno> for GitError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

fn and(sentence: String, cure: Option<String>) -> String {
    match cure {
        Some(cure) => format!("{sentence}; {cure}"),
        None => sentence,
    }
}

fn is_full(message: &str) -> bool {
    ["No space left", "quota exceeded"].iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_no_path_of_the_host_and_the_cause_does() {
        let full = git2::Error::new(
            git2::ErrorCode::GenericError,
            git2::ErrorClass::Os,
            "could not write '/srv/data/x': No space left on device",
        );
        let error = GitError::from(full);
        assert!(matches!(error, GitError::DiskFull(_)));
        assert!(!error.is_about_the_request());
        assert!(!error.to_string().contains('/'));
        assert!(error.source().is_some_and(|cause| cause.to_string().contains("/srv/data")));
    }
}
