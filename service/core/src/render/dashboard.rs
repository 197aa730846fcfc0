//! The dashboard of a release: rendered as JSON, checked, and written without spaces.

use std::collections::BTreeSet;

use serde_json::Value;

use super::RenderError;

/// The template that the dashboard comes from.
pub(super) const TEMPLATE: &str = "dashboard.json.j2";

/// The most bytes of a dashboard: a repository holds thousands of them, each in many commits.
const BYTES_MAX: usize = 30 * 1024;

/// The most characters of a dashboard's uid in Grafana.
const UID_CHARS_MAX: usize = 40;

/// Reads the rendered dashboard and writes it on one line.
///
/// # Errors
/// What is not JSON, has no uid, has two panels of one id, or is too large.
pub(super) fn compact(text: &str) -> Result<String, RenderError> {
    let invalid = |detail: String| RenderError::manifest("dashboard.yaml", detail);
    let dashboard: Value =
        serde_json::from_str(text).map_err(|error| invalid(format!("the dashboard is not JSON: {error}")))?;
    let uid = dashboard.get("uid").and_then(Value::as_str).unwrap_or_default();
    if uid.is_empty() || uid.chars().count() > UID_CHARS_MAX {
        return Err(invalid(format!("the dashboard's uid must have 1 to {UID_CHARS_MAX} characters")));
    }
    let panels = dashboard.get("panels").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut seen = BTreeSet::new();
    for panel in panels {
        let id = panel.get("id").and_then(Value::as_u64).unwrap_or_default();
        if id == 0 || !seen.insert(id) {
            return Err(invalid(format!("panel id {id} is missing or there twice")));
        }
    }
    let line = dashboard.to_string();
    if panels.is_empty() || line.len() > BYTES_MAX {
        return Err(invalid(format!("the dashboard must have panels and at most {BYTES_MAX} bytes")));
    }
    Ok(line)
}
