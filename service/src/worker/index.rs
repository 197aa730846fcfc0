//! What the repository holds, in memory: every release by key, and who owns which name in which cluster.
//!
//! A request reads no file to know what is deployed. The releases that changed lately are kept as parsed documents; of the thousands
//! beside them, what lists and numbers need stands at hand and the document is kept packed, a twentieth of its size.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io::Read as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use jiff::Timestamp;

use super::FileState;
use super::read::split;
use crate::names::{CommitId, Digest, ModelName, PredictorName, ReleaseKey, TreeId, Version};
use crate::plan::{Owner, collision};
use crate::release::{Deployed, Phase, Refusal, Release, Strategy, Target};

/// Releases whose documents are kept open: those of a whole turn, at some ten kB each.
const OPEN_MAX: usize = 256;

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
    commit: CommitId,
    tree: TreeId,
    drifted: Vec<String>,
    invalid: Option<String>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Document {
    Open(Arc<Release>),
    Packed(Packed),
}

/// A document as deflated JSON.
#[derive(Debug)]
struct Packed(Box<[u8]>);

impl Packed {
    /// Packs a document; nothing where that fails, which only a type that is no JSON could make it.
    fn of(release: &Release) -> Option<Self> {
        let json = serde_json::to_vec(release).ok()?;
        let mut packed = Vec::with_capacity(json.len() / 2);
        DeflateEncoder::new(json.as_slice(), Compression::fast()).read_to_end(&mut packed).ok()?;
        Some(Self(packed.into_boxed_slice()))
    }

    #[expect(clippy::expect_used, reason = "it is what `of` made of a document, and nobody else can make one")]
    fn open(&self) -> Release {
        let mut json = Vec::new();
        DeflateDecoder::new(&*self.0).read_to_end(&mut json).expect("what was deflated can be inflated");
        serde_json::from_slice(&json).expect("a document that was written can be read")
    }
}

impl Kept {
    /// Its versions, the one that serves first: a predictor is named after its version.
    pub(super) fn versions(&self) -> impl Iterator<Item = Version> + '_ {
        self.weights.iter().filter_map(|(predictor, _)| Version::parse(predictor.parts().0).ok())
    }

    fn new(entry: Entry, templates: Option<Arc<Digest>>, put: u64) -> Self {
        let Entry { release, commit, tree, changed_at, drifted, invalid, notes } = entry;
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
            commit,
            tree,
            drifted,
            invalid,
            notes,
        }
    }

    /// The release with its document.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            release: match &self.document {
                Document::Open(release) => Arc::clone(release),
                Document::Packed(packed) => Arc::new(packed.open()),
            },
            commit: self.commit.clone(),
            tree: self.tree.clone(),
            changed_at: self.changed_at,
            drifted: self.drifted.clone(),
            invalid: self.invalid.clone(),
            notes: self.notes.clone(),
        }
    }

    /// What is to be said about its files, given the digest of the present templates.
    pub(super) fn files(&self, templates: &Digest) -> Vec<FileState> {
        files(self.templates.as_deref(), &self.drifted, self.invalid.as_deref(), templates)
    }
}

/// Cluster, namespace there, and name.
type Place = (String, String, String);

/// Every release of one commit.
#[derive(Debug, Default)]
pub(super) struct Index {
    kept: BTreeMap<Arc<ReleaseKey>, Kept>,
    /// Which were put in last, and when; the document of one that is no longer here is packed.
    open: VecDeque<(u64, Arc<ReleaseKey>)>,
    puts: u64,
    /// The digests of template sets that documents name; nearly always one.
    templates: HashSet<Arc<Digest>>,
    places: BTreeMap<Place, Vec<Arc<ReleaseKey>>>,
    hosts: HashMap<Box<str>, Vec<Arc<ReleaseKey>>>,
}

impl Index {
    /// The release with this key.
    pub(super) fn get(&self, key: &ReleaseKey) -> Option<Entry> {
        self.kept.get(key).map(Kept::entry)
    }

    /// Whether there is a release with this key.
    pub(super) fn has(&self, key: &ReleaseKey) -> bool {
        self.kept.contains_key(key)
    }

