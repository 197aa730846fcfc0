//! A `SeldonDeployment` that no release made, as the requests that make it one.
//!
//! What a release cannot say is an obstacle, named with its field and what helps; what it says otherwise is a change. Nothing is left out
//! silently: a field that is neither read nor known to be harmless is an obstacle.

mod container;
mod fields;
mod predictor;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::names::{ModelName, ReleaseName, Version};
use crate::release::{ReleaseRequest, Strategy};
use fields::{Fields, Found};

/// What the object does not say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Hints {
    /// The registered model; that of the image's name (`model:version`) unless given.
    #[schema(value_type = Option<String>)]
    pub model: Option<ModelName>,
    /// The version by predictor; `*` for a single one. That of the image's tag unless given.
    #[schema(value_type = BTreeMap<String, String>)]
    pub versions: BTreeMap<String, Version>,
    /// How two predictors run beside each other; by their traffic unless given.
    pub strategy: Option<Strategy>,
    /// The release's name, where it is not to be the object's own.
    #[serde(rename = "as")]
    #[schema(value_type = Option<String>)]
    pub name: Option<ReleaseName>,
}

/// The release that it would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    pub name: ReleaseName,
    /// One after the other, each the body of a PUT.
    pub requests: Vec<ReleaseRequest>,
    /// What becomes otherwise.
    pub changes: Vec<Change>,
    /// The name of the predictor that is the stable one.
    pub stable: String,
}

/// Something that becomes otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    /// Where it stands in the object; empty where it is about all of it.
    pub field: String,
    /// One sentence.
    pub detail: String,
}

/// What keeps an object from becoming a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Obstacle {
    pub field: String,
    /// One sentence.
    pub detail: String,
    pub cure: String,
}

/// What marks an object as a release's.
const RELEASE: &str = "kmlflow.dev/release";

/// What Argo CD, by its default or by annotation, marks what it applies with.
const ARGO_CD: [&str; 2] = ["argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance"];

/// What Helm marks what it applies with.
const HELM: &str = "meta.helm.sh/release-name";

/// Maps an object to the requests of a release.
///
/// # Errors
/// Everything that keeps it from that.
pub fn import(object: &Value, hints: &Hints) -> Result<Import, Vec<Obstacle>> {
    let mut found = Found::default();
    let name = name(object, hints, &mut found);
    owners(object, hints, &mut found);
    let spec = object.get("spec").and_then(Value::as_object);
    let mut spec = Fields::of(spec, "spec");
    let served = predictor::all(&mut spec, hints, &mut found);
    spec.end(&["name", "oauth_key", "oauth_secret", "transport"], &mut found);
    let requests = requests::requests(&served, hints, &mut found);
    let (Some(name), true) = (name, found.obstacles.is_empty()) else { return Err(found.obstacles) };
    requests::changes(&name, object, &served, &mut found);
    let stable = requests::stable(&served).map(|served| served.predictor.clone()).unwrap_or_default();
    Ok(Import { name, requests, changes: found.changes, stable })
}

/// The name of a `SeldonDeployment`.
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether some release says that it is its own.
pub fn is_of_a_release(object: &Value) -> bool {
    object["metadata"]["annotations"][RELEASE].as_str().is_some_and(|release| !release.is_empty())
}

fn name(object: &Value, hints: &Hints, found: &mut Found) -> Option<ReleaseName> {
    if let Some(name) = &hints.name {
        return Some(name.clone());
    }
    let parsed = ReleaseName::parse(name_of(object));
    if let Err(error) = &parsed {
        found.obstacle("metadata.name", error.rule, "name the release with `hints.as` (`--as NAME`)");
    }
    parsed.ok()
}

/// Who applies the object now.
fn owners(object: &Value, hints: &Hints, found: &mut Found) {
    if object["kind"] != "SeldonDeployment" {
        found.obstacle("kind", "must be `SeldonDeployment`", "give a SeldonDeployment");
    }
    let metadata = &object["metadata"];
    let annotation = |name: &str| metadata["annotations"][name].as_str().filter(|text| !text.is_empty());
    if let Some(release) = annotation(RELEASE) {
        let detail = format!("it belongs to the release `{}` already", crate::names::shown(release));
        found.obstacle(&format!("metadata.annotations[{RELEASE}]"), &detail, "`kmlflow get` shows that release");
    }
    let keeps_name = hints.name.as_ref().is_none_or(|name| name.as_str() == name_of(object));
    if !keeps_name {
        return;
    }
    if let Some(marked) = ARGO_CD.into_iter().find(|name| annotation(name).is_some()) {
        let cure = "take it out of that Application first, with the annotation `argocd.argoproj.io/sync-options: Prune=false` on the object so \
                    that it stays; or import it under another name with `hints.as` (`--as NAME`)";
        found.obstacle(&format!("metadata.annotations[{marked}]"), "another Application of Argo CD applies it", cure);
    }
    if metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty()) {
        let cure = "import it under another name with `hints.as` (`--as NAME`), and remove the old one at its owner";
        found.obstacle("metadata.ownerReferences", "another object owns it and would change it back", cure);
    }
    if annotation(HELM).is_some() {
        let detail = "Helm made it, and puts it back with its next upgrade or removes it with the chart: take it out of the chart with the \
                      annotation `helm.sh/resource-policy: keep`";
        found.change(&format!("metadata.annotations[{HELM}]"), detail);
    }
}
