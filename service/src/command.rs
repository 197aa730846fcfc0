//! The only file that starts programs: Git and `ssh`, found once and started with an environment of their own.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// The oldest Git that will do: 2.34 is the first with `--http-backend-info-refs` and with all of `repack --geometric`, and the one
/// of the oldest Ubuntu with support.
const GIT_MINIMUM: (u32, u32) = (2, 34);
const GIT_MINIMUM_TEXT: &str = "2.34";

/// Where Git is looked for without a search path.
pub(crate) const USUAL_PLACES: &str = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin:/run/current-system/sw/bin";

/// Telling its version takes Git a millisecond; a machine under load may need more.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// How long a program has to clean up (Git removes its lock files) between being asked to end and being killed.
const GRACE: Duration = Duration::from_secs(5);

/// How much of what a program says on standard error is kept for the log, in bytes.
const STDERR_BYTES_MAX: usize = 4 << 10;

/// A Git that was found and is new enough.
#[derive(Debug, Clone)]
pub struct Git {
    program: PathBuf,
    search_path: OsString,
}

/// The `ssh` of the machine.
#[derive(Debug, Clone)]
pub struct Ssh {
    program: PathBuf,
    search_path: OsString,
}

/// One call of Git.
#[derive(Debug, Clone)]
pub struct Call<'c> {
    /// What it is called in errors and logs.
    pub what: &'static str,
    /// The repository; it is the working directory and the home, and named `.` in the arguments.
    pub repository: &'c Path,
    pub arguments: &'c [&'c str],
    /// Settings that no file can change.
    pub settings: &'c [(&'c str, &'c str)],
    /// The version of the protocol that the client speaks.
    pub protocol: Option<&'c str>,
}

