//! The history in one walk, with the releases that each commit changed: all that one commit has and another has not, or the line of those that the
//! branch was at.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use git2::{ObjectType, Oid, Sort, Tree};
use jiff::Timestamp;

use super::handles::not_fetched;
use super::message::parse_trailers;
use super::repository::{commit_id, find_commit, oid};
use super::{Author, GitError, Repository};
use crate::cores::on_every_core;
use crate::names::{CommitId, TreeId};

/// One commit of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub commit: CommitId,
    /// The commit before it: the first parent, or where the branch was before a merge. Nothing for the first commit.
    pub before: Option<CommitId>,
    /// It joins another history with the one of the commit before.
    pub is_merge: bool,
    pub author: Author,
    /// Who made the commit of it: a cherry-pick keeps the author and has another one here.
    pub committer: Author,
    /// When it was committed.
    pub at: Timestamp,
    pub message: String,
    /// The trailers of the last paragraph, in order.
    pub trailers: Vec<(String, String)>,
    /// The release directories that it changed, `releases/<environment>/<namespace>/<name>`: where it is one of the line of a branch, what differs from
    /// the commit before; else what differs from every parent.
    pub changed: Vec<String>,
}

/// The commits that a branch was at.
struct Line {
    /// Oldest first.
    commits: Vec<CommitId>,
    /// Of merges, the commit before.
    chosen: HashMap<Oid, Oid>,
}

/// Which of the releases that a commit has otherwise count as changed by it.
#[derive(Clone, Copy)]
enum Against<'c> {
    /// Those that every parent has otherwise.
    AllParents,
    /// Those that the commit before has otherwise, of merges as it was chosen.
    Before(&'c HashMap<Oid, Oid>),
}

/// What the message of a merge begins with that takes the branch into a history of somebody's own.
pub fn join_message(branch: &str, into: &str) -> String {
    format!("Join `{branch}` into {into}\n")
}

/// Whether a merge says that it takes the branch into a history of somebody's own, as the service's does, and Git's by `git pull`.
pub fn says_join(message: &str, branch: &str) -> bool {
    let begins = ["Join `", "Merge branch '", "Merge remote-tracking branch 'origin/"];
    let named = begins.iter().find_map(|begin| message.strip_prefix(begin)?.strip_prefix(branch));
    named.is_some_and(|rest| rest.starts_with(['`', '\'']))
}

/// How many directories lie between the root and what is in a namespace: `releases/<environment>/<namespace>/<name>`.
const RELEASE_DEPTH: usize = 4;

/// Commits per handle: what was read of the packs stays mapped for as long as a handle lives, so a long walk changes handles.
const COMMITS_PER_HANDLE: usize = 256;

/// Messages that are read before all handles are closed; the packs have the commits next to one another.
const MESSAGES_AT_ONCE: usize = 4_096;

impl Repository {
    /// The commits that are in the history of `to` and not in that of `from` (all where none), parents before children.
    ///
    /// Trees are compared from the top down, so a commit costs the trees on the paths that it changed and nothing else.
    pub fn log(&self, from: Option<&CommitId>, to: &CommitId) -> Result<Vec<LogEntry>, GitError> {
        let repository = self.handles_after_placing()?.fresh()?;
        let commits = self.walk(&repository, from, to).map_err(|error| not_fetched(&repository, error))?;
        self.each_against(&commits, Against::AllParents, Ok)
    }

    /// The commits that the branch was at on its way from `from` (the beginning where none) to `to`, oldest first.
    ///
    /// A merge brings what it brings at once: what was on the other side never was where everybody reads. On which side the branch was, `from` says
    /// where it is known; else it is the first parent, but of a merge that says that it took the branch in ([`says_join`]).
    pub fn line(&self, from: Option<&CommitId>, to: &CommitId) -> Result<Vec<LogEntry>, GitError> {
        self.each_commit(from, to, Ok)
    }

    /// The same, with what a function makes of each commit, on every core: a long history is never held as a whole.
    pub fn each_commit<T: Send>(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        make: impl Fn(LogEntry) -> Result<T, GitError> + Sync,
    ) -> Result<Vec<T>, GitError> {
        let repository = self.handles_after_placing()?.fresh()?;
        let line = self.trace(&repository, from, to).map_err(|error| not_fetched(&repository, error))?;
        self.each_against(&line.commits, Against::Before(&line.chosen), make)
    }

    /// What a function makes of each of some commits of [`Self::commits`], on every core.
    pub fn each_of<T: Send>(
        &self,
        commits: &[CommitId],
        make: impl Fn(LogEntry) -> Result<T, GitError> + Sync,
    ) -> Result<Vec<T>, GitError> {
        self.each_against(commits, Against::Before(&HashMap::new()), make)
    }

