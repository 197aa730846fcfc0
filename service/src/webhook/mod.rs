//! Bytes → event: proves that a delivery is authentic, then reads what it says.
//!
//! One file per sender. Pure: a header list, the raw body, the live secrets and the present moment go in; nothing is stored or answered here.
//! Only the live secrets themselves are read, from the file that they lie in.

pub mod argocd;
pub mod bearer;
pub mod doctor;
pub mod github;
pub mod live;
pub mod mlflow;
pub mod signature;
pub mod standard;

use crate::release::Refusal;

/// An authentic body that cannot be read as an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The bytes are not UTF-8 (400).
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// The text is not JSON, is cut short, or is nested deeper than 127 levels (400).
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The JSON is a list, a number or the like (400).
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// The header that says what the body is about is not there (400).
    #[error("the header `{0}` is missing")]
    NoHeader(&'static str),
    /// A field is missing, unknown or of another type (400).
    #[error("{0}")]
    Fields(Refusal),
    /// A readable request that cannot be carried out (422).
    #[error("{0}")]
    Refused(Refusal),
}

/// Reads a body as a JSON object.
fn parse_object(body: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, ParseError> {
    let text = std::str::from_utf8(body).map_err(|_| ParseError::NotUtf8)?;
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err(ParseError::NotAnObject),
        Err(error) => Err(ParseError::NotJson(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
