//! MLflow's registry webhooks: what its JSON says happened.
//!
//! Fifteen events exist, six matter. Whatever is authentic but can never be acted on (another event, a name that no release can bear,
//! a field that is missing) is an ignored event with its reason, so that the sender sees success and a person finds out why.
//! Fields that a later MLflow adds are passed over.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::{ParseError, parse_object};
use crate::event::{Event, RegistryChange, RegistryFact};
use crate::names::{AliasName, InvalidName, ModelName, STATUS_TAG_PREFIX, Version, shown};

/// The longest tag value that MLflow keeps, in characters.
const TAG_VALUE_CHARS_MAX: usize = 100_000;

/// The longest tag key that MLflow keeps, in characters.
const TAG_KEY_CHARS_MAX: usize = 250;

type Object = Map<String, Value>;

/// Reads an authentic body of MLflow's.
pub fn parse(body: &[u8]) -> Result<Event, ParseError> {
    let envelope = parse_object(body)?;
    Ok(match change(&envelope) {
        Ok(change) => Event::RegistryChanged(change),
        Err(Useless(reason)) => Event::Ignored { reason },
    })
}

/// Why a body can never be acted on, as one sentence.
struct Useless(String);

impl From<InvalidName> for Useless {
    fn from(error: InvalidName) -> Self {
        Self(error.to_string())
    }
}

fn change(envelope: &Object) -> Result<RegistryChange, Useless> {
    let event = format!("{}.{}", text(envelope, "entity")?, text(envelope, "action")?);
    let Some(Value::Object(data)) = envelope.get("data") else {
        return Err(Useless(format!("`{}` has no object `data`", shown(&event))));
    };
    let fact = match event.as_str() {
        "registered_model.created" => RegistryFact::ModelCreated,
        "model_version.created" => RegistryFact::VersionCreated {
            version: version(data)?,
            source: optional_text(data, "source")?,
            tags: tags(data)?,
        },
        "model_version_tag.set" => {
            RegistryFact::TagSet { version: version(data)?, key: key(data)?, value: value(data)? }
        }
        "model_version_tag.deleted" => RegistryFact::TagDeleted { version: version(data)?, key: key(data)? },
        "model_version_alias.created" => RegistryFact::AliasSet { alias: alias(data)?, version: version(data)? },
        "model_version_alias.deleted" => RegistryFact::AliasDeleted { alias: alias(data)? },
        _ => return Err(Useless(format!("`{}` says nothing about releases", shown(&event)))),
    };
    Ok(RegistryChange { model: ModelName::parse(text(data, "name")?)?, at: at(envelope)?, fact })
}

/// The time of the event. Microseconds and the offset may be missing; without an offset it is UTC, as MLflow's clock is.
fn at(envelope: &Object) -> Result<Timestamp, Useless> {
    let text = text(envelope, "timestamp")?;
    let with_offset = text.parse::<Timestamp>().ok();
    let parsed = with_offset.or_else(|| Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    parsed.ok_or_else(|| Useless(format!("its timestamp `{}` is not a time", shown(text))))
}

fn version(data: &Object) -> Result<Version, Useless> {
    Ok(Version::parse(text(data, "version")?)?)
}

fn alias(data: &Object) -> Result<AliasName, Useless> {
    Ok(AliasName::parse(text(data, "alias")?)?)
}

/// The key of a tag that was set or deleted. What the service itself wrote is no news.
fn key(data: &Object) -> Result<String, Useless> {
    let key = checked_key(text(data, "key")?)?;
    if key.starts_with(STATUS_TAG_PREFIX) {
        return Err(Useless(format!("the tag `{}` is written by Kmlflow itself", shown(&key))));
    }
    Ok(key)
}

fn value(data: &Object) -> Result<String, Useless> {
    checked_value(text(data, "value")?)
}

fn tags(data: &Object) -> Result<Vec<(String, String)>, Useless> {
    let tags = match data.get("tags") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(tags)) => tags,
        Some(_) => return Err(Useless("`tags` is not an object".to_owned())),
    };
    tags.iter().map(|(key, _)| Ok((checked_key(key)?, checked_value(text(tags, key)?)?))).collect()
}

