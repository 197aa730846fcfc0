//! The only place of the command line that prints: data on stdout, progress and errors on stderr.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::Value;

use super::error::CliError;
use super::table::{Tone, plain};

/// How data is printed: for a person, as the API's body unchanged, or the same as YAML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
    Yaml,
}

/// Where and how a command prints.
#[derive(Debug, Clone)]
pub(super) struct Output {
    format: Format,
    color: bool,
    error_color: bool,
    terminal: bool,
    program: Arc<str>,
}

impl Output {
    /// An output in a format; colour only where it is allowed and a terminal shows it.
    pub(super) fn new(format: Format, color_allowed: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let error_color = color_allowed && std::io::stderr().is_terminal();
        Self { format, color: color_allowed && terminal, error_color, terminal, program: Arc::from("kmlflow") }
    }

    /// The same, naming the program the way it was started: what is not on the `PATH` is not found by its bare name.
    pub(super) fn started_as(mut self, program: Option<&OsString>) -> Self {
        if let Some(path) = program.and_then(|program| program.to_str()).filter(|path| path.contains('/')) {
            self.program = Arc::from(path);
        }
        self
    }

    /// How the program was started.
    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// Whether text may be coloured.
    pub(super) fn color(&self) -> bool {
        self.color
    }

    /// Whether a person looks at it on a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The format that was asked for.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Prints data: in the format asked for, as text by `text`.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn data(&self, raw: &str, body: &Value, text: impl FnOnce(bool) -> String) -> Result<(), CliError> {
        match self.format {
            Format::Text => self.write(&text(self.color)),
            // An answer without a body has no form but itself.
            _ if raw.is_empty() => Ok(()),
            Format::Json => self.write(&line(raw)),
            Format::Yaml => self.write(
                &crate::release::to_yaml(body).map_err(|_| CliError::failed("the answer cannot be written as YAML"))?,
            ),
        }
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn write(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Prints one line of data.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn line(&self, text: &str) -> Result<(), CliError> {
        self.write(&line(text))
    }

    /// Prints one line about what is going on.
    pub(super) fn progress(&self, text: &str) {
        self.write_stderr(&Tone::Dim.paint(&plain(&self.commands(text)), self.error_color));
    }

    /// Prints a text on stderr as it is.
    pub(super) fn progress_raw(&self, text: &str) {
        self.write_stderr(text.trim_end());
    }

    /// Prints why the command ends without having done it, and what cures it.
    pub(super) fn error(&self, error: &CliError) {
        if error.sentence.is_empty() {
            return;
        }
        self.write_stderr(&format!("{} {}", Tone::Bad.paint("Error:", self.error_color), plain(&error.sentence)));
        if let Some(hint) = &error.hint {
            self.write_stderr(&format!(
                "{} {}",
                Tone::Strong.paint("Hint:", self.error_color),
                plain(&self.commands(hint))
            ));
        }
    }

    /// A text with its commands as they work where this one did.
    fn commands(&self, text: &str) -> String {
        text.replace("`kmlflow ", &format!("`{} ", self.program))
    }

    fn write_stderr(&self, text: &str) {
        // Where even stderr is gone there is nobody left to tell.
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }
}

fn line(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_named_the_way_the_program_was_started() {
        let of = |program: &str| Output::new(Format::Text, false).started_as(Some(&program.into()));
        let text = "look with `kmlflow list`";
        assert_eq!(of("target/debug/kmlflow").commands(text), "look with `target/debug/kmlflow list`");
        assert_eq!(of("kmlflow").commands(text), text);
    }
}
