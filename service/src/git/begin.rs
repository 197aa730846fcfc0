//! Before there is a service: a repository elsewhere gets the files that a new one begins with, or the whole embedded one.

use std::path::Path;

use jiff::Timestamp;

use super::draft::Statement;
use super::objects::{Made, Objects};
use super::remote::{History, Pushed, Remote, RemoteError, Settings};
use super::repository::{BRANCH, commit_id};
use super::upstream::{make, seen_at};
use super::{Author, Edit, GitError, Publish, Repository, SigningKey, draft, pack};
use crate::command::Git;
use crate::names::CommitId;

/// How often it is begun anew where somebody else pushes at the same moment.
const MOVED_MAX: usize = 3;

const MESSAGE: &str =
    "platform: Begin to release by Kmlflow\n\nThe README says where to look and how to undo a release by hand.\n";

/// What a repository is to begin with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Paths and contents; what is there already stays as it is.
    pub files: Vec<(String, Vec<u8>)>,
    /// Those of them that only an empty repository gets.
    pub only_if_empty: Vec<String>,
    pub author: Author,
    /// Signs the commit.
    pub signing_key: Option<SigningKey>,
    pub now: Timestamp,
    /// Whether to say only what would be added.
    pub is_dry: bool,
}

/// What was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The address, which has no secret in it.
    pub address: String,
    pub was_empty: bool,
    /// The paths of new files.
    pub added: Vec<String>,
    /// None where there was nothing to add, or nothing was to be done.
    pub commit: Option<CommitId>,
}

/// Adds what is missing to a repository elsewhere, by one commit. `scratch` is an empty directory; `known` is where a service has its clone of the
/// branch, if it has one.
///
/// # Errors
/// The remote cannot be read or written, has other branches and not this one, or had this one when it was cloned and has not any more.
pub async fn begin(
    settings: Settings,
    git: &Git,
    (scratch, known): (&Path, &Path),
    with: Beginning,
) -> Result<Begun, GitError> {
    let remote = Remote::new(settings.clone(), git.clone())?;
    let clone = scratch.join("clone.git");
    let heads = remote.heads().await?;
    if heads.branches.iter().all(|(branch, _)| *branch != settings.branch)
        && let Some(was_at) = seen_at(&remote, known, &settings)
    {
        return Err(remote.without(heads, Some(was_at)).into());
    }
    if heads.branches.is_empty() {
        remote.check_format().await?;
        return begin_empty(&remote, &clone, with).await;
    }
    let repository = Repository::open_clone(&clone, settings, git, History::Tip).await?.signed_with(with.signing_key);
    for _ in 0..MOVED_MAX {
        let base = repository.tip()?;
        let mut begun =
            Begun { address: remote.address().to_owned(), was_empty: false, added: Vec::new(), commit: None };
        let mut edits = Vec::new();
        for (path, content) in with.files.iter().filter(|(path, _)| !with.only_if_empty.contains(path)) {
            if !is_there(&repository, &base, path)? {
                begun.added.push(path.clone());
                edits.push(Edit { path: path.clone(), content: Some(content.clone()) });
            }
        }
        if with.is_dry || edits.is_empty() {
            return Ok(begun);
        }
        let made = repository.draft(&base)?.commit(edits, MESSAGE, &with.author, with.now)?;
        let Some(commit) = made else { return Ok(begun) };
        match repository.push(&base, &commit).await? {
            Publish::Done => return Ok(Begun { commit: Some(commit), ..begun }),
            Publish::Refused(words) => return Err(GitError::Refused { words }),
            Publish::Moved(_) => {}
        }
    }
    Err(GitError::Overtaken { times: MOVED_MAX })
}

async fn begin_empty(remote: &Remote, scratch: &Path, with: Beginning) -> Result<Begun, GitError> {
    let added = with.files.iter().map(|(path, _)| path.clone()).collect();
    let begun = Begun { address: remote.address().to_owned(), was_empty: true, added, commit: None };
    if with.is_dry {
        return Ok(begun);
    }
    let (commit, pack) = {
        let repository = make(scratch, remote.address())?;
        let edits = with.files.into_iter().map(|(path, content)| Edit { path, content: Some(content) }).collect();
        let made = Made::default();
        let key = with.signing_key.as_ref();
        let statement = Statement { author: &with.author, at: with.now, message: MESSAGE, key };
        let objects = Objects::new(repository.odb()?, &made);
        let (commit, new) = draft::make_first(&objects, edits, &statement)?;
        (commit_id(commit)?, pack::encode(&new)?)
    };
    let address = begun.address.clone();
    match remote.push(None, &commit, &pack.bytes).await {
        Pushed::Done => Ok(Begun { commit: Some(commit), ..begun }),
        Pushed::Moved { .. } => Err(RemoteError::NotEmpty { address }.into()),
        Pushed::Refused { words } => Err(GitError::Refused { words }),
        Pushed::Unpack { words } => Err(RemoteError::NotKept { address, words }.into()),
        Pushed::Denied(error) | Pushed::Transient(error) | Pushed::Unknown(error) => Err(error.into()),
    }
}

/// Pushes the whole embedded repository to an empty one elsewhere. Answers where its branch is.
///
/// # Errors
/// There is no such repository here, the other one is not empty, or cannot be written.
pub async fn relocate(settings: Settings, git: &Git, from: &Path) -> Result<CommitId, GitError> {
    let remote = Remote::new(settings, git.clone())?;
    let (tip, path) = {
        let repository = Repository::open(from)?;
        (repository.tip()?, repository.path().to_owned())
    };
    let heads = remote.heads().await?;
    match heads.branches.as_slice() {
        [] => {
            remote.check_format().await?;
            remote.send(&path, BRANCH).await?;
        }
        // A move that was interrupted at its end.
        [(_, at)] if *at == tip => {}
        _ => return Err(RemoteError::NotEmpty { address: remote.address().to_owned() }.into()),
    }
    Ok(tip)
}

/// Whether anything lies at a path.
fn is_there(repository: &Repository, at: &CommitId, path: &str) -> Result<bool, GitError> {
    match repository.read(at, path) {
        Err(error) if error.is_about_the_request() => Ok(true),
        read => Ok(read?.is_some() || repository.tree_id(at, path)?.is_some()),
    }
}
