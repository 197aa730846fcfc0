//! What is known of a model in the registry: its versions, their tags, and where the aliases point.
//!
//! Built from events that may be lost, doubled or out of order, so every entry remembers when it was set, and the later one wins. Where a
//! tracking server can be asked, what it says wins over all of them, and the events only tell since when it is so.

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
    /// Wishes that were answered and whose tag the tracking server is still to delete.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answered: BTreeMap<Version, Answered>,
}

/// A wish that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The key of its tag.
    pub tag: String,
    /// What the tag said.
    pub value: String,
    pub at: Timestamp,
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
        Self {
            model,
            aliases: BTreeMap::new(),
            versions: BTreeMap::new(),
            acted_on: None,
            away: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    /// Takes over what a tracking server says: what it does not have is not there, and what it has is so since the event that said so.
    /// What no event told of has no time: it counts as old, so that nothing that was rejected returns because a store was lost.
    ///
    /// An alias that names a version which is not there counts as not set. A wish that was answered counts as deleted until its tag says
    /// something else or was set anew, by [`RegistryState::apply`].
    pub fn confirm(&mut self, reading: &Reading) {
        let Reading { model: _, aliases, versions } = reading;
        let there = |version: &&Version| versions.contains_key(*version);
        for (alias, known) in &mut self.aliases {
            known.correct(aliases.get(alias).filter(there).cloned());
        }
        for (alias, version) in aliases.iter().filter(|(_, version)| there(version)) {
            self.aliases.entry(alias.clone()).or_insert_with(|| Stamped::undated(Some(version.clone())));
        }
        self.answered.retain(|version, answered| answered.is_still_set(versions.get(version)));
        let before = std::mem::take(&mut self.versions);
        for (version, VersionReading { source, run_id: _, tags }) in versions {
            let mut known = before.get(version).cloned().unwrap_or_default();
            known.source.clone_from(source);
            known.tags.retain(|key, _| tags.contains_key(key));
            for (key, value) in tags.iter().take(TAGS_MAX) {
                let is_answered = self.answered.get(version).is_some_and(|answered| answered.tag == *key);
                let value = (!is_answered).then(|| value.clone());
                known.tags.entry(key.clone()).or_insert_with(|| Stamped::undated(None)).correct(value);
            }
            self.versions.insert(version.clone(), known);
        }
    }

    /// Notes that a wish was answered at this moment: its tag counts as deleted from then on, whenever the tracking server does it.
    pub fn answer(&mut self, version: &Version, tag: &str, at: Timestamp) {
        let known = self.versions.get_mut(version).and_then(|version| version.tags.get_mut(tag));
        if let Some(value) = known.and_then(|known| known.value.take()) {
            self.answered.insert(version.clone(), Answered { tag: tag.to_owned(), value, at });
        }
    }

    /// Takes in one change. A change older than what is known of the same thing is without effect.
    pub fn apply(&mut self, change: &RegistryChange) {
        let at = change.at;
        match &change.fact {
            RegistryFact::ModelCreated | RegistryFact::Compared => {}
            RegistryFact::VersionCreated { version, source, tags } => {
                let state = self.versions.entry(version.clone()).or_default();
                state.source = source.clone().or(state.source.take());
                for (key, value) in tags {
                    state.set_tag(key, Some(value.clone()), at);
                }
            }
            RegistryFact::TagSet { version, key, value } => {
                if self.answered.get(version).is_some_and(|answered| answered.tag == *key && answered.at < at) {
                    self.answered.remove(version);
                }
                self.version_mut(version).set_tag(key, Some(value.clone()), at);
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

    /// Since when something else is known of the alias that a change is about, where that is newer than the change.
    pub fn superseded_since(&self, change: &RegistryChange) -> Option<(&AliasName, Timestamp)> {
        let (RegistryFact::AliasSet { alias, .. } | RegistryFact::AliasDeleted { alias }) = &change.fact else {
            return None;
        };
        let (alias, known) = self.aliases.get_key_value(alias)?;
        (known.at > change.at).then_some((alias, known.at))
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

impl Answered {
    /// Whether the tracking server still has the very tag that was answered.
    fn is_still_set(&self, version: Option<&VersionReading>) -> bool {
        version.and_then(|version| version.tags.get(&self.tag)) == Some(&self.value)
    }
}

impl<T: PartialEq> Stamped<T> {
    /// A value of which nobody told when it was set.
    fn undated(value: T) -> Self {
        Self { value, at: Timestamp::MIN }
    }

    /// Takes over what is so; where that is something else, nobody told since when.
    fn correct(&mut self, value: T) {
        if self.value != value {
            *self = Self::undated(value);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(number: u32) -> Version {
        Version::parse(&number.to_string()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn change(seconds: i64, fact: RegistryFact) -> RegistryChange {
        RegistryChange { model: "fraud".parse().unwrap(), at: at(seconds), fact }
    }

    fn alias_set(seconds: i64, number: u32) -> RegistryChange {
        change(seconds, RegistryFact::AliasSet { alias: "champion".parse().unwrap(), version: version(number) })
    }

    fn wish(seconds: i64) -> RegistryChange {
        change(
            seconds,
            RegistryFact::TagSet { version: version(1), key: "wish".to_owned(), value: "canary".to_owned() },
        )
    }

    /// The registry says that `champion` names this version, and has versions 1 to 3 with these tags on the first.
    fn reading(champion: Option<u32>, tags: &[(&str, &str)]) -> Reading {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut versions: BTreeMap<_, _> = (1..=3).map(|number| (version(number), VersionReading::default())).collect();
        versions.insert(version(1), VersionReading { tags, ..VersionReading::default() });
        Reading {
            model: "fraud".parse().unwrap(),
            aliases: champion.map(|number| ("champion".parse().unwrap(), version(number))).into_iter().collect(),
            versions,
        }
    }

    fn state() -> RegistryState {
        RegistryState::new("fraud".parse().unwrap())
    }

    #[test]
    fn what_was_read_wins_and_an_event_that_agrees_says_since_when() {
        let mut state = state();
        state.apply(&alias_set(5, 1));
        state.confirm(&reading(Some(1), &[]));
        assert_eq!(state.alias("champion"), Some((&version(1), at(5))));
        state.confirm(&reading(Some(2), &[]));
        assert_eq!(state.alias("champion"), Some((&version(2), Timestamp::MIN)), "no event told of it");
        state.apply(&alias_set(4, 3));
        state.confirm(&reading(Some(3), &[]));
        assert_eq!(state.alias("champion"), Some((&version(3), at(4))));
        state.confirm(&reading(None, &[]));
        assert_eq!(state.alias("champion"), None);
    }

    #[test]
    fn an_alias_of_a_version_that_is_gone_counts_as_not_set() {
        let mut state = state();
        state.confirm(&reading(Some(9), &[]));
        assert_eq!(state.alias("champion"), None);
    }

    #[test]
    fn an_answered_wish_counts_as_deleted_until_it_says_something_else_or_is_set_anew() {
        let set = reading(None, &[("wish", "canary")]);
        let mut state = state();
        state.apply(&wish(5));
        state.confirm(&set);
        assert_eq!(state.tag(&version(1), "wish"), Some("canary"));
        state.answer(&version(1), "wish", at(6));
        assert_eq!(state.tag(&version(1), "wish"), None);
        state.apply(&wish(5));
        state.confirm(&set);
        assert_eq!(state.tag(&version(1), "wish"), None, "the event of before");
        assert_eq!(state.answered[&version(1)].tag, "wish");
        let mut anew = state.clone();
        anew.apply(&wish(7));
        anew.confirm(&set);
        assert_eq!(anew.tag(&version(1), "wish"), Some("canary"));
        let mut other = state.clone();
        other.confirm(&reading(None, &[("wish", "shadow")]));
        assert_eq!((other.tag(&version(1), "wish"), other.answered.len()), (Some("shadow"), 0));
        state.confirm(&reading(None, &[]));
        assert!(state.answered.is_empty(), "the registry has deleted it");
        state.confirm(&set);
        assert_eq!(state.tag(&version(1), "wish"), Some("canary"), "and now it is there again");
    }

    proptest! {
        /// Whatever events came before, in whatever order: once it was read, the state is what was read.
        #[test]
        fn once_read_it_is_what_was_read(events in prop::collection::vec((0_i64..9, 0_u32..4), 0..12), champion in prop::option::of(1_u32..4)) {
            let mut state = state();
            for (seconds, number) in events {
                let deleted = change(seconds, RegistryFact::AliasDeleted { alias: "champion".parse().unwrap() });
                state.apply(&if number == 0 { deleted } else { alias_set(seconds, number) });
            }
            state.confirm(&reading(champion, &[("a", "b")]));
            prop_assert_eq!(state.alias("champion").map(|(version, _)| version.clone()), champion.map(version));
            prop_assert_eq!(state.tag(&version(1), "a"), Some("b"));
            prop_assert_eq!(state.versions.len(), 3);
            let once = state.clone();
            state.confirm(&reading(champion, &[("a", "b")]));
            prop_assert_eq!(state, once);
        }
    }
}
