//! What several commands are told in the same words: which release, and how long to wait.

use clap::{Args, ValueEnum};
use reqwest::header::HeaderValue;

use super::client::Call;
use crate::bounds::PAGE_MAX;
use crate::names::{EnvironmentName, Namespace, ReleaseName};
use crate::release::Role;

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
    #[arg(long, value_name = "KEY", value_parser = header_text)]
    pub idempotency_key: Option<String>,
}

/// What becomes of files that were changed by hand.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ByHand {
    /// Render over files that were changed by hand.
    #[arg(long, conflicts_with = "adopt")]
    force: bool,
    /// Take over what was changed by hand, before anything else is done.
    #[arg(long)]
    adopt: bool,
}

impl ByHand {
    /// The call that says so.
    pub(super) fn on(self, call: Call<'_>) -> Call<'_> {
        let Self { force, adopt } = self;
        call.flag("force", force).flag("adopt", adopt)
    }
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

/// Parses how many entries a page has.
pub(super) fn page_size(text: &str) -> Result<u32, String> {
    let size = text.parse().ok().filter(|size| (1..=PAGE_MAX).contains(size));
    size.ok_or_else(|| format!("must be a whole number from 1 to {PAGE_MAX}"))
}

/// Parses a percentage.
pub(super) fn percent(text: &str) -> Result<u8, String> {
    let percent = text.parse().ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| "must be a whole number of percent, 0 to 100".to_owned())
}

/// Parses the name of an arm of an A/B release.
pub(super) fn arm(text: &str) -> Result<String, String> {
    if Role::ARMS.iter().any(|arm| arm.as_str() == text) {
        Ok(text.to_owned())
    } else {
        Err("must be an arm, a to h".to_owned())
    }
}

/// Parses what is sent as a header: one line of text.
fn header_text(text: &str) -> Result<String, String> {
    if text.is_empty() || HeaderValue::from_str(text).is_err() {
        return Err("must be one line of text without control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_service_could_take_is_seen_at_once() {
        for bad in ["0", "101", "x", "-1", ""] {
            assert!(page_size(bad).is_err(), "{bad}");
        }
        for bad in ["abc", "101", "-1", "1.5"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
        assert!(header_text("a\nb").is_err() && header_text("").is_err());
        assert_eq!((page_size("100"), percent("0")), (Ok(100), Ok(0)));
    }

    #[test]
    fn an_arm_is_one_of_a_to_h() {
        assert!(arm("a").is_ok() && arm("h").is_ok());
        for bad in ["z", "i", "stable", "", "A"] {
            assert!(arm(bad).unwrap_err().contains("a to h"), "{bad}");
        }
    }
}
