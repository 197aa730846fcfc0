//! Why a signature does not match, found offline: which of the known mistakes it is, and a curl that works.
//!
//! The headers are looked at first, then the signature is made again with every known mistake of key, message and body until one fits.
//! Nothing that this says contains a secret.

mod curl;
mod experiment;
mod mistakes;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use self::experiment::{Found, search};
use self::mistakes::{Mistake, *};
use super::signature::{GITHUB, Headers, MLFLOW, STANDARD, Scheme, Secret, SecretError, parse_seconds};
use crate::bounds::SIGNED_WINDOW_SECONDS;

/// GitHub's older header, whose signature is by SHA-1.
const SHA1_HEADER: &str = "x-hub-signature";

/// Which door a delivery was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Mlflow,
    Standard,
    Github,
}

/// A delivery under examination.
#[derive(Debug, Clone)]
pub struct Exhibit {
    pub door: Door,
    pub headers: Headers,
    pub body: Vec<u8>,
    /// The live secrets of the door, or the one that the caller holds.
    pub secrets: Vec<Secret>,
    /// When it arrived.
    pub now: Timestamp,
    /// The present moment, at which the curl is signed.
    pub present: Timestamp,
    /// The file that holds the body, where there is one; a body that is too long for a command is read from there.
    pub body_file: Option<String>,
    /// The service's address, to which the curl adds the door's path.
    pub url: String,
    /// Whether the caller holds the secret itself. Only then the curl carries a signature: for anybody else the doctor would sign whatever they like.
    pub may_sign: bool,
}

/// What is the matter with a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Diagnosis {
    /// A fixed code, `fine` where all is well.
    pub code: String,
    pub sentence: String,
    pub cure: String,
    /// What else was found, a sentence each.
    pub also: Vec<String>,
    /// A command that delivers this body; it never contains the secret.
    pub curl: String,
}

impl Door {
    fn scheme(self) -> &'static Scheme {
        match self {
            Self::Mlflow => &MLFLOW,
            Self::Standard => &STANDARD,
            Self::Github => &GITHUB,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Mlflow => "/webhooks/mlflow",
            Self::Standard => "/webhooks/generic",
            Self::Github => "/webhooks/github",
        }
    }

    /// The door that the headers seem to be meant for; MLflow's unless only another's are there.
    pub fn guess(headers: &Headers) -> Self {
        let has = |scheme: &Scheme| headers.has(scheme.signature) || headers.has(scheme.id);
        match (has(&MLFLOW), has(&STANDARD), has(&GITHUB) || headers.has(SHA1_HEADER)) {
            (false, true, _) => Self::Standard,
            (false, false, true) => Self::Github,
            _ => Self::Mlflow,
        }
    }

    /// Reads a secret as this door takes it.
    ///
    /// # Errors
    /// It is empty, or not of the form that the door wants.
    pub fn parse_secret(self, text: &str) -> Result<Secret, SecretError> {
        match self {
            Self::Mlflow | Self::Github => Secret::parse(text),
            Self::Standard => Secret::parse_standard(text),
        }
    }

    /// Whether the signature grows old.
    pub fn is_timed(self) -> bool {
        self.scheme().timestamp.is_some()
    }
}

/// One thing that was found: which mistake, and what about it.
struct Finding {
    mistake: &'static Mistake,
    detail: String,
}

impl From<&'static Mistake> for Finding {
    fn from(mistake: &'static Mistake) -> Self {
        Self { mistake, detail: String::new() }
    }
}

impl Finding {
    fn with(mistake: &'static Mistake, detail: impl Into<String>) -> Self {
        Self { mistake, detail: detail.into() }
    }

    fn sentence(&self) -> String {
        self.mistake.sentence.replace("{}", &self.detail)
    }
}