    fn each_against<T: Send>(
        &self,
        commits: &[CommitId],
        against: Against<'_>,
        make: impl Fn(LogEntry) -> Result<T, GitError> + Sync,
    ) -> Result<Vec<T>, GitError> {
        let branch = self.branch();
        let handles = self.handles_after_placing()?;
        let shares = on_every_core(commits, |share| {
            let mut made = Vec::with_capacity(share.len());
            for commits in share.chunks(COMMITS_PER_HANDLE) {
                let repository = handles.fresh()?;
                for commit in commits {
                    made.push(make(entry(&repository, oid(commit)?, (branch, against))?)?);
                }
            }
            Ok::<_, GitError>(made)
        })?;
        Ok(shares.into_iter().flatten().collect())
    }

    /// The commits of [`Self::line`] from the beginning on by their ids alone.
    ///
    /// # Errors
    /// Also [`GitError::NotFetched`] where a part of the history is not here.
    pub fn commits(&self, to: &CommitId) -> Result<Vec<CommitId>, GitError> {
        let repository = self.handles_after_placing()?.fresh()?;
        let line = self.trace(&repository, None, to).map_err(|error| not_fetched(&repository, error))?;
        Ok(line.commits)
    }

    fn trace(&self, repository: &git2::Repository, from: Option<&CommitId>, to: &CommitId) -> Result<Line, GitError> {
        find_commit(repository, to)?;
        if from.is_none() && !self.is_complete() {
            return Err(GitError::NotFetched);
        }
        let from = from.map(|from| find_commit(repository, from).map(|from| from.id())).transpose()?;
        let mut line = Line { commits: Vec::new(), chosen: HashMap::new() };
        let mut next = Some(oid(to)?);
        while let Some(id) = next.filter(|id| Some(*id) != from) {
            let commit = repository.find_commit(id)?;
            line.commits.push(commit_id(id)?);
            next = before(&commit, self.branch());
            if let Some(from) = from
                && commit.parent_count() > 1
            {
                next = leads_to(repository, next.into_iter().chain(commit.parent_ids()), from)?.or(next);
                line.chosen.extend(next.map(|next| (id, next)));
            }
        }
        line.commits.reverse();
        Ok(line)
    }

    /// The values that a trailer has in some commits.
    pub fn trailers(&self, commits: &[CommitId], name: &str) -> Result<Vec<String>, GitError> {
        let mut found = Vec::new();
        for commits in commits.chunks(MESSAGES_AT_ONCE) {
            let shares = on_every_core(commits, |share| self.trailers_of(share, name))?;
            found.extend(shares.into_iter().flatten());
            self.let_go();
        }
        Ok(found)
    }

    fn trailers_of(&self, commits: &[CommitId], name: &str) -> Result<Vec<String>, GitError> {
        let repository = self.handles_after_placing()?.fresh()?;
        let mut found = Vec::new();
        for commit in commits {
            let commit = find_commit(&repository, commit)?;
            let message = String::from_utf8_lossy(commit.message_bytes());
            // Most have none of it, and to look for its name is cheaper than to take the message apart.
            let all = if message.contains(name) { parse_trailers(&message) } else { Vec::new() };
            found.extend(all.into_iter().filter(|(key, _)| key == name).map(|(_, value)| value));
        }
        Ok(found)
    }

    fn walk(
        &self,
        repository: &git2::Repository,
        from: Option<&CommitId>,
        to: &CommitId,
    ) -> Result<Vec<CommitId>, GitError> {
        find_commit(repository, to)?;
        if from.is_none() && !self.is_complete() {
            return Err(GitError::NotFetched);
        }
        let mut walk = repository.revwalk()?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
        walk.push(oid(to)?)?;
        if let Some(from) = from {
            find_commit(repository, from)?;
            walk.hide(oid(from)?)?;
        }
        walk.map(|commit| commit_id(commit?)).collect()
    }

    /// The commit that last brought a directory to this tree, at or before `from` along the first parents; none where no commit of
    /// the newest `commits_max` had it.
    ///
    /// # Errors
    /// Also [`GitError::NotFetched`] where it may lie in what is not here yet.
    pub fn origin_of(
        &self,
        from: &CommitId,
        directory: &str,
        tree: &TreeId,
        commits_max: usize,
    ) -> Result<Option<LogEntry>, GitError> {
        let wanted = Oid::from_str(tree.as_str())?;
        let repository = self.handles_after_placing()?.fresh()?;
        let mut walk = repository.revwalk()?;
        walk.simplify_first_parent()?;
        walk.push(oid(from)?)?;
        let told = |id: Oid| entry(&repository, id, (self.branch(), Against::Before(&HashMap::new())));
        let (mut found, mut looked_at) = (None, 0);
        for id in walk.take(commits_max) {
            looked_at += 1;
            let id = id?;
            let root = repository.find_commit(id)?.tree()?;
            let has = root.get_path(Path::new(directory)).is_ok_and(|entry| entry.id() == wanted);
            if !has && found.is_some() {
                return found.map(told).transpose();
            }
            found = if has { Some(id) } else { found };
        }
        if looked_at < commits_max && !self.is_complete() {
            return Err(GitError::NotFetched);
        }
        found.map(told).transpose()
    }

