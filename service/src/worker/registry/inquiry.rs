//! Asking about what a request would serve, before it is planned: which image a version names, where its files are and what is in them.
//!
//! A version that is deployed serves on as it is, whatever its tracking server says meanwhile; it is asked about all the same, because what
//! comes before this request may take it away. What cannot be told now is an error where something depends on it; who names an image is not
//! kept from releasing it because the registry is down.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::images::Resolution;
use crate::mlflow::{Client, Error};
use crate::names::{ModelName, ReleaseKey, Version};
use crate::plan::{Findings, ImageFinding, VersionFinding};
use crate::policy;
use crate::registry::{Reading, VersionReading};
use crate::release::{Refusal, Wanted, WantedArm};
use crate::servable::{MlModel, Requirements, resolve_location};
use crate::worker::shared::Shared;

/// The tag by which a version, or the run that logged it, names its image.
pub(super) const IMAGE_TAG: &str = "serving_image";

/// What is asked about.
pub(in crate::worker) struct Inquiry<'a> {
    pub(in crate::worker) model: &'a ModelName,
    pub(in crate::worker) key: &'a ReleaseKey,
    pub(in crate::worker) arms: Vec<WantedArm>,
    /// The model, where it was just read.
    pub(in crate::worker) reading: Option<&'a Reading>,
}

/// What has to be found out for a request.
pub(in crate::worker) fn inquiry_of_request<'a>(key: &'a ReleaseKey, wanted: &'a Wanted) -> Inquiry<'a> {
    Inquiry { model: &wanted.model, key, arms: wanted.arms.clone(), reading: None }
}

/// What is needed of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// What serves it is not named: everything.
    All,
    /// What serves it is named: whether it is there, and what callers send.
    Named,
    /// It serves already: only what callers send.
    Signature,
}

/// Finds out what the plan has to know.
///
/// # Errors
/// The tracking server does not answer, and something depends on it.
pub(in crate::worker) async fn find_out(shared: &Shared, inquiry: Inquiry<'_>) -> Result<Findings, Error> {
    let entry = shared.entry(inquiry.key);
    let mut needs: BTreeMap<&Version, Need> = BTreeMap::new();
    for arm in &inquiry.arms {
        let need = if arm.artifact.image.is_some() { Need::Named } else { Need::All };
        needs.insert(&arm.version, need);
    }
    if let (Some(live), false) = (entry.as_ref().and_then(|entry| entry.release.stable()), needs.is_empty()) {
        needs.entry(&live.version).or_insert(Need::Signature);
    }
    let mut findings = Findings::default();
    if let Some(registry) = &shared.settings.registry {
        let destination = registry.artifacts_destination.as_deref();
        let asked = needs.into_iter().map(|(version, need)| {
            let known = inquiry.reading.and_then(|reading| reading.versions.get(version));
            about(&registry.client, (inquiry.model, version), (need, known), destination)
        });
        findings.versions.extend(try_join_all(asked).await?);
    }
    for image in images(shared, &inquiry, &findings) {
        let finding = resolve(shared, &image).await;
        findings.images.extend(finding.map(|finding| (image, finding)));
    }
    Ok(findings)
}

/// Finds out about one version.
async fn about(
    client: &Client,
    (model, version): (&ModelName, &Version),
    (need, known): (Need, Option<&VersionReading>),
    destination: Option<&str>,
) -> Result<(Version, VersionFinding), Error> {
    let mut finding = VersionFinding::default();
    if need != Need::All {
        // Who says what serves it decides; what its callers send is compared, and whether it is there looked at, where that can be told.
        let is_asked = need == Need::Named && known.is_none();
        let absent = async { is_asked && matches!(client.version(model, version).await, Ok(None)) };
        let (is_absent, logged) = tokio::join!(absent, logged_model(client, model, version));
        (finding.is_absent, finding.model) = (is_absent, logged.unwrap_or_default());
        return Ok((version.clone(), finding));
    }
    let reading = match known {
        Some(reading) => Some(reading.clone()),
        None => client.version(model, version).await?,
    };
    let Some(reading) = reading else {
        finding.is_absent = true;
        return Ok((version.clone(), finding));
    };
    finding.image = named_image(client, &reading).await?;
    if finding.image.is_some() {
        finding.model = logged_model(client, model, version).await.unwrap_or_default();
        return Ok((version.clone(), finding));
    }
    let (location, logged) =
        tokio::try_join!(client.artifact_location(model, version), logged_model(client, model, version))?;
    finding.location = location.map(|location| resolve_location(&location, destination));
    finding.model = Some(logged.unwrap_or_else(|| Err(no_model(version))));
    if matches!(finding.model, Some(Ok(_))) {
        // A file that cannot be read says nothing about what is missing.
        let file = match client.artifact_file(model, version, "requirements.txt").await {
            Err(Error::Server { status: 500, .. } | Error::TooLarge { .. }) => None,
            other => other?,
        };
        finding.requirements = file.and_then(|file| Requirements::parse(&file).ok());
    }
    Ok((version.clone(), finding))
}