/// Finds out why a delivery is not believed.
pub fn diagnose(exhibit: &Exhibit) -> Diagnosis {
    let door = exhibit.door;
    let mut findings = headers_findings(&exhibit.headers, door.scheme());
    let readable = findings.is_empty();
    if exhibit.secrets.is_empty() {
        findings.push((&NO_SECRET).into());
    } else if readable {
        let scheme = door.scheme();
        match search(exhibit, door) {
            Found::Mistakes(mistakes) => findings.extend(mistakes.into_iter().map(Finding::from)),
            Found::Nothing => findings.push((&WRONG_SECRET).into()),
        }
        findings.extend(time_of(&exhibit.headers, scheme).and_then(|text| clock(text, exhibit.now)));
    }
    findings.extend(is_form(&exhibit.headers).then_some(&FORM).map(Finding::from));
    let curl = curl::working(exhibit, door);
    let mut findings = findings.into_iter();
    let first = findings.next().unwrap_or_else(|| (&FINE).into());
    Diagnosis {
        code: first.mistake.code.to_owned(),
        sentence: first.sentence(),
        cure: first.mistake.cure.to_owned(),
        also: findings.map(|finding| format!("{}: {}", finding.sentence(), finding.mistake.cure)).collect(),
        curl,
    }
}

/// What the headers alone say; with any of these there is no signature to make again.
fn headers_findings(headers: &Headers, scheme: &Scheme) -> Vec<Finding> {
    if let Some(foreign) = foreign_scheme(headers, scheme) {
        return vec![foreign.into()];
    }
    if is_unsigned(headers, scheme) {
        return vec![(&UNSIGNED).into()];
    }
    let mut findings = Vec::new();
    for name in [Some(scheme.id), scheme.timestamp, Some(scheme.signature)].into_iter().flatten() {
        match headers.all(name).count() {
            0 => findings.push(Finding::with(&HEADER_MISSING, name)),
            1 if headers.text(name).is_none() => findings.push(Finding::with(&HEADER_UNREADABLE, name)),
            1 => {}
            _ => findings.push(Finding::with(&HEADER_REPEATED, name)),
        }
    }
    if findings.is_empty() {
        findings.extend(time_of(headers, scheme).and_then(timestamp_form));
    }
    findings
}

/// The text of the timestamp, where the scheme has one.
fn time_of<'a>(headers: &'a Headers, scheme: &Scheme) -> Option<&'a str> {
    headers.text(scheme.timestamp?)
}

/// Without a secret at the webhook MLflow and GitHub send no signature, Gitea and Forgejo send one of nothing.
fn is_unsigned(headers: &Headers, scheme: &Scheme) -> bool {
    let has_none = !headers.has(scheme.signature) || headers.text(scheme.signature) == Some("sha256=");
    scheme != &STANDARD && headers.has(scheme.id) && has_none
}

/// GitHub and its likes send JSON as a field of a form unless they are told otherwise.
fn is_form(headers: &Headers) -> bool {
    let given = headers.text("content-type").unwrap_or_default().to_ascii_lowercase();
    given.starts_with("application/x-www-form-urlencoded")
}

fn foreign_scheme(headers: &Headers, scheme: &Scheme) -> Option<&'static Mistake> {
    if headers.has(scheme.signature) {
        return None;
    }
    if scheme == &GITHUB && headers.has(SHA1_HEADER) {
        return Some(&SHA1_ALONE);
    }
    let others = [
        (GITHUB.signature, &GITHUB_SCHEME),
        (SHA1_HEADER, &GITHUB_SCHEME),
        (STANDARD.signature, &STANDARD_SCHEME),
        (MLFLOW.signature, &MLFLOW_SCHEME),
    ];
    others.into_iter().find(|(signature, _)| headers.has(signature)).map(|(_, mistake)| mistake)
}

fn timestamp_form(text: &str) -> Option<Finding> {
    if parse_seconds(text).is_some() {
        return None;
    }
    let milliseconds = text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit());
    Some(if milliseconds { (&MILLISECONDS).into() } else { Finding::with(&TIMESTAMP_FORM, crate::names::shown(text)) })
}

fn clock(text: &str, now: Timestamp) -> Option<Finding> {
    let age = now.as_second() - parse_seconds(text)?.as_second();
    match age {
        age if age > SIGNED_WINDOW_SECONDS => Some(Finding::with(&STALE, age.to_string())),
        age if age < -SIGNED_WINDOW_SECONDS => Some(Finding::with(&FUTURE, (-age).to_string())),
        _ => None,
    }
}