    /// The paths of files that differ between two commits.
    pub fn changed(&self, from: &CommitId, to: &CommitId) -> Result<Vec<String>, GitError> {
        self.handles_after_placing()?.call(|repository| {
            let (old, new) = (find_commit(repository, from)?.tree()?, find_commit(repository, to)?.tree()?);
            let diff = repository.diff_tree_to_tree(Some(&old), Some(&new), None)?;
            let files = diff
                .deltas()
                .filter_map(|delta| delta.new_file().path().or(delta.old_file().path()).map(ToOwned::to_owned));
            Ok(files.filter_map(|path| path.to_str().map(ToOwned::to_owned)).collect())
        })
    }

    /// Whether `commit` has `ancestor` in its history, or is it.
    ///
    /// # Errors
    /// Also [`GitError::NotFetched`] where that is in what is not here yet, if anywhere.
    pub fn is_ancestor(&self, ancestor: &CommitId, commit: &CommitId) -> Result<bool, GitError> {
        self.handles_after_placing()?.call(|repository| {
            find_commit(repository, ancestor)?;
            find_commit(repository, commit)?;
            match repository.is_shallow() {
                true => is_reached(repository, oid(ancestor)?, oid(commit)?),
                false => Ok(ancestor == commit || repository.graph_descendant_of(oid(commit)?, oid(ancestor)?)?),
            }
        })
    }

    /// The same as far as it is known here: nothing where what would say so is not here, or not yet.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn is_known_ancestor(&self, ancestor: &CommitId, commit: &CommitId) -> Result<Option<bool>, GitError> {
        match self.is_ancestor(ancestor, commit) {
            Err(GitError::UnknownCommit(_) | GitError::NotFetched) => Ok(None),
            is_ancestor => is_ancestor.map(Some),
        }
    }
}

/// Whether the history of a commit has another one, in a clone that has a part of it: libgit2's walk needs the parents of what it looks for too, and ends
/// with an error where they are not here.
fn is_reached(repository: &git2::Repository, ancestor: Oid, commit: Oid) -> Result<bool, GitError> {
    let odb = repository.odb()?;
    let (mut seen, mut open, mut is_whole) = (HashSet::from([commit]), vec![commit], true);
    while let Some(id) = open.pop() {
        if id == ancestor {
            return Ok(true);
        }
        match odb.read(id) {
            Ok(object) => open.extend(parents_said(object.data())?.into_iter().filter(|parent| seen.insert(*parent))),
            Err(error) if error.code() == git2::ErrorCode::NotFound => is_whole = false,
            Err(error) => return Err(error.into()),
        }
    }
    if is_whole { Ok(false) } else { Err(GitError::NotFetched) }
}

/// The parents that the text of a commit names, also those that are not here.
fn parents_said(text: &[u8]) -> Result<Vec<Oid>, git2::Error> {
    let headers = text.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let parents = headers.filter_map(|line| str::from_utf8(line.strip_prefix(b"parent ")?).ok());
    parents.map(Oid::from_str).collect()
}

/// Where the branch was before a commit, as far as that alone says.
fn before(commit: &git2::Commit<'_>, branch: &str) -> Option<Oid> {
    let is_join = commit.parent_count() > 1 && says_join(&String::from_utf8_lossy(commit.message_bytes()), branch);
    commit.parent_ids().nth(usize::from(is_join))
}

/// The first of the parents of a merge that has a commit in its history, or is it.
fn leads_to(
    repository: &git2::Repository,
    parents: impl Iterator<Item = Oid>,
    from: Oid,
) -> Result<Option<Oid>, GitError> {
    for parent in parents {
        if parent == from || repository.graph_descendant_of(parent, from)? {
            return Ok(Some(parent));
        }
    }
    Ok(None)
}

