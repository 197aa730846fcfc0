//! The only file that starts programs: `kubectl`, `minikube`, `docker`, and what opens a page.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::fault::{Fault, Kind};

/// How much of an answer is read, in bytes: every Application of a large cluster is a few megabytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How much of what a program says about an error is kept, in bytes.
const STDERR_BYTES_MAX: usize = 16 << 10;

/// How often a program that was told to end is looked at.
const MOMENT: Duration = Duration::from_millis(10);

/// How long a program that was told to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long what a program has written is still read after its end, where something that it started holds its pipes.
const REST: Duration = Duration::from_secs(2);

/// The programs that run: the group of each, and its call.
static RUNNING: Mutex<Vec<(Pid, String)>> = Mutex::new(Vec::new());

/// What is heard of a program.
enum Event {
    Line(String),
    Ended(io::Result<ExitStatus>),
}

/// One call of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    pub program: String,
    pub arguments: Vec<String>,
    /// What it reads. Without it, it reads nothing: a program that asks for confirmation gets no answer and ends.
    pub input: Option<String>,
    pub limit: Duration,
}

/// How a call ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Call {
    pub fn new<S: Into<String>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.to_owned(), arguments, input: None, limit: Duration::from_secs(60) }
    }

    #[must_use]
    pub fn with_input(self, input: String) -> Self {
        Self { input: Some(input), ..self }
    }

    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The call as a person would type it.
    pub fn line(&self) -> String {
        let quoted = |word: &String| match word.chars().all(|c| c.is_alphanumeric() || "-_./=:,@%+".contains(c))
            && !word.is_empty()
        {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        };
        let words = std::iter::once(self.program.clone()).chain(self.arguments.iter().map(quoted));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Answer, Fault> {
        self.run_and_tell(&mut |_| {})
    }

    /// Runs it to its end; each line that it writes is told as it comes.
    pub fn run_and_tell(&self, tell: &mut dyn FnMut(&str)) -> Result<Answer, Fault> {
        let (mut child, group) = self.start().map_err(|error| self.not_started(&error))?;
        let (sender, events) = mpsc::sync_channel(64);
        let errors = Arc::new(Mutex::new(Vec::new()));
        // Each thread ends with the program, or with this one where somebody else holds the pipe that it reads.
        let (stdin, input) = (child.stdin.take(), self.input.clone());
        thread::spawn(move || feed(stdin, input));
        let (stderr, kept, open) = (child.stderr.take(), Arc::clone(&errors), sender.clone());
        thread::spawn(move || {
            keep_last(stderr, &kept);
            drop(open);
        });
        let (stdout, lines) = (child.stdout.take(), sender.clone());
        thread::spawn(move || read_lines(stdout, &lines));
        thread::spawn(move || {
            let status = child.wait();
            running().retain(|(other, _)| *other != group);
            let _too_late = sender.send(Event::Ended(status));
        });
        let mut deadline = Instant::now() + self.limit;
        let mut ended = None;
        let mut text = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Asked so that one who never stops writing does not go on for ever.
            let event = if left.is_zero() { Err(RecvTimeoutError::Timeout) } else { events.recv_timeout(left) };
            match event {
                Ok(Event::Line(line)) => {
                    tell(&line);
                    text.push_str(&line);
                    text.push('\n');
                }
                Ok(Event::Ended(status)) => {
                    ended = Some(status.map_err(|error| self.not_started(&error))?);
                    deadline = deadline.min(Instant::now() + REST);
                }
                Err(RecvTimeoutError::Timeout) if ended.is_none() => return Err(self.too_slow(group)),
                Err(_) => break,
            }
        }
        if text.len() as u64 >= ANSWER_BYTES_MAX {
            let what = format!("the answer of `{}` is longer than {} MiB", self.line(), ANSWER_BYTES_MAX >> 20);
            return Err(Fault::new(what, "take away what there is so much of, or use a smaller cluster"));
        }
        let stderr = String::from_utf8_lossy(&locked(&errors)).into_owned();
        Ok(Answer { code: ended.and_then(|status| status.code()), stdout: text, stderr })
    }

    /// Starts it in a group of its own, by which it is ended with all that it starts.
    #[expect(clippy::disallowed_methods, reason = "this is the file that starts programs")]
    fn start(&self) -> io::Result<(Child, Pid)> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut running = running();
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        running.push((group, self.line()));
        Ok((child, group))
    }

    fn too_slow(&self, group: Pid) -> Fault {
        // Where a signal ends everything, that is what is told.
        drop(running());
        end(&[group]);
        let what = format!("`{}` did not end within {} s and was ended", self.line(), self.limit.as_secs());
        Fault::new(what, "run it by hand to see what it waits for, then run this again: what is done is not done twice")
            .of(Kind::Deadline)
    }

    fn not_started(&self, error: &io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::NotFound => {
                Fault::new(format!("`{}` is not installed", self.program), how_to_install(&self.program))
                    .of(Kind::NotFound)
            }
            _ => Fault::new(format!("`{}` could not be run: {error}", self.program), "check that it can be executed"),
        }
    }
}

