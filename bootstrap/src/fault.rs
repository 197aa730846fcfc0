//! What went wrong, in words for the person at the terminal.

/// An error with its cure. The sentence names the thing in backticks; no secret is ever in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    pub what: String,
    /// A command or change that cures it.
    pub cure: String,
    pub kind: Kind,
}

/// How the program ends for it; the numbers are those of the whole project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failed,
    WrongUsage,
    Refused,
    NotFound,
    Conflict,
    Deadline,
}

impl Fault {
    pub fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { what: what.into(), cure: cure.into(), kind: Kind::Failed }
    }

    #[must_use]
    pub fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The same for somebody whose cluster has this context.
    #[must_use]
    pub fn in_context(self, context: &str) -> Self {
        Self { cure: crate::hints::in_context(&self.cure, context), ..self }
    }

    /// The exit code of the program.
    pub fn code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::WrongUsage => 2,
            Kind::Refused => 3,
            Kind::NotFound => 4,
            Kind::Conflict => 5,
            Kind::Deadline => 6,
        }
    }
}
