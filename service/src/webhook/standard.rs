//! Generic deliveries by Standard Webhooks: a release request with the release's place.
//!
//! What is readable but cannot be carried out is a refusal, which the inbox keeps for a person to read.

use serde_json::{Map, Value};

use super::{ParseError, parse_object};
use crate::event::{Event, Guard, Requested};
use crate::names::{EnvironmentName, InvalidName, Namespace, ReleaseKey, ReleaseName};
use crate::release::{Intent, Refusal, ReleaseRequest, Violation};

/// Reads an authentic body: a release request with `namespace`, `environment` and, unless it is the model's, `name`.
pub fn parse(body: &[u8]) -> Result<Event, ParseError> {
    let mut body = parse_object(body)?;
    request(&mut body).map(|requested| Event::Requested(Box::new(requested)))
}

/// Reads the fields of a release request and of its place.
pub(super) fn request(body: &mut Map<String, Value>) -> Result<Requested, ParseError> {
    let name = take(body, "name", ReleaseName::parse)?;
    let namespace =
        take(body, "namespace", Namespace::parse)?.ok_or_else(|| ParseError::Fields(missing("namespace")))?;
    let environment =
        take(body, "environment", EnvironmentName::parse)?.ok_or_else(|| ParseError::Fields(missing("environment")))?;
    let mut request: ReleaseRequest =
        serde_json::from_value(Value::Object(std::mem::take(body))).map_err(|e| unreadable(&e))?;
    let name = name.unwrap_or_else(|| ReleaseName::of_model(&request.model));
    let requested_by = request.requested_by.take().map(String::from);
    let wanted = request.wanted().map_err(ParseError::Refused)?;
    let key = ReleaseKey { environment, namespace, name };
    Ok(Requested { key, intent: Intent::Put(Box::new(wanted)), guard: Guard::default(), requested_by })
}

/// Takes a field that says where the release goes out of the body.
fn take<T>(
    body: &mut Map<String, Value>,
    field: &str,
    parse: impl Fn(&str) -> Result<T, InvalidName>,
) -> Result<Option<T>, ParseError> {
    match body.shift_remove(field) {
        None => Ok(None),
        Some(Value::String(text)) => {
            let named = |error: InvalidName| violation(field, format!("is no {}: it {}", error.what, error.rule));
            parse(&text).map(Some).map_err(|error| ParseError::Refused(named(error)))
        }
        Some(_) => Err(ParseError::Fields(violation(field, "must be a text".to_owned()))),
    }
}

pub(super) fn missing(field: &str) -> Refusal {
    violation(field, "is missing".to_owned())
}

pub(super) fn violation(field: &str, detail: String) -> Refusal {
    Refusal::violations(vec![Violation { field: field.to_owned(), detail }])
}

/// Says which field does not fit; serde names it in backticks at the start of the two commonest errors.
fn unreadable(error: &serde_json::Error) -> ParseError {
    let text = error.to_string();
    if let Some((field, rest)) = text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        return ParseError::Fields(violation(
            &crate::names::shown(field),
            format!("is not a field of a request{rest}"),
        ));
    }
    match text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        Some((field, _)) => ParseError::Fields(missing(field)),
        None => ParseError::Refused(Refusal::invalid(
            text,
            "Send the fields of a release request with `namespace` and `environment`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepted(body: &str) -> Requested {
        match parse(body.as_bytes()).unwrap() {
            Event::Requested(requested) => *requested,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(body: &str, because: &str) {
        match parse(body.as_bytes()) {
            Err(ParseError::Fields(refusal) | ParseError::Refused(refusal)) => {
                assert!(refusal.reason.contains(because) && !refusal.reason.contains('\n'), "{}", refusal.reason);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_names_its_release_or_takes_the_models_name() {
        let named = accepted(
            r#"{"name":"fraud","namespace":"models","environment":"production","model":"Fraud 1","version":7}"#,
        );
        assert_eq!(named.key.to_string(), "production/models/fraud");
        let unnamed = accepted(r#"{"namespace":"models","environment":"production","model":"fraud","version":"7"}"#);
        assert_eq!(unnamed.key.to_string(), "production/models/fraud");
    }

    #[test]
    fn a_request_becomes_an_absolute_intent_and_keeps_who_asked() {
        let requested = accepted(
            r#"{"name":"fraud","namespace":"models","environment":"production","model":"fraud","version":"8","strategy":"canary","baseline":"7","requestedBy":"ci"}"#,
        );
        assert_eq!(requested.requested_by.as_deref(), Some("ci"));
        let Intent::Put(wanted) = requested.intent else { panic!("not a put") };
        assert_eq!(wanted.baseline.unwrap().as_str(), "7");
        assert_eq!(wanted.arms[0].version.as_str(), "8");
        assert!(!wanted.by_registry);
    }

    #[test]
    fn what_is_wrong_with_a_request_is_named() {
        let body = |rest: &str| format!(r#"{{"namespace":"models","environment":"production",{rest}}}"#);
        refused(&body(r#""model":"m","version":"7","colour":"red""#), "`colour` is not a field of a request");
        refused(&body(r#""model":"m""#), "`version` is missing");
        refused(&body(r#""model":"m","version":"0""#), "version `0`");
        refused(&body(r#""model":"m","version":"7","name":"../x""#), "`name` is no release name");
        refused(&body(r#""model":"m","version":"7","name":"a\nb""#), "`name` is no release name");
        refused(&body(r#""model":"m","version":"7","name":7"#), "`name` must be a text");
        refused(&body(r#""model":"m","version":42949672960"#), "version `42949672960`");
        refused(&body(r#""model":"m","version":7.5"#), "a version must be a text or a whole number");
        refused(&body(r#""model":"m","version":"7","strategy":"canary","steps":["x"]"#), "a step must be a weight");
        refused(&body(r#""model":"m","version":"7","strategy":"canary","steps":[50,5]"#), "steps");
        refused(&body(r#""model":"m","version":"7","percent":50"#), "`percent` is for the strategy `shadow`");
        refused(r#"{"environment":"production","model":"m","version":"7"}"#, "`namespace` is missing");
        refused(r#"{"namespace":"models","model":"m","version":"7"}"#, "`environment` is missing");
    }

    #[test]
    fn a_body_that_is_not_an_object_of_json_is_an_error() {
        assert_eq!(parse(b"\xff"), Err(ParseError::NotUtf8));
        assert_eq!(parse(b"\"x\""), Err(ParseError::NotAnObject));
        assert!(matches!(parse(b"{\"name\":"), Err(ParseError::NotJson(_))));
    }
}
