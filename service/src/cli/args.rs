//! What several commands are told in the same words: which release, and how long to wait.

use clap::{Args, ValueEnum};

use crate::names::{EnvironmentName, Namespace, ReleaseName};

/// Which release.
#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// Name of the release.
    #[arg(value_name = "NAME")]
    pub name: ReleaseName,
    /// Its namespace.
    #[arg(short, long, default_value = "models", value_name = "NAMESPACE")]
    pub namespace: Namespace,
    /// Its environment.
    #[arg(short, long, default_value = "production", value_name = "ENVIRONMENT")]
    pub environment: EnvironmentName,
}

impl Place {
    /// The parts of its address below `/api/v1`, with more behind them.
    pub(super) fn path<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["releases", self.environment.as_str(), self.namespace.as_str(), self.name.as_str()];
        path.extend(more);
        path
    }
}

/// What to wait for.
#[derive(Debug, Clone, Args)]
pub(super) struct Waiting {
    /// Wait for the commit, also where it is queued, or until the cluster says it is live.
    #[arg(long, value_enum, value_name = "FOR")]
    pub wait: Option<WaitFor>,
    /// How long to wait at most; still queued then is exit code 6.
    #[arg(long, default_value = "5m", value_name = "TIME", requires = "wait")]
    pub timeout: crate::release::Period,
    /// Makes it safe to repeat: the same key and body are one effect for 24 h.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// The end that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum WaitFor {
    Committed,
    Live,
}

impl WaitFor {
    /// Its name in the API.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Live => "live",
        }
    }
}

/// Parses `a=70` for options that take a name and a value.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be written NAME=VALUE".to_owned()),
    }
}