    /// Every release, by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ReleaseKey, &Kept)> {
        self.kept.iter().map(|(key, kept)| (&**key, kept))
    }

    /// Every version that a release has, of its model; a document need not be opened for it.
    pub(super) fn versions(&self) -> BTreeSet<(ModelName, Version)> {
        let of = |kept: &Kept| {
            let model = kept.model.clone();
            kept.versions().map(move |version| (model.clone(), version)).collect::<Vec<_>>()
        };
        self.kept.values().flat_map(of).collect()
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
        self.kept.range::<ReleaseKey, _>(after).map(|(key, kept)| (&**key, kept))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Puts a release in, in place of the one with its key.
    pub(super) fn put(&mut self, key: ReleaseKey, entry: Entry) {
        self.remove(&key);
        let key = Arc::new(key);
        self.claim(&key, &entry.release.spec.target);
        let templates = entry.release.rendered.templates.clone().map(|digest| self.shared(digest));
        self.puts += 1;
        self.open.push_back((self.puts, Arc::clone(&key)));
        self.kept.insert(key, Kept::new(entry, templates, self.puts));
        while self.open.len() > OPEN_MAX {
            self.pack_oldest();
        }
    }

    fn pack_oldest(&mut self) {
        let Some((put, key)) = self.open.pop_front() else { return };
        let Some(kept) = self.kept.get_mut(&*key).filter(|kept| kept.put == put) else { return };
        if let Document::Open(release) = &kept.document
            && let Some(packed) = Packed::of(release)
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
        let owned = place(key, target);
        if let Some(keys) = self.places.get_mut(&owned) {
            keys.retain(|other| **other != *key);
            if keys.is_empty() {
                self.places.remove(&owned);
            }
        }
        for host in hosts(target) {
            let Some(keys) = self.hosts.get_mut(host) else { continue };
            keys.retain(|other| **other != *key);
            if keys.is_empty() {
                self.hosts.remove(host);
            }
        }
    }

    fn claim(&mut self, key: &Arc<ReleaseKey>, target: &Target) {
        self.places.entry(place(key, target)).or_default().push(Arc::clone(key));
        for host in hosts(target) {
            self.hosts.entry(host.into()).or_default().push(Arc::clone(key));
        }
    }

    /// The releases whose objects could have the names of this one's: same host, same name, or one name that begins with the other.
    fn neighbours(&self, key: &ReleaseKey, target: &Target) -> HashSet<&ReleaseKey> {
        let mut found: HashSet<&ReleaseKey> = HashSet::new();
        for host in hosts(target) {
            found.extend(self.hosts.get(host).into_iter().flatten().map(|key| &**key));
        }
        let name = key.name.as_str();
        let at = |name: &str| (target.cluster.clone(), target.namespace.clone(), name.to_owned());
        let shorter = name.match_indices('-').map(|(i, _)| &name[..i]).chain([name]);
        for name in shorter {
            found.extend(self.places.get(&at(name)).into_iter().flatten().map(|key| &**key));
        }
        let longer = at(&format!("{name}-"));
        let begins = |place: &Place| place.0 == longer.0 && place.1 == longer.1 && place.2.starts_with(&longer.2);
        let behind = self.places.range(longer.clone()..).take_while(|(place, _)| begins(place));
        found.extend(behind.flat_map(|(_, keys)| keys).map(|key| &**key));
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

fn place(key: &ReleaseKey, target: &Target) -> Place {
    (target.cluster.clone(), target.namespace.clone(), key.name.to_string())
}

fn hosts(target: &Target) -> [&str; 3] {
    [&target.host, &target.preview_host, &target.grpc_host]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ReleaseName;

    fn entry(name: &str) -> (ReleaseKey, Entry) {
        let text = include_str!("testdata/release.yaml").replace("fraud", name);
        let release = Release::parse(&text).unwrap();
        let entry = Entry {
            commit: CommitId::parse(&"1".repeat(40)).unwrap(),
            tree: TreeId::parse(&"2".repeat(40)).unwrap(),
            changed_at: release.rollout.since,
            release: Arc::new(release),
            drifted: Vec::new(),
            invalid: None,
            notes: Vec::new(),
        };
        (entry.release.key(), entry)
    }

    fn packed(index: &Index) -> usize {
        index.kept.values().filter(|kept| matches!(kept.document, Document::Packed(_))).count()
    }

    #[test]
    fn a_document_is_the_same_after_it_was_packed() {
        let mut index = Index::default();
        let all: Vec<_> = (0..OPEN_MAX + 10).map(|n| entry(&format!("m{n}"))).collect();
        for (key, entry) in &all {
            index.put(key.clone(), entry.clone());
        }
        assert_eq!(packed(&index), 10);
        for (key, entry) in &all {
            assert_eq!(index.get(key).unwrap().release, entry.release);
        }
    }

    #[test]
    fn what_changes_all_the_time_stays_open_and_is_kept_once() {
        let mut index = Index::default();
        let (key, entry) = entry("fraud");
        for _ in 0..3 * OPEN_MAX {
            index.put(key.clone(), entry.clone());
        }
        assert_eq!((index.len(), packed(&index), index.open.len()), (1, 0, OPEN_MAX));
        index.remove(&key);
        assert!(index.places.is_empty() && index.hosts.is_empty() && index.get(&key).is_none());
    }

    #[test]
    fn packed_releases_still_own_their_names() {
        let mut index = Index::default();
        for n in 0..=OPEN_MAX {
            let (key, entry) = entry(&format!("m{n}"));
            index.put(key, entry);
        }
        let (mut key, other) = entry("m0");
        key.name = ReleaseName::parse("m0-preview").unwrap();
        let refusal = index.collision(&key, &other.release.spec.target, &HashSet::new());
        assert!(refusal.is_some(), "the hosts are those of `m0`, whose document is packed");
    }
}
