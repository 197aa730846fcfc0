//! Trees: found by path, and rewritten along the paths of some edits. What is beside a path is neither read nor written.

use std::collections::BTreeMap;

use git2::{ObjectType, Oid, Repository, Tree};

use super::{Edit, GitError};
use crate::names::shown;

/// The longest path and the deepest; far beyond what the service writes, and short enough for every file system.
const PATH_BYTES_MAX: usize = 1_024;
const PATH_PARTS_MAX: usize = 16;

/// What Git calls the modes of a plain file and of a directory.
const MODE_FILE: i32 = 0o100_644;
const MODE_DIRECTORY: i32 = 0o040_000;

/// Finds the tree of a directory; nothing where there is none. The empty path is the root.
pub(super) fn find_directory<'r>(
    repository: &'r Repository,
    root: Tree<'r>,
    dir: &str,
) -> Result<Option<Tree<'r>>, GitError> {
    let mut tree = root;
    for part in dir.split('/').filter(|part| !part.is_empty()) {
        let id = match tree.get_name(part) {
            Some(entry) if entry.kind() == Some(ObjectType::Tree) => entry.id(),
            _ => return Ok(None),
        };
        tree = repository.find_tree(id)?;
    }
    Ok(Some(tree))
}

/// Finds the blob of a plain file; nothing where there is none. A symbolic link is not followed: it is none.
pub(super) fn find_file(repository: &Repository, root: Tree<'_>, path: &str) -> Result<Option<Oid>, GitError> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some(tree) = find_directory(repository, root, dir)? else { return Ok(None) };
    let file = tree
        .get_name(name)
        .filter(|entry| entry.kind() == Some(ObjectType::Blob) && entry.filemode() & 0o170_000 == 0o100_000);
    Ok(file.map(|entry| entry.id()))
}

/// Writes the root tree that some edits make of another one, and everything new below it.
pub(super) fn rewrite(repository: &Repository, root: &Tree<'_>, edits: Vec<Edit>) -> Result<Oid, GitError> {
    let changes = Directory::of(edits)?;
    match changes.write(repository, Some(root), "")? {
        Some(id) => Ok(id),
        None => Ok(repository.treebuilder(None)?.write()?),
    }
}

/// The edits below one directory.
#[derive(Default)]
struct Directory {
    /// Whether what was there goes first.
    replaced: bool,
    entries: BTreeMap<String, Change>,
}

enum Change {
    Put(Vec<u8>),
    Remove,
    Below(Directory),
}

impl Directory {
    /// Sorts edits into directories. A later edit of the same place wins; a directory that is removed and then written to is replaced.
    fn of(edits: Vec<Edit>) -> Result<Self, GitError> {
        let mut root = Self::default();
        for edit in edits {
            let parts = parts(&edit.path)?;
            let Some((name, dirs)) = parts.split_last() else { continue };
            let mut directory = &mut root;
            for dir in dirs {
                directory = directory.enter(dir).ok_or_else(|| GitError::InvalidPath(shown(&edit.path)))?;
            }
            let change = edit.content.map_or(Change::Remove, Change::Put);
            directory.entries.insert((*name).to_owned(), change);
        }
        Ok(root)
    }

    fn enter(&mut self, name: &str) -> Option<&mut Self> {
        let change = self.entries.entry(name.to_owned()).or_insert_with(|| Change::Below(Self::default()));
        if matches!(change, Change::Remove) {
            *change = Change::Below(Self { replaced: true, entries: BTreeMap::new() });
        }
        match change {
            Change::Below(directory) => Some(directory),
            Change::Put(_) | Change::Remove => None,
        }
    }

    /// Writes the directory's new tree. Nothing where the directory ends empty, which Git cannot keep.
    fn write(self, repository: &Repository, old: Option<&Tree<'_>>, at: &str) -> Result<Option<Oid>, GitError> {
        let old = if self.replaced { None } else { old };
        let mut builder = repository.treebuilder(old)?;
        for (name, change) in self.entries {
            let known = old.and_then(|tree| tree.get_name(&name));
            let known_id = known.as_ref().map(|entry| entry.id());
            let (id, mode) = match change {
                Change::Put(content) => (Some(write_blob(repository, &content, known_id)?), MODE_FILE),
                Change::Remove => (None, MODE_FILE),
                Change::Below(directory) => {
                    let path = format!("{at}{name}/");
                    let tree = match known.as_ref().map(git2::TreeEntry::kind) {
                        None => None,
                        Some(Some(ObjectType::Tree)) => known_id.map(|id| repository.find_tree(id)).transpose()?,
                        Some(_) if directory.replaced => None,
                        Some(_) => return Err(GitError::InvalidPath(shown(&path))),
                    };
                    (directory.write(repository, tree.as_ref(), &path)?, MODE_DIRECTORY)
                }
            };
            match id {
                Some(id) => drop(builder.insert(&name, id, mode)?),
                None if known.is_some() => builder.remove(&name)?,
                None => {}
            }
        }
        if builder.is_empty() { Ok(None) } else { Ok(Some(builder.write()?)) }
    }
}

/// Writes a blob, but not the one that is in its place already: that would cost several system calls to find out.
fn write_blob(repository: &Repository, content: &[u8], known: Option<Oid>) -> Result<Oid, GitError> {
    if let Some(known) = known
        && Oid::hash_object(ObjectType::Blob, content)? == known
    {
        return Ok(known);
    }
    Ok(repository.odb()?.write(ObjectType::Blob, content)?)
}

fn parts(path: &str) -> Result<Vec<&str>, GitError> {
    let parts: Vec<&str> = path.split('/').collect();
    let ok = path.len() <= PATH_BYTES_MAX && parts.len() <= PATH_PARTS_MAX && parts.iter().all(|part| is_plain(part));
    if ok { Ok(parts) } else { Err(GitError::InvalidPath(shown(path))) }
}

/// Whether a part of a path is a name and nothing else, on any file system that a clone may be on.
fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && part.len() <= 255
        && !part.eq_ignore_ascii_case(".git")
        && !part.chars().any(|c| c.is_control() || matches!(c, '\\' | ':' | '~'))
}
