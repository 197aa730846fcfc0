use super::*;
use crate::plan::{self, EnvironmentTarget};

fn entry(name: &str) -> (ReleaseKey, Entry) {
    let text = include_str!("../testdata/release.yaml").replace("fraud", name);
    let release = Release::parse(&text).unwrap();
    let entry = Entry {
        commit: CommitId::parse(&"1".repeat(40)).unwrap(),
        tree: TreeId::parse(&"2".repeat(40)).unwrap(),
        changed_at: release.rollout.since,
        is_undated: false,
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
fn what_lacks_a_commit_of_its_own_gets_it_once_and_keeps_a_newer_one() {
    let mut index = Index::default();
    let ((key, entry), (other, known)) = (entry("fraud"), entry("churn"));
    index.put(key.clone(), Entry { is_undated: true, ..entry });
    index.put(other.clone(), known.clone());
    let at: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    for (key, digit) in [(&key, "3"), (&key, "4"), (&other, "5")] {
        let commit = CommitId::parse(&digit.repeat(40)).unwrap();
        index.date(&Newest { key: key.clone(), commit, at, is_ours: true });
    }
    let dated = index.get(&key).unwrap();
    assert_eq!((dated.commit.as_str(), dated.changed_at), ("3".repeat(40).as_str(), at));
    assert_eq!(index.get(&other).unwrap().commit, known.commit);
}

/// A release as the settings of two environments would place it that share a cluster and its namespaces.
fn placed(key: &str) -> (ReleaseKey, Entry) {
    let (key, (_, mut entry)) = (ReleaseKey::parse(key).unwrap(), entry("fraud"));
    let mut release = Release::clone(&entry.release);
    let Target { cluster, gateway, monitoring, links, .. } = release.spec.target.clone();
    let (namespace_prefix, host_suffix) = (String::new(), format!("{}.localhost", key.environment));
    let environment = EnvironmentTarget { cluster, namespace_prefix, host_suffix, gateway, monitoring, links };
    release.spec.target = plan::target(&key, &environment).unwrap();
    entry.release = Arc::new(release);
    (key, entry)
}

#[test]
fn of_all_that_are_here_those_are_found_that_a_release_would_collide_with() {
    let names = ["a", "a-b", "a-grpc", "a-preview", "a-v7", "a-v7-model", "a-v7x", "a--v7", "ab", "a1", "b"];
    let directories = ["production/c", "production/b-c", "staging/c", "staging/d"];
    let all: Vec<_> = directories.iter().flat_map(|d| names.iter().map(move |n| placed(&format!("{d}/{n}")))).collect();
    let mut index = Index::default();
    let mut here: Vec<usize> = Vec::new();
    let (mut collisions, mut steps) = (0, 0);
    // All are put in, then every other one is taken out, and each time all are asked for.
    for at in (0..all.len()).chain((0..all.len()).step_by(2)) {
        let (key, entry) = &all[at];
        match here.iter().position(|there| *there == at) {
            Some(there) => {
                index.remove(key);
                here.remove(there);
            }
            None => {
                index.put(key.clone(), entry.clone());
                here.push(at);
            }
        }
        for (key, entry) in &all {
            let new = Owner { key, target: &entry.release.spec.target };
            let with = |at: &usize| Owner { key: &all[*at].0, target: &all[*at].1.release.spec.target };
            let expected = here.iter().any(|at| collision(new, with(at)).is_some());
            let found = index.collision(key, new.target, &HashSet::new());
            assert_eq!(found.is_some(), expected, "{key} beside {here:?}");
            collisions += usize::from(expected);
            steps += 1;
        }
    }
    assert!(collisions > 100 && steps - collisions > 100, "{collisions} of {steps}");
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
