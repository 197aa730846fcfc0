//! The answers of MLflow's REST API, as far as they are read: empty fields are left out there, times are milliseconds.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::names::{AliasName, Version};
use crate::registry::VersionReading;

/// The most tags read of one version; MLflow has no bound of its own, and a policy reads a handful.
const TAGS_MAX: usize = 1_000;

/// What says that a registered model is a prompt, which the registry keeps among its models.
const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";

/// An error of the API.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    pub error_code: String,
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModelAnswer {
    pub registered_model: Model,
}

#[derive(Debug, Deserialize)]
pub(super) struct VersionAnswer {
    pub model_version: ModelVersion,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModelsAnswer {
    #[serde(default)]
    pub registered_models: Vec<Model>,
    pub next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct VersionsAnswer {
    #[serde(default)]
    pub model_versions: Vec<ModelVersion>,
    pub next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DownloadUriAnswer {
    pub artifact_uri: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RunAnswer {
    pub run: Run,
}

#[derive(Debug, Deserialize)]
pub(super) struct Run {
    #[serde(default)]
    pub data: RunData,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RunData {
    #[serde(default)]
    pub tags: Vec<Tag>,
    #[serde(default)]
    pub metrics: Vec<Metric>,
}

/// A measurement; MLflow writes those that are no number as a text.
#[derive(Debug, Deserialize)]
pub(super) struct Metric {
    pub key: String,
    pub value: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct UserAnswer {
    pub user: AnsweredUser,
}

#[derive(Debug, Deserialize)]
pub(super) struct AnsweredUser {
    pub username: String,
    #[serde(default)]
    pub is_admin: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct PermissionAnswer {
    pub permission: String,
}

/// A registered model.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub aliases: Vec<Alias>,
    #[serde(default)]
    pub tags: Vec<Tag>,
    #[serde(default)]
    pub latest_versions: Vec<LatestVersion>,
    pub last_updated_timestamp: Option<i64>,
}

/// The newest version of a stage.
#[derive(Debug, Deserialize)]
pub(super) struct LatestVersion {
    pub version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Alias {
    pub alias: String,
    pub version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    pub key: String,
    #[serde(default)]
    pub value: String,
}

/// A version of a registered model. Its aliases are never filled by a search, so nobody reads them here.
#[derive(Debug, Deserialize)]
pub(super) struct ModelVersion {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub description: String,
    pub source: Option<String>,
    pub run_id: Option<String>,
    #[serde(default)]
    pub tags: Vec<Tag>,
    pub creation_timestamp: Option<i64>,
}

impl Model {
    /// The aliases that are ones, and how many are not.
    pub(super) fn aliases(&self) -> (BTreeMap<AliasName, Version>, usize) {
        let parse = |alias: &Alias| Some((alias.alias.parse().ok()?, alias.version.parse().ok()?));
        let aliases: BTreeMap<AliasName, Version> = self.aliases.iter().filter_map(parse).collect();
        let refused = self.aliases.len() - aliases.len();
        (aliases, refused)
    }

    /// Whether it is a prompt and no model.
    pub(super) fn is_prompt(&self) -> bool {
        self.tags.iter().any(|tag| tag.key == PROMPT_TAG && tag.value.eq_ignore_ascii_case("true"))
    }
}

impl ModelVersion {
    /// Whether it bears one of the tags.
    pub(super) fn bears(&self, keys: &[String]) -> bool {
        self.tags.iter().any(|tag| keys.contains(&tag.key))
    }

    /// What is read of it.
    pub(super) fn reading(self) -> VersionReading {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        VersionReading { source: given(self.source), run_id: given(self.run_id), tags: tags(self.tags) }
    }
}

/// Tags by key.
pub(super) fn tags(tags: Vec<Tag>) -> BTreeMap<String, String> {
    tags.into_iter().take(TAGS_MAX).map(|tag| (tag.key, tag.value)).collect()
}

/// A moment from milliseconds since 1970.
pub(super) fn moment(milliseconds: Option<i64>) -> Option<Timestamp> {
    milliseconds.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
}