impl Answer {
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// The last line that says something, which is where these programs put the reason.
    pub fn reason(&self) -> String {
        let last =
            |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned());
        let told = last(&self.stderr).or_else(|| last(&self.stdout));
        told.unwrap_or_else(|| format!("exit code {}", self.code.map_or("unknown".to_owned(), |code| code.to_string())))
    }
}

/// Where a program is to be had.
pub fn how_to_install(program: &str) -> String {
    match program {
        "kubectl" => "install it (https://kubernetes.io/docs/tasks/tools/) and see that it is on the PATH".to_owned(),
        "minikube" => {
            "install it (https://minikube.sigs.k8s.io/docs/start/), or use a cluster that is there: `--cluster existing --context NAME`".to_owned()
        }
        "docker" => "install Docker Engine (https://docs.docker.com/engine/install/) and start it".to_owned(),
        other => format!("install `{other}` and see that it is on the PATH"),
    }
}

/// Ends every program that runs; returns their calls. From then on none is started, and nobody hears of the end of one: this program ends too.
pub fn end_all() -> Vec<String> {
    let running = running();
    let groups: Vec<Pid> = running.iter().map(|(group, _)| *group).collect();
    end(&groups);
    let calls = running.iter().map(|(_, line)| line.clone()).collect();
    std::mem::forget(running);
    calls
}

