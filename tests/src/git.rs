//! What Git itself shows of the GitOps repository.

use std::path::{Path, PathBuf};

use crate::environment::{Run, TestEnvironment, run, succeed};

/// A clone with a work tree.
pub struct Checkout<'a> {
    environment: &'a TestEnvironment,
    directory: PathBuf,
}

/// One commit as `git log` tells it.
#[derive(Debug, Clone)]
pub struct Commit {
    pub id: String,
    pub author: String,
    pub subject: String,
    pub message: String,
    pub trailers: Vec<(String, String)>,
}

impl Commit {
    /// The value of a trailer; none when it is missing.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl<'a> Checkout<'a> {
    /// Clones from an address.
    ///
    /// # Panics
    /// When Git refuses.
    #[track_caller]
    pub fn of(environment: &'a TestEnvironment, url: &str) -> Self {
        let directory =
            tempfile::Builder::new().prefix("clone-").tempdir_in(environment.path("")).expect("a directory");
        let checkout = Self { environment, directory: directory.keep() };
        succeed(environment.command("git").args(["clone", "--quiet", url]).arg(&checkout.directory));
        checkout
    }

    /// Where the work tree is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs Git in it, with a name to commit under. Nothing is packed anew behind its back: `git fsck` would miss the packs that vanish while it looks.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> Run {
        let mut command = self.environment.command("git");
        command.args(["-c", "user.name=A person", "-c", "user.email=person@example.com", "-c", "protocol.version=2"]);
        command.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        run(command.args(arguments).current_dir(&self.directory))
    }

    /// Runs Git in it and returns what it said.
    ///
    /// # Panics
    /// When Git refuses.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> String {
        let said = self.git(arguments);
        assert_eq!(said.code, 0, "git {arguments:?}: {}{}", said.stdout, said.stderr);
        said.stdout
    }

    /// Fetches and checks out the newest state.
    #[track_caller]
    pub fn update(&self) {
        self.ask(&["fetch", "--quiet", "origin"]);
        self.ask(&["reset", "--quiet", "--hard", "origin/HEAD"]);
    }

    /// Pushes with a bearer token and returns how it went.
    #[track_caller]
    pub fn push(&self, token: &str, arguments: &[&str]) -> Run {
        let header = format!("http.extraHeader=Authorization: Bearer {token}");
        self.git(&[&["-c", header.as_str(), "push"], arguments].concat())
    }

    /// Commits all changes of the work tree.
    #[track_caller]
    pub fn commit(&self, message: &str) {
        self.ask(&["add", "--all"]);
        self.ask(&["commit", "--quiet", "--message", message]);
    }

    /// The commits that touch a path, newest first; all for an empty path.
    ///
    /// # Panics
    /// When Git's answer is not as asked for.
    #[track_caller]
    pub fn log(&self, path: &str) -> Vec<Commit> {
        const FORMAT: &str = "--format=%H%x1f%an <%ae>%x1f%s%x1f%B%x1f%(trailers:only,unfold)%x1e";
        let mut arguments = vec!["log", FORMAT];
        if !path.is_empty() {
            arguments.extend(["--", path]);
        }
        let text = self.ask(&arguments);
        text.split('\x1e').map(str::trim).filter(|record| !record.is_empty()).map(parse_commit).collect()
    }

    /// A file's text; none when it is not there.
    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.directory.join(path)).ok()
    }

    /// A file's text at a commit.
    #[track_caller]
    pub fn read_at(&self, commit: &str, path: &str) -> String {
        self.ask(&["show", &format!("{commit}:{path}")])
    }

    /// Writes a file of the work tree.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.directory.join(path);
        std::fs::create_dir_all(path.parent().expect("a path in the clone")).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }
}

#[track_caller]
fn parse_commit(record: &str) -> Commit {
    let fields: Vec<&str> = record.split('\x1f').collect();
    let [id, author, subject, message, trailers] = fields[..] else { panic!("not as asked for: {record:?}") };
    let trailers = trailers.lines().filter_map(|line| line.split_once(": "));
    let trailers = trailers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Commit { id: id.into(), author: author.into(), subject: subject.into(), message: message.into(), trailers }
}
