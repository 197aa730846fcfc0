//! Trees: found by path, and rewritten along the paths of some edits. What is beside a path is neither read nor written.

use std::collections::BTreeMap;

use git2::{ObjectType, Oid};

use super::objects::{Object, Objects};
use super::{Edit, GitError};
use crate::cores::in_pool;
use crate::names::shown;

/// The longest path and the deepest; far beyond what the service writes, and short enough for every file system.
const PATH_BYTES_MAX: usize = 1_024;
const PATH_PARTS_MAX: usize = 16;

/// What an entry of a tree says it is: a plain file or a directory. Others (links, submodules) are kept as they are and never read.
const MODE_FILE: &[u8] = b"100644";
const MODE_EXECUTABLE: &[u8] = b"100755";
const MODE_DIRECTORY: &[u8] = b"40000";

/// The bytes of an id.
pub(super) const ID_BYTES: usize = 20;

/// One entry of a tree, in the tree's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'t> {
    mode: &'t [u8],
    pub(super) name: &'t [u8],
    pub(super) id: Oid,
}

impl Entry<'_> {
    pub(super) fn is_directory(&self) -> bool {
        self.mode == MODE_DIRECTORY
    }

    pub(super) fn is_file(&self) -> bool {
        self.mode == MODE_FILE || self.mode == MODE_EXECUTABLE
    }

    /// Git sorts a directory as if its name ended in a slash.
    fn sort_key(&self) -> impl Iterator<Item = u8> {
        self.name.iter().copied().chain(self.is_directory().then_some(b'/'))
    }
}

/// The entries of a tree in its order.
pub(super) fn entries(tree: &[u8]) -> Result<Vec<Entry<'_>>, GitError> {
    let mut entries = Vec::new();
    let mut rest = tree;
    while !rest.is_empty() {
        let (entry, after) =
            split_entry(rest).ok_or(GitError::Corrupt { what: "a tree cannot be read", source: None })?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// One entry is `<mode> <name>\0<id>`.
fn split_entry(tree: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let space = tree.iter().take(8).position(|b| *b == b' ')?;
    let (mode, rest) = (&tree[..space], &tree[space + 1..]);
    let end = rest.iter().position(|b| *b == 0)?;
    let (name, rest) = (&rest[..end], &rest[end + 1..]);
    let (id, rest) = rest.split_at_checked(ID_BYTES)?;
    Some((Entry { mode, name, id: Oid::from_bytes(id).ok()? }, rest))
}

/// Finds the tree of a directory; nothing where there is none. The empty path is the root.
pub(super) fn find_directory(objects: &Objects<'_>, root: Oid, dir: &str) -> Result<Option<Oid>, GitError> {
    let mut id = root;
    for part in dir.split('/').filter(|part| !part.is_empty()) {
        let tree = objects.read(id, ObjectType::Tree)?;
        match entries(&tree)?.iter().find(|entry| entry.name == part.as_bytes()) {
            Some(entry) if entry.is_directory() => id = entry.id,
            _ => return Ok(None),
        }
    }
    Ok(Some(id))
}

/// Finds the blob of a file; nothing where there is none. A symbolic link is not followed: it is none.
pub(super) fn find_file(objects: &Objects<'_>, root: Oid, path: &str) -> Result<Option<Oid>, GitError> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some(id) = find_directory(objects, root, dir)? else { return Ok(None) };
    let tree = objects.read(id, ObjectType::Tree)?;
    Ok(entries(&tree)?.iter().find(|entry| entry.name == name.as_bytes() && entry.is_file()).map(|entry| entry.id))
}

/// Makes the root tree that some edits make of another one, with everything new below it.
pub(super) fn rewrite(
    objects: &Objects<'_>,
    root: Option<Oid>,
    edits: Vec<Edit>,
) -> Result<(Oid, Vec<(Oid, Object)>), GitError> {
    let mut writer = Writer { objects, new: Vec::new() };
    let id = match writer.directory(Directory::of(edits)?, root, "")? {
        Some(id) => id,
        None => writer.tree(Vec::new(), None)?,
    };
    // To deflate a file takes longer than all else about it: every core takes some, and none of what stays as it was.
    let files = writer.new.iter_mut().map(|(_, object)| object).filter(|object| object.kind == ObjectType::Blob);
    in_pool(files.collect(), Object::deflate).into_iter().collect::<Result<(), _>>()?;
    Ok((id, writer.new))
}

/// The edits below one directory.
#[derive(Default)]
struct Directory {
    /// Whether what was there goes first.
    replaced: bool,
    entries: BTreeMap<String, Change>,
}

enum Change {
    Put(Oid, Object),
    Remove,
    Below(Directory),
}

impl Directory {
    /// Sorts edits into directories. A later edit of the same place wins; a directory that is removed and then written to is replaced.
    fn of(edits: Vec<Edit>) -> Result<Self, GitError> {
        let mut root = Self::default();
        for Edit { path, content } in edits {
            let change = match content {
                Some(content) => {
                    let (id, object) = Object::make(ObjectType::Blob, content)?;
                    Change::Put(id, object)
                }
                None => Change::Remove,
            };
            let parts = parts(&path)?;
            let Some((name, dirs)) = parts.split_last() else { continue };
            let mut directory = &mut root;
            for dir in dirs {
                directory = directory.enter(dir).ok_or_else(|| GitError::InvalidPath(shown(&path)))?;
            }
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
            Change::Put(..) | Change::Remove => None,
        }
    }
}

/// Makes objects, and remembers those that are new.
struct Writer<'w> {
    objects: &'w Objects<'w>,
    new: Vec<(Oid, Object)>,
}

