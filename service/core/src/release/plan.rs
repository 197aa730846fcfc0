//! What shall become different, and why not.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Origin, Rejected, Release};
use crate::names::CommitId;

/// A release as the repository holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    pub release: Release,
    /// The newest commit that changed it.
    pub commit: CommitId,
}

/// A settled state in the history, with its rendered files.
#[derive(Debug, Clone, PartialEq)]
pub struct Restorable {
    pub commit: CommitId,
    pub release: Release,
}

/// The file that a retraction leaves: the registry state at that moment, so that nothing returns by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retracted {
    #[serde(default)]
    pub origin: Origin,
    #[serde(default)]
    pub rejected: Vec<Rejected>,
}

/// What must become different.
#[derive(Debug, Clone, PartialEq)]
pub enum ReleasePlan {
    Create(Box<Change>),
    Update(Box<Change>),
    /// Remove the release's directory and leave this behind.
    Delete(Retracted),
    /// It is already so; the reason is for the person who asked.
    Nothing(String),
    /// It will be done once this is so.
    Wait(String),
    Refused(Refusal),
}

/// One commit's worth of change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The release as it shall be; `rendered` is filled in by the render.
    pub release: Release,
    pub action: Action,
    /// The end of the commit's subject, at most 50 characters.
    pub summary: String,
    /// The commit's body: what changes for callers, in plain words.
    pub body: String,
    pub files: Files,
    /// What the intent waits for after this commit, where one commit does not fulfil it: then it is planned again.
    pub more: Option<String>,
}

/// Where the rendered files of a change come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    Render,
    /// Byte for byte as they were at this commit.
    Restore(CommitId),
}

/// What a commit does, the `Action` trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Update,
    Enter,
    Step,
    Flip,
    Weights,
    Pause,
    Resume,
    Promote,
    Leave,
    Settle,
    Rollback,
    Abort,
    Render,
    Adopt,
    Retract,
}

impl Action {
    /// Its name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Enter => "enter",
            Self::Step => "step",
            Self::Flip => "flip",
            Self::Weights => "weights",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Leave => "leave",
            Self::Settle => "settle",
            Self::Rollback => "rollback",
            Self::Abort => "abort",
            Self::Render => "render",
            Self::Adopt => "adopt",
            Self::Retract => "retract",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something is not done, and what would help. Answers to callers are made of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// One plain sentence.
    pub reason: String,
    /// A command or change that helps, where a person can act.
    pub cure: Option<String>,
    /// The offending fields, where there are some.
    #[serde(default)]
    pub violations: Vec<Violation>,
}

/// An offending field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    pub field: String,
    pub detail: String,
}

/// What sort of refusal it is; each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// Would not work whatever is deployed (422).
    Invalid,
    /// Impossible from what is deployed (409).
    Conflict,
    /// A file was changed by hand (409).
    Drifted,
    /// The present templates would restart a predictor that stays (409).
    TemplatesChanged,
    /// The remote's hook or branch rule said no (409).
    RemoteRefused,
    /// No such release or environment (404).
    NotFound,
    /// The entity tag is another one (412).
    Precondition,
    /// The caller may not (403).
    Forbidden,
    /// A freeze (423).
    Frozen,
}

impl Refusal {
    /// A refusal of something that would not work whatever is deployed.
    pub fn invalid(reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Invalid, reason: reason.into(), cure: Some(cure.into()), violations: Vec::new() }
    }

    /// A refusal of something that is impossible from what is deployed.
    pub fn conflict(reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Conflict, reason: reason.into(), cure: Some(cure.into()), violations: Vec::new() }
    }

    /// An invalid request because of these fields.
    pub fn violations(violations: Vec<Violation>) -> Self {
        let reason = violations
            .first()
            .map_or_else(|| "the request is invalid".to_owned(), |v| format!("`{}` {}", v.field, v.detail));
        let cure = violations.first().and_then(cure_of).map(str::to_owned);
        Self { kind: RefusalKind::Invalid, reason, cure, violations }
    }
}

/// What cures a field that would not work, where one sentence fits every mistake in it.
fn cure_of(violation: &Violation) -> Option<&'static str> {
    let field = violation.field.rsplit('.').next().unwrap_or_default();
    match field {
        _ if violation.detail.starts_with("is for the strategy") => Some("leave it out, or name that strategy"),
        _ if violation.detail.starts_with("looks like a secret") => Some("give it by `valueFrom.secretKeyRef`"),
        "steps" => Some("give rising percentages from 1 to 99, such as 5,25,50"),
        "weights" => Some("give every arm its percentage, together 100, such as a=70,b=30"),
        "percent" => Some("give a percentage from 1 to 100, such as 20"),
        "image" if violation.detail.starts_with("must have a name") => Some(
            "write it in lower case; in a policy's `defaults.image`, `{{ name }}` fits where `{{ model }}` does not",
        ),
        "version" => Some("give the number that MLflow shows, such as 7"),
        _ => None,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
