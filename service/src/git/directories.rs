//! Many directories of one commit, each with one of its files.
//!
//! A directory that many lie in is read once: one by one, each would cost as much as there are beside it.

use std::collections::HashMap;

use git2::{ObjectType, Oid};

use super::objects::Objects;
use super::repository::{FILE_BYTES_MAX, root_of, tree_id};
use super::{GitError, Repository, tree};
use crate::names::{CommitId, TreeId};

impl Repository {
    /// Reads the same file of some directories of a commit, in their order; nothing for a directory that is not there.
    ///
    /// What a file says, or that it is not there or too large, is handed over at once, so that many large ones are never held together;
    /// `take` also hears which of the directories it is.
    pub fn read_each<T>(
        &self,
        at: &CommitId,
        directories: &[String],
        file: &str,
        mut take: impl FnMut(usize, TreeId, Result<Option<Vec<u8>>, GitError>) -> Result<T, GitError>,
    ) -> Result<Vec<Option<T>>, GitError> {
        self.objects(|objects| {
            let root = root_of(objects, at)?;
            let mut parents: HashMap<&str, HashMap<Vec<u8>, Oid>> = HashMap::new();
            let mut found = Vec::with_capacity(directories.len());
            for (position, directory) in directories.iter().enumerate() {
                let (parent, name) = directory.rsplit_once('/').unwrap_or(("", directory));
                if !parents.contains_key(parent) {
                    parents.insert(parent, below(objects, root, parent)?);
                }
                let id = parents.get(parent).and_then(|names| names.get(name.as_bytes()));
                found.push(match id {
                    Some(id) => Some(take(position, tree_id(*id)?, read(objects, *id, directory, file)?)?),
                    None => None,
                });
            }
            Ok(found)
        })
    }
}

/// The directories below one, by name.
fn below(objects: &Objects<'_>, root: Oid, directory: &str) -> Result<HashMap<Vec<u8>, Oid>, GitError> {
    let Some(id) = tree::find_directory(objects, root, directory)? else { return Ok(HashMap::new()) };
    let tree = objects.read(id, ObjectType::Tree)?;
    let directories = tree::entries(&tree)?.into_iter().filter(tree::Entry::is_directory);
    Ok(directories.map(|entry| (entry.name.to_vec(), entry.id)).collect())
}

/// Reads a file of a directory; the inner error is a matter of that file alone.
fn read(
    objects: &Objects<'_>,
    directory: Oid,
    path: &str,
    file: &str,
) -> Result<Result<Option<Vec<u8>>, GitError>, GitError> {
    let tree = objects.read(directory, ObjectType::Tree)?;
    let entries = tree::entries(&tree)?;
    let Some(entry) = entries.iter().find(|entry| entry.name == file.as_bytes() && entry.is_file()) else {
        return Ok(Ok(None));
    };
    if objects.size(entry.id)? > FILE_BYTES_MAX {
        return Ok(Err(GitError::TooLarge { path: format!("{path}/{file}"), max: FILE_BYTES_MAX }));
    }
    Ok(Ok(Some(objects.read(entry.id, ObjectType::Blob)?.to_vec())))
}
