//! The only file that starts programs.

use std::path::PathBuf;

/// A Git that was found and is new enough.
#[derive(Debug, Clone)]
pub struct Git {
    program: PathBuf,
}

/// Why a program could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("Git was not found; install Git {minimum} or newer")]
    Missing { minimum: &'static str },
    #[error("Git {found} is too old; install Git {minimum} or newer")]
    TooOld { found: String, minimum: &'static str },
    #[error("`git {what}` failed")]
    Failed { what: &'static str, stderr: String },
}

impl Git {
    /// Finds Git on a search path (the `PATH` that the configuration read; the usual places where there is none) and checks its version.
    pub async fn find(search_path: Option<&str>) -> Result<Self, CommandError> {
        todo!()
    }
}
