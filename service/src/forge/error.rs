//! What a forge did not do, as one sentence each, and whether another try can help.

use std::time::Duration;

/// Why there is no answer to go by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// What was set cannot be used: nothing was asked.
    #[error("the forge cannot be asked: {rule}")]
    Settings { rule: &'static str },
    #[error("no forge answers at `{address}`: {words}")]
    Unreachable { address: String, words: &'static str },
    /// It may have been carried out.
    #[error("the connection to the forge at `{address}` broke before its answer was read")]
    Broken { address: String },
    /// 401.
    #[error("the forge at `{address}` does not know who asks")]
    Unauthorized { address: String, cure: String },
    /// A GitHub App gets no token.
    #[error("the forge at `{address}` gives no token to the App: {words}")]
    App { address: String, words: String, cure: &'static str },
    /// 403.
    #[error("the forge at `{address}` does not allow {what}: {words}")]
    Forbidden { address: String, what: &'static str, words: String },
    /// 404, which forges also answer where they want to show nothing.
    #[error("the forge at `{address}` has nothing to {what}")]
    NotFound { address: String, what: &'static str },
    /// It asked to be left alone.
    #[error("the forge at `{address}` has been asked too much and wants to be left alone for {} s", wait.as_secs())]
    Limited { address: String, wait: Duration },
    /// 5xx.
    #[error("the forge at `{address}` failed with {status}")]
    Failing { address: String, status: u16 },
    /// Any other answer that is no success; the words are the forge's, shortened.
    #[error("the forge at `{address}` refused to {what} with {status}: {words}")]
    Refused { address: String, what: &'static str, status: u16, words: String },
    /// A page of HTML, a redirect, JSON of another shape, more than any bound allows.
    #[error("what answers at `{address}` is no forge, or not the one that was named")]
    Stranger { address: String },
}

impl ForgeError {
    /// Whether the same may succeed later by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. } | Self::Limited { .. } | Self::Failing { .. })
    }

    /// Whether it is a no to whoever asks, whatever is asked: the same may succeed once a person has given a token or a right.
    pub fn is_of_who_asks(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::App { .. } | Self::Forbidden { .. })
    }

    /// How long the forge wants to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited { wait, .. } => Some(*wait),
            _ => None,
        }
    }

    /// The text with what a person can do about it.
    pub fn with_cure(&self) -> String {
        self.cure().map_or_else(|| self.to_string(), |cure| format!("{self}; {cure}"))
    }

    /// What a person can do about it.
    pub fn cure(&self) -> Option<&str> {
        Some(match self {
            Self::Settings { .. } => "change it in the configuration",
            Self::Unreachable { .. } => "check that the forge runs there, and `git.forge.api_url`",
            Self::Unauthorized { cure, .. } => cure,
            Self::App { cure, .. } => cure,
            Self::Forbidden { .. } | Self::NotFound { .. } => {
                "give the account of the token write access to the repository, and the token the scopes for repository and issues"
            }
            Self::Stranger { .. } => "set `git.forge.kind` and `git.forge.api_url` to what is there",
            Self::Broken { .. } | Self::Limited { .. } | Self::Failing { .. } | Self::Refused { .. } => return None,
        })
    }
}
