//! What is known of a model in the registry: its versions, their tags, and where the aliases point.
//!
//! Built from events that may be lost, doubled or out of order, so every entry remembers when it was set, and the later one wins.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{RegistryChange, RegistryFact};
use crate::names::{AliasName, CommitId, ModelName, Version};
use crate::release::RegistryView;

/// The registry's state of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryState {
    pub model: ModelName,
    /// Aliases, deleted ones too (they have no version).
    pub aliases: BTreeMap<AliasName, Stamped<Option<Version>>>,
    pub versions: BTreeMap<Version, VersionState>,
    /// What the model's policy read when this state was last answered, whether or not that took a commit; none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acted_on: Option<RegistryView>,
    /// Rejected versions that no alias of the policy named at some time since, each with the commit of its rejection: named again, they
    /// are wanted anew.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub away: BTreeMap<Version, CommitId>,
}

/// What is known of one version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VersionState {
    /// Where the registry says the artifact is.
    pub source: Option<String>,
    /// Tags, deleted ones too (they have no value).
    pub tags: BTreeMap<String, Stamped<Option<String>>>,
}

/// What a tracking server says of one model at one moment: the truth, as far as policies and plans need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub model: ModelName,
    /// Every alias.
    pub aliases: BTreeMap<AliasName, Version>,
    /// The versions that an alias names or that bear a wish, with all their tags. An alias may name one that is not there any more.
    pub versions: BTreeMap<Version, VersionReading>,
}

/// What a tracking server says of one version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionReading {
    /// Where the registry says the artifact is, often `models:/m-…`.
    pub source: Option<String>,
    pub run_id: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// A value and when it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<T> {
    pub value: T,
    pub at: Timestamp,
}

/// The most tags kept of one version; MLflow has no bound of its own, and a policy reads a handful.
const TAGS_MAX: usize = 1_000;

impl RegistryState {
    /// A model of which nothing is known yet.
    pub fn new(model: ModelName) -> Self {
        Self { model, aliases: BTreeMap::new(), versions: BTreeMap::new(), acted_on: None, away: BTreeMap::new() }
    }

    /// Takes in one change. A change older than what is known of the same thing is without effect.
    pub fn apply(&mut self, change: &RegistryChange) {
        let at = change.at;
        match &change.fact {
            RegistryFact::ModelCreated => {}
            RegistryFact::VersionCreated { version, source, tags } => {
                let state = self.versions.entry(version.clone()).or_default();
                state.source = source.clone().or(state.source.take());
                for (key, value) in tags {
                    state.set_tag(key, Some(value.clone()), at);
                }
            }
            RegistryFact::TagSet { version, key, value } => {
                self.version_mut(version).set_tag(key, Some(value.clone()), at)
            }
            RegistryFact::TagDeleted { version, key } => self.version_mut(version).set_tag(key, None, at),
            RegistryFact::AliasSet { alias, version } => self.set_alias(alias, Some(version.clone()), at),
            RegistryFact::AliasDeleted { alias } => self.set_alias(alias, None, at),
        }
    }

    /// Where an alias points, and since when.
    pub fn alias(&self, alias: &str) -> Option<(&Version, Timestamp)> {
        let stamped = self.aliases.iter().find(|(name, _)| name.as_str() == alias)?.1;
        Some((stamped.value.as_ref()?, stamped.at))
    }

    /// The value of a version's tag.
    pub fn tag(&self, version: &Version, key: &str) -> Option<&str> {
        self.versions.get(version)?.tags.get(key)?.value.as_deref()
    }

    fn version_mut(&mut self, version: &Version) -> &mut VersionState {
        self.versions.entry(version.clone()).or_default()
    }

    fn set_alias(&mut self, alias: &AliasName, version: Option<Version>, at: Timestamp) {
        let newer = self.aliases.get(alias).is_none_or(|known| known.at <= at);
        if newer {
            self.aliases.insert(alias.clone(), Stamped { value: version, at });
        }
    }
}

impl VersionState {
    fn set_tag(&mut self, key: &str, value: Option<String>, at: Timestamp) {
        let newer = self.tags.get(key).is_none_or(|known| known.at <= at);
        if newer && (self.tags.len() < TAGS_MAX || self.tags.contains_key(key)) {
            self.tags.insert(key.to_owned(), Stamped { value, at });
        }
    }
}
