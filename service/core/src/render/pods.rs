//! The pod hash of a predictor: a digest over all that restarts its pods.
//!
//! Seldon's engine carries the whole predictor but for `traffic` and `replicas`, and the SeldonDeployment's own annotations are
//! copied into every pod. So everything else counts, whatever the predictor's place or the release's phase.

use indexmap::IndexMap;

use super::RenderError;
use crate::names::{Digest, PredictorName};
use crate::release::Node;

/// The annotation that carries the hash; it is not part of what it is taken over.
pub(super) const POD_HASH: &str = "kmlflow.dev/pod-hash";

/// Predictor → pod hash of a rendered SeldonDeployment.
///
/// # Errors
/// A predictor whose name is none.
pub(super) fn hashes(file: &str, document: &Node) -> Result<IndexMap<PredictorName, Digest>, RenderError> {
    let spec = document.get("spec").unwrap_or(&Node::Null);
    let part = |key: &str| spec.get(key).map_or_else(|| "null".to_owned(), |value| canonical(value, &|_, _| true));
    let common = format!("{{\"annotations\":{},\"protocol\":{},\"predictor\":", part("annotations"), part("protocol"));
    let predictors = spec.get("predictors").map(Node::items).unwrap_or_default();
    predictors
        .iter()
        .map(|predictor| {
            let name = predictor.get("name").and_then(Node::as_str).unwrap_or_default();
            let name = PredictorName::parse(name).map_err(|error| RenderError::manifest(file, error.to_string()))?;
            Ok((name, Digest::of(format!("{common}{}}}", canonical(predictor, &counts)).as_bytes())))
        })
        .collect()
}

/// Whether the field counts, by its depth below the predictor and its name.
fn counts(depth: usize, name: &str) -> bool {
    !(depth == 0 && matches!(name, "traffic" | "replicas") || depth == 1 && name == POD_HASH)
}

/// The value as JSON with sorted keys and without spaces, of the fields that count.
fn canonical(value: &Node, counts: &dyn Fn(usize, &str) -> bool) -> String {
    let mut out = String::new();
    write(&mut out, value, 0, counts);
    out
}

fn write(out: &mut String, value: &Node, depth: usize, counts: &dyn Fn(usize, &str) -> bool) {
    match value {
        Node::Map(entries) => {
            let named = entries.iter().map(|(name, value)| (name.as_str(), value));
            let mut fields: Vec<(&str, &Node)> = named.filter(|(name, _)| counts(depth, name)).collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (n, (key, value)) in fields.into_iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                scalar(out, key);
                out.push(':');
                write(out, value, depth + 1, counts);
            }
            out.push('}');
        }
        Node::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                write(out, item, depth + 1, counts);
            }
            out.push(']');
        }
        Node::Text(text) => scalar(out, text),
        Node::Number(number) => out.push_str(&number.to_string()),
        Node::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Node::Null => out.push_str("null"),
    }
}

fn scalar(out: &mut String, text: &str) {
    // A text is always JSON.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
