//! The dashboard of a release: rendered as JSON, checked, and written without spaces.

use std::borrow::Cow;
use std::collections::BTreeSet;

use minijinja::value::Value;
use serde::Deserialize;

use super::objects::{Object, Parsed};
use super::{RenderError, Templates};
use crate::release::quoted;

/// The template that the dashboard comes from.
pub(super) const TEMPLATE: &str = "dashboard.json.j2";

/// What stands for the dashboard while its `ConfigMap` is read back: a YAML reader takes longer for this one text than for everything
/// else of a release, and would only find that it is a text.
pub(super) const STAND_IN: &str = "[\"dashboard\"]";

/// The most bytes of a dashboard: a repository holds thousands of them, each in many commits.
const BYTES_MAX: usize = 30 * 1024;

/// The most characters of a dashboard's uid in Grafana.
const UID_CHARS_MAX: usize = 40;

/// What is looked at of a dashboard.
#[derive(Deserialize)]
struct Dashboard<'t> {
    #[serde(borrow, default)]
    uid: Cow<'t, str>,
    #[serde(default)]
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    #[serde(default)]
    id: u64,
}

/// The dashboard of what the templates see.
///
/// # Errors
/// A template that fails, and all that [`compact`] refuses.
pub(super) fn json(context: &Value, templates: &Templates) -> Result<String, RenderError> {
    compact(&templates.render(TEMPLATE, context)?)
}

/// Puts the dashboard in the place of its stand-in, where that is the whole text of one entry and written as this program writes
/// texts. Nothing where it is not: a template of somebody else may do with the text what it likes.
pub(super) fn put_in(text: &str, parsed: &[Parsed], json: &str) -> Option<String> {
    let [Parsed { object: Object::ConfigMap(map), .. }] = parsed else { return None };
    let entries = map.data.iter().flatten().filter(|(_, value)| *value == STAND_IN).count();
    let mut stand_in = String::new();
    quoted(&mut stand_in, STAND_IN);
    let mut around = text.split(stand_in.as_str());
    let (Some(before), Some(behind), None, 1) = (around.next(), around.next(), around.next(), entries) else {
        return None;
    };
    let mut whole = String::with_capacity(text.len() + json.len() + json.len() / 4);
    whole.push_str(before);
    quoted(&mut whole, json);
    whole.push_str(behind);
    Some(whole)
}

/// Reads the rendered dashboard and writes it on one line.
///
/// # Errors
/// What is not JSON, has no uid, has two panels of one id, or is too large.
fn compact(text: &str) -> Result<String, RenderError> {
    let invalid = |detail: String| RenderError::manifest("dashboard.yaml", detail);
    let Dashboard { uid, panels } =
        serde_json::from_str(text).map_err(|error| invalid(format!("the dashboard is not JSON: {error}")))?;
    if uid.is_empty() || uid.chars().count() > UID_CHARS_MAX {
        return Err(invalid(format!("the dashboard's uid must have 1 to {UID_CHARS_MAX} characters")));
    }
    let mut seen = BTreeSet::new();
    for Panel { id } in &panels {
        if *id == 0 || !seen.insert(id) {
            return Err(invalid(format!("panel id {id} is missing or there twice")));
        }
    }
    let line = without_space(text);
    if panels.is_empty() || line.len() > BYTES_MAX {
        return Err(invalid(format!("the dashboard must have panels and at most {BYTES_MAX} bytes")));
    }
    Ok(line)
}

/// JSON without the white space between its parts; that inside of strings stays.
fn without_space(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let mut is_text = false;
    for part in json.split_inclusive('"') {
        if is_text {
            line.push_str(part);
            // A quote behind an odd number of backslashes is one of the text.
            let backslashes = part.bytes().rev().skip(1).take_while(|b| *b == b'\\').count();
            is_text = backslashes % 2 == 1;
        } else {
            line.extend(part.split_ascii_whitespace());
            is_text = true;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_space_between_the_parts_goes() {
        let json = "{\n  \"a b\" : [ 1,\t2 ],\r\n \"c\": \" d \\\\\" ,\"e\": \"\\\" f \" }\n";
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(without_space(json), value.to_string());
    }
}
