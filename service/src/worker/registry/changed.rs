//! Artifacts that were changed in their place after they were released: the `MLmodel` there has another digest than was recorded.

use std::collections::BTreeSet;

use super::write_back::Which;
use crate::mlflow::Client;
use crate::names::{Digest, ReleaseKey};
use crate::servable::MlModel;
use crate::worker::shared::{Shared, read};
use crate::worker::view::{DifferenceKind, SweepDifference};

/// The most artifacts that one sweep looks at: each is a request, and MLflow serves files slowly. The next sweep goes on with the others.
const LOOKED_AT_MAX: usize = 20;

/// An artifact that serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Served {
    release: ReleaseKey,
    which: Which,
    digest: Digest,
}

/// What is known of artifacts from one sweep to the next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// How many artifacts were looked at since the first of all.
    position: usize,
    /// Those that were others when they were last looked at.
    changed: BTreeSet<Served>,
}

/// Every artifact that serves.
pub(super) fn served(shared: &Shared) -> BTreeSet<Served> {
    let mut all = BTreeSet::new();
    for (key, kept) in read(&shared.index).iter() {
        let release = kept.entry().release;
        for variant in &release.spec.variants {
            let Some(digest) = variant.artifact.model_digest.clone() else { continue };
            let which = (release.spec.model.clone(), variant.version.clone());
            all.insert(Served { release: key.clone(), which, digest });
        }
    }
    all
}

impl Watch {
    /// Looks at the next of all artifacts that serve; a dry run looks and remembers nothing.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        all: &BTreeSet<Served>,
        dry_run: bool,
    ) -> Vec<SweepDifference> {
        let begin = if self.position < all.len() { self.position } else { 0 };
        let some: Vec<&Served> = all.iter().skip(begin).take(LOOKED_AT_MAX).collect();
        let mut changed: BTreeSet<Served> = self.changed.intersection(all).cloned().collect();
        for served in &some {
            match is_changed(client, served).await {
                Some(true) => _ = changed.insert((*served).clone()),
                Some(false) => _ = changed.remove(served),
                // One that cannot be read says nothing.
                None => {}
            }
        }
        let found = changed.iter().map(Served::difference).collect();
        if !dry_run {
            *self = Self { position: begin + some.len(), changed };
        }
        found
    }
}

async fn is_changed(client: &Client, served: &Served) -> Option<bool> {
    let Served { release: _, which: (model, version), digest } = served;
    let file = client.artifact_file(model, version, "MLmodel").await.ok()??;
    Some(MlModel::parse(&file).is_ok_and(|now| now.digest != *digest))
}

impl Served {
    fn difference(&self) -> SweepDifference {
        let Self { release, which: (model, version), digest: _ } = self;
        SweepDifference {
            reason: format!("the files of version {version} are others than were released"),
            cure: Some(format!(
                "register them as a version of their own, or release them as they are: `kmlflow release {} -n {} -e {} --model {model} \
                 --version {version} --model-uri URI`",
                release.name, release.namespace, release.environment
            )),
            release: release.to_string(),
            model: model.clone(),
            kind: DifferenceKind::Changed,
            delivery: None,
        }
    }
}
