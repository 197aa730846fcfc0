//! Claims about the image of the release service and about what runs it in a cluster.

mod image;
mod rights;
mod service;

use serde_yaml::Value;
use tests::environment::repository_root;

/// A file of the repository.
fn text(path: &str) -> String {
    std::fs::read_to_string(repository_root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file of the platform.
fn documents(path: &str) -> Vec<Value> {
    let text = text(&format!("gitops-repo/platform/{path}"));
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect()
}

/// The object of a kind in a file of the platform.
fn object(path: &str, kind: &str) -> Value {
    let found = documents(path).into_iter().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("{path} has no {kind}"))
}

/// The components that are held here: the release service and what is about releases. The others are held by bootstrap.
const COMPONENTS: [&str; 6] =
    ["argo-cd/settings", "kmlflow", "kmlflow-replicas", "monitoring", "releases", "repository"];

/// Every YAML file of these components that has objects for the cluster.
fn manifests() -> Vec<String> {
    let root = repository_root().join("gitops-repo/platform");
    let entries = COMPONENTS.iter().flat_map(|component| std::fs::read_dir(root.join(component)).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let mut files: Vec<String> =
        paths.map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect();
    files.sort();
    files.retain(|file| !file.ends_with("kustomization.yaml"));
    files.retain(|file| documents(file).iter().all(|document| document.get("kind").is_some()));
    assert!(files.len() > 8, "{files:?}");
    files
}