/// Why a program could not do its work. The text is for callers; what the program said is for the log.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no Git on the search path.
    #[error("Git was not found; install Git {GIT_MINIMUM_TEXT} or newer, or put it on the PATH")]
    Missing,
    /// The Git on the search path is too old, or tells no version.
    #[error("Git {found} is too old; install Git {GIT_MINIMUM_TEXT} or newer")]
    TooOld { found: String },
    /// There is no `ssh` on the search path.
    #[error("`ssh` was not found; install OpenSSH's client, or put it on the PATH")]
    SshMissing,
    /// It could not be started, or its pipes broke.
    #[error("`git {what}` could not be run")]
    Start { what: &'static str, source: io::Error },
    /// It ended with an error.
    #[error("`git {what}` failed; the log says why")]
    Failed { what: &'static str, stderr: String },
    /// It took too long and was ended.
    #[error("`git {what}` did not end in time")]
    TimedOut { what: &'static str },
    /// It wrote more than it may.
    #[error("`git {what}` answered more than expected")]
    TooLong { what: &'static str },
}

impl Git {
    /// Finds Git on a search path (the `PATH` that the configuration read; the usual places where there is none) and checks its version.
    pub async fn find(search_path: Option<&str>) -> Result<Self, CommandError> {
        let search_path = search_path.filter(|path| !path.is_empty()).unwrap_or(USUAL_PLACES);
        let search_path = OsString::from(search_path);
        let program = look_for("git", &search_path).ok_or(CommandError::Missing)?;
        let git = Self { program, search_path };
        let call = Call {
            what: "version",
            repository: Path::new("/"),
            arguments: &["version"],
            settings: &[],
            protocol: None,
        };
        let text = git.run(&call, VERSION_LIMIT, 1 << 10).await?;
        let text = String::from_utf8_lossy(&text);
        if parse_version(&text).is_some_and(|version| version >= GIT_MINIMUM) {
            Ok(git)
        } else {
            Err(CommandError::TooOld { found: crate::names::shown(text.trim().trim_start_matches("git version ")) })
        }
    }

    /// Runs Git to its end and returns what it wrote, at most so many bytes. Its input is empty.
    pub async fn run(&self, call: &Call<'_>, limit: Duration, bytes_max: u64) -> Result<Vec<u8>, CommandError> {
        let what = call.what;
        let mut command = self.command(call);
        let child = command.stdin(Stdio::null()).spawn().map_err(|source| CommandError::Start { what, source })?;
        let mut running = Running { child, what };
        let stdout = read_pipe(running.child.stdout.take(), bytes_max.saturating_add(1));
        let stderr = read_stderr(running.child.stderr.take());
        let outcome = tokio::time::timeout(limit, async {
            let (stdout, stderr) = tokio::join!(stdout, stderr);
            // What is over the bound is not read: then there is nothing to wait for.
            let too_long = stdout.len() as u64 > bytes_max;
            let status = if too_long { None } else { Some(running.child.wait().await) };
            (stdout, stderr, status)
        });
        match outcome.await {
            Ok((stdout, _, Some(Ok(status)))) if status.success() => Ok(stdout),
            Ok((_, stderr, Some(Ok(_)))) => {
                Err(CommandError::Failed { what, stderr: String::from_utf8_lossy(&stderr).into_owned() })
            }
            Ok((_, _, Some(Err(source)))) => Err(CommandError::Start { what, source }),
            Ok((_, _, None)) => {
                running.terminate().await;
                Err(CommandError::TooLong { what })
            }
            Err(_) => {
                running.terminate().await;
                Err(CommandError::TimedOut { what })
            }
        }
    }

    /// Starts Git with pipes on both sides.
    pub fn start(&self, call: &Call<'_>) -> Result<(Running, ChildStdin, ChildStdout), CommandError> {
        start(self.command(call), call.what)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the file that starts programs")]
    fn command(&self, call: &Call<'_>) -> Command {
        let mut command = Command::new(&self.program);
        isolate(&mut command, &self.search_path, call.repository);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        // Git refuses a repository of another user unless told so outside of it; whose it is was decided by who set the data directory.
        let settings = [("safe.directory", "*")].iter().chain(call.settings);
        let mut count = 0;
        for (key, value) in settings {
            command.env(format!("GIT_CONFIG_KEY_{count}"), key).env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
        if let Some(protocol) = call.protocol {
            command.env("GIT_PROTOCOL", protocol);
        }
        command.args(call.arguments);
        command
    }
}

impl Ssh {
    /// Finds `ssh` where Git was looked for.
    pub fn find(git: &Git) -> Result<Self, CommandError> {
        let program = look_for("ssh", &git.search_path).ok_or(CommandError::SshMissing)?;
        Ok(Self { program, search_path: git.search_path.clone() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.program
    }

    /// Starts it in a directory, which is its home as well, with pipes on both sides.
    #[expect(clippy::disallowed_methods, reason = "this is the file that starts programs")]
    pub fn start(
        &self,
        directory: &Path,
        arguments: &[String],
    ) -> Result<(Running, ChildStdin, ChildStdout), CommandError> {
        let mut command = Command::new(&self.program);
        isolate(&mut command, &self.search_path, directory);
        command.args(arguments);
        start(command, "push over ssh")
    }
}

/// The first absolute place of a search path that has a program.
pub(crate) fn look_for(program: &str, search_path: &OsString) -> Option<PathBuf> {
    let places = std::env::split_paths(search_path).filter(|place| place.is_absolute());
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// Gives a program nothing of ours but a search path, and a process group of its own: its children end with it, and Ctrl-C reaches the
/// service first.
fn isolate(command: &mut Command, search_path: &OsString, home: &Path) {
    command.env_clear().env("PATH", search_path).env("HOME", home).env("LC_ALL", "C").current_dir(home);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
}

fn start(mut command: Command, what: &'static str) -> Result<(Running, ChildStdin, ChildStdout), CommandError> {
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(|source| CommandError::Start { what, source })?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => Ok((Running { child, what }, stdin, stdout)),
        _ => Err(CommandError::Start { what, source: io::ErrorKind::BrokenPipe.into() }),
    }
}

/// A program that runs. Dropping it kills it; [`Running::finish`] is kinder.
#[derive(Debug)]
pub struct Running {
    child: Child,
    what: &'static str,
}

impl Running {
    /// Waits for its end. Where the limit passes or `stop` resolves first, it is asked to end, and killed if it does not.
    pub async fn finish(mut self, limit: Duration, stop: impl Future<Output = ()>) -> Result<(), CommandError> {
        let what = self.what;
        let stderr = tokio::spawn(read_stderr(self.child.stderr.take()));
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = tokio::time::sleep(limit) => {
                self.terminate().await;
                return Err(CommandError::TimedOut { what });
            }
            () = stop => {
                self.terminate().await;
                return Ok(());
            }
        };
        let status: ExitStatus = status.map_err(|source| CommandError::Start { what, source })?;
        if status.success() {
            return Ok(());
        }
        let stderr = stderr.await.unwrap_or_default();
        Err(CommandError::Failed { what, stderr: String::from_utf8_lossy(&stderr).into_owned() })
    }

    /// Asks the program and its children to end, so that Git removes its lock files; kills it after the grace.
    async fn terminate(&mut self) {
        let group = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            // An error means that it has ended by itself.
            let _ended = kill_process_group(group, Signal::TERM);
        }
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err()
            && let Some(group) = group
        {
            let _ended = kill_process_group(group, Signal::KILL);
            let _status = self.child.wait().await;
        }
    }
}

impl Drop for Running {
    /// What the program started itself must not go on alone.
    fn drop(&mut self) {
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ended = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads a pipe up to a bound. A broken pipe ends the text: what was read stands.
async fn read_pipe<P: AsyncRead + Unpin>(pipe: Option<P>, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _read = pipe.take(bytes_max).read_to_end(&mut bytes).await;
    }
    bytes
}

/// Reads standard error and keeps its end, which has the reason; what is over the bound goes by, so that a talkative program does not
/// end by it.
async fn read_stderr(pipe: Option<ChildStderr>) -> Vec<u8> {
    let Some(mut pipe) = pipe else { return Vec::new() };
    let (mut kept, mut piece) = (Vec::new(), [0; STDERR_BYTES_MAX]);
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        kept.extend_from_slice(&piece[..length]);
        kept.drain(..kept.len().saturating_sub(STDERR_BYTES_MAX));
    }
    kept
}

/// The first two numbers of `git version 2.39.5 (words)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_every_vendors_text() {
        for (text, version) in [
            ("git version 2.39.5\n", Some((2, 39))),
            ("git version 2.39.3 (Apple Git-146)", Some((2, 39))),
            ("git version 2.45.1.windows.1", Some((2, 45))),
            ("git version 3.0-rc1", Some((3, 0))),
            ("not git", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }

    #[tokio::test]
    async fn a_missing_git_is_told_with_its_cure() {
        let error = Git::find(Some("/nowhere")).await.unwrap_err().to_string();
        assert!(error.contains("install Git 2.34"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_ended() {
        let git = Git::find(None).await.unwrap();
        let arguments = ["-c", "alias.wait=!sleep 600", "wait"];
        let call =
            Call { what: "wait", repository: Path::new("/"), arguments: &arguments, settings: &[], protocol: None };
        let error = git.run(&call, Duration::from_millis(50), 10).await.unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn an_answer_over_its_bound_is_refused() {
        let git = Git::find(None).await.unwrap();
        let call = Call {
            what: "help",
            repository: Path::new("/"),
            arguments: &["help", "-a"],
            settings: &[],
            protocol: None,
        };
        let error = git.run(&call, VERSION_LIMIT, 10).await.unwrap_err();
        assert!(matches!(error, CommandError::TooLong { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn the_end_of_what_a_program_says_is_kept() {
        let git = Git::find(None).await.unwrap();
        let arguments = ["-c", "alias.talk=!printf '%09000d' 0 >&2; echo the end >&2; false", "talk"];
        let call =
            Call { what: "talk", repository: Path::new("/"), arguments: &arguments, settings: &[], protocol: None };
        let error = git.run(&call, VERSION_LIMIT, 10).await.unwrap_err();
        let CommandError::Failed { stderr, .. } = error else { panic!("{error:?}") };
        assert!(stderr.starts_with("000") && stderr.ends_with("the end\n"), "{stderr}");
        assert_eq!(stderr.len(), STDERR_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_program_that_nobody_waits_for_ends_with_its_children() {
        let git = Git::find(None).await.unwrap();
        let arguments = ["-c", "alias.wait=!tail -f /dev/null & echo $!; wait", "wait"];
        let call =
            Call { what: "wait", repository: Path::new("/"), arguments: &arguments, settings: &[], protocol: None };
        let (running, _stdin, mut stdout) = git.start(&call).unwrap();
        let mut child = [0; 16];
        let length = stdout.read(&mut child).await.unwrap();
        let child = std::str::from_utf8(&child[..length]).unwrap().trim();
        // A process that has ended has no program any more, whether or not somebody has taken note of it.
        let program = Path::new("/proc").join(child).join("exe");
        drop(running);
        let ended = async {
            while program.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(VERSION_LIMIT, ended).await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_ssh_is_told_with_its_cure() {
        let git = Git { search_path: "/nowhere".into(), ..Git::find(None).await.unwrap() };
        let error = Ssh::find(&git).unwrap_err().to_string();
        assert!(error.contains("install OpenSSH's client"), "{error}");
    }
}
