//! `pin`: the digests of the images that run, written into the manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::answer;
use crate::arguments::General;
use crate::checkout::{self, unreadable};
use crate::fault::Fault;
use crate::images::{self, Named, Running};
use crate::session::Session;

/// What became of one image that the manifests name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Pinned {
    image: String,
    /// `sha256:` and 64 digits; none where the manifests go on without one.
    digest: Option<String>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Written,
    Unchanged,
    /// No pod has it that pulled it.
    NotPulled,
    /// Nodes pulled other things under the same tag.
    Ambiguous,
    /// It runs, and only a chart or another project's files name it, or not in one line.
    NotNamed,
}

pub(super) fn run(session: &Session, general: &General) -> Result<(), Fault> {
    // Each namespace by itself, and only those of the platform: what others run is no proof of what it needs.
    let mut pods = Vec::new();
    for namespace in session.catalogue.namespaces(session.options.profile) {
        pods.extend(session.kubectl.list(&["pods", "--namespace", &namespace.name])?);
    }
    let running = images::running(&pods);
    let mut found = BTreeSet::new();
    for file in checkout::files(&session.checkout.platform(""))?.iter().filter(|file| is_manifest(file)) {
        let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
        found.extend(images::named(&text).iter().map(|named| pinned(named, &running)));
        let made = images::pinned(&text, &running);
        if made != text {
            checkout::write(file, &made)?;
        }
    }
    let is_named = |image: &String| found.iter().any(|pinned| pinned.image == *image);
    let others: Vec<Pinned> = running.keys().filter(|image| !is_named(image)).map(|image| not_named(image)).collect();
    found.extend(others);
    answer::write(general.output, &found, || told(&found))
}

fn not_named(image: &str) -> Pinned {
    Pinned { image: image.to_owned(), digest: None, state: State::NotNamed }
}

fn is_manifest(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml")
}

fn pinned(named: &Named, running: &Running) -> Pinned {
    let (before, now) = (named.digest.as_deref(), images::only(running, &named.image));
    let state = match now {
        None if running.contains_key(&named.image) => State::Ambiguous,
        None => State::NotPulled,
        now if now == before => State::Unchanged,
        Some(_) => State::Written,
    };
    Pinned { image: named.image.clone(), digest: now.or(before).map(|digest| format!("sha256:{digest}")), state }
}

fn told(found: &BTreeSet<Pinned>) -> String {
    let row = |pinned: &Pinned| {
        let state = match pinned.state {
            State::Written => "written",
            State::Unchanged => "as it was",
            State::NotPulled => "no pod here pulled it from there",
            State::NotNamed => "named in no line of these manifests: by a chart, or by files elsewhere",
            State::Ambiguous => {
                "nodes pulled different images by this tag: restart the pods that have the older one, then run this again"
            }
        };
        vec![pinned.image.clone(), pinned.digest.clone().unwrap_or_else(|| "-".to_owned()), state.to_owned()]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let next = match found.iter().any(|pinned| pinned.state == State::Written) {
        true => {
            "\nCommit `platform/` to the repository that the cluster follows: a pod that starts then pulls these and no others.\n"
        }
        false => "\nNothing was changed.\n",
    };
    answer::table(&["IMAGE", "DIGEST", "STATE"], &rows) + next
}
