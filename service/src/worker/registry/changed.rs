//! Artifacts that were changed in their place after they were released: the `MLmodel` there has another digest than was recorded.

use super::write_back::Which;
use crate::mlflow::Client;
use crate::names::{Digest, ReleaseKey};
use crate::servable::MlModel;
use crate::worker::Fault;
use crate::worker::shared::{Shared, read};
use crate::worker::view::{DifferenceKind, SweepDifference};

/// The most artifacts that one sweep looks at: each is a request, and MLflow serves files slowly. The next sweep goes on with the others.
const LOOKED_AT_MAX: usize = 20;

/// An artifact that serves.
pub(super) struct Served {
    release: ReleaseKey,
    which: Which,
    digest: Digest,
}

/// The next artifacts to look at, after `position` others; moves the position on.
pub(super) fn next(shared: &Shared, position: usize) -> Result<(Vec<Served>, usize), Fault> {
    let index = read(&shared.index);
    let mut all = Vec::new();
    for (key, kept) in index.iter() {
        let release = kept.entry().release;
        for variant in &release.spec.variants {
            let Some(digest) = variant.artifact.model_digest.clone() else { continue };
            let which = (release.spec.model.clone(), variant.version.clone());
            all.push(Served { release: key.clone(), which, digest });
        }
    }
    let begin = if position < all.len() { position } else { 0 };
    let some: Vec<Served> = all.into_iter().skip(begin).take(LOOKED_AT_MAX).collect();
    let end = begin + some.len();
    Ok((some, end))
}

/// Those of them that are others now. One that cannot be read says nothing.
pub(super) async fn changed(client: &Client, served: Vec<Served>) -> Vec<SweepDifference> {
    let mut found = Vec::new();
    for Served { release, which: (model, version), digest } in served {
        let Ok(Some(file)) = client.artifact_file(&model, &version, "MLmodel").await else { continue };
        if MlModel::parse(&file).is_ok_and(|now| now.digest != digest) {
            found.push(SweepDifference {
                reason: format!("the files of version {version} are others than were released"),
                cure: Some(format!(
                    "register them as a version of their own, or release them as they are: `kmlflow release {} -n {} -e {} --model {model} \
                     --version {version} --model-uri URI`",
                    release.name, release.namespace, release.environment
                )),
                release: release.to_string(),
                model,
                kind: DifferenceKind::Changed,
                delivery: None,
            });
        }
    }
    found
}
