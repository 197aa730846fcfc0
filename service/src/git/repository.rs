//! The repository: opened or seeded, and read by path.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use git2::{ObjectType, Oid, RepositoryInitOptions, Signature, Time};
use jiff::Timestamp;

use super::draft::Statement;
use super::handles::Handles;
use super::objects::{Made, Objects};
use super::owed::Embedded;
use super::publish::Publish;
use super::remote::is_shallow;
use super::upstream::Upstream;
use super::{Draft, Edit, GitError, SigningKey, draft, pack, publish, tree};
use crate::names::{CommitId, EnvironmentName, Namespace, ReleaseKey, ReleaseName, TreeId};

/// The branch of the embedded repository, which everything is on.
pub(super) const BRANCH: &str = "refs/heads/main";

/// The largest file that is read. The service's own files are a few kB, but anyone who may push can push any blob.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;

/// The most that one push may send, in bytes: a thousand times a large batch of the service's own, and little enough for any disk.
pub(super) const PUSH_BYTES_MAX: u64 = 64 << 20;

/// The most commits that are kept unpublished: several batches, of which a few were refused. At some 50 kB each they stay under 64 MB.
const MADE_COMMITS_MAX: usize = 1_024;

/// The GitOps repository. Shared between threads; each call takes a handle of its own.
#[derive(Debug)]
pub struct Repository {
    handles: Handles,
    /// The reference that says where the branch is, as far as is known here.
    reference: String,
    home: Home,
    /// Drafts are read, by anyone who knows their commits, and written by one at a time.
    made: RwLock<Made>,
    /// Signs each commit that is made here.
    signing_key: Option<SigningKey>,
}

/// Where the branch lives that everybody reads.
#[derive(Debug)]
pub(super) enum Home {
    /// In this repository itself, which the service keeps in its data directory and serves.
    Embedded(Box<Embedded>),
    /// Elsewhere; this repository is a clone.
    Upstream(Box<Upstream>),
}

/// Who stands in a commit as its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub email: String,
}

/// Whether the repository was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeded {
    New,
    Existing,
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
}

impl Repository {
    /// Opens the embedded repository, or makes it with the seed as its first commit where there is nothing.
    ///
    /// What is there is checked and never repaired; only a lock that this service itself left behind is taken away, and logged.
    pub fn open_or_seed(
        path: &Path,
        seed: &[(String, Vec<u8>)],
        author: &Author,
        now: Timestamp,
        signing_key: Option<SigningKey>,
    ) -> Result<(Self, Seeded), GitError> {
        let seeded = if is_vacant(path)? {
            let statement = Statement { author, at: now, message: SEED_MESSAGE, key: signing_key.as_ref() };
            make(path, seed, &statement)?;
            Seeded::New
        } else {
            Seeded::Existing
        };
        Ok((Self::open(path)?.signed_with(signing_key), seeded))
    }

    /// The repository with a key for every commit that it makes from now on; without one they stay unsigned.
    pub fn signed_with(mut self, signing_key: Option<SigningKey>) -> Self {
        self.signing_key = signing_key;
        self
    }

    pub(super) fn signing_key(&self) -> Option<&SigningKey> {
        self.signing_key.as_ref()
    }

    /// Opens an embedded repository that is there and that nobody else has open. What a service that was killed had in its journal alone is in
    /// place then.
    ///
    /// # Errors
    /// There is none that can be used, or the disk fails.
    pub fn open(path: &Path) -> Result<Self, GitError> {
        let handles = Handles::open(path)?;
        let home = Home::Embedded(Box::new(publish::recover(&handles)?));
        Self::checked(handles, BRANCH.to_owned(), home)
    }

    /// A repository of which the newest tree can be read.
    pub(super) fn checked(handles: Handles, reference: String, home: Home) -> Result<Self, GitError> {
        let repository = Self { handles, reference, home, made: RwLock::default(), signing_key: None };
        let tip = repository.tip()?;
        repository.list(&tip, "")?;
        Ok(repository)
    }

    /// Where the repository lies on this machine.
    pub fn path(&self) -> &Path {
        self.handles.path()
    }

    /// Puts in place what is owed, and gives handles on the repository as it is then: after the last push.
    ///
    /// # Errors
    /// The disk does not take what is owed.
    pub(super) fn handles_after_placing(&self) -> Result<&Handles, GitError> {
        self.put_in_place()?;
        Ok(&self.handles)
    }