fn checked_key(key: &str) -> Result<String, Useless> {
    if key.is_empty() || key.chars().nth(TAG_KEY_CHARS_MAX).is_some() {
        return Err(Useless(format!(
            "the tag `{}` must have a key of 1 to {TAG_KEY_CHARS_MAX} characters",
            shown(key)
        )));
    }
    Ok(key.to_owned())
}

fn checked_value(value: &str) -> Result<String, Useless> {
    if value.chars().nth(TAG_VALUE_CHARS_MAX).is_some() {
        return Err(Useless(format!("a tag has a value of more than {TAG_VALUE_CHARS_MAX} characters")));
    }
    Ok(value.to_owned())
}

fn text<'a>(object: &'a Object, field: &str) -> Result<&'a str, Useless> {
    match object.get(field) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Useless(format!("`{}` is not a text", shown(field)))),
        None => Err(Useless(format!("`{}` is missing", shown(field)))),
    }
}

fn optional_text(object: &Object, field: &str) -> Result<Option<String>, Useless> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(object, field).map(|text| Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(entity_action: &str, data: &str) -> Event {
        let (entity, action) = entity_action.split_once('.').unwrap();
        let time = "2026-11-23T04:10:46.123479+00:00";
        parse(
            format!(r#"{{"entity": "{entity}", "action": "{action}", "timestamp": "{time}", "data": {data}}}"#)
                .as_bytes(),
        )
        .unwrap()
    }

    #[track_caller]
    fn fact(entity_action: &str, data: &str) -> RegistryFact {
        match event(entity_action, data) {
            Event::RegistryChanged(change) => change.fact,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn ignored(entity_action: &str, data: &str, because: &str) {
        match event(entity_action, data) {
            Event::Ignored { reason } => {
                assert!(reason.contains(because) && !reason.contains('\n') && reason.len() < 400, "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_six_events_that_matter_become_facts() {
        let (version, alias) = (Version::parse("2").unwrap(), AliasName::parse("champion").unwrap());
        assert_eq!(
            fact("registered_model.created", r#"{"name":"m","tags":{},"description":""}"#),
            RegistryFact::ModelCreated
        );
        assert_eq!(
            fact(
                "model_version.created",
                r#"{"name":"m","version":"2","source":"s3://b/m","run_id":null,"tags":{"a":"b"}}"#
            ),
            RegistryFact::VersionCreated {
                version: version.clone(),
                source: Some("s3://b/m".to_owned()),
                tags: vec![("a".to_owned(), "b".to_owned())]
            }
        );
        assert_eq!(
            fact("model_version_tag.set", r#"{"name":"m","version":"2","key":"k","value":"gr\u00f6\u00dfe \n"}"#),
            RegistryFact::TagSet { version: version.clone(), key: "k".to_owned(), value: "größe \n".to_owned() }
        );
        assert_eq!(
            fact("model_version_tag.deleted", r#"{"name":"m","version":"2","key":"k"}"#),
            RegistryFact::TagDeleted { version: version.clone(), key: "k".to_owned() }
        );
        assert_eq!(
            fact("model_version_alias.created", r#"{"name":"m","alias":"champion","version":"2"}"#),
            RegistryFact::AliasSet { alias: alias.clone(), version }
        );
        assert_eq!(
            fact("model_version_alias.deleted", r#"{"name":"m","alias":"champion"}"#),
            RegistryFact::AliasDeleted { alias }
        );
    }

    #[test]
    fn an_event_that_does_not_matter_is_ignored_by_name() {
        for name in [
            "prompt.created",
            "prompt_version_tag.set",
            "budget_policy.exceeded",
            "trace.logged",
            "model_version.deleted",
        ] {
            ignored(name, r#"{"name":"greet"}"#, &format!("`{name}` says nothing about releases"));
        }
    }

    #[test]
    fn a_value_that_no_release_can_bear_is_ignored_with_its_reason() {
        let set = "model_version_alias.created";
        ignored(set, r#"{"name":"a\nb","alias":"champion","version":"2"}"#, "model name `a\\nb`");
        ignored(set, r#"{"name":"../x","alias":"champion","version":"2"}"#, "model name `../x`");
        ignored(set, &format!(r#"{{"name":"{}","alias":"champion","version":"2"}}"#, "m".repeat(300)), "model name");
        ignored(set, r#"{"name":"m","alias":"champion","version":"0"}"#, "version `0`");
        ignored(set, r#"{"name":"m","alias":"champion","version":2}"#, "`version` is not a text");
        ignored(set, r#"{"name":"m","alias":"cham\u202epion","version":"2"}"#, "alias");
        ignored(set, r#"{"name":"m","alias":"champion"}"#, "`version` is missing");
        ignored(set, "[]", "no object `data`");
        ignored(
            "model_version_tag.set",
            r#"{"name":"m","version":"2","key":"k","value":null}"#,
            "`value` is not a text",
        );
        ignored("model_version.created", r#"{"name":"m","version":"2","tags":[]}"#, "`tags` is not an object");
    }

    #[test]
    fn a_tag_value_may_be_as_long_as_mlflow_allows_and_no_longer() {
        let body = |chars: usize| format!(r#"{{"name":"m","version":"2","key":"k","value":"{}"}}"#, "ö".repeat(chars));
        assert!(
            matches!(fact("model_version_tag.set", &body(100_000)), RegistryFact::TagSet { value, .. } if value.len() == 200_000)
        );
        ignored("model_version_tag.set", &body(100_001), "more than 100000 characters");
    }

    #[test]
    fn a_field_of_a_later_mlflow_is_passed_over() {
        let body = br#"{"entity":"registered_model","action":"created","timestamp":"2026-11-23T04:10:46Z","data":{"name":"m","id":7},"workspace":"team-a"}"#;
        assert!(matches!(parse(body), Ok(Event::RegistryChanged(_))));
    }

    #[test]
    fn a_timestamp_is_read_with_and_without_fraction_and_offset() {
        let read = |time: &str| {
            let body = format!(
                r#"{{"entity":"registered_model","action":"created","timestamp":"{time}","data":{{"name":"m"}}}}"#
            );
            match parse(body.as_bytes()).unwrap() {
                Event::RegistryChanged(change) => change.at.to_string(),
                Event::Ignored { reason } => reason,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read("2026-11-23T04:10:46.123479+00:00"), "2026-11-23T04:10:46.123479Z");
        assert_eq!(read("2026-11-23T04:10:46+00:00"), "2026-11-23T04:10:46Z");
        assert_eq!(read("2026-11-23T05:10:46+01:00"), "2026-11-23T04:10:46Z");
        assert_eq!(read("2026-11-23T04:10:46.5"), "2026-11-23T04:10:46.5Z");
        assert_eq!(read("yesterday"), "its timestamp `yesterday` is not a time");
    }

    #[test]
    fn a_body_that_is_not_an_object_of_json_is_an_error() {
        assert_eq!(parse(b"\xff{}"), Err(ParseError::NotUtf8));
        assert_eq!(parse(b"[1]"), Err(ParseError::NotAnObject));
        for bad in ["", "{", r#"{"entity": "model_ver"#, "{} {}", "NaN", "{'a': 1}"] {
            assert!(matches!(parse(bad.as_bytes()), Err(ParseError::NotJson(_))), "{bad}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_an_overflow() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(150_000), "}".repeat(150_000));
        assert!(matches!(parse(deep.as_bytes()), Err(ParseError::NotJson(_))));
    }
}