impl Writer<'_> {
    /// Makes a directory's new tree. Nothing where the directory ends empty, which Git cannot keep.
    fn directory(&mut self, directory: Directory, old: Option<Oid>, at: &str) -> Result<Option<Oid>, GitError> {
        let old = old.filter(|_| !directory.replaced);
        let tree = old.map(|id| self.objects.read(id, ObjectType::Tree)).transpose()?;
        let known = entries(tree.as_deref().unwrap_or_default())?;
        let mut made: Vec<(String, Oid, &[u8])> = Vec::new();
        let mut touched = std::collections::HashSet::new();
        for (name, change) in directory.entries {
            let before = known.iter().find(|entry| entry.name == name.as_bytes());
            match change {
                Change::Put(id, object) => {
                    self.add((id, object), before.map(|entry| entry.id));
                    made.push((name.clone(), id, MODE_FILE));
                }
                Change::Remove => {}
                Change::Below(below) => {
                    let path = format!("{at}{name}/");
                    if before.is_some_and(|entry| !entry.is_directory()) && !below.replaced {
                        return Err(GitError::InvalidPath(shown(&path)));
                    }
                    let tree = before.filter(|entry| entry.is_directory()).map(|entry| entry.id);
                    if let Some(id) = self.directory(below, tree, &path)? {
                        made.push((name.clone(), id, MODE_DIRECTORY));
                    }
                }
            }
            touched.insert(name.into_bytes());
        }
        let mut all: Vec<Entry<'_>> = known.into_iter().filter(|entry| !touched.contains(entry.name)).collect();
        all.extend(made.iter().map(|(name, id, mode)| Entry { mode, name: name.as_bytes(), id: *id }));
        if all.is_empty() {
            return Ok(None);
        }
        all.sort_by(|a, b| a.sort_key().cmp(b.sort_key()));
        self.tree(serialise(&all), old).map(Some)
    }

    fn tree(&mut self, bytes: Vec<u8>, before: Option<Oid>) -> Result<Oid, GitError> {
        let made = Object::make(ObjectType::Tree, bytes)?;
        let id = made.0;
        self.add(made, before);
        Ok(id)
    }

    /// Adds an object, unless it is what was there before. An older one is not looked for: to find out costs more than a copy does, which
    /// Git's repack drops again.
    fn add(&mut self, made: (Oid, Object), before: Option<Oid>) {
        if before != Some(made.0) {
            self.new.push(made);
        }
    }
}

fn serialise(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes =
        Vec::with_capacity(entries.iter().map(|entry| entry.mode.len() + entry.name.len() + ID_BYTES + 2).sum());
    for entry in entries {
        bytes.extend_from_slice(entry.mode);
        bytes.push(b' ');
        bytes.extend_from_slice(entry.name);
        bytes.push(0);
        bytes.extend_from_slice(entry.id.as_bytes());
    }
    bytes
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
