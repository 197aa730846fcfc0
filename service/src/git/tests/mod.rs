//! The repository against the real Git.

mod beside;
mod bundle;
mod draft;
mod history;
mod journal;
mod publish;
mod repository;
mod serve;
mod signing;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::command::{USUAL_PLACES, look_for};
use crate::names::{CommitId, ModelName, ReleaseId, ReleaseKey, Version};
use crate::release::{Action, Strategy};

/// A new repository in a directory of its own.
pub(super) struct Fixture {
    pub(super) directory: TempDir,
    pub(super) repository: Repository,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (repository, seeded) =
            Repository::open_or_seed(&directory.path().join("gitops.git"), &seed(), &author(), now(), None).unwrap();
        assert_eq!(seeded, Seeded::New);
        Self { directory, repository }
    }

    pub(super) fn open(&self) -> Result<(Repository, Seeded), GitError> {
        Repository::open_or_seed(self.repository.path(), &seed(), &author(), now(), None)
    }

    /// Commits and publishes a release of two files, whose text is `text`.
    pub(super) fn release(&self, key: &str, text: &str) -> CommitId {
        let base = self.repository.tip().unwrap();
        let mut draft = self.repository.draft(&base).unwrap();
        let commit = draft.commit(files(key, text), &message(key).to_text(), &author(), now()).unwrap().unwrap();
        assert_eq!(self.repository.push_now(&base, &commit).unwrap(), Publish::Done);
        commit
    }

    /// What Git says in the repository.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        text(git(self.repository.path(), arguments))
    }

    /// A commit on another commit, made by Git and not by the service.
    pub(super) fn foreign_commit(&self, on: &CommitId) -> CommitId {
        let tree = format!("{on}^{{tree}}");
        let commit = self.git(&["commit-tree", "-m", "By hand", "-p", on.as_str(), &tree]);
        CommitId::parse(commit.trim()).unwrap()
    }
}

impl Repository {
    /// Pushes to the embedded repository, which waits for nothing, and puts in place what was pushed.
    pub(crate) fn push_now(&self, base: &CommitId, tip: &CommitId) -> Result<Publish, GitError> {
        let published = self.push(base, tip).now_or_never().unwrap()?;
        self.put_in_place()?;
        Ok(published)
    }
}

pub(super) fn author() -> Author {
    Author { name: "Kmlflow".to_owned(), email: "kmlflow@localhost".to_owned() }
}

pub(super) fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

pub(super) fn files(key: &str, text: &str) -> Vec<Edit> {
    let directory = ReleaseKey::parse(key).unwrap().directory();
    ["release.yaml", "seldon.yaml"]
        .map(|name| put(&format!("{directory}/{name}"), &format!("# {name} of {key}\n{text}\n")))
        .into()
}

pub(super) fn put(path: &str, text: &str) -> Edit {
    Edit { path: path.to_owned(), content: Some(text.as_bytes().to_vec()) }
}

pub(super) fn remove(path: &str) -> Edit {
    Edit { path: path.to_owned(), content: None }
}

pub(super) fn message(key: &str) -> Message {
    Message {
        key: ReleaseKey::parse(key).unwrap(),
        subject_what: "version 7 takes 5 %".to_owned(),
        body: "Callers see version 7.\n\nAction: forged\n---\nRelease-Id: forged".to_owned(),
        release_id: ReleaseId::parse("release-1").unwrap(),
        delivery_id: None,
        requested_by: Asker::Somebody("ann\nAction: forged".to_owned()),
        strategy: Strategy::Canary,
        model: ModelName::parse("Fraud Detector").unwrap(),
        version: Version::parse("7").unwrap(),
        action: Action::Step,
    }
}

/// Git with an environment of its own. By its path: a name and a search path together have the whole process of the tests copied for each start.
#[expect(clippy::disallowed_methods, reason = "the tests hold the module against Git itself")]
pub(crate) fn git_at(home: &Path) -> Command {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| look_for("git", &USUAL_PLACES.into()).unwrap());
    let mut command = Command::new(&*PROGRAM);
    command.env_clear().env("PATH", USUAL_PLACES).env("HOME", home).env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

/// Runs Git.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = git_at(directory);
    command.env("LC_ALL", "C").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Ann").env(format!("GIT_{role}_EMAIL"), "ann@example.org");
    }
    command.args(arguments).current_dir(directory).output().unwrap()
}

/// What a Git that succeeded wrote.
pub(crate) fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