fn entry(repository: &git2::Repository, id: Oid, (branch, against): (&str, Against<'_>)) -> Result<LogEntry, GitError> {
    let commit = repository.find_commit(id)?;
    let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
    let who = |signature: git2::Signature<'_>| Author {
        name: String::from_utf8_lossy(signature.name_bytes()).into_owned(),
        email: String::from_utf8_lossy(signature.email_bytes()).into_owned(),
    };
    let (author, committer) = (who(commit.author()), who(commit.committer()));
    let at = Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::UNIX_EPOCH);
    let (before, changed) = match against {
        Against::AllParents => (commit.parent_ids().next(), changed_releases(repository, &commit)?),
        Against::Before(chosen) => {
            let before = chosen.get(&id).copied().or_else(|| before(&commit, branch));
            (before, changed_since(repository, before, &commit)?)
        }
    };
    let (before, is_merge) = (before.map(commit_id).transpose()?, commit.parent_count() > 1);
    let trailers = parse_trailers(&message);
    let commit = commit_id(id)?;
    Ok(LogEntry { commit, before, is_merge, author, committer, at, message, trailers, changed })
}

/// The release directories that differ from a commit before.
fn changed_since(
    repository: &git2::Repository,
    before: Option<Oid>,
    commit: &git2::Commit<'_>,
) -> Result<Vec<String>, GitError> {
    let old = match before.map(|before| repository.find_commit(before)) {
        // Before the first commit that a clone has so far, nothing is known.
        Some(Err(error)) if error.code() == git2::ErrorCode::NotFound => None,
        before => before.transpose()?.map(|before| before.tree()).transpose()?,
    };
    let mut found = BTreeSet::new();
    compare(repository, old.as_ref(), Some(&commit.tree()?), &mut Vec::new(), &mut found)?;
    Ok(found.into_iter().collect())
}

/// The release directories that differ from every parent: a merge changes only what it does not take from one side.
fn changed_releases(repository: &git2::Repository, commit: &git2::Commit<'_>) -> Result<Vec<String>, GitError> {
    let new = commit.tree()?;
    let mut common: Option<BTreeSet<String>> = None;
    for parent in commit.parents() {
        let mut found = BTreeSet::new();
        compare(repository, Some(&parent.tree()?), Some(&new), &mut Vec::new(), &mut found)?;
        common = Some(match common {
            Some(before) => before.intersection(&found).cloned().collect(),
            None => found,
        });
    }
    if common.is_none() {
        let found = common.insert(BTreeSet::new());
        compare(repository, None, Some(&new), &mut Vec::new(), found)?;
    }
    Ok(common.unwrap_or_default().into_iter().collect())
}

/// Collects the release directories that differ between two trees at `path`, of which either may be missing.
fn compare(
    repository: &git2::Repository,
    old: Option<&Tree<'_>>,
    new: Option<&Tree<'_>>,
    path: &mut Vec<String>,
    found: &mut BTreeSet<String>,
) -> Result<(), GitError> {
    for (name, old_id, new_id) in differences(old, new, path.is_empty()) {
        path.push(name);
        if path.len() == RELEASE_DEPTH {
            found.insert(path.join("/"));
        } else {
            let old = old_id.map(|id| repository.find_tree(id)).transpose()?;
            let new = new_id.map(|id| repository.find_tree(id)).transpose()?;
            compare(repository, old.as_ref(), new.as_ref(), path, found)?;
        }
        path.pop();
    }
    Ok(())
}

/// The directories whose trees differ, with both ids; at the root only `releases`.
fn differences(
    old: Option<&Tree<'_>>,
    new: Option<&Tree<'_>>,
    is_root: bool,
) -> Vec<(String, Option<Oid>, Option<Oid>)> {
    if is_root {
        let [old, new] = [old, new].map(|tree| tree.and_then(|tree| subtree(tree, b"releases")));
        return if old == new { Vec::new() } else { vec![("releases".to_owned(), old, new)] };
    }
    let mut out = Vec::new();
    for (name, id) in new.map(subtrees).unwrap_or_default() {
        let before = old.and_then(|tree| subtree(tree, &name));
        if before != Some(id) {
            out.push((String::from_utf8_lossy(&name).into_owned(), before, Some(id)));
        }
    }
    for (name, id) in old.map(subtrees).unwrap_or_default() {
        if new.and_then(|tree| subtree(tree, &name)).is_none() {
            out.push((String::from_utf8_lossy(&name).into_owned(), Some(id), None));
        }
    }
    out
}

fn subtree(tree: &Tree<'_>, name: &[u8]) -> Option<Oid> {
    tree.get_name_bytes(name).filter(|entry| entry.kind() == Some(ObjectType::Tree)).map(|entry| entry.id())
}

fn subtrees(tree: &Tree<'_>) -> Vec<(Vec<u8>, Oid)> {
    let trees = tree.iter().filter(|entry| entry.kind() == Some(ObjectType::Tree));
    trees.map(|entry| (entry.name_bytes().to_vec(), entry.id())).collect()
}
