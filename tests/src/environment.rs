//! The surroundings of one test. Nothing of the caller's environment reaches the programs that run in it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::server::ServerBuilder;

/// A temporary directory, a home in it, and the programs under test; all gone when it is dropped.
pub struct TestEnvironment {
    root: TempDir,
}

impl Default for TestEnvironment {
    fn default() -> Self {
        Self::new()
    }
}

impl TestEnvironment {
    /// Makes an empty one.
    ///
    /// # Panics
    /// When the machine has no place for a temporary directory.
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Makes an empty one in a folder of one's choice: a disk, where the temporary directory may be memory.
    ///
    /// # Panics
    /// When the folder cannot take it.
    pub fn below(folder: &Path) -> Self {
        let builder = tempfile::Builder::new().prefix("kmlflow-test-").tempdir_in(folder);
        let root = builder.expect("a temporary directory");
        std::fs::create_dir(root.path().join("home")).expect("a home directory");
        Self { root }
    }

    /// A path in it.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The data directory of the service.
    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a path in the environment")).expect("a directory");
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// A program with nothing in its environment but `PATH`, a home of its own and a fixed language.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let search_path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new(found(program.as_ref(), &search_path));
        command
            .env_clear()
            .env("PATH", search_path)
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.root.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("NO_COLOR", "1")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .current_dir(self.root.path())
            .stdin(Stdio::null());
        command
    }

    /// The program under test with these arguments.
    pub fn kmlflow<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(program("kmlflow"));
        command.args(arguments);
        command
    }

    /// A service on this environment's data directory, not yet started.
    pub fn server(&self) -> ServerBuilder<'_> {
        ServerBuilder::new(self)
    }
}

/// Where a program is on a search path. One that is started by its name and gets a search path of its own is started by a copy of this process with all
/// of its memory (`fork`), which takes longer than most of what is run.
pub(crate) fn found(program: &OsStr, search_path: &OsStr) -> PathBuf {
    let name = Path::new(program);
    let is_a_name = name.components().count() == 1;
    let mut places = std::env::split_paths(search_path).filter(|_| is_a_name).map(|place| place.join(name));
    places.find(|file| file.is_file()).unwrap_or_else(|| name.to_owned())
}

/// Runs a command to its end and returns what it said, with text for people in the panic message when it failed.
///
/// # Panics
/// When it cannot be started or ends with another code than 0.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let run = run(command);
    assert_eq!(run.code, 0, "{command:?}\n--- stdout\n{}\n--- stderr\n{}", run.stdout, run.stderr);
    run.stdout
}

/// What a program said and how it ended.
#[derive(Debug)]
#[must_use = "assert how the program ended"]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
pub fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    told(&output)
}

/// Sends a signal (`-STOP`) to a process, or with a minus before its number to a group of them.
///
/// # Panics
/// When there is no such process, unless a test is failing already.
#[track_caller]
pub fn signal(signal: &str, target: &str) {
    let run = run(Command::new("kill").args([signal, "--", target]));
    assert!(run.code == 0 || std::thread::panicking(), "{signal} {target}: {run:?}");
}

fn told(output: &Output) -> Run {
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until a program that was started with a pipe says these words on its standard error, and lets it say more.
///
/// # Panics
/// When it ends before that.
#[track_caller]
pub fn wait_until_it_says(child: &mut Child, words: &str) {
    let mut lines = BufReader::new(child.stderr.take().expect("its output")).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let is_said = lines.by_ref().any(|line| {
        said.push(line);
        said.last().is_some_and(|line| line.contains(words))
    });
    assert!(is_said, "it ended: {said:?}");
    // What else it prints must go somewhere, or it stops when the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
}

/// A program of this workspace, beside the test that runs.
///
/// # Panics
/// When it was not built; the message says by which command it is.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let profile = test.ancestors().find(|path| path.join("deps").is_dir()).expect("a target directory");
    let path = profile.join(name);
    assert!(path.is_file(), "`{name}` is not built: run `cargo build --package {name}` first (`tests/run` does)");
    path
}

/// The top of the repository.
pub fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace around this package").to_owned()
}
