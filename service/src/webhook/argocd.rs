//! Argo CD's notifications: which Application something became of. What became of it is read from the cluster, never from here.
//!
//! The body is what the template in `gitops-repo/platform/argo-cd` makes; of it only `application` is read.

use serde_json::Value;

use super::{ParseError, parse_object};
use crate::event::Event;

/// The longest name of an object of Kubernetes.
const NAME_MAX: usize = 253;

/// Reads an authentic delivery.
///
/// # Errors
/// The body is no JSON object.
pub fn parse(body: &[u8]) -> Result<Event, ParseError> {
    let body = parse_object(body)?;
    let named = body.get("application").and_then(Value::as_str);
    Ok(match named.filter(|name| (1..=NAME_MAX).contains(&name.len())) {
        Some(name) => Event::ApplicationChanged { application: name.to_owned() },
        None => Event::Ignored { reason: "a notification that names no `application`".to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Event {
        parse(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_application_is_named_and_nothing_else_is_believed() {
        let told = json!({"application": "production.models.fraud", "phase": "Succeeded", "revision": "x", "health": {"status": "Healthy"}});
        assert_eq!(read(&told), Event::ApplicationChanged { application: "production.models.fraud".to_owned() });
    }

    #[test]
    fn what_names_none_is_of_no_interest() {
        let long = "a".repeat(NAME_MAX + 1);
        for body in [json!({}), json!({"application": ""}), json!({"application": 7}), json!({"application": long})] {
            assert!(matches!(read(&body), Event::Ignored { .. }), "{body}");
        }
        for body in [&b"[]"[..], b"application", b"\xff", b""] {
            assert!(parse(body).is_err(), "{body:?}");
        }
    }
}
