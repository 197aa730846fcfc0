//! One release: its rendered documents held against the objects that are there.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;

use super::subset::{Field, held_against};
use super::{About, Difference};
use crate::live::{Application, Found, Kind, Object, RouteKind, Watched as _, WireApplication};
use crate::names::ReleaseKey;

/// The annotation by which what we render says which release it belongs to.
pub const RELEASE_ANNOTATION: &str = "kmlflow.dev/release";

/// The kinds of documents that a release has and Argo CD does not apply.
const NOT_APPLIED: [&str; 2] = ["Release", "Kustomization"];

/// The kinds whose objects are read. Of the others (dashboard, monitoring) Argo CD's word is taken: to read a ConfigMap is a right that the
/// service does not need otherwise.
pub const NAMES_READ: [Kind; 4] = [Kind::Seldon, Kind::Service, Kind::HttpRoute, Kind::GrpcRoute];

/// An object of a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub kind: String,
    pub name: String,
}

impl ObjectName {
    /// The object that a document is about.
    pub fn of(document: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self { kind: text(&document["kind"]), name: text(&document["metadata"]["name"]) }
    }

    /// Its kind, where its objects are read.
    pub fn read_as(&self) -> Option<Kind> {
        NAMES_READ.into_iter().find(|kind| kind.as_str() == self.kind)
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// What is there of a release.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// The objects that were read; nothing where there is none of that name.
    pub objects: BTreeMap<ObjectName, Option<Value>>,
    /// Argo CD's Application of the release, as it is.
    pub application: Option<Value>,
    /// What was seen of the release, for what is there beside the documents.
    pub found: Option<Found>,
}

/// The documents that Argo CD applies, of the files of a release.
pub fn documents<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Vec<Value> {
    let files = files.into_iter().filter(|(name, _)| name.ends_with(".yaml"));
    let documents = files.flat_map(|(_, text)| serde_yaml::Deserializer::from_str(text));
    let documents = documents.filter_map(|document| Value::deserialize(document).ok());
    documents.filter(|document| document["kind"].as_str().is_some_and(|kind| !NOT_APPLIED.contains(&kind))).collect()
}

/// Everything that differs between the documents of a release and what is there.
pub fn compare(key: &ReleaseKey, documents: &[Value], live: &Live) -> Vec<Difference> {
    let about = About { key };
    let mut differences: Vec<Difference> = about.application(kept(live).as_ref()).into_iter().collect();
    let unsynced = unsynced(live.application.as_ref());
    for document in documents {
        let name = ObjectName::of(document);
        match live.objects.get(&name) {
            Some(Some(object)) => differences.extend(about.object(&name, document, object)),
            Some(None) => differences.push(about.missing(&name.to_string())),
            None => differences.extend(unsynced.get(&name).map(|word| about.by_word(&name, word))),
        }
    }
    let wanted: Vec<ObjectName> = documents.iter().map(ObjectName::of).collect();
    let routes = live.found.iter().flat_map(|found| &found.routes).map(|route| {
        let kind = if route.kind == RouteKind::Grpc { Kind::GrpcRoute } else { Kind::HttpRoute };
        ObjectName { kind: kind.as_str().to_owned(), name: route.name.to_string() }
    });
    differences.extend(routes.filter(|name| !wanted.contains(name)).map(|name| about.left(&name.to_string())));
    differences
}

/// What is kept of the Application.
fn kept(live: &Live) -> Option<Application> {
    let application: WireApplication = serde_json::from_value(live.application.clone()?).ok()?;
    match application.kept(Kind::Application) {
        Some(Object::Application(application)) => Some(application),
        _ => None,
    }
}

/// The objects that Argo CD says are not as Git wants them, with its word for that.
fn unsynced(application: Option<&Value>) -> BTreeMap<ObjectName, String> {
    let resources = application.and_then(|application| application["status"]["resources"].as_array());
    let text = |resource: &Value, name: &str| resource[name].as_str().unwrap_or_default().to_owned();
    let word = |resource: &Value| {
        let is_missing = resource["health"]["status"] == "Missing";
        let status = text(resource, "status");
        (status == "OutOfSync").then_some(if is_missing { "it is missing".to_owned() } else { format!("`{status}`") })
    };
    let of = |resource: &Value| ObjectName { kind: text(resource, "kind"), name: text(resource, "name") };
    resources.into_iter().flatten().filter_map(|resource| Some((of(resource), word(resource)?))).collect()
}

impl About<'_> {
    /// What is wrong with Argo CD's Application of the release.
    pub(super) fn application(self, application: Option<&Application>) -> Option<Difference> {
        let name = crate::live::application_name(self.key);
        let object = format!("Application/{name}");
        let Some(application) = application else {
            let cure = format!(
                "Argo CD's ApplicationSet makes it: `kubectl get applicationset -A`; `kmlflow get {}` says what is missing",
                self.options()
            );
            return Some(Difference { cure, ..self.missing(&object) });
        };
        let folder = self.key.directory();
        if *application.path == *folder {
            return None;
        }
        let cure = format!(
            "nothing of the release is applied by it: rename or delete that Application: `kubectl get application {name} -A`"
        );
        Some(Difference { cure, ..self.occupied(&object, ("spec.source.path", folder, application.path.to_string())) })
    }

    fn object(self, name: &ObjectName, document: &Value, object: &Value) -> Vec<Difference> {
        let owner = &object["metadata"]["annotations"][RELEASE_ANNOTATION];
        let (name, key) = (name.to_string(), self.key.to_string());
        if owner.as_str() != Some(key.as_str()) {
            let owner = owner.as_str().map_or_else(|| "no release's".to_owned(), crate::names::shown);
            let field = format!("metadata.annotations[{RELEASE_ANNOTATION}]");
            return vec![self.occupied(&name, (&field, key, owner))];
        }
        let metadata = ["labels", "annotations"].into_iter().flat_map(|part| {
            held_against(&document["metadata"][part], object["metadata"].get(part), &format!("metadata.{part}"))
        });
        let content = held_against(&document["spec"], object.get("spec"), "spec");
        metadata.chain(content).map(|field| self.edited(&name, field)).collect()
    }

    fn by_word(self, name: &ObjectName, word: &str) -> Difference {
        let field = Field { path: String::new(), want: "as in Git".to_owned(), have: format!("Argo CD says {word}") };
        self.edited(&name.to_string(), field)
    }
}
