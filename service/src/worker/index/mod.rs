//! What the repository holds, in memory: every release by key, and who owns which name in which cluster.
//!
//! A request reads no file to know what is deployed. The releases that changed lately are kept as parsed documents; of the thousands
//! beside them, what lists and numbers need stands at hand and the document is kept packed, a thirtieth of its size.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;

use super::FileState;
use super::packed::{Packed, Packer};
use super::read::split;
use crate::names::{
    CommitId, Digest, EnvironmentName, ModelName, Namespace, PredictorName, ReleaseKey, ReleaseName, TreeId, Version,
};
use crate::plan::{Owner, collision};
use crate::release::{Deployed, Phase, Refusal, Release, Strategy, Target};
use crate::store::Newest;

/// Releases whose documents are kept open, at some ten kB each: those of an ordinary turn. A larger one comes to each of them in portions of a quarter of this.
const OPEN_MAX: usize = 64;

/// A release as the repository holds it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) release: Arc<Release>,
    pub(super) commit: CommitId,
    pub(super) tree: TreeId,
    pub(super) changed_at: Timestamp,
    /// Commit and moment are not its own: the history that has them is not here yet.
    pub(super) is_undated: bool,
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
    pub(super) fn files(&self, templates: &Digest) -> Vec<FileState> {
        files(self.release.rendered.templates.as_ref(), &self.drifted, self.invalid.as_deref(), templates)
    }
}

fn files(rendered: Option<&Digest>, drifted: &[String], invalid: Option<&str>, templates: &Digest) -> Vec<FileState> {
    let states = [
        (rendered != Some(templates), FileState::Outdated),
        (!drifted.is_empty(), FileState::Drifted),
        (invalid.is_some(), FileState::Invalid),
    ];
    states.into_iter().filter(|(holds, _)| *holds).map(|(_, state)| state).collect()
}

/// A release as the index keeps it: what is asked of thousands at once is at hand.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) model: ModelName,
    pub(super) strategy: Strategy,
    pub(super) phase: Phase,
    /// The share of the answers that each predictor gives.
    pub(super) weights: Box<[(PredictorName, u8)]>,
    /// Nothing comes next by itself.
    pub(super) is_at_rest: bool,
    pub(super) changed_at: Timestamp,
    templates: Option<Arc<Digest>>,
    document: Document,
    /// When the document was put in, to tell it from an earlier one.
    put: u64,
    commit: Id,
    is_undated: bool,
    tree: Id,
    /// What is wrong with its files, where something is.
    trouble: Option<Box<Trouble>>,
}

/// The id of an object, in a third of the room that its text takes.
#[derive(Debug, Clone, Copy)]
struct Id([u8; 20]);

impl Id {
    #[expect(clippy::expect_used, reason = "an id is forty hexadecimal digits, or it would be none")]
    fn of(id: &str) -> Self {
        let mut bytes = [0; 20];
        hex::decode_to_slice(id, &mut bytes).expect("an id has twenty bytes");
        Self(bytes)
    }

    #[expect(clippy::expect_used, reason = "it was made of an id")]
    fn read<T: FromStr<Err: std::fmt::Debug>>(self) -> T {
        hex::encode(self.0).parse().expect("an id can be read")
    }
}

/// See [`Entry`].
#[derive(Debug, Clone, Default, PartialEq)]
struct Trouble {
    drifted: Vec<String>,
    invalid: Option<String>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Document {
    Open(Arc<Release>),
    Packed(Packed),
}

impl Kept {
    /// Its versions, the one that serves first: a predictor is named after its version.
    pub(super) fn versions(&self) -> impl Iterator<Item = Version> + '_ {
        self.weights.iter().filter_map(|(predictor, _)| Version::parse(predictor.parts().0).ok())
    }

    fn new(entry: Entry, templates: Option<Arc<Digest>>, put: u64) -> Self {
        let Entry { release, commit, tree, changed_at, is_undated, drifted, invalid, notes } = entry;
        let trouble = Trouble { drifted, invalid, notes };
        let rollout = &release.rollout;
        Self {
            model: release.spec.model.clone(),
            strategy: release.spec.strategy,
            phase: rollout.phase,
            weights: split(&release).into_iter().map(|share| (share.predictor, share.weight)).collect(),
            is_at_rest: rollout.phase == Phase::Settled
                && rollout.restores.is_none()
                && release.spec.serving.docs_path.is_none(),
            changed_at,
            templates,
            document: Document::Open(release),
            put,
            commit: Id::of(commit.as_str()),
            is_undated,
            tree: Id::of(tree.as_str()),
            trouble: (trouble != Trouble::default()).then(|| Box::new(trouble)),
        }
    }

    /// The newest commit that changed it.
    pub(super) fn commit(&self) -> CommitId {
        self.commit.read()
    }

