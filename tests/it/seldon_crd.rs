//! The fields that renders use exist in the real SeldonDeployment CRD, which prunes what it does not know without a word.
//!
//! `KMLFLOW_TEST_SELDON_CRD` names the file of the CRD. Without it, only the list itself is checked: `tests/run`
//! says that this was left out, and `.ci/run` fails.

use std::{env, fs};

use serde_yaml::Value;

#[test]
fn the_crd_has_every_field_that_renders_use() {
    let paths = kmlflow::render::seldon_field_paths();
    assert!(
        paths.is_sorted() && paths.iter().all(|path| path.starts_with("spec.")),
        "the list is one of sorted paths below `spec`"
    );
    let Ok(file) = env::var("KMLFLOW_TEST_SELDON_CRD") else {
        eprintln!("KMLFLOW_TEST_SELDON_CRD is not set: {} field paths were not held against a CRD", paths.len());
        return;
    };
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("the CRD in {file}: {error}"));
    let crd: Value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("the CRD in {file}: {error}"));
    let schema = stored_schema(&crd);
    let missing: Vec<_> = paths.iter().filter(|path| !has_field(schema, path)).collect();
    assert!(missing.is_empty(), "the CRD does not have {missing:?}");
    assert!(!has_field(schema, "spec.predictors[].grpah.name"), "a field that is not there is seen to be missing");
}

/// The schema of the version that is stored.
fn stored_schema(crd: &Value) -> &Value {
    let versions = crd["spec"]["versions"].as_sequence().expect("the CRD has versions");
    let stored =
        versions.iter().find(|version| version["storage"] == Value::Bool(true)).expect("one version is stored");
    assert_eq!((&crd["spec"]["names"]["kind"], &stored["name"]), (&"SeldonDeployment".into(), &"v1".into()));
    &stored["schema"]["openAPIV3Schema"]
}

/// Whether the schema has a path such as `spec.predictors[].annotations.*`.
fn has_field(schema: &Value, path: &str) -> bool {
    let mut here = Some(schema);
    for step in path.split('.') {
        let name = step.trim_end_matches("[]");
        here = here.and_then(|schema| match name {
            "*" => schema.get("additionalProperties"),
            name => schema.get("properties")?.get(name),
        });
        if step.ends_with("[]") {
            here = here.and_then(|schema| schema.get("items"));
        }
    }
    here.is_some()
}
