//! Models and versions by the page, newest first: what people look at.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::call::Call;
use super::wire::{Model, ModelVersion, ModelsAnswer, VersionsAnswer, moment};
use super::{Client, Error, filter};
use crate::bounds::PAGE_MAX;
use crate::names::{AliasName, ModelName, Version};
use crate::registry::VersionReading;

/// Some items, and the token that the next ones are asked for with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// A model in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    pub name: ModelName,
    pub description: String,
    pub aliases: BTreeMap<AliasName, Version>,
    /// The newest version, where there is one.
    pub newest: Option<Version>,
    pub updated_at: Option<Timestamp>,
}

/// A version in a list. Which aliases name it, only its model knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    pub version: Version,
    pub description: String,
    pub created_at: Option<Timestamp>,
    pub reading: VersionReading,
}

impl Client {
    /// A page of models, newest first; with a `query` those whose names contain it. Names that no release could have are left out.
    ///
    /// # Errors
    /// The server does not answer, not as MLflow does, or does not know the token.
    pub async fn models_page(&self, token: Option<&str>, query: Option<&str>) -> Result<Page<ModelRow>, Error> {
        let call = page("api/2.0/mlflow/registered-models/search", token);
        let call = call.query("order_by", "last_updated_timestamp DESC");
        let call = match query.filter(|query| !query.is_empty()) {
            Some(query) => call.query("filter", filter::contains(query)),
            None => call,
        };
        let ModelsAnswer { registered_models, next_page_token } = self.json(call).await?;
        Ok(Page { items: registered_models.into_iter().filter_map(model_row).collect(), next: given(next_page_token) })
    }

    /// A page of a model's versions, newest first; empty where there is no such model.
    ///
    /// # Errors
    /// The server does not answer, not as MLflow does, or does not know the token.
    pub async fn versions_page(&self, model: &ModelName, token: Option<&str>) -> Result<Page<VersionRow>, Error> {
        let call = page("api/2.0/mlflow/model-versions/search", token).query("order_by", "version_number DESC");
        let VersionsAnswer { model_versions, next_page_token } =
            self.json(call.query("filter", filter::is_of(model))).await?;
        let mine = model_versions.into_iter().filter(|version| version.name == model.as_str());
        Ok(Page { items: mine.filter_map(version_row).collect(), next: given(next_page_token) })
    }
}

fn page(path: &'static str, token: Option<&str>) -> Call {
    let call = Call::get(path).query("max_results", PAGE_MAX.to_string());
    match given(token) {
        Some(token) => call.query("page_token", token),
        None => call,
    }
}

fn given<T: AsRef<str>>(token: Option<T>) -> Option<T> {
    token.filter(|token| !token.as_ref().is_empty())
}

fn model_row(model: Model) -> Option<ModelRow> {
    let name = ModelName::parse(&model.name).ok().filter(|_| !model.is_prompt())?;
    let (aliases, _) = model.aliases();
    // One for each stage; nearly all models have but one.
    let newest = model.latest_versions.iter().filter_map(|latest| Version::parse(&latest.version).ok());
    let newest = newest.max_by_key(Version::number);
    let updated_at = moment(model.last_updated_timestamp);
    Some(ModelRow { name, description: model.description, aliases, newest, updated_at })
}

fn version_row(mut found: ModelVersion) -> Option<VersionRow> {
    let version = Version::parse(&found.version).ok()?;
    let description = std::mem::take(&mut found.description);
    Some(VersionRow { version, description, created_at: moment(found.creation_timestamp), reading: found.reading() })
}