    /// The release with its document.
    pub(super) fn entry(&self) -> Entry {
        let Trouble { drifted, invalid, notes } = self.trouble.as_deref().cloned().unwrap_or_default();
        Entry {
            release: match &self.document {
                Document::Open(release) => Arc::clone(release),
                Document::Packed(packed) => Arc::new(packed.open()),
            },
            commit: self.commit.read(),
            tree: self.tree.read(),
            changed_at: self.changed_at,
            is_undated: self.is_undated,
            drifted,
            invalid,
            notes,
        }
    }

    /// What is to be said about its files, given the digest of the present templates.
    pub(super) fn files(&self, templates: &Digest) -> Vec<FileState> {
        let trouble = self.trouble.as_deref();
        let drifted = trouble.map(|trouble| trouble.drifted.as_slice()).unwrap_or_default();
        files(self.templates.as_deref(), drifted, trouble.and_then(|trouble| trouble.invalid.as_deref()), templates)
    }
}

/// Cluster and namespace there.
type Place = (String, String);

/// A namespace of an environment, a directory of the repository.
type Directory = (EnvironmentName, Namespace);

/// Every release of one commit.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// In boxes, because the nodes of a map that is filled in order stay half empty.
    kept: BTreeMap<Arc<ReleaseKey>, Box<Kept>>,
    /// Which were put in last, and when; the document of one that is no longer here is packed.
    open: VecDeque<(u64, Arc<ReleaseKey>)>,
    puts: u64,
    /// The digests of template sets that documents name; nearly always one.
    templates: HashSet<Arc<Digest>>,
    packer: Packer,
    /// The directories that have releases in a place, nearly always one, and how many they have there.
    places: HashMap<Place, HashMap<Directory, usize>>,
    /// By the hash of what a release's hosts have in common and by when it was put in. Two hosts of one hash cost a look, and no more.
    hosts: BTreeMap<(u64, u64), Arc<ReleaseKey>>,
}

impl Index {
    /// The release with this key.
    pub(super) fn get(&self, key: &ReleaseKey) -> Option<Entry> {
        self.kept.get(key).map(|kept| kept.entry())
    }

    /// A key as it is kept here, where there is a release with it: one more holder costs nothing.
    pub(super) fn key(&self, key: &ReleaseKey) -> Option<Arc<ReleaseKey>> {
        self.kept.get_key_value(key).map(|(key, _)| Arc::clone(key))
    }

    /// Whether there is a release with this key.
    pub(super) fn has(&self, key: &ReleaseKey) -> bool {
        self.kept.contains_key(key)
    }

