//! Logs: on stderr, as text for a person or one JSON object per line, with fixed field names.
//!
//! Fields are `release.id`, `model.name`, `commit.id`, `delivery.id` and `duration_ms`. No secret and no token is ever one.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Begins to log: what `RUST_LOG` says, where it says something that can be read, else from a level on.
///
/// A second call is without effect, so that a test may start more than one service.
pub fn init(format: Format, rust_log: Option<&str>, level: &str, color: bool) {
    // A line that cannot be written is lost: saying so on the same stream would end whoever logged.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter(rust_log, level)).with_writer(std::io::stderr);
    // An error means that somebody logs already, which is as good.
    drop(match format {
        Format::Text => builder.with_ansi(color && std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    });
}

fn filter(rust_log: Option<&str>, level: &str) -> EnvFilter {
    let wanted = rust_log.filter(|text| !text.trim().is_empty()).and_then(|text| EnvFilter::try_new(text).ok());
    // Below a warning, these speak of single queries and connections. What the cluster's client says at every try is said once in our words.
    let quiet = "sqlx=warn,hyper=warn,reqwest=warn,tower_http=warn,kube_client=off,kube_runtime=off";
    wanted.unwrap_or_else(|| EnvFilter::new(format!("{level},{quiet}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_does_not_silence_the_log() {
        for rust_log in [None, Some(""), Some("kmlflow=not-a-level")] {
            assert!(filter(rust_log, "info").to_string().contains("info"), "{rust_log:?}");
        }
        assert_eq!(filter(Some("kmlflow=debug"), "info").to_string(), "kmlflow=debug");
    }
}
