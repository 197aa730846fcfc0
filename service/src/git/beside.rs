//! Other branches of a remote than the one that everybody reads: changes that wait there for a review.
//!
//! They are the service's own, and still nothing is forced: each push moves one on from where it was last seen.

use super::remote::{Branch, Pushed, Remote, RemoteError};
use super::repository::{Home, commit_id, oid};
use super::upstream::Upstream;
use super::{GitError, Repository, pack};
use crate::names::CommitId;

/// What became of a push to another branch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Offered {
    Done,
    /// Somebody else moved, made or deleted it; what is known of it is up to date now.
    Moved,
    /// A hook or a rule of the remote said no, in these words.
    Refused(String),
}

/// What became of another branch that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Deleted {
    /// It is there no more, by this or by somebody else.
    Gone,
    /// Somebody else put this commit there.
    Moved(CommitId),
    /// A hook or a rule of the remote said no, in these words.
    Refused(String),
}

impl Repository {
    /// Where another branch was seen last; nothing where it was not.
    pub fn beside(&self, branch: &str) -> Result<Option<CommitId>, GitError> {
        let reference = Remote::kept_beside_as(branch);
        self.handles_after_placing()?.call(|repository| match repository.refname_to_id(&reference) {
            Ok(id) => commit_id(id).map(Some),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    /// Forgets where another branch was seen: it has had its day.
    pub fn forget_beside(&self, branch: &str) -> Result<(), GitError> {
        let reference = Remote::kept_beside_as(branch);
        self.handles_after_placing()?.call(|repository| match repository.find_reference(&reference) {
            Ok(mut reference) => Ok(reference.delete()?),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        })
    }

    /// Looks where another branch is now; nothing, and it is forgotten, where it is gone.
    ///
    /// # Errors
    /// The remote cannot be read.
    pub async fn find_beside(&self, branch: &str) -> Result<Option<CommitId>, GitError> {
        match self.home() {
            Home::Embedded(_) => Ok(None),
            Home::Upstream(upstream) => look(self, upstream.remote(), branch).await,
        }
    }

    /// Looks where other branches are, by a pattern (`kmlflow/*`).
    ///
    /// # Errors
    /// The remote cannot be read.
    pub async fn look_beside(&self, pattern: &str) -> Result<(), GitError> {
        match self.home() {
            Home::Embedded(_) => Ok(()),
            Home::Upstream(upstream) => Ok(upstream.remote().fetch_beside(self.path(), pattern).await.map(drop)?),
        }
    }

    /// Has another branch that is gone be as it was when its pull request ended, by what the forge keeps of that; answers where that is.
    ///
    /// # Errors
    /// The remote cannot be read.
    pub async fn recall_beside(&self, branch: &str, pull: u64) -> Result<Option<CommitId>, GitError> {
        match self.home() {
            Home::Embedded(_) => Ok(None),
            Home::Upstream(upstream) if upstream.remote().fetch_pull(self.path(), pull, branch).await? => {
                self.beside(branch)
            }
            Home::Upstream(_) => Ok(None),
        }
    }

    /// Moves another branch on from where it was seen last to a commit of a draft, or makes it. The draft ends with it.
    ///
    /// # Errors
    /// The remote cannot be reached, or cannot keep the commits; or there is none.
    pub async fn push_beside(&self, branch: &str, tip: &CommitId) -> Result<Offered, GitError> {
        match self.home() {
            Home::Embedded(_) => Ok(Offered::Refused("there is no forge".to_owned())),
            Home::Upstream(upstream) => offer(self, upstream, branch, tip).await,
        }
    }

    /// Deletes another branch where it still is where it was seen last, and forgets it. Where somebody else moved it, it stays, and where it is now is known.
    ///
    /// # Errors
    /// The remote cannot be reached; or there is none.
    pub async fn delete_beside(&self, branch: &str) -> Result<Deleted, GitError> {
        match self.home() {
            Home::Embedded(_) => Ok(Deleted::Gone),
            Home::Upstream(upstream) => delete(self, upstream, branch).await,
        }
    }

    /// The newest commit that two histories have in common; nothing where they have none.
    pub fn common(&self, one: &CommitId, other: &CommitId) -> Result<Option<CommitId>, GitError> {
        let (one, other) = (oid(one)?, oid(other)?);
        self.handles_after_placing()?.call(|repository| match repository.merge_base(one, other) {
            Ok(id) => commit_id(id).map(Some),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        })
    }
}

async fn delete(repository: &Repository, upstream: &Upstream, branch: &str) -> Result<Deleted, GitError> {
    let (name, remote) = (named(branch)?, upstream.remote());
    let look = async || Ok(look(repository, remote, branch).await?.map_or(Deleted::Gone, Deleted::Moved));
    let Some(old) = repository.beside(branch)? else { return look().await };
    match remote.delete_beside(&name, &old).await {
        Pushed::Done => {
            repository.forget_beside(branch)?;
            Ok(Deleted::Gone)
        }
        Pushed::Refused { words } => Ok(Deleted::Refused(words)),
        Pushed::Moved { .. } | Pushed::Unknown(_) => look().await,
        Pushed::Unpack { words } => Err(RemoteError::NotKept { address: upstream.address().to_owned(), words }.into()),
        Pushed::Denied(error) | Pushed::Transient(error) => Err(error.into()),
    }
}

/// Where a branch is; nothing where it is gone.
async fn look(repository: &Repository, remote: &Remote, branch: &str) -> Result<Option<CommitId>, GitError> {
    if !remote.fetch_beside(repository.path(), branch).await? {
        repository.forget_beside(branch)?;
    }
    repository.beside(branch)
}

fn named(branch: &str) -> Result<Branch, GitError> {
    Branch::parse(branch)
        .map_err(|_| GitError::Remote(RemoteError::Settings { rule: "the branch of a review has no usable name" }))
}

async fn offer(
    repository: &Repository,
    upstream: &Upstream,
    branch: &str,
    tip: &CommitId,
) -> Result<Offered, GitError> {
    let name = named(branch)?;
    let old = repository.beside(branch)?;
    let base = commit_id(repository.made().base_of(oid(tip)?))?;
    if let Some(old) = &old
        && *old != base
        && !repository.is_ancestor(old, &base)?
    {
        repository.made().clear();
        return Ok(Offered::Refused(format!("commits on `{branch}` would be lost by it")));
    }
    let line = repository.made().line_to(oid(tip)?);
    let pack = pack::encode(&line)?;
    let remote = upstream.remote();
    match remote.push_beside(&name, (old.as_ref(), tip), &pack.bytes).await {
        Pushed::Done => {
            pack.place(repository.path())?;
            let (reference, id) = (Remote::kept_beside_as(branch), oid(tip)?);
            repository.handles_after_placing()?.call(|git| Ok(git.reference(&reference, id, true, "").map(drop)?))?;
            repository.made().publish(line);
            Ok(Offered::Done)
        }
        Pushed::Refused { words } => {
            repository.made().clear();
            Ok(Offered::Refused(words))
        }
        // It may have arrived, at this try or at one before.
        Pushed::Moved { .. } | Pushed::Unknown(_) => {
            if look(repository, remote, branch).await?.as_ref() == Some(tip) {
                repository.made().publish(line);
                return Ok(Offered::Done);
            }
            repository.made().clear();
            Ok(Offered::Moved)
        }
        Pushed::Unpack { words } => Err(RemoteError::NotKept { address: upstream.address().to_owned(), words }.into()),
        Pushed::Denied(error) | Pushed::Transient(error) => Err(error.into()),
    }
}