    /// Every release, by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ReleaseKey, &Kept)> {
        self.kept.iter().map(|(key, kept)| (&**key, &**kept))
    }

    /// Every version that a release has, of its model; a document need not be opened for it.
    pub(super) fn versions(&self) -> BTreeSet<(ModelName, Version)> {
        let of = |kept: &Kept| {
            let model = kept.model.clone();
            kept.versions().map(move |version| (model.clone(), version)).collect::<Vec<_>>()
        };
        self.kept.values().flat_map(|kept| of(kept)).collect()
    }

    /// The releases of each model.
    pub(super) fn by_model(&self) -> HashMap<&ModelName, Vec<(&ReleaseKey, &Kept)>> {
        let mut found: HashMap<&ModelName, Vec<(&ReleaseKey, &Kept)>> = HashMap::new();
        for (key, kept) in self.iter() {
            found.entry(&kept.model).or_default().push((key, kept));
        }
        found
    }

    /// The releases after a key.
    pub(super) fn after(&self, key: &ReleaseKey) -> impl Iterator<Item = (&ReleaseKey, &Kept)> {
        let after = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
        self.kept.range::<ReleaseKey, _>(after).map(|(key, kept)| (&**key, &**kept))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Puts a release in, in place of the one with its key.
    pub(super) fn put(&mut self, key: ReleaseKey, entry: Entry) {
        self.remove(&key);
        // A copy: what came from a thread that read many documents would keep the memory of all of them from being given back.
        let key = Arc::new(key.clone());
        self.puts += 1;
        self.claim(&key, &entry.release.spec.target);
        let templates = entry.release.rendered.templates.clone().map(|digest| self.shared(digest));
        self.open.push_back((self.puts, Arc::clone(&key)));
        self.kept.insert(key, Box::new(Kept::new(entry, templates, self.puts)));
        while self.open.len() > OPEN_MAX {
            self.pack_oldest();
        }
    }

    fn pack_oldest(&mut self) {
        let Some((put, key)) = self.open.pop_front() else { return };
        let Some(kept) = self.kept.get_mut(&*key).filter(|kept| kept.put == put) else { return };
        if let Document::Open(release) = &kept.document
            && let Some(packed) = self.packer.pack(release)
        {
            kept.document = Document::Packed(packed);
        }
    }

    /// The digest as it is kept already, where it is.
    fn shared(&mut self, digest: Digest) -> Arc<Digest> {
        if let Some(known) = self.templates.get(&digest) {
            return Arc::clone(known);
        }
        let digest = Arc::new(digest);
        self.templates.insert(Arc::clone(&digest));
        digest
    }

    /// Takes a release out.
    pub(super) fn remove(&mut self, key: &ReleaseKey) {
        let Some(kept) = self.kept.remove(key) else { return };
        let entry = kept.entry();
        let target = &entry.release.spec.target;
        let (place, directory) = (place(target), directory(key));
        if let Some(directories) = self.places.get_mut(&place) {
            if let Some(releases) = directories.get_mut(&directory) {
                *releases -= 1;
            }
            directories.retain(|_, releases| *releases > 0);
            if directories.is_empty() {
                self.places.remove(&place);
            }
        }
        for host in hosts(target) {
            self.hosts.remove(&(hash(host), kept.put));
        }
    }

    fn claim(&mut self, key: &Arc<ReleaseKey>, target: &Target) {
        *self.places.entry(place(target)).or_default().entry(directory(key)).or_default() += 1;
        for host in hosts(target) {
            self.hosts.insert((hash(host), self.puts), Arc::clone(key));
        }
    }

    /// Gives a release the commit and the moment of its own that the history knows, where it has none.
    pub(super) fn date(&mut self, newest: &Newest) {
        if let Some(kept) = self.kept.get_mut(&newest.key).filter(|kept| kept.is_undated) {
            kept.commit = Id::of(newest.commit.as_str());
            (kept.changed_at, kept.is_undated) = (newest.at, false);
        }
    }

    /// The releases whose objects could have the names of this one's: same host, same name, or one name that begins with the other.
    fn neighbours(&self, key: &ReleaseKey, target: &Target) -> HashSet<&ReleaseKey> {
        let mut found: HashSet<&ReleaseKey> = HashSet::new();
        for host in hosts(target) {
            let hash = hash(host);
            found.extend(self.hosts.range((hash, 0)..=(hash, u64::MAX)).map(|(_, key)| &**key));
        }
        let directories = self.places.get(&place(target)).into_iter().flat_map(HashMap::keys);
        found.extend(directories.flat_map(|directory| self.named_alike(directory, &key.name)));
        found
    }

    /// The releases of a directory whose name is this one, begins it, or begins with it, up to a `-`.
    fn named_alike(&self, (environment, namespace): &Directory, name: &ReleaseName) -> Vec<&ReleaseKey> {
        let called = |name| ReleaseKey { environment: environment.clone(), namespace: namespace.clone(), name };
        let text = name.as_str();
        let shorter = text.match_indices('-').filter_map(|(i, _)| ReleaseName::parse(&text[..i]).ok());
        let here = |name| self.kept.get_key_value(&called(name)).map(|(key, _)| &**key);
        let mut found: Vec<&ReleaseKey> = shorter.chain([name.clone()]).filter_map(here).collect();
        // Of the characters of a name `-` is the first, so those that begin with it and a `-` come right after it.
        let is_longer = |key: &&ReleaseKey| {
            let rest = key.name.as_str().strip_prefix(text);
            (&key.environment, &key.namespace) == (environment, namespace) && rest.is_some_and(|r| r.starts_with('-'))
        };
        let own = called(name.clone());
        found.extend(self.after(&own).map(|(key, _)| key).take_while(is_longer));
        found
    }

    /// Why a new release cannot be beside those that are here; `but` are no longer.
    pub(super) fn collision(&self, key: &ReleaseKey, target: &Target, but: &HashSet<ReleaseKey>) -> Option<Refusal> {
        self.neighbours(key, target).into_iter().filter(|other| !but.contains(other)).find_map(|other| {
            let theirs = self.get(other)?.release;
            collision(Owner { key, target }, Owner { key: other, target: &theirs.spec.target })
        })
    }
}

fn place(target: &Target) -> Place {
    (target.cluster.clone(), target.namespace.clone())
}

fn directory(key: &ReleaseKey) -> Directory {
    (key.environment.clone(), key.namespace.clone())
}

/// The hash of a host's name without what tells the three of a release apart, so that they nearly always have the same.
fn hash(host: &str) -> u64 {
    let (label, domain) = host.split_once('.').unwrap_or((host, ""));
    let own = ["-preview", "-grpc"].into_iter().find_map(|ending| label.strip_suffix(ending)).unwrap_or(label);
    let mut hasher = DefaultHasher::new();
    (own, domain).hash(&mut hasher);
    hasher.finish()
}

fn hosts(target: &Target) -> [&str; 3] {
    [&target.host, &target.preview_host, &target.grpc_host]
}

#[cfg(test)]
mod tests;
