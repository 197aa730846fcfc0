//! How a command ends: its exit code, and where it fails one sentence with what cures it.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::names::InvalidName;
use crate::release::Refusal;

/// How a command ended, as a script sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, also when nothing had to change.
    Done = 0,
    /// It did not work.
    Failed = 1,
    /// The command was written wrongly, or what it names to be read is wrong: nothing was asked of a service yet.
    Usage = 2,
    /// Not allowed, or would not work (401, 403, 422, 423).
    Refused = 3,
    /// There is no such thing (404).
    NotFound = 4,
    /// Impossible from what is deployed (409, 412).
    Conflict = 5,
    /// Still queued when the command stopped waiting.
    Deadline = 6,
    /// Ended by the person who had started it.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of an answer's status.
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Done,
            400 => Self::Usage,
            401 | 403 | 422 | 423 => Self::Refused,
            404 => Self::NotFound,
            409 | 412 => Self::Conflict,
            408 | 504 => Self::Deadline,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// One sentence without a full stop; empty where nobody listens any more.
    pub sentence: String,
    /// A command or change that cures it.
    pub hint: Option<String>,
    pub exit: Exit,
}

impl CliError {
    /// An error with its exit code and without a hint.
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hint: None, exit }
    }

    /// Something that did not work.
    pub fn failed(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Failed, sentence)
    }

    /// A command that was written wrongly.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// The same error with what cures it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with a hint, where it has none.
    pub fn or_hint(self, hint: impl FnOnce() -> String) -> Self {
        if self.hint.is_some() { self } else { self.hint(hint()) }
    }

    /// The same error as one of how the command was written.
    pub fn as_usage(self) -> Self {
        Self { exit: Exit::Usage, ..self }
    }

    /// The error of a part that has what cures it in its text.
    pub fn told(text: &str) -> Self {
        let (sentence, cure) = sentence_and_cure(text);
        Self { hint: cure.map(str::to_owned), ..Self::failed(sentence) }
    }

    /// A file that cannot be read or written.
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::NotFound {
            return Self::failed(format!("there is no `{}`", path.display())).hint("check the path");
        }
        Self::failed(format!("`{}` cannot be used: {}", path.display(), error.kind()))
            .hint("check the path and who may read and write it")
    }
}

/// The sentence of an error, and what helps where its text has both: that stands behind the semicolon.
pub fn sentence_and_cure(text: &str) -> (&str, Option<&str>) {
    text.split_once("; ").map_or((text, None), |(sentence, cure)| (sentence, Some(cure)))
}

/// What the API says as a command takes it: it names a field or a parameter with the option behind it, as in `` `force=true` (`--force`) ``.
pub(super) fn with_options(text: &str) -> String {
    let (mut told, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, option)) = rest.split_once(" (`--") {
        let Some((option, after)) = option.split_once("`)") else { break };
        let name = before.strip_suffix('`').and_then(|named| named.rfind('`'));
        told.push_str(name.map_or(before, |at| &before[..at]));
        if name.is_none() {
            told.push(' ');
        }
        told.push_str(&format!("`--{option}`"));
        rest = after;
    }
    told.push_str(rest);
    told
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for CliError {}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::failed(error.sentence).hint(error.cure)
    }
}

impl From<InvalidName> for CliError {
    fn from(error: InvalidName) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<Refusal> for CliError {
    /// A rule of releases that was broken before any service was asked. Names every offending field, not the first alone, so that a file is corrected in one go.
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, cure, violations, .. } = refusal;
        let fields: Vec<String> = violations.iter().map(|one| format!("`{}` {}", one.field, one.detail)).collect();
        let sentence = if fields.len() > 1 { fields.join("; ") } else { reason };
        Self { sentence, hint: cure, exit: Exit::Usage }
    }
}

impl From<std::io::Error> for CliError {
    /// Writing to the output failed. A reader that went away, such as `head`, is no failure.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            kind => Self::failed(format!("the output cannot be written: {kind}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_the_exit_code_of_the_interface() {
        for (status, code) in [
            (200, 0),
            (201, 0),
            (202, 0),
            (400, 2),
            (401, 3),
            (403, 3),
            (422, 3),
            (423, 3),
            (404, 4),
            (409, 5),
            (412, 5),
            (413, 1),
            (429, 1),
            (500, 1),
            (503, 1),
            (504, 6),
        ] {
            assert_eq!(Exit::of_status(status) as u8, code, "{status}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_said_so() {
        let error = CliError::file(std::path::Path::new("nope.tar"), &std::io::ErrorKind::NotFound.into());
        assert_eq!(error.sentence, "there is no `nope.tar`");
    }

    #[test]
    fn what_the_api_says_names_the_options_of_the_command_alone() {
        for (said, told) in [
            ("render over it with `force=true` (`--force`)", "render over it with `--force`"),
            ("`hints.model` (`--model M`) says it, `to` (`--to`) too", "`--model M` says it, `--to` too"),
            ("take `adopt=true` (`--adopt`), or `force=true` (`--force`).", "take `--adopt`, or `--force`."),
            ("as it is (`--odd", "as it is (`--odd"),
            ("a word (`--option`)", "a word `--option`"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(with_options(said), told);
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let error = CliError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit, error.sentence.as_str()), (Exit::Done, ""));
    }
}
