//! Objects by id: those in the repository, and those that were made and are not published yet, which lie in memory.
//!
//! A commit of the service is some eight objects. As loose files they cost eight files with a directory each, and a crash could leave
//! an empty file that a later commit takes for the object. In memory they cost a hash, and the pack that `publish` makes of them is
//! synced before it gets its name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use git2::{ObjectType, Odb, OdbLookupFlags, Oid};

use super::GitError;

/// An object that was made.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) kind: ObjectType,
    pub(super) data: Arc<[u8]>,
}

/// What was made and not yet published.
#[derive(Debug, Default)]
pub(super) struct Made {
    objects: HashMap<Oid, Object>,
    commits: HashMap<Oid, MadeCommit>,
}

#[derive(Debug)]
struct MadeCommit {
    parent: Oid,
    objects: Vec<Oid>,
}

impl Made {
    /// Takes in one commit with everything that is new in it.
    pub(super) fn add(&mut self, commit: Oid, parent: Oid, new: Vec<(Oid, Object)>) {
        let objects = new.iter().map(|(id, _)| *id).collect();
        self.objects.extend(new);
        self.commits.insert(commit, MadeCommit { parent, objects });
    }

    /// How many commits are kept.
    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Every object of a commit and of those before it that are not published, each once.
    pub(super) fn line_to(&self, tip: Oid) -> Vec<(Oid, Object)> {
        let (mut seen, mut line, mut at) = (HashSet::new(), Vec::new(), tip);
        while let Some(commit) = self.commits.get(&at) {
            let new = commit.objects.iter().filter(|id| seen.insert(**id));
            line.extend(new.filter_map(|id| Some((*id, self.objects.get(id)?.clone()))));
            at = commit.parent;
        }
        line
    }
}

/// Reads objects, wherever they are.
pub(super) struct Objects<'o> {
    odb: Odb<'o>,
    made: &'o Made,
}

impl<'o> Objects<'o> {
    pub(super) fn new(odb: Odb<'o>, made: &'o Made) -> Self {
        Self { odb, made }
    }

    /// The bytes of an object that must be there and of this kind.
    pub(super) fn read(&self, id: Oid, kind: ObjectType) -> Result<Arc<[u8]>, GitError> {
        if let Some(object) = self.made.objects.get(&id).filter(|object| object.kind == kind) {
            return Ok(Arc::clone(&object.data));
        }
        let object = self.odb.read(id)?;
        if object.kind() == kind {
            Ok(object.data().into())
        } else {
            Err(GitError::Corrupt { what: "an object is of another kind than it should be", source: None })
        }
    }

    /// The size of an object in bytes, without reading it.
    pub(super) fn size(&self, id: Oid) -> Result<usize, GitError> {
        match self.made.objects.get(&id) {
            Some(object) => Ok(object.data.len()),
            None => Ok(self.odb.read_header(id)?.0),
        }
    }

    /// Whether the repository has an object, as far as can be told without looking for new packs: a wrong no costs a copy.
    pub(super) fn is_stored(&self, id: Oid) -> bool {
        self.odb.exists_ext(id, OdbLookupFlags::NO_REFRESH)
    }

    /// The tree of a commit; nothing where there is no such commit.
    pub(super) fn tree_of_commit(&self, commit: Oid) -> Result<Option<Oid>, GitError> {
        let data = match self.read(commit, ObjectType::Commit) {
            Err(_) if !self.made.objects.contains_key(&commit) && !self.odb.exists(commit) => return Ok(None),
            data => data?,
        };
        let id =
            data.strip_prefix(b"tree ").and_then(|rest| rest.get(..40)).and_then(|hex| std::str::from_utf8(hex).ok());
        match id.map(Oid::from_str) {
            Some(Ok(id)) => Ok(Some(id)),
            _ => Err(GitError::Corrupt { what: "a commit cannot be read", source: None }),
        }
    }
}