    /// Gives handles on the repository as it shows itself, which may be a few pushes behind. Puts nothing in place.
    pub(super) fn handles_as_shown(&self) -> &Handles {
        &self.handles
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// The name of the branch that everything is on.
    pub fn branch(&self) -> &str {
        match &self.home {
            Home::Embedded(_) => BRANCH.trim_start_matches("refs/heads/"),
            Home::Upstream(upstream) => upstream.branch(),
        }
    }

    /// The commit that the branch is at; of a branch elsewhere, where it was when it was last looked at or pushed to.
    pub fn tip(&self) -> Result<CommitId, GitError> {
        if let Home::Embedded(embedded) = &self.home
            && let Some(tip) = embedded.owed_tip()
        {
            return commit_id(tip);
        }
        self.handles.call(|repository| commit_id(branch_tip(repository, &self.reference)?))
    }

    /// Looks where the branch is now, where that is elsewhere.
    ///
    /// # Errors
    /// The remote cannot be read, or has no such branch.
    pub async fn look(&self) -> Result<(), GitError> {
        match &self.home {
            Home::Embedded(_) => Ok(()),
            Home::Upstream(upstream) => upstream.look(self).await.map(drop),
        }
    }

    /// Whether the whole history is here; the first fetch of a clone may leave out what was before its tip.
    pub fn is_complete(&self) -> bool {
        !is_shallow(self.handles.path())
    }

    /// Fetches the history that is not here yet.
    ///
    /// # Errors
    /// The remote cannot be read.
    pub async fn complete(&self) -> Result<(), GitError> {
        match &self.home {
            Home::Embedded(_) => Ok(()),
            Home::Upstream(upstream) => upstream.complete(&self.handles).await,
        }
    }

    /// Lets go of what reading has mapped into memory. Nothing is lost by it but a moment at the next call.
    pub fn let_go(&self) {
        self.handles.renew();
    }

    /// Whether a push may have arrived of which nobody knows what became: then [`Self::look`] comes before the next one.
    pub fn is_unsure(&self) -> bool {
        match &self.home {
            Home::Embedded(_) => false,
            Home::Upstream(upstream) => upstream.is_unsure(),
        }
    }

    /// Why the branch elsewhere could not be looked at when this was opened; what is here is then what was known of it before.
    pub fn missed(&self) -> Option<GitError> {
        match &self.home {
            Home::Embedded(_) => None,
            Home::Upstream(upstream) => upstream.missed().cloned().map(GitError::Remote),
        }
    }

    /// The address of the remote that the branch lives at; nothing where it is embedded.
    pub fn address(&self) -> Option<&str> {
        match &self.home {
            Home::Embedded(_) => None,
            Home::Upstream(upstream) => Some(upstream.address()),
        }
    }

    /// For how long the remote that the branch lives at has not answered what it was asked; nothing while nothing is asked of one.
    pub fn silent_for(&self) -> Option<Duration> {
        match &self.home {
            Home::Embedded(_) => None,
            Home::Upstream(upstream) => upstream.silent_for(),
        }
    }

    /// Moves the branch from `base` to `tip`, where everybody reads it, if it is still at `base`. One call at a time, as there is one writer.
    ///
    /// Drafts end with it: commits that are not published by it are forgotten, unless it fails, for then it may be tried again.
    ///
    /// # Errors
    /// The disk fails, or the remote cannot be reached or cannot keep the commits; then it may be tried again, after a look at
    /// the branch where [`Self::is_unsure`].
    pub async fn push(&self, base: &CommitId, tip: &CommitId) -> Result<Publish, GitError> {
        match &self.home {
            Home::Embedded(embedded) => self.publish(embedded, base, tip),
            Home::Upstream(upstream) => upstream.push(self, base, tip).await,
        }
    }

    /// Calls a function with the objects of the repository, those that are not in place there yet, and those that are not published. Not to be called within itself.
    pub(super) fn objects<T>(&self, f: impl FnOnce(&Objects<'_>) -> Result<T, GitError>) -> Result<T, GitError> {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        self.handles.call(|repository| f(&Objects::new(repository.odb()?, &made)))
    }

    pub(super) fn made(&self) -> RwLockWriteGuard<'_, Made> {
        self.made.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a file; nothing where there is none.
    pub fn read(&self, at: &CommitId, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        self.objects(|objects| {
            let id = tree::find_file(objects, root_of(objects, at)?, path)?;
            id.map(|id| read_file(objects, id, path)).transpose()
        })
    }

    /// Reads a file of a directory whose tree is known; nothing where there is none. Errors as of [`Self::read`].
    pub fn read_in(&self, directory: &TreeId, file: &str) -> Result<Option<Vec<u8>>, GitError> {
        self.objects(|objects| {
            let id = tree::find_file(objects, Oid::from_str(directory.as_str())?, file)?;
            id.map(|id| read_file(objects, id, file)).transpose()
        })
    }

    /// Lists a directory in Git's order; empty where there is none.
    pub fn list(&self, at: &CommitId, dir: &str) -> Result<Vec<(String, EntryKind)>, GitError> {
        self.objects(|objects| {
            let Some(id) = tree::find_directory(objects, root_of(objects, at)?, dir)? else { return Ok(Vec::new()) };
            let tree = objects.read(id, ObjectType::Tree)?;
            let entries = tree::entries(&tree)?.into_iter();
            Ok(entries
                .filter_map(|entry| Some((str::from_utf8(entry.name).ok()?.to_owned(), entry_kind(&entry)?)))
                .collect())
        })
    }

    /// Every release of the commit with the tree of its directory; reads one tree for each namespace, none for a release.
    pub fn release_keys(&self, at: &CommitId) -> Result<Vec<(ReleaseKey, TreeId)>, GitError> {
        self.objects(|objects| {
            let Some(releases) = tree::find_directory(objects, root_of(objects, at)?, "releases")? else {
                return Ok(Vec::new());
            };
            let mut keys = Vec::new();
            for (environment, id) in named_directories(objects, releases, EnvironmentName::parse)? {
                for (namespace, id) in named_directories(objects, id, Namespace::parse)? {
                    for (name, id) in named_directories(objects, id, ReleaseName::parse)? {
                        let (environment, namespace) = (environment.clone(), namespace.clone());
                        keys.push((ReleaseKey { environment, namespace, name }, tree_id(id)?));
                    }
                }
            }
            Ok(keys)
        })
    }

    /// The tree of a directory; nothing where there is none.
    pub fn tree_id(&self, at: &CommitId, dir: &str) -> Result<Option<TreeId>, GitError> {
        self.objects(|objects| tree::find_directory(objects, root_of(objects, at)?, dir)?.map(tree_id).transpose())
    }

    /// Begins a draft on a commit.
    ///
    /// There is one writer: what a draft made and did not publish is forgotten with the next [`Self::push`].
    pub fn draft(&self, base: &CommitId) -> Result<Draft<'_>, GitError> {
        self.objects(|objects| root_of(objects, base).map(drop))?;
        let mut made = self.made();
        if made.len() > MADE_COMMITS_MAX {
            made.clear();
        }
        Ok(Draft::on(self, base.clone()))
    }
}

impl Drop for Repository {
    /// An orderly end leaves nothing for the next start to do again; without it the journal still has everything.
    fn drop(&mut self) {
        if let Err(error) = self.checkpoint() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "The repository was not synced at its end: {error}"
            );
        }
    }
}

