//! Remotes behind real servers, which the tier `remotes` installs.

mod killed;
mod serve;
mod signed;
mod ssh;
mod stale;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use kmlflow::command::Git;
use kmlflow::git::remote::{Branch, Endpoint, Limits, Pushed, Remote, RemoteError, Settings, SshSettings};
use kmlflow::names::CommitId;
use tests::TestEnvironment;
use tests::environment::succeed;

/// A bare repository with one commit on `main`, and a clone in which more are made.
struct Repository<'a> {
    environment: &'a TestEnvironment,
    path: PathBuf,
    tip: CommitId,
}

impl<'a> Repository<'a> {
    fn new(environment: &'a TestEnvironment) -> Self {
        let path = environment.path("remote.git");
        succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&path));
        succeed(environment.command("git").args(["init", "-q", "--initial-branch=main", "work"]));
        let tip = CommitId::parse(&"0".repeat(40)).unwrap();
        let mut repository = Self { environment, path, tip };
        repository.tip = repository.commit("first");
        repository.work(&["push", "-q", "../remote.git", "main"]);
        repository
    }

    fn work(&self, arguments: &[&str]) -> String {
        let mut command = self.environment.command("git");
        command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]).args(arguments);
        succeed(command.current_dir(self.environment.path("work"))).trim().to_owned()
    }

    fn commit(&self, message: &str) -> CommitId {
        self.work(&["commit", "-q", "--allow-empty", "-m", message]);
        CommitId::parse(&self.work(&["rev-parse", "HEAD"])).unwrap()
    }

    /// A pack with what is new at the head.
    fn pack(&self) -> Vec<u8> {
        let mut command = self.environment.command("git");
        let list = self.environment.write("revisions", format!("HEAD\n^{}\n", self.tip));
        command.args(["pack-objects", "-q", "--revs", "--stdout"]).stdin(std::fs::File::open(list).unwrap());
        let output = command.current_dir(self.environment.path("work")).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    /// Where the remote's branch is.
    fn at(&self) -> CommitId {
        let mut command = self.environment.command("git");
        let at = succeed(command.args(["rev-parse", "refs/heads/main"]).current_dir(&self.path));
        CommitId::parse(at.trim()).unwrap()
    }

    /// An empty repository of ours to fetch into.
    fn ours(&self) -> PathBuf {
        let path = self.environment.path("ours.git");
        succeed(self.environment.command("git").args(["init", "-q", "--bare"]).arg(&path));
        path
    }
}

/// Runs to its end what is asynchronous.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}
