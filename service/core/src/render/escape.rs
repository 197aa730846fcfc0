//! Writing values into templates: whatever a template interpolates becomes a JSON scalar or document, which is valid YAML too.
//!
//! So no text of a model can end a scalar, open a template or break a line. Texts that are read by a further language inside
//! the scalar (`PromQL`, the Go templates of alerts) go through that language's filter first.

use std::fmt::Write as _;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State};

use crate::release::quoted;

/// Writes an interpolated value as JSON; what a macro or `safe` made is written as it is.
///
/// # Errors
/// A value that is undefined, null, or nothing that JSON has.
pub(super) fn write_json(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let mut text = String::new();
    json(&mut text, value)?;
    out.write_str(&text).map_err(Error::from)
}

/// A `PromQL` string literal, for label values.
pub(super) fn promql(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quoted(&mut out, text);
    out
}

/// A `PromQL` string literal of a regular expression that matches exactly this text, or any of these texts.
pub(super) fn promql_regex(value: &Value) -> Result<String, Error> {
    let texts: Vec<Value> = match value.kind() {
        ValueKind::String => vec![value.clone()],
        _ => value.try_iter()?.collect(),
    };
    let alternatives: Vec<String> = texts.iter().filter_map(Value::as_str).map(regex_literal).collect();
    Ok(promql(&alternatives.join("|")))
}

/// A text for an alert's labels and annotations, which Prometheus reads as Go templates.
pub(super) fn alert_text(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

/// The text as a regular expression that matches it literally.
pub(super) fn regex_literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn json(out: &mut String, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::String if value.is_safe() => append(out, value.as_str()),
        ValueKind::String => {
            quoted(out, value.as_str().unwrap_or_default());
            Ok(())
        }
        ValueKind::Bool | ValueKind::Number => write!(out, "{value}").map_err(Error::from),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (n, item) in value.try_iter()?.enumerate() {
                out.push_str(if n == 0 { "" } else { ", " });
                json(out, &item)?;
            }
            out.push(']');
            Ok(())
        }
        ValueKind::Map => {
            out.push('{');
            for (n, key) in value.try_iter()?.enumerate() {
                out.push_str(if n == 0 { "" } else { ", " });
                quoted(out, key.as_str().ok_or_else(|| no_json("a key that is not a text"))?);
                out.push_str(": ");
                json(out, &value.get_item(&key)?)?;
            }
            out.push('}');
            Ok(())
        }
        _ => Err(no_json("null, bytes or a function")),
    }
}

fn append(out: &mut String, text: Option<&str>) -> Result<(), Error> {
    out.push_str(text.unwrap_or_default());
    Ok(())
}

fn no_json(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{what} cannot be written into a manifest"))
}
