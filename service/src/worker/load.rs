//! What the repository and the store say together: every release as it is, what the index of the history lacks, what cannot be read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::adopt::drifted;
use super::foreign::{Directory, directories};
use super::history;
use super::index::{Entry, Index};
use super::policies;
use super::review::merged_as;
use super::shared::Shared;
use super::start::OpenError;
use crate::cores::on_every_core;
use crate::git::{Author, GitError, LogEntry, Repository};
use crate::names::{CommitId, PolicyName, ReleaseKey, TreeId};
use crate::release::Release;
use crate::store::{IndexedCommit, Newest, PAGE_ROWS_MAX, Store, StoreError};

/// Releases whose documents are read at once, before what was mapped of the packs for it is let go: in full they are some 10 kB each, and the
/// index keeps a tenth of that. In a large pack each of their files may bring its neighbourhood along, so what is mapped is several times that.
const READ_AT_ONCE: usize = 128;

/// What the repository and the index say.
pub(super) struct Loaded {
    pub(super) index: Index,
    pub(super) policies: policies::Read,
    pub(super) walked: history::Walked,
    /// The commit up to which the index reaches, where that commit is in the branch.
    pub(super) known: CommitId,
    pub(super) tip: CommitId,
    /// Releases whose document at the tip cannot be read, and why.
    pub(super) unreadable: Vec<Unreadable>,
    /// The index did not belong to this branch.
    pub(super) is_anew: bool,
    /// The commit that the index reached, where the branch elsewhere had it and has it no more.
    pub(super) gone: Option<CommitId>,
    /// The history up to the tip is not here, and comes later.
    pub(super) is_begun_here: bool,
}

/// Reads the repository, and what the store says about it.
pub(super) async fn load_beside(
    shared: &Arc<Shared>,
    remembered: &[(PolicyName, String)],
) -> Result<Loaded, OpenError> {
    let mut is_complete = false;
    loop {
        let (indexed, lacks) = shared.store.index_reach().await?.unzip();
        let mut newest = HashMap::new();
        each_newest(&shared.store, |row| drop(newest.insert(row.key.clone(), row))).await?;
        let author = shared.settings.author.clone();
        let source = Source { author, indexed, lacks: lacks.flatten(), newest, remembered: remembered.to_vec() };
        let beside = Arc::clone(shared);
        let load = move || load(&beside.repository, source);
        match tokio::task::spawn_blocking(load).await.map_err(|_| OpenError::Interrupted)? {
            // The index reaches to a commit that this clone may have once it has everything.
            Err(GitError::NotFetched) if !is_complete => shared.repository.complete().await?,
            loaded => return Ok(loaded?),
        }
        is_complete = true;
    }
}

/// Calls a function with the newest commit of every release that the store knows.
pub(super) async fn each_newest(store: &Store, mut f: impl FnMut(Newest)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.newest_commits(after.as_ref()).await?;
        let is_last = page.len() < PAGE_ROWS_MAX as usize;
        after = page.last().map(|row| row.key.clone());
        page.into_iter().for_each(&mut f);
        if is_last {
            return Ok(());
        }
    }
}

/// Adds the newest documents that can be read, for as long as those at the tip cannot.
pub(super) async fn add_last_good(
    (store, repository): (&Store, &Repository),
    unreadable: Vec<Unreadable>,
    index: &mut Index,
) -> Result<(), OpenError> {
    for found in unreadable {
        if let Some((key, entry)) = last_good(store, repository, found).await? {
            index.put(key, entry);
        }
    }
    Ok(())
}

struct Source {
    author: Author,
    indexed: Option<CommitId>,
    /// The commit that the index was begun at, while it lacks what was before.
    lacks: Option<CommitId>,
    newest: HashMap<ReleaseKey, Newest>,
    remembered: Vec<(PolicyName, String)>,
}

fn load(repository: &Repository, source: Source) -> Result<Loaded, GitError> {
    let Source { author, indexed, lacks, mut newest, remembered } = source;
    let tip = repository.tip()?;
    let is_ours = |commit: &CommitId| match repository.is_ancestor(commit, &tip) {
        Ok(is_ours) => Ok(is_ours),
        Err(GitError::UnknownCommit(_)) => Ok(false),
        Err(error) => Err(error),
    };
    let (from, gone) = match indexed {
        Some(commit) if is_ours(&commit)? => (Some(commit), None),
        gone => (None, gone.filter(|_| repository.address().is_some())),
    };
    let is_anew = from.is_none();
    if is_anew {
        newest.clear();
    }
    let is_begun_here = is_anew && gone.is_none() && !repository.is_complete();
    let seen = if from.as_ref() == Some(&tip) || is_begun_here {
        Vec::new()
    } else {
        let seen = |entry: LogEntry| {
            let came = merged_as(repository, &author, from.as_ref(), entry)?.into_iter();
            let seen = came.map(|came| history::seen(repository, &came, history::says_ours(&came.entry, &author)));
            seen.collect::<Result<Vec<_>, _>>()
        };
        repository.each_commit(from.as_ref(), &tip, seen)?
    };
    let walked = history::walked(seen.into_iter().flatten().flatten());
    // Whatever has no commit of its own in the index came with the one that it was begun at.
    let begun_at = lacks.filter(|_| !is_anew).or_else(|| is_begun_here.then(|| tip.clone()));
    let (index, unreadable) = read_index(repository, &tip, begun_at.as_ref(), (newest, &walked.rows))?;
    let policies = policies::read(repository, &tip, &remembered)?;
    // Without an index nobody can say what is new; then every release is looked at as it is.
    let known = from.unwrap_or_else(|| tip.clone());
    Ok(Loaded { index, policies, walked, known, tip, unreadable, is_anew, gone, is_begun_here })
}

