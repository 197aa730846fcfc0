//! Proof that a delivery comes from somebody who knows a secret, and is fresh.
//!
//! Two schemes sign the same message, `<id>.<timestamp>.<body>`, under different headers: MLflow's own, whose key is the secret's
//! text as it is, and Standard Webhooks 1.0, whose key is the base64 part of `whsec_…`. GitHub signs the body alone, with the secret's text
//! (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>): neither id nor time are proven, so whoever
//! caught such a delivery can send it again under another id. Everything here works on the raw bytes, before anything reads the body.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use crate::bounds::SIGNED_WINDOW_SECONDS;
use crate::names::DeliveryId;

pub(super) const MLFLOW_TIMESTAMP: &str = "x-mlflow-timestamp";

pub(super) const STANDARD_TIMESTAMP: &str = "webhook-timestamp";

/// The headers of MLflow's scheme.
pub const MLFLOW: Scheme = Scheme {
    id: "x-mlflow-delivery-id",
    timestamp: Some(MLFLOW_TIMESTAMP),
    signature: "x-mlflow-signature",
    form: Form::One,
};

/// The headers of Standard Webhooks 1.0.
pub const STANDARD: Scheme =
    Scheme { id: "webhook-id", timestamp: Some(STANDARD_TIMESTAMP), signature: "webhook-signature", form: Form::List };

/// The headers of GitHub, which Gitea and Forgejo send beside their own. The signature by SHA-1, `X-Hub-Signature`, is never looked at.
pub const GITHUB: Scheme =
    Scheme { id: "x-github-delivery", timestamp: None, signature: "x-hub-signature-256", form: Form::Hex };

/// The most signatures looked at in one `webhook-signature` header; a sender that rotates sends two.
const SIGNATURES_MAX: usize = 8;

/// One scheme: the names of its headers in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    pub id: &'static str,
    /// Where the time is signed, and the id with it; otherwise the body alone is.
    pub timestamp: Option<&'static str>,
    pub signature: &'static str,
    pub form: Form,
}

/// How the signature header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `v1,` and base64.
    One,
    /// A list of those, of which one must be right.
    List,
    /// `sha256=` and hexadecimal digits.
    Hex,
}

/// A shared secret. `Debug` shows nothing of it, and nothing compares two of them.
#[derive(Clone)]
pub struct Secret {
    text: String,
    key: Vec<u8>,
}

/// A text that cannot be a secret; says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("the secret is empty")]
    Empty,
    #[error("the secret is not `whsec_` and base64")]
    NotStandard,
}

/// The headers of a request, in order, as they arrived.
#[derive(Clone, Default)]
pub struct Headers(Vec<(String, Vec<u8>)>);

/// A delivery that is authentic and fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub delivery_id: DeliveryId,
    /// When the sender says it was signed, where that is signed too.
    pub signed_at: Option<Timestamp>,
}

/// Why a delivery is not believed: for the log and a counter, never for the sender, who gets one fixed answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("no secret is configured")]
    NoSecret,
    #[error("header `{0}` is missing")]
    Missing(&'static str),
    #[error("header `{0}` is there more than once")]
    Repeated(&'static str),
    #[error("header `{0}` is malformed")]
    Malformed(&'static str),
    #[error("signed {0} s ago")]
    Stale(i64),
    #[error("signed {0} s in the future")]
    Future(i64),
    #[error("no live secret gives this signature")]
    Mismatch,
}

impl Secret {
    /// Reads a secret whose text is the key, from a file's text; white space at the end is dropped.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim_end();
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self { text: text.to_owned(), key: text.as_bytes().to_vec() })
    }

    /// Reads a file's text with one secret per line, every one of them live; empty lines do not count.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>, SecretError> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Err(SecretError::Empty);
        }
        lines.into_iter().map(Self::parse).collect()
    }

    /// Reads a secret of Standard Webhooks, `whsec_` and base64, from a file's text; the prefix may be left out, as its libraries allow.
    pub fn parse_standard(text: &str) -> Result<Self, SecretError> {
        let Self { text, .. } = Self::parse(text)?;
        let key = BASE64.decode(text.strip_prefix("whsec_").unwrap_or(&text)).map_err(|_| SecretError::NotStandard)?;
        if key.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self { text, key })
    }

    /// The text as it stands in the file, for the doctor's experiments.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Headers {
    /// Takes headers as they arrived, for example from a server's header map.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.as_ref().to_ascii_lowercase(), value.as_ref().to_vec()))
                .collect(),
        )
    }

    /// Every value of a header, named in lower case.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// Whether a header, named in lower case, is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The one readable value of a header.
    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        self.one(name).ok()
    }

    /// The one value of a header: printable ASCII, not empty, not there twice.
    pub(super) fn one(&self, name: &'static str) -> Result<&str, ProofError> {
        let mut values = self.all(name);
        let value = values.next().ok_or(ProofError::Missing(name))?;
        if values.next().is_some() {
            return Err(ProofError::Repeated(name));
        }
        let printable = !value.is_empty() && value.iter().all(|b| (b' '..=b'~').contains(b));
        let text = std::str::from_utf8(value).ok().filter(|_| printable);
        text.ok_or(ProofError::Malformed(name))
    }
}

/// Header values may hold a proof or a token, so only the names are shown.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Proves a delivery of MLflow against every live secret.
pub fn verify_mlflow(headers: &Headers, body: &[u8], secrets: &[Secret], now: Timestamp) -> Result<Proof, ProofError> {
    fresh(verify(headers, &MLFLOW, body, secrets)?, now)
}

