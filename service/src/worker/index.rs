//! What the repository holds, in memory: every release by key, and who owns which name in which cluster.
//!
//! Documents are kept parsed, so that neither a request nor a list reads or parses what is known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::FileState;
use crate::names::{CommitId, ReleaseKey, TreeId};
use crate::plan::{Owner, collision};
use crate::release::{Deployed, Refusal, Release, Target};

/// A release as the repository holds it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) release: Arc<Release>,
    pub(super) commit: CommitId,
    pub(super) tree: TreeId,
    pub(super) changed_at: Timestamp,
    /// Rendered files that were changed by hand.
    pub(super) drifted: Vec<String>,
    /// Why the `release.yaml` in the repository cannot be used; `release` is then the last one that could.
    pub(super) invalid: Option<String>,
    /// What a person should know about the files, one sentence each.
    pub(super) notes: Vec<String>,
}

impl Entry {
    /// It as the plan wants it.
    pub(super) fn deployed(&self) -> Deployed {
        Deployed { release: Release::clone(&self.release), commit: self.commit.clone() }
    }

    /// What is to be said about its files, given the digest of the present templates.
    pub(super) fn files(&self, templates: &crate::names::Digest) -> Vec<FileState> {
        let outdated = self.release.rendered.templates.as_ref() != Some(templates);
        let states = [
            (outdated, FileState::Outdated),
            (!self.drifted.is_empty(), FileState::Drifted),
            (self.invalid.is_some(), FileState::Invalid),
        ];
        states.into_iter().filter(|(holds, _)| *holds).map(|(_, state)| state).collect()
    }
}

/// Cluster, namespace there, and name.
type Place = (String, String, String);

/// Every release of one commit.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: BTreeMap<ReleaseKey, Entry>,
    places: BTreeMap<Place, Vec<ReleaseKey>>,
    hosts: HashMap<String, Vec<ReleaseKey>>,
}

impl Index {
    /// The release with this key.
    pub(super) fn get(&self, key: &ReleaseKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Every release, by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ReleaseKey, &Entry)> {
        self.entries.iter()
    }

    /// The releases after a key.
    pub(super) fn after(&self, key: &ReleaseKey) -> impl Iterator<Item = (&ReleaseKey, &Entry)> {
        self.entries.range((std::ops::Bound::Excluded(key.clone()), std::ops::Bound::Unbounded))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts a release in, in place of the one with its key.
    pub(super) fn put(&mut self, key: ReleaseKey, entry: Entry) {
        let target = &entry.release.spec.target;
        match self.entries.get(&key) {
            Some(before) if before.release.spec.target == *target => {}
            Some(_) => {
                self.remove(&key);
                self.claim(&key, &entry.release.spec.target);
            }
            None => self.claim(&key, target),
        }
        self.entries.insert(key, entry);
    }

    /// Takes a release out.
    pub(super) fn remove(&mut self, key: &ReleaseKey) {
        let Some(entry) = self.entries.remove(key) else { return };
        let target = &entry.release.spec.target;
        let owned = place(key, target);
        if let Some(keys) = self.places.get_mut(&owned) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.places.remove(&owned);
            }
        }
        for host in hosts(target) {
            let Some(keys) = self.hosts.get_mut(host) else { continue };
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.hosts.remove(host);
            }
        }
    }

    fn claim(&mut self, key: &ReleaseKey, target: &Target) {
        self.places.entry(place(key, target)).or_default().push(key.clone());
        for host in hosts(target) {
            self.hosts.entry(host.to_owned()).or_default().push(key.clone());
        }
    }

    /// The releases whose objects could have the names of this one's: same host, same name, or one name that begins with the other.
    fn neighbours(&self, key: &ReleaseKey, target: &Target) -> HashSet<&ReleaseKey> {
        let mut found: HashSet<&ReleaseKey> = HashSet::new();
        for host in hosts(target) {
            found.extend(self.hosts.get(host).into_iter().flatten());
        }
        let name = key.name.as_str();
        let at = |name: &str| (target.cluster.clone(), target.namespace.clone(), name.to_owned());
        let shorter = name.match_indices('-').map(|(i, _)| &name[..i]).chain([name]);
        for name in shorter {
            found.extend(self.places.get(&at(name)).into_iter().flatten());
        }
        let longer = at(&format!("{name}-"));
        let begins = |place: &Place| place.0 == longer.0 && place.1 == longer.1 && place.2.starts_with(&longer.2);
        found.extend(
            self.places.range(longer.clone()..).take_while(|(place, _)| begins(place)).flat_map(|(_, keys)| keys),
        );
        found
    }

    /// Why a new release cannot be beside those that are here; `but` are no longer.
    pub(super) fn collision(&self, key: &ReleaseKey, target: &Target, but: &HashSet<ReleaseKey>) -> Option<Refusal> {
        self.neighbours(key, target).into_iter().filter(|other| !but.contains(other)).find_map(|other| {
            let theirs = &self.entries.get(other)?.release.spec.target;
            collision(Owner { key, target }, Owner { key: other, target: theirs })
        })
    }
}

fn place(key: &ReleaseKey, target: &Target) -> Place {
    (target.cluster.clone(), target.namespace.clone(), key.name.to_string())
}

fn hosts(target: &Target) -> [&str; 3] {
    [&target.host, &target.preview_host, &target.grpc_host]
}
