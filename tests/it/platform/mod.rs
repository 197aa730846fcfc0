//! Claims about the image of the release service and about what runs it in a cluster.

mod image;
mod rights;
mod service;

use std::path::PathBuf;

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

/// Every YAML file of the platform that has objects for the cluster.
fn manifests() -> Vec<String> {
    let root = repository_root().join("gitops-repo/platform");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files.retain(|file| documents(file).iter().all(|document| document.get("kind").is_some()));
    files.retain(|file| !file.ends_with("kustomization.yaml"));
    assert!(files.len() > 8, "{files:?}");
    files
}
