//! The objects that bootstrap itself applies, as text for `kubectl`.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::catalogue::Namespace;
use crate::fault::Fault;
use crate::options::{Options, Setting};
use crate::render;
use crate::secrets::LABEL;

/// The name of the root Application and its project.
pub const ROOT: &str = "platform";

/// Where bootstrap keeps what it was asked for.
pub const RECORD: (&str, &str) = ("k5w", "bootstrap");

/// Groups of kinds that every cluster has; objects of other kinds come with Argo CD, once their definitions are there.
const BUILT_IN: [&str; 9] = [
    "",
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
];

/// Kustomize's way to say that an object is not to be there; kind and name are those of the patch's target.
const TAKE_AWAY: &str = "$patch: delete\napiVersion: v1\nkind: Whatever\nmetadata: {name: whatever}\n";

/// Where the release service is: its names in the cluster, and beside a cluster whose programs all run on one machine.
const SERVICE_HOSTS: [&str; 4] = ["kmlflow.k5w", "kmlflow.k5w.svc", "kmlflow.k5w.svc.cluster.local", "127.0.0.1"];

/// The address and the branch that everything in the cluster reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub url: String,
    pub branch: String,
}

impl std::fmt::Display for Repository {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "`{}`, branch `{}`", self.url, self.branch)
    }
}

impl Repository {
    /// From `platform/repository/repository.yaml`, the one place that says so.
    pub fn read(folder: &Path) -> Result<Self, Fault> {
        let file = folder.join("repository.yaml");
        let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error.to_string()))?;
        let value: Value = serde_yaml::from_str(&text).map_err(|error| unreadable(&file, &error.to_string()))?;
        let field = |name: &str| value["data"][name].as_str().map(str::to_owned);
        match (field("url"), field("branch")) {
            (Some(url), Some(branch)) => Ok(Self { url, branch }),
            _ => Err(unreadable(&file, "it has no `data.url` and `data.branch`")),
        }
    }

    /// Whether it is the one inside the release service.
    pub fn is_embedded(&self) -> bool {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        SERVICE_HOSTS.contains(&host)
    }
}

fn unreadable(file: &Path, why: &str) -> Fault {
    Fault::new(format!("`{}` cannot be read: {why}", file.display()), "restore it from the checkout")
}

/// The namespaces, so that Secrets have a place before anything else is there.
pub fn namespaces(all: &[&Namespace]) -> String {
    let objects = all.iter().map(|namespace| {
        let mut labels = render::labels(namespace);
        labels.insert(LABEL.to_owned(), "bootstrap".to_owned());
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name, "labels": labels}})
    });
    list(objects.collect())
}

/// The root Application, and the project that lets it make Applications, projects and namespaces and nothing else.
///
/// Parts and namespaces that are left out are taken from what the folder makes; values of charts are added to it.
pub fn root(repository: &Repository, options: &Options, namespaces: &[String]) -> String {
    let (follows, parts) = (&options.follows, options.without.as_slice());
    let server = "https://kubernetes.default.svc";
    let project = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
        "metadata": {"name": ROOT, "namespace": "argocd", "labels": {LABEL: "bootstrap"}},
        "spec": {
            "description": "The platform as an app of apps",
            "sourceRepos": [repository.url],
            "destinations": [{"server": server, "namespace": "argocd"}],
            "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
            "namespaceResourceWhitelist": [{"group": "argoproj.io", "kind": "Application"}, {"group": "argoproj.io", "kind": "AppProject"}],
        },
    });
    let mut source =
        json!({"repoURL": repository.url, "targetRevision": repository.branch, "path": format!("platform/{follows}")});
    let mut patches: Vec<Value> = [("Application|AppProject", parts), ("Namespace", namespaces)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kinds, names)| json!({"target": {"kind": kinds, "name": names.join("|")}, "patch": TAKE_AWAY}))
        .collect();
    patches.extend(settings(&options.set));
    if !patches.is_empty() {
        source["kustomize"] = json!({"patches": patches});
    }
    let application = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {
            "name": ROOT, "namespace": "argocd", "labels": {LABEL: "bootstrap"},
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": {
            "project": ROOT,
            "source": source,
            "destination": {"server": server, "namespace": "argocd"},
            "syncPolicy": {
                "automated": {"prune": true, "selfHeal": true},
                "retry": {"limit": 10, "refresh": true, "backoff": {"duration": "5s", "factor": 2, "maxDuration": "3m"}},
                "syncOptions": ["ServerSideApply=true", "ApplyOutOfSyncOnly=true"],
            },
        },
    });
    list(vec![project, application])
}

