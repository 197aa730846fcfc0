//! Writing YAML that every parser reads alike, and reading the same at speed.
//!
//! YAML 1.1 takes `yes`, `1_000`, `190:20` and `2026-11-27` for something else than text, 1.2 does not, and the tools around a
//! repository use either. So only what no parser could mistake stands without quotes. Whatever others write is read by the library.

mod node;
mod reader;

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

pub(crate) use node::Node;
#[cfg(test)]
pub(crate) use reader::at_speed;
pub(crate) use reader::read;

use crate::names::is_invisible;

/// Texts that YAML 1.1 reads as a boolean or as nothing, in whatever case.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// The longest key in bytes that is written as one: parsers look for its colon within 1024 characters.
const KEY_BYTES_MAX: usize = 1000;

/// Writes a value as a YAML document: a field a line, in the order of the fields.
///
/// # Errors
/// What has no form in YAML.
pub fn to_yaml<T: Serialize>(value: &T) -> Result<String, serde_yaml::Error> {
    let value = serde_yaml::to_value(value)?;
    let mut out = String::new();
    if is_filled(&value) {
        entries(&mut out, &value, 0);
    } else {
        scalar(&mut out, &value);
        out.push('\n');
    }
    Ok(out)
}

/// Reads a value from one document.
///
/// # Errors
/// What is not YAML, or not such a value.
pub(super) fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, serde_yaml::Error> {
    // The library is asked wherever this is not certain: it takes `7` for a text where one is wanted.
    let at_speed = reader::at_speed(text).and_then(|documents| match documents.as_slice() {
        [document] => T::deserialize(document).ok(),
        _ => None,
    });
    at_speed.map_or_else(|| serde_yaml::from_str(text), Ok)
}

/// Whether it is a collection with lines of its own.
fn is_filled(value: &Value) -> bool {
    match value {
        Value::Mapping(mapping) => !mapping.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        _ => false,
    }
}

/// Writes the entries of a collection, the first where the text ends now and each other one on a new line.
fn entries(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Mapping(mapping) => {
            for (n, (name, value)) in mapping.iter().enumerate() {
                spaces(out, if n == 0 { 0 } else { indent });
                key(out, name, indent);
                if is_filled(value) {
                    let inside = if value.is_sequence() { indent } else { indent + 2 };
                    out.push('\n');
                    spaces(out, inside);
                    entries(out, value, inside);
                } else {
                    last(out, value);
                }
            }
        }
        Value::Sequence(items) => {
            for (n, item) in items.iter().enumerate() {
                spaces(out, if n == 0 { 0 } else { indent });
                out.push('-');
                if is_filled(item) {
                    out.push(' ');
                    entries(out, item, indent + 2);
                } else {
                    last(out, item);
                }
            }
        }
        scalar => last(out, scalar),
    }
}

fn last(out: &mut String, value: &Value) {
    out.push(' ');
    scalar(out, value);
    out.push('\n');
}

fn key(out: &mut String, name: &Value, indent: usize) {
    let mut text = String::new();
    scalar(&mut text, name);
    if text.len() > KEY_BYTES_MAX {
        out.push_str("? ");
        text.push('\n');
        spaces(&mut text, indent);
    }
    out.push_str(&text);
    out.push(':');
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// Writes what stands on one line; a tag is not written, because no document here has one.
fn scalar(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => _ = write!(out, "{number}"),
        Value::String(text) if is_plain(text) => out.push_str(text),
        Value::String(text) if text.chars().any(is_invisible) => quoted(out, text),
        Value::String(text) => _ = write!(out, "'{}'", text.replace('\'', "''")),
        Value::Sequence(_) => out.push_str("[]"),
        Value::Mapping(_) => out.push_str("{}"),
        Value::Tagged(tagged) => scalar(out, &tagged.value),
    }
}

/// Whether no parser could read the text as anything but itself: a word, a name, a path, an address, or an amount with a unit.
fn is_plain(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_amount = rest.len() < text.len() && ["s", "m", "h", "Ki", "Mi", "Gi", "Ti"].contains(&rest);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/:@-".contains(&b))
        && !text.ends_with(':')
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    is_word || is_amount
}

