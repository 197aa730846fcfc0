//! Models re-read: one, or the whole registry.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::wire::{Model, ModelAnswer, ModelVersion, ModelsAnswer, VersionAnswer, VersionsAnswer};
use super::{Client, Error, filter};
use crate::names::{ModelName, Version};
use crate::registry::{Reading, VersionReading};

/// How many items a page has: the most that a search for models takes; 1,000 versions are half a megabyte and take 0.1 s.
const PAGE_ITEMS: u32 = 1_000;

/// By how much less is asked for where a page is larger than an answer may be, because of long tags; twice at most.
const SMALLER: u32 = 10;
const PAGE_ITEMS_MIN: u32 = PAGE_ITEMS / SMALLER / SMALLER;

/// The most pages of one search: a million versions.
const PAGES_MAX: usize = 1_000;

const MODELS: &str = "api/2.0/mlflow/registered-models/search";
const VERSIONS: &str = "api/2.0/mlflow/model-versions/search";

impl Client {
    /// Re-reads one model: its aliases, and the versions that an alias names or that bear one of the tags in `wishes`.
    ///
    /// None: the registry has no such model. An alias may name a version that is gone; it has no entry then.
    ///
    /// # Errors
    /// The server does not answer, or not as MLflow does.
    pub async fn read_model(&self, model: &ModelName, wishes: &[String]) -> Result<Option<Reading>, Error> {
        let (found, versions) = tokio::try_join!(self.model(model), self.versions_with(model, wishes))?;
        let Some(found) = found else { return Ok(None) };
        let mut reading = Reading { model: model.clone(), aliases: found.aliases().0, versions };
        self.complete(std::iter::once(&mut reading)).await?;
        Ok(Some(reading))
    }

    /// Reads every model with all that policies need, and the versions `besides`, each version at most once.
    ///
    /// Requests: the pages of the models, the pages of the versions, and one more for each version that an alias names but no page had.
    /// Models, aliases and versions with names that no release could have are left out.
    ///
    /// # Errors
    /// The server does not answer, or not as MLflow does.
    pub async fn read_all(
        &self,
        wishes: &[String],
        besides: &BTreeSet<(ModelName, Version)>,
    ) -> Result<Vec<Reading>, Error> {
        let mut readings = BTreeMap::new();
        let mut refused = 0;
        let by_name = || Call::get(MODELS).query("order_by", "name ASC");
        self.each_page(by_name, |page: ModelsAnswer| {
            for model in page.registered_models {
                refused += take_model(&mut readings, &model);
            }
            page.next_page_token
        })
        .await?;
        // In an order that new tags do not change, so that no version moves from one page to another meanwhile.
        let by_name = || Call::get(VERSIONS).query("order_by", "name ASC").query("order_by", "version_number DESC");
        self.each_page(by_name, |page: VersionsAnswer| {
            for version in page.model_versions {
                refused += take_version(&mut readings, version, (wishes, besides));
            }
            page.next_page_token
        })
        .await?;
        self.complete(readings.values_mut()).await?;
        if refused > 0 {
            tracing::debug!(refused, "{refused} names in the registry at `{}` can be in no release", self.address());
        }
        Ok(readings.into_values().collect())
    }

    /// Reads one version. None: there is no such version.
    ///
    /// # Errors
    /// The server does not answer, or not as MLflow does.
    pub async fn version(&self, model: &ModelName, version: &Version) -> Result<Option<VersionReading>, Error> {
        let call = Call::get("api/2.0/mlflow/model-versions/get").query("name", model.as_str());
        let found: Option<VersionAnswer> = self.find(call.query("version", version.as_str())).await?;
        Ok(found.map(|found| found.model_version.reading()))
    }

    async fn model(&self, model: &ModelName) -> Result<Option<Model>, Error> {
        let call = Call::get("api/2.0/mlflow/registered-models/get").query("name", model.as_str());
        let found: Option<ModelAnswer> = self.find(call).await?;
        let found = found.map(|found| found.registered_model).filter(|model| !model.is_prompt());
        match found {
            Some(found) if found.name != model.as_str() => {
                Err(Error::NotMlflow { address: self.address().to_owned(), status: 200 })
            }
            found => Ok(found),
        }
    }

