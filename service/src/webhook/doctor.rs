//! Why a signature does not match.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::signature::{Headers, Secret};

/// Which door the delivery was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Mlflow,
    Standard,
}

/// A delivery under examination.
#[derive(Debug, Clone)]
pub struct Exhibit {
    /// The door; guessed from the headers where nobody says.
    pub door: Option<Door>,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub secrets: Vec<Secret>,
    pub now: Timestamp,
    /// The address that the working curl goes to, without the door's path.
    pub url: String,
    /// Whether the caller holds the secret itself, so that the curl may carry a signature made with it.
    pub may_sign: bool,
}

/// What is the matter with a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Diagnosis {
    /// A fixed code, `fine` where all is well.
    pub code: &'static str,
    pub sentence: String,
    pub cure: String,
    /// What else was found.
    pub also: Vec<String>,
    /// A command that delivers this body; it never contains the secret.
    pub curl: String,
}

/// Finds out why a delivery is not believed.
pub fn diagnose(exhibit: &Exhibit) -> Diagnosis {
    let _ = exhibit;
    todo!()
}
