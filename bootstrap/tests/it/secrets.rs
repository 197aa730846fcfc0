//! Secrets: none is in Git, and each that is read is made by a recipe that can be followed.

use std::fs;

use serde_json::Value;

use crate::manifests::{documents, files, is_yaml, none, objects, platform};
use crate::scene::catalogue;

#[test]
fn no_default_password_is_anywhere() {
    let words = ["Harbor12345", "changeit", "not-a-secure-key", "minio123", "minioadmin", "rustfsadmin", "12341234"];
    let mut faults = Vec::new();
    for file in files(&platform()) {
        let text = fs::read_to_string(&file).unwrap();
        faults
            .extend(words.iter().filter(|word| text.contains(*word)).map(|word| format!("{}: {word}", file.display())));
        // Nothing in Git has a Secret's value.
        let is_secret = is_yaml(&file)
            && documents(&file).iter().any(|document| {
                document["kind"] == "Secret" && (document["data"].is_object() || document["stringData"].is_object())
            });
        faults.extend(is_secret.then(|| format!("{}: a Secret", file.display())));
    }
    none("secrets in Git", &faults);
}

/// Every `(namespace, secret, key)` that a container reads.
fn secrets_read(object: &Value, namespace: &str) -> Vec<(String, String, Option<String>)> {
    let mut found = Vec::new();
    let place = object["metadata"]["namespace"].as_str().unwrap_or(namespace).to_owned();
    let spec = &object["spec"]["template"]["spec"];
    let all = spec["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(spec["initContainers"].as_array().into_iter().flatten());
    for variable in all.flat_map(|container| container["env"].as_array().into_iter().flatten()) {
        let from = &variable["valueFrom"]["secretKeyRef"];
        if let (Some(name), Some(key)) = (from["name"].as_str(), from["key"].as_str()) {
            found.push((place.clone(), name.to_owned(), Some(key.to_owned())));
        }
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        if let Some(name) = volume["secret"]["secretName"].as_str() {
            found.push((place.clone(), name.to_owned(), None));
        }
    }
    found
}

#[test]
fn every_secret_that_is_read_is_made_by_bootstrap_in_that_profile() {
    let catalogue = catalogue();
    let (mut faults, mut seen) = (Vec::new(), 0);
    for part in &catalogue.components {
        // What several replicas need is the operator's own to make.
        let read = objects(part).iter().flat_map(|object| secrets_read(object, &part.namespace)).collect::<Vec<_>>();
        for (namespace, name, key) in
            read.into_iter().filter(|(_, name, _)| !["kmlflow-store", "kmlflow-git"].contains(&name.as_str()))
        {
            seen += 1;
            let recipe = catalogue
                .secrets
                .iter()
                .find(|recipe| recipe.secret == format!("{namespace}/{name}") && recipe.profile <= part.profile);
            let has = recipe.is_some_and(|recipe| key.as_ref().is_none_or(|key| recipe.data.contains_key(key)));
            faults.extend((!has).then(|| format!("{}: {namespace}/{name}, {key:?}", part.name)));
        }
        if let Some(path) = part
            .sign_in
            .as_ref()
            .and_then(|sign_in| sign_in.secret.as_ref())
            .filter(|path| !path.starts_with("argocd/"))
        {
            let (secret, key) = path.rsplit_once('/').unwrap();
            let has = catalogue.secrets.iter().any(|recipe| recipe.secret == secret && recipe.data.contains_key(key));
            faults.extend((!has).then(|| format!("{}: signs in by {path}", part.name)));
        }
    }
    none("Secrets that nobody makes", &faults);
    assert!(seen >= 12, "{seen}");
}

#[test]
fn every_recipe_can_be_followed_and_lies_in_a_namespace_of_its_profile() {
    let catalogue = catalogue();
    let mut known = kmlflow_bootstrap::secrets::Known::default();
    for recipe in &catalogue.secrets {
        let (namespace, _) = recipe.place();
        assert!(catalogue.namespaces(recipe.profile).iter().any(|known| known.name == namespace), "{}", recipe.secret);
        known.make(recipe).unwrap_or_else(|fault| panic!("{fault:?}"));
    }
    let identities: Value = serde_json::from_str(known.get("storage/object-store/s3.json").unwrap()).unwrap();
    assert_eq!(identities["identities"].as_array().unwrap().len(), 5);
}
