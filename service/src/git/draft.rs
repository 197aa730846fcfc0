//! Commits that are made but not yet published: they lie in memory, and no branch names them.

use git2::{ObjectType, Oid};
use jiff::Timestamp;

use super::objects::{Object, Objects};
use super::repository::{commit_id, oid, root_of};
use super::{Author, GitError, Repository, SigningKey, tree};
use crate::names::CommitId;

/// One file that shall be different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Path in the repository, with `/`.
    pub path: String,
    /// The new content; nothing removes the file, or a directory with all below it.
    pub content: Option<Vec<u8>>,
}

/// A row of commits on a base, which nobody sees until it is published.
#[derive(Debug)]
pub struct Draft<'r> {
    repository: &'r Repository,
    /// The base and the commits after it.
    line: Vec<CommitId>,
    tip: CommitId,
}

impl<'r> Draft<'r> {
    pub(super) fn on(repository: &'r Repository, base: CommitId) -> Self {
        Self { repository, line: vec![base.clone()], tip: base }
    }
}

impl Draft<'_> {
    /// Commits some edits on the tip of the draft. Makes no commit, and answers nothing, where the tree stays the same.
    ///
    /// Edits count in order: a directory that is removed and then written to is replaced.
    pub fn commit(
        &mut self,
        edits: Vec<Edit>,
        message: &str,
        author: &Author,
        at: Timestamp,
    ) -> Result<Option<CommitId>, GitError> {
        let statement = Statement { author, at, message, key: self.repository.signing_key() };
        let made = self.repository.objects(|objects| make(objects, &self.tip, edits, &statement))?;
        made.map(|new| self.add(new)).transpose()
    }

    /// Goes on with the files of another commit, both histories joined: what the draft had otherwise than that one is gone.
    pub fn join(
        &mut self,
        other: &CommitId,
        message: &str,
        author: &Author,
        at: Timestamp,
    ) -> Result<CommitId, GitError> {
        let statement = Statement { author, at, message, key: self.repository.signing_key() };
        let tree = self.repository.objects(|objects| root_of(objects, other))?;
        let commit = statement.commit(tree, &[&self.tip, other])?;
        self.add((commit.0, vec![commit]))
    }

    fn add(&mut self, (commit, new): New) -> Result<CommitId, GitError> {
        let made = commit_id(commit)?;
        self.repository.made().add(commit, oid(&self.tip)?, new)?;
        self.line.push(made.clone());
        self.tip = made.clone();
        Ok(made)
    }

    /// The last commit of the draft, the base where there is none yet.
    pub fn tip(&self) -> &CommitId {
        &self.tip
    }

    /// Reads a file as the draft has it.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        self.repository.read(&self.tip, path)
    }

    /// Drops the commits after this one, which is the base or one that the draft made.
    pub fn reset_to(&mut self, commit: &CommitId) -> Result<(), GitError> {
        let at =
            self.line.iter().position(|made| made == commit).ok_or_else(|| GitError::UnknownCommit(commit.clone()))?;
        self.line.truncate(at + 1);
        self.tip = commit.clone();
        Ok(())
    }
}

/// A commit with everything that is new in it.
type New = (Oid, Vec<(Oid, Object)>);

/// Who says what with a commit, and when.
pub(super) struct Statement<'a> {
    pub(super) author: &'a Author,
    pub(super) at: Timestamp,
    pub(super) message: &'a str,
    /// Signs the commit.
    pub(super) key: Option<&'a SigningKey>,
}

impl Statement<'_> {
    /// Makes the commit, and signs it once.
    fn commit(&self, tree: Oid, parents: &[&CommitId]) -> Result<(Oid, Object), GitError> {
        let who = self.author.line(self.at)?;
        let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
        let headers = format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n");
        let message = message_lines(self.message);
        let signature = match self.key {
            Some(key) => key.header(format!("{headers}\n{message}").as_bytes())?,
            None => String::new(),
        };
        Object::make(ObjectType::Commit, format!("{headers}{signature}\n{message}").into_bytes())
    }
}

/// Makes the objects of a commit; nothing where the tree stays the same.
fn make(
    objects: &Objects<'_>,
    parent: &CommitId,
    edits: Vec<Edit>,
    statement: &Statement<'_>,
) -> Result<Option<New>, GitError> {
    let old = root_of(objects, parent)?;
    let (tree, mut new) = tree::rewrite(objects, Some(old), edits)?;
    if tree == old {
        return Ok(None);
    }
    let commit = statement.commit(tree, &[parent])?;
    let id = commit.0;
    new.push(commit);
    Ok(Some((id, new)))
}

/// The first commit of a repository.
pub(super) fn make_first(objects: &Objects<'_>, edits: Vec<Edit>, statement: &Statement<'_>) -> Result<New, GitError> {
    let (tree, mut new) = tree::rewrite(objects, None, edits)?;
    let commit = statement.commit(tree, &[])?;
    let id = commit.0;
    new.push(commit);
    Ok((id, new))
}

/// A message as Git wants it: no NUL, one line break at the end.
fn message_lines(message: &str) -> String {
    format!("{}\n", message.replace('\0', "").trim_end())
}
