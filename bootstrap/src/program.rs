//! The only file that starts programs: `kubectl`, `minikube`, `docker`, and what opens a page.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::fault::{Fault, Kind};

/// How much of an answer is read, in bytes: every Application of a large cluster is a few megabytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How much of what a program says about an error is kept, in bytes.
const STDERR_BYTES_MAX: usize = 16 << 10;

/// How often a program that was told to end is looked at.
const MOMENT: Duration = Duration::from_millis(10);

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
        let mut child = self.start().map_err(|error| self.not_started(&error))?;
        let input = (child.stdin.take(), self.input.clone());
        let stderr = child.stderr.take();
        let errors = thread::spawn(move || last_of(stderr));
        let writer = thread::spawn(move || {
            if let (Some(mut pipe), Some(text)) = input {
                // A program that does not read to the end says itself why.
                let _unread = pipe.write_all(text.as_bytes());
            }
        });
        let (sender, lines) = mpsc::sync_channel(64);
        let stdout = child.stdout.take();
        let reader = thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            for line in BufReader::new(stdout.take(ANSWER_BYTES_MAX)).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let deadline = Instant::now() + self.limit;
        let mut text = String::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    tell(&line);
                    text.push_str(&line);
                    text.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(self.too_slow(&mut child)),
            }
        }
        let status = self.wait(&mut child, deadline)?;
        let _ended = (reader.join(), writer.join());
        let stderr = errors.join().unwrap_or_default();
        if text.len() as u64 >= ANSWER_BYTES_MAX {
            let what = format!("the answer of `{}` is longer than {} MiB", self.line(), ANSWER_BYTES_MAX >> 20);
            return Err(Fault::new(what, "take away what there is so much of, or use a smaller cluster"));
        }
        Ok(Answer { code: status.code(), stdout: text, stderr })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the file that starts programs")]
    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.spawn()
    }

    fn wait(&self, child: &mut Child, deadline: Instant) -> Result<ExitStatus, Fault> {
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(MOMENT),
                Ok(None) => return Err(self.too_slow(child)),
                Err(error) => return Err(self.not_started(&error)),
            }
        }
    }

    fn too_slow(&self, child: &mut Child) -> Fault {
        // An error means that it has ended by itself.
        let _ended = (child.kill(), child.wait());
        let what = format!("`{}` did not end within {} s", self.line(), self.limit.as_secs());
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

/// Reads standard error and keeps its end, which has the reason.
fn last_of(pipe: Option<impl Read>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = pipe.read(&mut piece) {
        kept.extend_from_slice(&piece[..length]);
        kept.drain(..kept.len().saturating_sub(STDERR_BYTES_MAX));
    }
    String::from_utf8_lossy(&kept).into_owned()
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