/// A double-quoted literal that JSON, YAML and `PromQL` read alike. What is invisible or breaks lines is escaped.
pub(crate) fn quoted(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        // Most of every text, by far: taken over as it is.
        let plain = rest.bytes().position(|b| !matches!(b, b' '..=b'~') || b == b'"' || b == b'\\');
        let (as_it_is, behind) = rest.split_at(plain.unwrap_or(rest.len()));
        out.push_str(as_it_is);
        let mut chars = behind.chars();
        let Some(c) = chars.next() else { break };
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Beyond four digits JSON and YAML have no escape in common, and no parser needs one.
            c if is_invisible(c) && u32::from(c) <= 0xffff => {
                _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
        rest = chars.as_str();
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_yaml::{Mapping, Number};

    use super::*;

    /// What YAML 1.1 or 1.2 reads as something else, or not at all, where it stands without quotes.
    const HOSTILE: [&str; 40] = [
        "",
        "yes",
        "No",
        "ON",
        "off",
        "y",
        "N",
        "true",
        "null",
        "Null",
        "~",
        "=",
        "<<",
        "7",
        "007",
        "0x1F",
        "0o17",
        "0b1",
        "1_000",
        "190_20",
        "190:20",
        "1:30",
        "2026-11-27",
        "2026-11-23T10:00:00Z",
        "1e3",
        "1.5",
        ".5",
        ".inf",
        ".NaN",
        "+1",
        "-1",
        "-",
        "- a",
        "a: b",
        "a:",
        "a #b",
        "#a",
        "it's",
        " a ",
        "a\nb",
    ];

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![proptest::sample::select(&HOSTILE[..]).prop_map(str::to_owned), any::<String>(), "[a-z0-9_:.]{0,8}"]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            text().prop_map(Value::String),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|number| Value::Number(Number::from(number))),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Sequence),
                proptest::collection::vec((text(), inner), 0..4).prop_map(|pairs| {
                    Value::Mapping(
                        pairs.into_iter().map(|(key, value)| (Value::String(key), value)).collect::<Mapping>(),
                    )
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_reads_back_as_it_was(value in value()) {
            let yaml = to_yaml(&value).unwrap();
            prop_assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), value, "{}", yaml);
        }
    }

    #[test]
    fn only_what_no_parser_could_mistake_stands_without_quotes() {
        for plain in [
            "fraud-detector",
            "v7",
            "registry.example/fraud:7",
            "sha256:0a",
            "ada@example.com",
            "10m",
            "256Mi",
            "in-cluster",
        ] {
            assert_eq!(to_yaml(&plain).unwrap(), format!("{plain}\n"));
        }
        for hostile in HOSTILE {
            let yaml = to_yaml(&hostile).unwrap();
            assert!(yaml.starts_with(['\'', '"']), "{yaml}");
        }
    }

    #[test]
    fn a_document_has_a_field_a_line_in_its_own_order() {
        let value: Value =
            serde_yaml::from_str("{b: [{c: '7', d: [x, [y, 1]]}, {}], a: {on: 1h30m, f: []}, g: null}").unwrap();
        let expected = "b:\n- c: '7'\n  d:\n  - x\n  - - 'y'\n    - 1\n- {}\na:\n  'on': '1h30m'\n  f: []\ng: null\n";
        assert_eq!(to_yaml(&value).unwrap(), expected);
    }

    #[test]
    fn a_key_too_long_for_a_line_reads_back() {
        let value = Value::Mapping(Mapping::from_iter([(
            Value::String("a\u{feff}".repeat(300)),
            Value::Sequence(vec![Value::Mapping(Mapping::from_iter([("b".into(), 1.into())]))]),
        )]));
        let yaml = to_yaml(&value).unwrap();
        assert!(yaml.starts_with("? ") && yaml.lines().all(|line| line.len() < 3000), "{yaml}");
        assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), value);
    }
}
