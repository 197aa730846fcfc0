//! One document held against an object: every field of the document must be there, what the object has beyond them is its own.

use serde_json::{Map, Value};

use crate::release::same_quantity;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Such as `spec.predictors[v7].replicas`.
    pub path: String,
    pub want: String,
    pub have: String,
}

/// What stands where there is nothing.
const ABSENT: &str = "absent";

/// What identifies an item of a list, where every item has one of its own.
const ITEM_NAMES: [&str; 3] = ["name", "alert", "sourceLabels"];

/// Maps that mean something else with one entry more: they choose pods.
const WHOLE: [&str; 2] = ["selector", "matchLabels"];

/// The most characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 120;

/// Holds a part of an object against what the document says of it; `path` is where that part is.
pub fn held_against(want: &Value, have: Option<&Value>, path: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    hold(want, have, path, &mut fields);
    fields
}

fn hold(want: &Value, have: Option<&Value>, path: &str, fields: &mut Vec<Field>) {
    match (want, have) {
        (Value::Object(want), Some(Value::Object(have))) => hold_map(want, have, path, fields),
        (Value::Array(want), Some(Value::Array(have))) => hold_list(want, have, path, fields),
        // The API server keeps no empty map or list, and leaves out what is nothing in its own types.
        (want, None | Some(Value::Null)) if is_nothing(want) => {}
        (want, Some(have)) if is_same(want, have, path) => {}
        (want, have) => fields.push(field(path, Some(want), have)),
    }
}

fn hold_map(want: &Map<String, Value>, have: &Map<String, Value>, path: &str, fields: &mut Vec<Field>) {
    for (name, want) in want {
        hold(want, have.get(name), &below(path, name), fields);
    }
    if WHOLE.iter().any(|name| path.ends_with(&format!(".{name}"))) {
        let more = have.iter().filter(|(name, _)| !want.contains_key(*name));
        fields.extend(more.map(|(name, value)| field(&below(path, name), None, Some(value))));
    }
}

fn hold_list(want: &[Value], have: &[Value], path: &str, fields: &mut Vec<Field>) {
    let Some(name) = ITEM_NAMES.into_iter().find(|name| names_each(want, name) && names_each(have, name)) else {
        for (number, want) in want.iter().enumerate() {
            hold(want, have.get(number), &format!("{path}[{number}]"), fields);
        }
        let more = have.iter().enumerate().skip(want.len());
        fields.extend(more.map(|(number, value)| field(&format!("{path}[{number}]"), None, Some(value))));
        return;
    };
    let at = |item: &Value| format!("{path}[{}]", shown(&item[name]));
    for item in want {
        hold(item, have.iter().find(|other| other[name] == item[name]), &at(item), fields);
    }
    // Items are few and written by us, so what stands beside them was put there by somebody.
    let more = have.iter().filter(|item| want.iter().all(|other| other[name] != item[name]));
    fields.extend(more.map(|item| field(&at(item), None, Some(item))));
}

/// Whether that entry tells each item of a list from the others.
fn names_each(items: &[Value], name: &str) -> bool {
    let mut seen = Vec::new();
    items.iter().all(|item| match item.get(name) {
        Some(value) if !seen.contains(&value) => {
            seen.push(value);
            true
        }
        _ => false,
    })
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.values().all(is_nothing),
    }
}

/// Whether two values mean the same: a number may be written as a text, and a quantity in several ways.
fn is_same(want: &Value, have: &Value, path: &str) -> bool {
    if want == have {
        return true;
    }
    if let (Some(want), Some(have)) = (want.as_f64(), have.as_f64()) {
        return (want - have).abs() < f64::EPSILON;
    }
    let is_amount = [".requests.", ".limits."].iter().any(|part| path.contains(part));
    is_amount && same_quantity(&plain(want), &plain(have))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn below(path: &str, name: &str) -> String {
    // A name with dots, such as an annotation's, is told from the names around it.
    let name = if name.contains('.') { format!("[{name}]") } else { format!(".{name}") };
    format!("{path}{name}").trim_start_matches('.').to_owned()
}

fn field(path: &str, want: Option<&Value>, have: Option<&Value>) -> Field {
    // What stands in a container's environment may be a secret, and is nobody's to read who may not read the object.
    let is_hidden = path.contains(".env[") && want.is_none_or(|want| have != Some(want));
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => ABSENT.to_owned(),
        Some(_) if is_hidden => "not shown".to_owned(),
        Some(value) => shown(value),
    };
    Field { path: path.to_owned(), want: text(want), have: text(have) }
}

/// A value on one line and of a size that can be shown; of a map or a list how much there is.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(entries) => match entries.get("weight") {
            Some(weight) => format!("there, weight {weight}"),
            None => "there".to_owned(),
        },
        Value::Array(items) if items.iter().any(|item| item.is_object()) => format!("{} entries", items.len()),
        other => {
            let text: String = plain(other).chars().filter(|c| !crate::names::is_invisible(*c)).collect();
            match text.char_indices().nth(SHOWN_CHARS_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}
