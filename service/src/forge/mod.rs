//! The forge that the branch lives at: pull requests found, opened, kept up to date and followed, statuses of commits, comments.
//!
//! Gitea, Forgejo and GitHub have the same paths and fields for nearly all of it; where they differ, `Kind` decides. Knows nothing of
//! releases: what a pull request says and when it is wanted is the worker's. Every call is bounded in time, size and repeats, and leaves a
//! forge alone for as long as it asks for.

mod address;
mod call;
mod error;
mod limits;
mod pulls;
#[cfg(test)]
mod tests;
mod told;

use std::fmt;
use std::path::PathBuf;

pub use address::Address;
pub use error::ForgeError;
pub use pulls::{AutoMerge, PullRequest, PullState, Text};
pub use told::{CommitState, CommitStatus};

use self::call::Api;

/// Which forge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Gitea, and Forgejo, which speaks as it does.
    Gitea,
    Github,
}

/// Which forge, and as whom.
#[derive(Debug, Clone)]
pub struct Settings {
    pub kind: Kind,
    pub address: Address,
    pub token: Token,
    /// The only authorities whose certificates are believed, in PEM; nothing for those of the machine.
    pub ca_file: Option<PathBuf>,
}

/// A token, which no log and no error ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// One repository of one forge.
#[derive(Debug)]
pub struct Forge {
    api: Api,
}

impl Token {
    /// Wraps a token; the end of the line that files have is left out.
    pub fn new(text: &str) -> Self {
        Self(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Forge {
    /// A forge; nothing is asked yet.
    ///
    /// # Errors
    /// The token cannot be sent, or the file of authorities cannot be read.
    pub fn new(settings: Settings) -> Result<Self, ForgeError> {
        Ok(Self { api: Api::new(settings)? })
    }

    /// Its address, which has no secret in it.
    pub fn address(&self) -> &str {
        self.api.address()
    }
}