/// A patch for each part whose chart gets values; of its sources the second is the chart.
fn settings(all: &[Setting]) -> Vec<Value> {
    let parts: BTreeSet<&str> = all.iter().map(|setting| setting.part.as_str()).collect();
    let of = |part: &str| {
        let own = all.iter().filter(|setting| setting.part == part);
        let parameters: Vec<Value> = own.map(|setting| json!({"name": setting.key, "value": setting.value})).collect();
        let add = json!([{"op": "add", "path": "/spec/sources/1/helm/parameters", "value": parameters}]);
        json!({"target": {"kind": "Application", "name": part}, "patch": add.to_string()})
    };
    parts.into_iter().map(of).collect()
}

/// What Argo CD reads the repository with.
pub fn repository_secret(repository: &Repository, token: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": "repository", "namespace": "argocd",
            "labels": {LABEL: "bootstrap", "argocd.argoproj.io/secret-type": "repository"},
        },
        "stringData": {"type": "git", "url": repository.url, "username": "argocd", "password": token},
    })
    .to_string()
}

/// The record of what was asked for and of what was there before.
pub fn record(data: &Value) -> String {
    let (namespace, name) = RECORD;
    note(namespace, name, data)
}

/// A ConfigMap of bootstrap's own.
pub fn note(namespace: &str, name: &str, data: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: "bootstrap"}},
        "data": data,
    })
    .to_string()
}

/// The files of a folder as a ConfigMap, without those in folders of it.
pub fn files_as_config(folder: &Path, namespace: &str, name: &str) -> Result<String, Fault> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error.to_string()))?;
    let mut data = serde_json::Map::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()) {
        if let (Some(file), Ok(text)) =
            (path.file_name().and_then(|name| name.to_str()), std::fs::read_to_string(&path))
        {
            data.insert(file.to_owned(), Value::String(text));
        }
    }
    data.sort_keys();
    Ok(note(namespace, name, &Value::Object(data)))
}

/// Of a built kustomization, the objects of kinds that every cluster has, without Namespaces, with the label by which `down` finds them.
///
/// Those have a step of their own: applied a second time by the same manager, they would lose the labels that this text does not have.
pub fn built_in_only(manifests: &str) -> Result<String, Fault> {
    let parsed: Result<Vec<Value>, _> = serde_yaml::Deserializer::from_str(manifests).map(Value::deserialize).collect();
    let documents = parsed.map_err(|error| {
        Fault::new(format!("a built manifest is no YAML: {error}"), "correct the folder that it names")
    })?;
    let is_built_in = |document: &Value| {
        let version = document["apiVersion"].as_str().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        BUILT_IN.contains(&group) && document["kind"] != "Namespace"
    };
    let marked = |mut document: Value| {
        document["metadata"]["labels"][LABEL] = "bootstrap".into();
        document
    };
    let kept = documents.into_iter().filter(|document| document.is_object() && is_built_in(document));
    Ok(list(kept.map(marked).collect()))
}

/// The folder of the repository that an Application of a built kustomization follows.
pub fn path_of(manifests: &str, application: &str) -> Option<String> {
    let documents =
        serde_yaml::Deserializer::from_str(manifests).filter_map(|document| Value::deserialize(document).ok());
    let found = documents
        .into_iter()
        .find(|object| object["kind"] == "Application" && object["metadata"]["name"] == application)?;
    found["spec"]["sources"][0]["path"].as_str().map(str::to_owned)
}

