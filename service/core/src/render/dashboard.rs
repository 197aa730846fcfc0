//! The dashboard of a release: rendered as JSON, checked, and written without spaces.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::RenderError;

/// The template that the dashboard comes from.
pub(super) const TEMPLATE: &str = "dashboard.json.j2";

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

/// Reads the rendered dashboard and writes it on one line.
///
/// # Errors
/// What is not JSON, has no uid, has two panels of one id, or is too large.
pub(super) fn compact(text: &str) -> Result<String, RenderError> {
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