impl Author {
    /// The author and a time as a commit has them.
    pub(super) fn line(&self, at: Timestamp) -> Result<String, GitError> {
        let checked = Signature::new(&self.name, &self.email, &Time::new(at.as_second(), 0))?;
        Ok(format!("{} <{}> {} +0000", checked.name()?, checked.email()?, at.as_second()))
    }
}

fn read_file(objects: &Objects<'_>, id: Oid, path: &str) -> Result<Vec<u8>, GitError> {
    if objects.size(id)? > FILE_BYTES_MAX {
        return Err(GitError::TooLarge { path: path.to_owned(), max: FILE_BYTES_MAX });
    }
    Ok(objects.read(id, ObjectType::Blob)?.to_vec())
}

/// Whether there is nothing at a place, or an empty directory.
fn is_vacant(path: &Path) -> Result<bool, GitError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(GitError::Corrupt { what: "there is a file at its place", source: Some(Box::new(error)) })
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the repository beside its place and moves it there once it is whole and durable, so that a crash leaves none or all.
fn make(path: &Path, seed: &[(String, Vec<u8>)], statement: &Statement<'_>) -> Result<(), GitError> {
    let beside = path.with_extension("new");
    match fs::remove_dir_all(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let repository = init_bare(&beside)?;
    harden(&repository)?;
    let edits =
        seed.iter().map(|(path, content)| Edit { path: path.clone(), content: Some(content.clone()) }).collect();
    let (commit, new) = draft::make_first(&Objects::new(repository.odb()?, &Made::default()), edits, statement)?;
    pack::encode(&new)?.place(&beside)?;
    repository.reference(BRANCH, commit, false, "")?;
    publish::sync_file_system(&beside)?;
    fs::rename(&beside, path)?;
    publish::sync_parent(path)
}

/// Makes an empty bare repository, with nothing in it that the machine's templates would add.
pub(super) fn init_bare(path: &Path) -> Result<git2::Repository, GitError> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).no_reinit(true).mkpath(true).external_template(false).initial_head("main");
    Ok(git2::Repository::init_opts(path, &options)?)
}

