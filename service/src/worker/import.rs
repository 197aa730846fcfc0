//! `SeldonDeployment`s that no release made, as the releases that they would be. Nothing is changed: whoever wants one asks for it by a PUT.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::handle::{Handle, not_found};
use super::observe::watched;
use super::read::NO_CLUSTER;
use super::{Fault, Preview};
use crate::drift::{Field, documents, held_against};
use crate::event::{Guard, Requested};
pub use crate::import::Hints as ImportHints;
use crate::import::{Change, Import, Obstacle, import, is_of_a_release, name_of};
use crate::live::Kind;
use crate::names::{EnvironmentName, ModelName, Namespace, ReleaseKey};
use crate::release::{Intent, Refusal, ReleaseRequest};

/// Which objects are looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportQuery {
    pub environment: EnvironmentName,
    pub namespace: Namespace,
    /// These of the cluster; all that no release made where it is empty.
    pub names: Vec<String>,
    /// These, instead of the cluster's.
    pub objects: Option<Vec<Value>>,
    pub hints: ImportHints,
}

/// The release that a `SeldonDeployment` would be, or what keeps it from that.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportView {
    /// The object's name.
    pub seldon_deployment: String,
    /// Written `environment/namespace/name`; none where something is in the way.
    pub release: Option<String>,
    /// One after the other, each the body of a PUT of that release.
    pub requests: Vec<ReleaseRequest>,
    /// What becomes otherwise.
    pub changes: Vec<Change>,
    /// Where the pods of the stable version differ from those that run: the new ones start because of it.
    pub pods: Vec<PodChange>,
    /// What is in the way; nothing where it can be imported.
    pub obstacles: Vec<Obstacle>,
    /// The files after the first request, `release.yaml` first.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub manifests: IndexMap<String, String>,
}

/// A field of a pod template that becomes another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PodChange {
    pub field: String,
    pub was: String,
    pub becomes: String,
}

impl Handle {
    /// Says what releases objects would be. `may` says what the caller may release.
    ///
    /// # Errors
    /// The environment is not configured, the objects cannot be read, or one that was named is not there.
    pub async fn import(
        &self,
        query: ImportQuery,
        may: impl Fn(&ReleaseKey, &ModelName) -> bool,
    ) -> Result<Vec<ImportView>, Fault> {
        let ImportQuery { environment, namespace, names, objects, hints } = query;
        self.shared.environment(&environment)?;
        let objects = match objects {
            Some(objects) => objects,
            None => self.read_objects(&environment, &namespace, &names).await?,
        };
        let mut views = Vec::new();
        for object in objects {
            let key = |name| ReleaseKey { environment: environment.clone(), namespace: namespace.clone(), name };
            let view = match import(&object, &hints) {
                Err(obstacles) => ImportView { obstacles, ..ImportView::of(&object) },
                Ok(import) => {
                    let key = key(import.name.clone());
                    if !import.requests.iter().all(|request| may(&key, &request.model)) {
                        continue;
                    }
                    self.look(&object, key, import).await?
                }
            };
            views.push(view);
        }
        Ok(views)
    }

    /// What would come of one that can be imported.
    async fn look(&self, object: &Value, key: ReleaseKey, import: Import) -> Result<ImportView, Fault> {
        let Import { name: _, requests, changes, stable } = import;
        let view = ImportView { changes, ..ImportView::of(object) };
        if self.shared.entry(&key).is_some() {
            let detail = format!("the release `{key}` is deployed already");
            return Ok(view.hindered(
                "metadata.name",
                detail,
                "import it under another name with `hints.as` (`--as NAME`)",
            ));
        }
        let Some(first) = requests.first().cloned() else { return Ok(view) };
        let intent = Intent::Put(Box::new(first.wanted()?));
        // It takes the object's own place.
        let guard = Guard { adopt: name_of(object) == key.name.as_str(), ..Guard::default() };
        let asked = Requested { key: key.clone(), intent, guard, requested_by: None };
        match self.dry_run(asked).await {
            Ok(Preview { manifests, .. }) => {
                let pods = pods(object, &stable, &manifests);
                Ok(ImportView { release: Some(key.to_string()), requests, pods, manifests, ..view })
            }
            Err(Fault::Refused(refusal)) => {
                let Refusal { reason, cure, violations, .. } = refusal;
                let cure = cure.unwrap_or_else(|| {
                    "correct it in the object, or give the object itself by `objects` (`--file FILE`)".to_owned()
                });
                let field = violations.first().map(|violation| violation.field.clone()).unwrap_or_default();
                Ok(view.hindered(&field, reason, &cure))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn read_objects(
        &self,
        environment: &EnvironmentName,
        namespace: &Namespace,
        names: &[String],
    ) -> Result<Vec<Value>, Fault> {
        let Some((clusters, cluster)) = watched(&self.shared, environment) else {
            let cure = "give the objects themselves by `objects` (`--file FILE`), or name the cluster by `kubernetes` in the configuration";
            return Err(Refusal::conflict(format!("nothing can be read: {NO_CLUSTER}"), cure).into());
        };
        let prefix = &self.shared.environment(environment)?.target.namespace_prefix;
        let there = format!("{prefix}{namespace}");
        let unreadable = |why: String| {
            Fault::from(Refusal::conflict(why, "see what the service's role allows: `kmlflow/access.yaml`"))
        };
        if names.is_empty() {
            let all = clusters.seldon_deployments(cluster, &there).await.map_err(unreadable)?;
            return Ok(all.into_iter().filter(|object| !is_of_a_release(object)).collect());
        }
        let mut objects = Vec::new();
        for name in names {
            let object = clusters.object(cluster, Kind::Seldon, (&there, name)).await.map_err(unreadable)?;
            objects.push(object.ok_or_else(|| {
                let name = crate::names::shown(name);
                let reason = format!("there is no SeldonDeployment `{name}` in the namespace `{there}`");
                not_found(reason, "`kmlflow import --all` looks at all that no release made")
            })?);
        }
        Ok(objects)
    }
}

impl ImportView {
    fn of(object: &Value) -> Self {
        Self {
            seldon_deployment: crate::names::shown(name_of(object)),
            release: None,
            requests: Vec::new(),
            changes: Vec::new(),
            pods: Vec::new(),
            obstacles: Vec::new(),
            manifests: IndexMap::new(),
        }
    }

    fn hindered(mut self, field: &str, detail: String, cure: &str) -> Self {
        self.obstacles.push(Obstacle { field: field.to_owned(), detail, cure: cure.to_owned() });
        self
    }
}

/// Where the rendered pods of the stable version differ from those of a predictor of the object.
fn pods(object: &Value, stable: &str, manifests: &IndexMap<String, String>) -> Vec<PodChange> {
    let of = |predictor: &Value| predictor["componentSpecs"][0]["spec"].clone();
    let rendered = documents(manifests.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let Some(rendered) = rendered.iter().find(|document| document["kind"] == "SeldonDeployment") else {
        return Vec::new();
    };
    let there = object["spec"]["predictors"].as_array().into_iter().flatten();
    let there = there.filter(|predictor| predictor["name"] == *stable).map(of).next().unwrap_or_default();
    let mut there = there;
    if let Some(container) = there.pointer_mut("/containers/0")
        && container.is_object()
    {
        // It is the same one under another name.
        container["name"] = "model".into();
    }
    let fields = held_against(&of(&rendered["spec"]["predictors"][0]), Some(&there), "");
    fields.into_iter().map(|Field { path, want, have }| PodChange { field: path, was: have, becomes: want }).collect()
}