/// A release whose document cannot be read.
pub(super) struct Unreadable {
    key: ReleaseKey,
    tree: TreeId,
    tip: CommitId,
    why: String,
}

fn read_index(
    repository: &Repository,
    tip: &CommitId,
    begun_at: Option<&CommitId>,
    (mut newest, rows): (HashMap<ReleaseKey, Newest>, &[IndexedCommit]),
) -> Result<(Index, Vec<Unreadable>), GitError> {
    newest.extend(rows.iter().map(|row| (row.key.clone(), Newest::from(row))));
    let unseen: HashSet<&ReleaseKey> = rows.iter().map(|row| &row.key).collect();
    let keys: Vec<ReleaseKey> = repository.release_keys(tip)?.into_iter().map(|(key, _)| key).collect();
    let at = At { tip, begun_at };
    read_some(repository, at, &keys, |key| newest.get(key).map(|row| (row, !unseen.contains(key))))
}

/// The commit that releases are read at.
#[derive(Clone, Copy)]
pub(super) struct At<'c> {
    pub(super) tip: &'c CommitId,
    /// The commit that the index was begun at, while it lacks what was before: that of every release that has none of its own.
    pub(super) begun_at: Option<&'c CommitId>,
}

/// Reads some releases as a commit has them; those that are not there are left out. `newest` gives the newest commit of each, and whether the
/// service knew of it before.
pub(super) fn read_some<'n>(
    repository: &Repository,
    at: At<'_>,
    keys: &[ReleaseKey],
    newest: impl Fn(&ReleaseKey) -> Option<(&'n Newest, bool)> + Sync,
) -> Result<(Index, Vec<Unreadable>), GitError> {
    let mut index = Index::default();
    let mut unreadable = Vec::new();
    let read = |key: ReleaseKey, Directory { tree, document }| match document {
        Ok(release) => {
            let found = newest(&key);
            // Only a person's commit can have left a file that is not as it was rendered, and what a commit says of itself is believed of
            // those alone that this service made while it ran.
            let is_known = found.is_some_and(|(row, is_known)| is_known && row.is_ours);
            let drifted = if is_known { Vec::new() } else { drifted(repository, &tree, &release)? };
            let entry = Entry { drifted, ..entry(at, release, tree, found.map(|(row, _)| row)) };
            Ok((key, Ok(entry)))
        }
        Err(why) => Ok((key, Err((tree, crate::names::line_of_a_person(&why))))),
    };
    for keys in keys.chunks(READ_AT_ONCE) {
        let shares = on_every_core(keys, |keys| {
            let found = directories(repository, at.tip, keys)?.into_iter();
            found.map(|(key, directory)| read(key, directory)).collect::<Result<Vec<_>, GitError>>()
        })?;
        // What a small repository, or the rest of a large one, has mapped serves the first requests.
        if keys.len() == READ_AT_ONCE {
            repository.let_go();
        }
        for (key, found) in shares.into_iter().flatten() {
            match found {
                Ok(entry) => index.put(key, entry),
                Err((tree, why)) => unreadable.push(Unreadable { key, tree, tip: at.tip.clone(), why }),
            }
        }
    }
    Ok((index, unreadable))
}

fn entry(at: At<'_>, release: Release, tree: TreeId, row: Option<&Newest>) -> Entry {
    let (commit, changed_at) = match row {
        Some(row) => (row.commit.clone(), row.at),
        None => (at.begun_at.unwrap_or(at.tip).clone(), release.rollout.since),
    };
    let is_undated = row.is_none() && at.begun_at.is_some();
    let release = Arc::new(release);
    Entry { release, commit, tree, changed_at, is_undated, drifted: Vec::new(), invalid: None, notes: Vec::new() }
}

/// The newest document of a release that can be read, for as long as the one at the tip cannot.
async fn last_good(
    store: &Store,
    repository: &Repository,
    found: Unreadable,
) -> Result<Option<(ReleaseKey, Entry)>, OpenError> {
    /// How far back it is looked for: more edits in a row that do not parse are nobody's mistake.
    const COMMITS_MAX: u32 = 50;
    let Unreadable { key, tree, tip, why } = found;
    let commits: Vec<CommitId> =
        store.history(&key, None, COMMITS_MAX).await?.into_iter().map(|row| row.commit).collect();
    let Some(release) = history::last_valid(repository, &key, &commits)? else {
        // Who asks for the release finds the directory in its place.
        tracing::warn!(release.key = %key, "The `release.yaml` of `{key}` cannot be used and never could: {why}");
        return Ok(None);
    };
    let changed_at = release.rollout.since;
    let entry = Entry {
        release: Arc::new(release),
        commit: tip,
        tree,
        changed_at,
        is_undated: false,
        drifted: Vec::new(),
        invalid: Some(why),
        notes: Vec::new(),
    };
    Ok(Some((key, entry)))
}
