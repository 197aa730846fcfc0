//! The demo's story: which events MLflow would deliver, and what a person asks for in between; and a delivery's bytes as MLflow writes them.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value, json};

use super::error::CliError;
use crate::names::ReleaseName;

/// The story that is played.
const STORY: &str = include_str!("../../../examples/demo/story.yaml");

/// Steps in order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Story {
    pub steps: Vec<Step>,
    /// Whose history is shown at the end.
    pub history: ReleaseName,
}

/// One step: something MLflow delivers, delivers once more, or a person asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub say: String,
    #[serde(default)]
    pub deliveries: Vec<Told>,
    #[serde(default)]
    pub again: bool,
    pub act: Option<Act>,
}

/// What MLflow tells in a delivery.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    pub entity: String,
    pub action: String,
    pub data: Map<String, Value>,
}

/// What a person asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    pub release: ReleaseName,
    pub verb: String,
}

impl Story {
    /// Reads the story.
    pub(super) fn read() -> Result<Self, CliError> {
        serde_yaml::from_str(STORY).map_err(|error| CliError::failed(format!("the story cannot be read: {error}")))
    }
}

impl Told {
    /// The body of the delivery, byte for byte as MLflow writes one: Python's spacing, and nothing but ASCII.
    pub(super) fn body(&self, at: Timestamp) -> Result<String, CliError> {
        let Self { entity, action, data } = self;
        let at = at.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string();
        let told = json!({"entity": entity, "action": action, "timestamp": at, "data": data});
        let mut bytes = Vec::new();
        told.serialize(&mut Serializer::with_formatter(&mut bytes, Python))
            .map_err(|_| CliError::failed("a delivery of the story cannot be written"))?;
        String::from_utf8(bytes).map_err(|_| CliError::failed("a delivery of the story is not text"))
    }
}

/// Python's `json.dumps`: a space after `:` and `,`, and `\u` escapes for all that is not ASCII.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            if c.is_ascii() {
                writer.write_all(&[c as u8])?;
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_reads_and_every_step_does_one_thing() {
        let story = Story::read().unwrap();
        for Step { say, deliveries, again, act } in &story.steps {
            let things = [!deliveries.is_empty(), *again, act.is_some()].into_iter().filter(|thing| *thing).count();
            assert_eq!(things, 1, "{say}");
        }
        let acts: Vec<&str> = story.steps.iter().filter_map(|step| Some(step.act.as_ref()?.verb.as_str())).collect();
        assert_eq!(acts, ["advance", "promote", "rollback"]);
    }

    #[test]
    fn the_story_has_one_model_per_strategy() {
        let story = Story::read().unwrap();
        let aliases: std::collections::BTreeSet<String> = story
            .steps
            .iter()
            .flat_map(|step| &step.deliveries)
            .filter(|told| told.entity == "model_version_alias")
            .map(|told| format!("{} {}", told.data["name"].as_str().unwrap(), told.data["alias"].as_str().unwrap()))
            .collect();
        for expected in [
            "fraud-detector champion",
            "churn-predictor challenger",
            "recommender variant-b",
            "price-forecast green",
            "spam-filter shadow",
        ] {
            assert!(aliases.contains(expected), "{expected}");
        }
    }

    #[test]
    fn a_body_is_written_as_mlflow_writes_it() {
        let data = json!({"name": "fraud-detector", "version": "1", "key": "note", "value": "größe ✓ \"q\" \n", "tags": {}, "list": [1, null]});
        let told =
            Told { entity: "model_version_tag".into(), action: "set".into(), data: data.as_object().unwrap().clone() };
        let body = told.body("2026-11-23T04:10:42.590817Z".parse().unwrap()).unwrap();
        assert_eq!(
            body,
            r#"{"entity": "model_version_tag", "action": "set", "timestamp": "2026-11-23T04:10:42.590817+00:00", "data": {"name": "fraud-detector", "version": "1", "key": "note", "value": "gr\u00f6\u00dfe \u2713 \"q\" \n", "tags": {}, "list": [1, null]}}"#
        );
    }
}
