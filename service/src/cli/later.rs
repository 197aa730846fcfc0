//! Commands that are promised and not there yet: they say what they need, instead of being taken for a slip of the pen.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::error::CliError;

/// A command that is not there yet.
#[derive(Debug, Subcommand)]
pub(super) enum Later {
    /// Not there yet: approve a change that waits for it.
    #[command(hide = true)]
    Approve(Anything),
}

/// Whatever stands behind the name.
#[derive(Debug, Args)]
pub(super) struct Anything {
    /// Not read.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// What the command is called, what it needs that is not there, and what there is instead.
pub(super) fn explain(command: &Later) -> CliError {
    let (name, needs, instead) = match command {
        Later::Approve(_) => (
            "approve",
            "environments that want approval",
            "nothing waits for approval; `kmlflow hold --reason TEXT` stops every change",
        ),
    };
    CliError::failed(format!("`{name}` is not there yet: it needs {needs}")).hint(instead)
}