const SEED_MESSAGE: &str =
    "platform: Begin the GitOps repository\n\nThe README says where to look and how to undo a release by hand.\n";

/// Settings under which no push can rewrite or remove what is there, and nothing but the service's own maintenance touches objects.
pub(super) fn harden(repository: &git2::Repository) -> Result<(), GitError> {
    let mut config = repository.config()?.open_level(git2::ConfigLevel::Local)?;
    for (key, value) in HARDENED {
        config.set_str(key, value)?;
    }
    config.set_i64("receive.maxInputSize", i64::try_from(PUSH_BYTES_MAX).unwrap_or(i64::MAX))?;
    Ok(())
}

/// The settings of the embedded repository; the serving side passes them once more, so that an edited file cannot loosen them.
pub(super) const HARDENED: [(&str, &str); 8] = [
    ("receive.denyNonFastForwards", "true"),
    ("receive.denyDeletes", "true"),
    ("receive.fsckObjects", "true"),
    ("receive.autogc", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    // A person's push is as durable as a commit of the service once Git says it arrived.
    ("core.fsync", "committed,reference"),
    ("uploadpack.allowFilter", "true"),
];

/// The commit that the branch is at. It is a plain file nearly always, and libgit2 takes ten times as long to read that.
pub(super) fn branch_tip(repository: &git2::Repository, reference: &str) -> Result<Oid, GitError> {
    let text = fs::read_to_string(repository.path().join(reference)).unwrap_or_default();
    if let Some(Ok(tip)) = text.strip_suffix('\n').filter(|id| id.len() == 2 * tree::ID_BYTES).map(Oid::from_str) {
        return Ok(tip);
    }
    repository.refname_to_id(reference).map_err(|error| match error.code() {
        git2::ErrorCode::NotFound => GitError::corrupt("its branch is missing", error),
        git2::ErrorCode::GenericError => GitError::corrupt("its branch cannot be read", error),
        _ => error.into(),
    })
}

pub(super) fn find_commit<'r>(repository: &'r git2::Repository, id: &CommitId) -> Result<git2::Commit<'r>, GitError> {
    let oid = oid(id)?;
    repository.find_commit(oid).map_err(|error| match error.code() {
        git2::ErrorCode::NotFound => GitError::UnknownCommit(id.clone()),
        _ => error.into(),
    })
}

/// The root tree of a commit, published or not.
pub(super) fn root_of(objects: &Objects<'_>, commit: &CommitId) -> Result<Oid, GitError> {
    objects.tree_of_commit(oid(commit)?)?.ok_or_else(|| GitError::UnknownCommit(commit.clone()))
}

/// The directories below a tree whose names are what they should be; others are not the service's.
fn named_directories<T, E>(
    objects: &Objects<'_>,
    tree: Oid,
    parse: fn(&str) -> Result<T, E>,
) -> Result<Vec<(T, Oid)>, GitError> {
    let tree = objects.read(tree, ObjectType::Tree)?;
    let directories = tree::entries(&tree)?.into_iter().filter(tree::Entry::is_directory);
    Ok(directories.filter_map(|entry| Some((parse(str::from_utf8(entry.name).ok()?).ok()?, entry.id))).collect())
}

fn entry_kind(entry: &tree::Entry<'_>) -> Option<EntryKind> {
    match (entry.is_directory(), entry.is_file()) {
        (true, _) => Some(EntryKind::Directory),
        (_, true) => Some(EntryKind::File),
        _ => None,
    }
}

pub(super) fn oid(id: &CommitId) -> Result<Oid, GitError> {
    Ok(Oid::from_str(id.as_str())?)
}

pub(super) fn commit_id(oid: Oid) -> Result<CommitId, GitError> {
    CommitId::parse(&oid.to_string())
        .map_err(|_| GitError::Corrupt { what: "its objects have another kind of id", source: None })
}

pub(super) fn tree_id(oid: Oid) -> Result<TreeId, GitError> {
    TreeId::parse(&oid.to_string())
        .map_err(|_| GitError::Corrupt { what: "its objects have another kind of id", source: None })
}
