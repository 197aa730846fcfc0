//! What a tracking server did not do, as one sentence each, and whether another try can help.

use std::time::Duration;

/// Why there is no answer to go by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What was set cannot be used: nothing was asked.
    #[error("`{setting}` {rule}")]
    Settings { setting: &'static str, rule: &'static str },
    #[error("no tracking server answers at `{address}`: {reason}")]
    Unreachable { address: String, reason: String },
    /// It may have been carried out.
    #[error("the connection to the tracking server at `{address}` broke before its answer was read")]
    Broken { address: String },
    /// It may have been carried out.
    #[error("the tracking server at `{address}` did not answer within {} s", limit.as_secs())]
    TimedOut { address: String, limit: Duration },
    /// 401.
    #[error("the tracking server at `{address}` does not know who asks")]
    Unauthorized { address: String },
    /// 403.
    #[error("the tracking server at `{address}` does not allow this to who asks")]
    Forbidden { address: String },
    /// 403, before anybody was asked for a name.
    #[error("the tracking server does not answer to the name in `{address}`")]
    HostRefused { address: String },
    /// 429.
    #[error("the tracking server at `{address}` has too much to do")]
    Busy { address: String, retry_after: Option<Duration> },
    /// 5xx.
    #[error("the tracking server at `{address}` failed with {status}")]
    Server { address: String, status: u16, retry_after: Option<Duration> },
    /// A page of HTML, a redirect, JSON of another shape.
    #[error("what answers at `{address}` is no tracking server: it answered {status} and nothing that MLflow would")]
    NotMlflow { address: String, status: u16 },
    #[error("the answer of the tracking server at `{address}` has more than {bytes_max} bytes")]
    TooLarge { address: String, bytes_max: usize },
    #[error("the registry at `{address}` has more than {pages_max} pages")]
    TooManyPages { address: String, pages_max: usize },
    #[error("the registry at `{address}` gives the same page again and again")]
    PagesRepeat { address: String },
    /// An error of the API itself; the message is the server's, shortened.
    #[error("the tracking server refused with `{code}`: {message}")]
    Refused { code: String, message: String },
}

impl Error {
    /// Whether the same request may succeed later by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::Server { .. } => true,
            Self::Refused { code, .. } => code == "TEMPORARILY_UNAVAILABLE" || code == "REQUEST_LIMIT_EXCEEDED",
            Self::Settings { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::HostRefused { .. }
            | Self::NotMlflow { .. }
            | Self::TooLarge { .. }
            | Self::TooManyPages { .. }
            | Self::PagesRepeat { .. } => false,
        }
    }

    /// How long the server wants to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn cure(&self) -> Option<&'static str> {
        Some(match self {
            Self::Settings { .. } => "change it in the configuration",
            Self::Unreachable { .. } => "check that MLflow runs there, and `mlflow.tracking_uri`",
            Self::Broken { .. } | Self::TimedOut { .. } | Self::Server { .. } => "look into MLflow's own log",
            Self::Unauthorized { .. } => "set `mlflow.username` and `mlflow.password_file` to an account of MLflow",
            Self::Forbidden { .. } => "give the account the permission EDIT on the model, or use an administrator's",
            Self::HostRefused { .. } => {
                "start MLflow with `--allowed-hosts` and this name with its port (it replaces the default list)"
            }
            Self::NotMlflow { .. } | Self::PagesRepeat { .. } => {
                "set `mlflow.tracking_uri` to the address of MLflow itself, such as http://mlflow:5000"
            }
            Self::TooLarge { .. } | Self::TooManyPages { .. } => "remove models, versions or tags that nobody needs",
            Self::Busy { .. } | Self::Refused { .. } => return None,
        })
    }
}
