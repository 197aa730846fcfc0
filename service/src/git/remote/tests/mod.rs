//! Remotes against Git itself.

mod fetch;
mod http;
mod local;
mod site;
mod tls;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::git::tests::{git, text};

/// A bare repository that is the remote, and a clone beside it in which commits are made.
pub(super) struct Bench {
    pub(super) directory: TempDir,
    pub(super) tip: CommitId,
}

impl Bench {
    /// A remote with one commit on `main`.
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| text(git(directory.path(), arguments));
        run(&["init", "-q", "--bare", "--initial-branch=main", "remote.git"]);
        run(&["init", "-q", "--initial-branch=main", "work"]);
        fs::create_dir(directory.path().join("home")).unwrap();
        let mut bench = Self { tip: CommitId::parse(&"0".repeat(40)).unwrap(), directory };
        bench.work(&["remote", "add", "origin", "../remote.git"]);
        bench.tip = bench.commit("first");
        bench.work(&["push", "-q", "origin", "main"]);
        bench
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("remote.git")
    }

    /// What Git says in the clone.
    pub(super) fn work(&self, arguments: &[&str]) -> String {
        text(git(&self.directory.path().join("work"), arguments)).trim().to_owned()
    }

    /// What Git says in the remote.
    pub(super) fn remote_git(&self, arguments: &[&str]) -> String {
        text(git(&self.path(), arguments)).trim().to_owned()
    }

    /// A new commit on what is checked out, not pushed.
    pub(super) fn commit(&self, name: &str) -> CommitId {
        fs::write(self.directory.path().join("work").join(name), name).unwrap();
        self.work(&["add", "."]);
        self.work(&["commit", "-q", "-m", name]);
        id(&self.work(&["rev-parse", "HEAD"]))
    }

    /// A pack with what a commit has beyond the first.
    pub(super) fn pack(&self, new: &CommitId) -> Vec<u8> {
        let list = self.work(&["rev-list", "--objects", new.as_str(), &format!("^{}", self.tip)]);
        let ids: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
        let file = self.directory.path().join("ids");
        fs::write(&file, ids.join("\n") + "\n").unwrap();
        let command = format!("pack=!git pack-objects -q --stdout <'{}'", file.display());
        let output = git(&self.directory.path().join("work"), &["-c", &format!("alias.{command}"), "pack"]);
        assert!(output.status.success());
        output.stdout
    }

    /// Where the remote's branch is.
    pub(super) fn at(&self) -> CommitId {
        id(&self.remote_git(&["rev-parse", "refs/heads/main"]))
    }

    /// Makes a hook of the remote.
    pub(super) fn hook(&self, name: &str, script: &str) {
        let path = self.path().join("hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn settings(&self, address: &str) -> Settings {
        Settings {
            endpoint: Endpoint::parse(address).unwrap(),
            branch: Branch::parse("main").unwrap(),
            credentials: None,
            renewal: None,
            ca_file: None,
            allow_plain_http: false,
            ssh: None,
            push_options: Vec::new(),
            directory: self.directory.path().join("home"),
            limits: Limits::default(),
        }
    }

    /// The remote by its path.
    pub(super) async fn local(&self) -> Remote {
        remote(self.settings(self.path().to_str().unwrap())).await
    }
}

pub(super) async fn remote(settings: Settings) -> Remote {
    Remote::new(settings, Git::find(None).await.unwrap()).unwrap()
}

pub(super) fn id(text: &str) -> CommitId {
    CommitId::parse(text.trim()).unwrap()
}

/// An empty bare repository of ours to fetch into.
pub(super) fn ours(directory: &Path) -> PathBuf {
    text(git(directory, &["init", "-q", "--bare", "ours.git"]));
    directory.join("ours.git")
}
