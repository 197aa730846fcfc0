//! Every file of every state, as it was reviewed: a change of the templates shows here, pod hashes included.
//!
//! After a wanted change: delete the golden files concerned, run the tests once, which writes them anew and fails, and review the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::samples::{STATES, release};
use crate::render::{Templates, render, seldon_field_paths, used_field_paths};

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/golden")
}

/// All files of a state in one text, each after a line with its name.
fn rendered(state: &str) -> String {
    let manifests = render(&release(state), &Templates::built_in()).unwrap_or_else(|error| panic!("{state}: {error}"));
    manifests.files.iter().map(|(name, text)| format!("# === {name}\n{text}")).collect()
}

#[test]
fn every_state_renders_as_it_was_reviewed() {
    let mut changed = Vec::new();
    for state in STATES {
        let path = golden_dir().join(format!("{state}.yaml"));
        let text = rendered(state);
        match fs::read_to_string(&path) {
            Ok(golden) if golden == text => {}
            Ok(_) => changed.push(state),
            Err(_) => {
                fs::write(&path, text).unwrap();
                changed.push(state);
            }
        }
    }
    assert!(changed.is_empty(), "these states render otherwise, or had no golden file until now: {changed:?}");
}

#[test]
fn every_golden_file_belongs_to_a_state() {
    let files: BTreeSet<String> =
        fs::read_dir(golden_dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, STATES.iter().map(|state| format!("{state}.yaml")).collect());
}

#[test]
fn renders_use_the_listed_fields_and_every_listed_field_is_used() {
    let mut used = BTreeMap::new();
    for state in STATES {
        let manifests = render(&release(state), &Templates::built_in()).unwrap();
        let document = serde_yaml::from_str(&manifests.files["seldon.yaml"]).unwrap();
        used.extend(used_field_paths(&document).into_iter().map(|path| (path, state)));
    }
    let listed: BTreeSet<&str> = seldon_field_paths().iter().copied().collect();
    assert_eq!(used.keys().map(String::as_str).collect::<BTreeSet<_>>(), listed);
    assert!(seldon_field_paths().is_sorted());
}
