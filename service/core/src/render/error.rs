//! Why a release could not be rendered.

use crate::release::{Refusal, Violation};

/// Why a release could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// An override that replaces nothing.
    #[error("there is no template `{name}` to override; the names are {known}")]
    UnknownTemplate { name: String, known: String },
    /// A template that does not parse or fails.
    #[error("template `{template}`, line {line}: {detail}")]
    Template { template: String, line: usize, detail: String },
    /// A rendered file that is not what it should be.
    #[error("`{file}` is not valid: {detail}")]
    Manifest { file: String, detail: String },
    /// Settings of the release that the cluster would refuse or misunderstand.
    #[error("{}", Refusal::violations(.0.clone()).reason)]
    Settings(Vec<Violation>),
}

impl RenderError {
    /// It as an answer to whoever asked for the release.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Settings(found) => Refusal::violations(found.clone()),
            Self::UnknownTemplate { .. } | Self::Template { .. } | Self::Manifest { .. } => Refusal::invalid(
                self.to_string(),
                "correct the template in `templates_dir`, or take it away to use the built-in one",
            ),
        }
    }

    pub(super) fn template(error: &minijinja::Error) -> Self {
        Self::Template {
            template: error.name().unwrap_or("unknown").to_owned(),
            line: error.line().unwrap_or_default(),
            detail: error
                .detail()
                .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind())),
        }
    }

    pub(super) fn manifest(file: &str, detail: impl Into<String>) -> Self {
        Self::Manifest { file: file.to_owned(), detail: detail.into() }
    }

    pub(super) fn rule(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Settings(vec![Violation { field: field.into(), detail: detail.into() }])
    }
}