/// Asks groups to end, and kills what is left of them after the grace. An error means that one has ended by itself.
fn end(groups: &[Pid]) {
    for group in groups {
        let _ended = kill_process_group(*group, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    let is_there = |group: &&Pid| test_kill_process_group(**group).is_ok();
    while groups.iter().any(|group| is_there(&group)) && Instant::now() < deadline {
        thread::sleep(MOMENT);
    }
    for group in groups.iter().filter(is_there) {
        let _ended = kill_process_group(*group, Signal::KILL);
    }
}

fn running() -> MutexGuard<'static, Vec<(Pid, String)>> {
    locked(&RUNNING)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn feed(pipe: Option<ChildStdin>, input: Option<String>) {
    if let (Some(mut pipe), Some(text)) = (pipe, input) {
        // A program that does not read to the end says itself why.
        let _unread = pipe.write_all(text.as_bytes());
    }
}

/// Reads standard output line by line; what is no UTF-8 is replaced.
fn read_lines(pipe: Option<ChildStdout>, lines: &SyncSender<Event>) {
    let Some(pipe) = pipe else { return };
    let (mut pipe, mut line) = (BufReader::new(pipe.take(ANSWER_BYTES_MAX)), Vec::new());
    while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if lines.send(Event::Line(text.strip_suffix('\r').unwrap_or(text).to_owned())).is_err() {
            return;
        }
        line.clear();
    }
}

/// Reads standard error and keeps its end, which has the reason.
fn keep_last(pipe: Option<impl Read>, kept: &Mutex<Vec<u8>>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut piece) {
        let mut kept = locked(kept);
        kept.extend_from_slice(&piece[..length]);
        let over = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Call {
        Call::new("sh", ["-c", script])
    }

    #[test]
    fn an_answer_has_the_code_and_both_texts() {
        let answer = shell("echo one; echo two; echo bad >&2; exit 3").run().unwrap();
        assert_eq!(answer, Answer { code: Some(3), stdout: "one\ntwo\n".into(), stderr: "bad\n".into() });
        assert_eq!(answer.reason(), "bad");
    }

    #[test]
    fn lines_are_told_as_they_come_and_input_is_read() {
        let mut told = Vec::new();
        let call = shell("cat; echo end").with_input("a\nb\n".into());
        call.run_and_tell(&mut |line| told.push(line.to_owned())).unwrap();
        assert_eq!(told, ["a", "b", "end"]);
    }

    #[test]
    fn a_program_that_asks_gets_no_answer_and_does_not_hang() {
        let answer = shell("read -r reply || { echo no answer >&2; exit 1; }").run().unwrap();
        assert_eq!((answer.code, answer.reason().as_str()), (Some(1), "no answer"));
    }

    #[test]
    fn a_program_that_is_too_slow_is_ended_and_said_so() {
        let slow = ["exec tail -f /dev/null", "exec >&-; exec tail -f /dev/null >&2"];
        for script in slow {
            let fault = shell(script).within(Duration::from_millis(100)).run().unwrap_err();
            assert!(fault.what.contains("did not end within") && fault.code() == 6, "{fault:?}");
        }
    }

    #[test]
    fn what_a_program_started_is_ended_with_it() {
        let started = tempfile::NamedTempFile::new().unwrap();
        let script = format!("tail -f /dev/null & echo $! >{}; wait", started.path().display());
        shell(&script).within(Duration::from_millis(300)).run().unwrap_err();
        let pid = std::fs::read_to_string(started.path()).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // One that nobody has collected yet runs no more.
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[test]
    fn who_holds_the_pipes_of_a_program_that_has_ended_is_not_waited_for() {
        let kept = tempfile::NamedTempFile::new().unwrap();
        let script = format!("tail -f /dev/null & echo $! >{}; echo out; echo err >&2; exit 3", kept.path().display());
        let began = Instant::now();
        let answer = shell(&script).within(Duration::from_secs(600)).run().unwrap();
        assert!(began.elapsed() < Duration::from_secs(60));
        assert_eq!(answer, Answer { code: Some(3), stdout: "out\n".into(), stderr: "err\n".into() });
        let left = std::fs::read_to_string(kept.path()).unwrap();
        assert!(shell(&format!("kill {left}")).run().unwrap().is_success());
    }

    #[test]
    fn who_writes_without_end_is_ended_at_the_limit() {
        let fault = shell("while :; do echo; done").within(Duration::from_millis(100)).run().unwrap_err();
        assert!(fault.what.contains("did not end within"), "{fault:?}");
    }

    #[test]
    fn what_is_no_text_is_read_all_the_same() {
        let answer = shell(r"printf 'a\377b\r\nc'").run().unwrap();
        assert_eq!(answer.stdout, "a\u{fffd}b\nc\n");
    }

    #[test]
    fn a_missing_program_is_told_with_where_to_get_it() {
        let fault = Call::new("minikube-that-is-not-there", ["version"]).run().unwrap_err();
        assert!(fault.what.contains("is not installed") && fault.code() == 4, "{fault:?}");
        assert!(how_to_install("minikube").contains("--cluster existing"));
    }

    #[test]
    fn a_call_is_shown_as_it_would_be_typed() {
        assert_eq!(
            Call::new("kubectl", ["get", "pods", "-l", "a=b", "it's"]).line(),
            r"kubectl get pods -l a=b 'it'\''s'"
        );
    }

    #[test]
    fn an_answer_that_is_too_long_is_told_and_not_cut() {
        let long = format!("head -c {} /dev/zero | tr '\\0' a", ANSWER_BYTES_MAX + 1);
        let fault = shell(&long).run().unwrap_err();
        assert!(fault.what.contains("is longer than 64 MiB"), "{fault:?}");
    }

    #[test]
    fn of_a_long_error_the_end_is_kept() {
        let answer = shell("printf '%020000d' 0 >&2; echo the end >&2; exit 1").run().unwrap();
        assert!(answer.stderr.len() <= STDERR_BYTES_MAX && answer.stderr.ends_with("the end\n"));
    }
}