/// The image that a version names by a tag of its own, or of its run.
async fn named_image(client: &Client, reading: &VersionReading) -> Result<Option<String>, Error> {
    let of = |tags: &BTreeMap<String, String>| tags.get(IMAGE_TAG).filter(|image| !image.is_empty()).cloned();
    match (of(&reading.tags), &reading.run_id) {
        (Some(image), _) => Ok(Some(image)),
        (None, Some(run)) => Ok(client.run_tags(run).await?.as_ref().and_then(of)),
        (None, None) => Ok(None),
    }
}

/// A version's `MLmodel`, or why it says nothing; none where it has none.
async fn logged_model(
    client: &Client,
    model: &ModelName,
    version: &Version,
) -> Result<Option<Result<MlModel, Refusal>>, Error> {
    let file = match client.artifact_file(model, version, "MLmodel").await {
        // MLflow says nothing better of a store that it cannot read. That is so for this version alone, and stays so.
        Err(Error::Server { status: 500, .. }) => return Ok(Some(Err(unreadable_store(version)))),
        Err(Error::TooLarge { .. }) => return Ok(Some(Err(too_large(version)))),
        other => other?,
    };
    Ok(file.map(|file| {
        MlModel::parse(&file).map_err(|error| {
            Refusal::invalid(format!("the {error} of version {version}"), "log the model again, or release an image")
        })
    }))
}

fn unreadable_store(version: &Version) -> Refusal {
    Refusal::invalid(
        format!("the tracking server could not read the files of version {version}"),
        "see MLflow's log: its artifact store may be out of reach; or set the tag `serving_image` on the version, or name an image",
    )
}

fn too_large(version: &Version) -> Refusal {
    Refusal::invalid(
        format!("the `MLmodel` file of version {version} is larger than 1 MiB"),
        "log the model with fewer columns in its signature, set the tag `serving_image` on the version, or name an image",
    )
}

fn no_model(version: &Version) -> Refusal {
    Refusal::invalid(
        format!("version {version} has no `MLmodel` file, so no runtime can serve its artifact"),
        "log the model by MLflow, set the tag `serving_image` on the version, or name an image",
    )
}

/// Every image that may come to serve.
fn images(shared: &Shared, inquiry: &Inquiry<'_>, findings: &Findings) -> Vec<String> {
    let policies = shared.policy_set();
    let defaults = policies.policies.select(inquiry.model).map(|selection| &selection.policy.spec.defaults);
    let of = |arm: &WantedArm| {
        let tagged = findings.versions.get(&arm.version).and_then(|finding| finding.image.clone());
        let default = || policy::image_for(defaults?, inquiry.model, &arm.version).ok()?;
        arm.artifact.image.clone().or(tagged).or_else(default)
    };
    inquiry.arms.iter().filter_map(of).collect()
}

/// What the registry of an image says; none where none is asked.
async fn resolve(shared: &Shared, image: &str) -> Option<ImageFinding> {
    Some(match shared.settings.images.as_ref()?.resolve(image).await {
        Ok(Resolution::Pinned(pinned)) => ImageFinding::Pinned(pinned),
        Ok(Resolution::Unpinned { reason }) => ImageFinding::Unpinned(reason),
        Err(refusal) => ImageFinding::Missing(refusal),
    })
}