fn list(objects: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::UpArguments;

    fn repository() -> Repository {
        Repository { url: "http://git.example/gitops.git".into(), branch: "main".into() }
    }

    fn options(without: &[String], set: &[&str]) -> Options {
        let set = set.iter().map(|text| Setting::parse(text).unwrap()).collect();
        Options::new(&UpArguments { without: without.to_vec(), set, ..UpArguments::default() }, None).unwrap()
    }

    #[test]
    fn only_the_address_of_the_release_service_is_the_embedded_repository() {
        let at = |url: &str| Repository { url: url.into(), branch: "main".into() }.is_embedded();
        for url in [
            "http://kmlflow.k5w.svc.cluster.local/git/gitops.git",
            "http://kmlflow.k5w.svc:80/git/x",
            "http://127.0.0.1:8080/git/x",
        ] {
            assert!(at(url), "{url}");
        }
        for url in ["https://git.example.com/k5w.git", "git@kmlflow.k5w:x.git", "https://kmlflow.k5w.example.com/x", ""]
        {
            assert!(!at(url), "{url}");
        }
    }

    #[test]
    fn the_root_may_make_applications_projects_and_namespaces_only() {
        let root: Value = serde_json::from_str(&root(&repository(), &options(&[], &[]), &[])).unwrap();
        let [project, application] = root["items"].as_array().unwrap().as_slice() else { panic!("{root}") };
        assert_eq!(application["spec"]["source"]["path"], "platform/profiles/core");
        let kinds = project["spec"]["namespaceResourceWhitelist"].as_array().unwrap();
        assert_eq!(kinds.len(), 2);
        assert_eq!(project["spec"]["clusterResourceWhitelist"].as_array().unwrap().len(), 1);
        assert_eq!(application["spec"]["syncPolicy"]["retry"]["refresh"], true);
        assert!(application["spec"]["source"]["kustomize"].is_null());
    }

    #[test]
    fn what_is_left_out_is_taken_from_what_the_root_makes() {
        let parts = ["argo-cd".to_owned(), "cert-manager".to_owned()];
        let options = options(&parts, &["prometheus.a.b=1", "harbor.c=2", "prometheus.d=3"]);
        let root: Value = serde_json::from_str(&root(&repository(), &options, &parts[1..])).unwrap();
        let patches = root["items"][1]["spec"]["source"]["kustomize"]["patches"].as_array().unwrap();
        assert_eq!(patches[0]["target"], json!({"kind": "Application|AppProject", "name": "argo-cd|cert-manager"}));
        assert_eq!(patches[1]["target"], json!({"kind": "Namespace", "name": "cert-manager"}));
        assert!(patches[0]["patch"].as_str().unwrap().starts_with("$patch: delete"));
        assert_eq!(patches[3]["target"], json!({"kind": "Application", "name": "prometheus"}));
        let added: Value = serde_json::from_str(patches[3]["patch"].as_str().unwrap()).unwrap();
        let values = json!([{"name": "a.b", "value": "1"}, {"name": "d", "value": "3"}]);
        assert_eq!((&added[0]["op"], &added[0]["value"]), (&json!("add"), &values));
    }

    #[test]
    fn kinds_that_are_not_there_yet_are_left_to_argo_cd() {
        let text = "apiVersion: apps/v1\nkind: StatefulSet\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n---\napiVersion: v1\nkind: Namespace\n---\napiVersion: v1\nkind: Service\n";
        let kept: Value = serde_json::from_str(&built_in_only(text).unwrap()).unwrap();
        let kinds: Vec<&str> =
            kept["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["StatefulSet", "Service"]);
        assert_eq!(kept["items"][0]["metadata"]["labels"], json!({LABEL: "bootstrap"}));
        assert!(built_in_only("a: [").is_err());
    }

    #[test]
    fn the_folder_of_an_application_is_read_off_what_was_built() {
        let text = "kind: AppProject\nmetadata: {name: a}\n---\nkind: Application\nmetadata: {name: a}\nspec: {sources: [{path: platform/b}]}\n";
        assert_eq!(path_of(text, "a").as_deref(), Some("platform/b"));
        assert_eq!(path_of(text, "b"), None);
    }

    #[test]
    fn the_files_of_a_folder_become_a_config_map() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("fit.py"), "x = 1\n").unwrap();
        let made: Value =
            serde_json::from_str(&files_as_config(folder.path(), "jupyter", "examples").unwrap()).unwrap();
        assert_eq!(made["data"], json!({"fit.py": "x = 1\n"}));
        assert!(files_as_config(&folder.path().join("none"), "a", "b").unwrap_err().what.contains("none"));
    }

    #[test]
    fn the_one_place_says_where_the_repository_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("repository.yaml");
        std::fs::write(&file, "data: {url: http://git.example/gitops.git, branch: main}\n").unwrap();
        assert_eq!(Repository::read(folder.path()).unwrap(), repository());
        std::fs::write(&file, "data: {url: x}\n").unwrap();
        assert!(Repository::read(folder.path()).unwrap_err().what.contains("data.branch"));
    }
}