/// Proves a delivery by Standard Webhooks 1.0 against every live secret.
pub fn verify_standard(
    headers: &Headers,
    body: &[u8],
    secrets: &[Secret],
    now: Timestamp,
) -> Result<Proof, ProofError> {
    fresh(verify(headers, &STANDARD, body, secrets)?, now)
}

/// Proves a delivery of GitHub, Gitea or Forgejo against every live secret.
pub fn verify_github(headers: &Headers, body: &[u8], secrets: &[Secret]) -> Result<Proof, ProofError> {
    verify(headers, &GITHUB, body, secrets)
}

/// Signs as MLflow does and gives the three headers.
pub fn sign_mlflow(secret: &Secret, id: &DeliveryId, at: Timestamp, body: &[u8]) -> [(&'static str, String); 3] {
    sign((&MLFLOW, MLFLOW_TIMESTAMP), (secret, id, at), body)
}

/// Signs by Standard Webhooks 1.0 and gives the three headers.
pub fn sign_standard(secret: &Secret, id: &DeliveryId, at: Timestamp, body: &[u8]) -> [(&'static str, String); 3] {
    sign((&STANDARD, STANDARD_TIMESTAMP), (secret, id, at), body)
}

/// Signs as GitHub does and gives the two headers; a third, which is not signed, says which event it is.
pub fn sign_github(secret: &Secret, id: &DeliveryId, body: &[u8]) -> [(&'static str, String); 2] {
    [(GITHUB.id, id.to_string()), sign_github_body(secret, body)]
}

/// Signs a body as GitHub does and gives the header.
pub fn sign_github_body(secret: &Secret, body: &[u8]) -> (&'static str, String) {
    let tag = mac(&secret.key, &[], body).finalize().into_bytes();
    (GITHUB.signature, format!("sha256={}", hex::encode(tag)))
}

fn sign(
    (scheme, timestamp_header): (&Scheme, &'static str),
    (secret, id, at): (&Secret, &DeliveryId, Timestamp),
    body: &[u8],
) -> [(&'static str, String); 3] {
    let timestamp = at.as_second().to_string();
    let tag = mac(&secret.key, &[id.as_str(), ".", &timestamp, "."], body).finalize().into_bytes();
    [
        (scheme.id, id.to_string()),
        (timestamp_header, timestamp),
        (scheme.signature, format!("v1,{}", BASE64.encode(tag))),
    ]
}

fn verify(headers: &Headers, scheme: &Scheme, body: &[u8], secrets: &[Secret]) -> Result<Proof, ProofError> {
    if secrets.is_empty() {
        return Err(ProofError::NoSecret);
    }
    let id = headers.one(scheme.id)?;
    let delivery_id = DeliveryId::parse(id).map_err(|_| ProofError::Malformed(scheme.id))?;
    let (mut signed_at, mut before_body) = (None, Vec::new());
    if let Some(header) = scheme.timestamp {
        let timestamp = headers.one(header)?;
        signed_at = Some(parse_seconds(timestamp).ok_or(ProofError::Malformed(header))?);
        before_body = vec![id, ".", timestamp, "."];
    }
    let given =
        parse_signatures(headers.one(scheme.signature)?, scheme.form).ok_or(ProofError::Malformed(scheme.signature))?;

    // Every pair is tried, so that the time it takes does not tell which secret fits.
    let mut matches = false;
    for secret in secrets {
        let mac = mac(&secret.key, &before_body, body);
        for signature in &given {
            matches |= mac.clone().verify_slice(signature).is_ok();
        }
    }
    if matches { Ok(Proof { delivery_id, signed_at }) } else { Err(ProofError::Mismatch) }
}

/// Refuses what was signed too long ago, or in the future.
fn fresh(proof: Proof, now: Timestamp) -> Result<Proof, ProofError> {
    let age = proof.signed_at.map_or(0, |signed_at| now.as_second() - signed_at.as_second());
    match age {
        age if age > SIGNED_WINDOW_SECONDS => Err(ProofError::Stale(age)),
        age if age < -SIGNED_WINDOW_SECONDS => Err(ProofError::Future(-age)),
        _ => Ok(proof),
    }
}

/// Reads the signatures of a header. In a list, those of other versions and what cannot be one are passed over: another may be right.
fn parse_signatures(text: &str, form: Form) -> Option<Vec<[u8; 32]>> {
    match form {
        Form::One => parse_signature(text).map(|one| vec![one]),
        Form::List => {
            let ours: Vec<[u8; 32]> = text.split(' ').filter_map(parse_signature).take(SIGNATURES_MAX).collect();
            Some(ours).filter(|all| !all.is_empty())
        }
        Form::Hex => Some(vec![hex::decode(text.strip_prefix("sha256=")?).ok()?.try_into().ok()?]),
    }
}

/// Reads `v1,` and the padded standard base64 of 32 bytes.
fn parse_signature(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text.strip_prefix("v1,")?).ok()?.try_into().ok()
}

/// Reads Unix seconds: digits only, without a sign or leading zeros, at most 10 of them (the year 2286).
pub(super) fn parse_seconds(text: &str) -> Option<Timestamp> {
    let digits = (1..=10).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    digits.then(|| text.parse().ok()).flatten().and_then(|seconds| Timestamp::from_second(seconds).ok())
}

/// The keyed hash over some parts and the body.
pub(super) fn mac(key: &[u8], parts: &[&str], body: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part.as_bytes());
    }
    mac.update(body);
    mac
}
