//! The forge that the branch lives at: pull requests found, opened, kept up to date and followed, statuses of commits, comments.
//!
//! Gitea, Forgejo and GitHub have the same paths and fields for nearly all of it; where they differ, `kind` says how. Knows nothing of
//! releases: what a pull request says and when it is wanted is the worker's. Every call is bounded in time, size and repeats, and leaves a
//! forge alone for as long as it asks for.

mod address;
mod auto_merge;
mod call;
mod counted;
mod deployments;
mod error;
mod installation;
mod kind;
mod limits;
mod line;
mod opinions;
mod pages;
mod pulls;
#[cfg(test)]
mod tests;
mod told;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use address::Address;
pub use auto_merge::{AutoMerge, CalledOff};
pub use counted::counted;
pub use deployments::{Deployment, DeploymentState, Payload};
pub use error::ForgeError;
pub use installation::RENEWED_BEFORE;
pub use kind::Kind;
pub use opinions::Opinions;
pub use pulls::{Closed, Found, Open, PullRequest, PullState, Text};
pub use told::{CommitState, CommitStatus};

use self::call::Api;

/// Which forge, and as whom.
#[derive(Debug, Clone)]
pub struct Settings {
    pub kind: Kind,
    pub address: Address,
    pub access: Access,
    /// The only authorities whose certificates are believed, in PEM; nothing for those of the machine.
    pub ca_file: Option<PathBuf>,
}

/// With what the forge lets us in.
#[derive(Debug, Clone)]
pub enum Access {
    Token(TokenAccess),
    App(App),
}

/// A token that lasts until somebody replaces it.
#[derive(Debug, Clone)]
pub struct TokenAccess {
    pub token: Token,
    /// What a person does where the forge does not take it, which names where it is from.
    pub cure: String,
    /// Where it is read again; nothing where it is the same for as long as the service runs.
    pub renewal: Option<Arc<dyn Renewal>>,
}

/// Where a token that lasts, or the key of an App, is read again once it is refused.
pub trait Renewal: fmt::Debug + Send + Sync {
    /// What is there now, where it is another one than what was refused.
    fn another(&self, refused: &Token) -> Option<Token>;
}

/// A GitHub App, as it is installed for the owner of the repository.
#[derive(Debug, Clone)]
pub struct App {
    pub id: u64,
    pub installation: u64,
    /// Its private key (RSA, PEM), which is shown as little as a token.
    pub private_key: Token,
    /// Where the key is read again; nothing where it is the same for as long as the service runs.
    pub renewal: Option<Arc<dyn Renewal>>,
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

impl Token {
    /// The token itself.
    pub fn expose(&self) -> &str {
        &self.0
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

    /// The token of the GitHub App that asks, which stands for a password at the remote too: good for [`RENEWED_BEFORE`] and more. Another
    /// one than `refused`. Nothing where no App asks.
    ///
    /// # Errors
    /// The forge gives none to the App, or does not answer.
    pub async fn app_token(&self, refused: Option<&Token>) -> Option<Result<Token, ForgeError>> {
        self.api.token(refused).await
    }

    /// Why the forge takes nothing from us, with what a person does about it; nothing as far as is known.
    pub fn refusal(&self) -> Option<String> {
        self.api.refusal()
    }

    /// How many requests it lets through in an hour; nothing where it does not count them.
    pub fn requests_per_hour(&self) -> Option<u32> {
        self.api.kind.requests_per_hour()
    }

    /// Its address, which has no secret in it.
    pub fn address(&self) -> &str {
        self.api.address()
    }
}