    /// The versions of a model that bear one of the tags; one search for each, because a filter knows no "or".
    async fn versions_with(
        &self,
        model: &ModelName,
        keys: &[String],
    ) -> Result<BTreeMap<Version, VersionReading>, Error> {
        let distinct: BTreeSet<&String> = keys.iter().collect();
        let searches = distinct.into_iter().filter_map(|key| filter::bears(key)).map(|condition| async move {
            let condition = filter::and(Some(filter::is_of(model)), condition);
            let mut versions = Vec::new();
            let search = || Call::get(VERSIONS).query("filter", condition.as_str());
            self.each_page(search, |page: VersionsAnswer| {
                versions.extend(page.model_versions.into_iter().filter(|version| version.name == model.as_str()));
                page.next_page_token
            })
            .await?;
            Ok(versions)
        });
        let found = try_join_all(searches).await?.into_iter().flatten();
        Ok(found.filter_map(|version| Some((version.version.parse().ok()?, version.reading()))).collect())
    }

    /// Adds the versions that an alias names and that are not there yet; one that is gone stays away.
    async fn complete<'a>(&self, readings: impl Iterator<Item = &'a mut Reading>) -> Result<(), Error> {
        try_join_all(readings.map(|reading| async move {
            let named: BTreeSet<&Version> = reading.aliases.values().collect();
            let missing = named.into_iter().filter(|version| !reading.versions.contains_key(version));
            let read =
                missing.map(|version| async { Ok((version.clone(), self.version(&reading.model, version).await?)) });
            let read: Vec<(Version, Option<VersionReading>)> = try_join_all(read).await?;
            reading.versions.extend(read.into_iter().filter_map(|(version, found)| Some((version, found?))));
            Ok(())
        }))
        .await
        .map(drop)
    }

    /// Asks for page after page of a search; `take` takes one over and gives the token of the next, which says how many items are behind it.
    async fn each_page<T: DeserializeOwned>(
        &self,
        search: impl Fn() -> Call,
        mut take: impl FnMut(T) -> Option<String>,
    ) -> Result<(), Error> {
        let (mut token, mut items): (Option<String>, u32) = (None, PAGE_ITEMS);
        let mut tokens = HashSet::new();
        for _ in 0..PAGES_MAX {
            let call = search().query("max_results", items.to_string());
            let call = match &token {
                Some(token) => call.query("page_token", token.as_str()),
                None => call,
            };
            token = match self.json(call).await {
                Ok(page) => take(page).filter(|token| !token.is_empty()),
                Err(Error::TooLarge { .. }) if items > PAGE_ITEMS_MIN => {
                    items /= SMALLER;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match &token {
                None => return Ok(()),
                Some(token) if !tokens.insert(token.clone()) => {
                    return Err(Error::PagesRepeat { address: self.address().to_owned() });
                }
                Some(_) => {}
            }
        }
        Err(Error::TooManyPages { address: self.address().to_owned(), pages_max: PAGES_MAX })
    }
}

/// Takes a model in; says how many of its names are refused.
fn take_model(readings: &mut BTreeMap<ModelName, Reading>, found: &Model) -> usize {
    if found.is_prompt() {
        return 0;
    }
    let Ok(model) = ModelName::parse(&found.name) else { return 1 };
    let (aliases, refused) = found.aliases();
    readings.insert(model.clone(), Reading { model, aliases, versions: BTreeMap::new() });
    refused
}

/// Takes a version in where an alias names it, it bears a wish, or it is asked for; says how many of its names are refused.
fn take_version(
    readings: &mut BTreeMap<ModelName, Reading>,
    found: ModelVersion,
    (wishes, besides): (&[String], &BTreeSet<(ModelName, Version)>),
) -> usize {
    // A model whose name is refused was counted, and a prompt is none.
    let Some(reading) = ModelName::parse(&found.name).ok().and_then(|model| readings.get_mut(&model)) else { return 0 };
    let Ok(version) = Version::parse(&found.version) else { return 1 };
    let named = reading.aliases.values().any(|named| *named == version);
    let which = (reading.model.clone(), version);
    if found.bears(wishes) || named || besides.contains(&which) {
        reading.versions.insert(which.1, found.reading());
    }
    0
}
