//! Claims about the dashboard inside of its `ConfigMap`, which is read back with a stand-in for it.

use std::collections::BTreeMap;

use super::samples::{STATES, release};
use crate::names::ModelName;
use crate::release::{Release, quoted};
use crate::render::templates::BUILT_IN;
use crate::render::{RenderError, Templates, dashboard, render};

/// The `ConfigMap` of a release, with this template for it.
fn config_map(release: &Release, template: &str) -> Result<String, RenderError> {
    let overrides = BTreeMap::from([("dashboard.yaml.j2".to_owned(), template.to_owned())]);
    let mut manifests = render(release, &Templates::with_overrides(overrides)?)?;
    Ok(manifests.files.swap_remove("dashboard.yaml").unwrap())
}

fn built_in() -> &'static str {
    BUILT_IN.iter().find(|(name, _)| *name == "dashboard.yaml.j2").unwrap().1
}

/// The texts below `data` as another reader sees them.
fn data(config_map: &str) -> Vec<String> {
    let document: serde_yaml::Value = serde_yaml::from_str(config_map).unwrap();
    document["data"].as_mapping().unwrap().values().map(|value| value.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_dashboard_is_in_the_file_and_its_stand_in_is_not() {
    let mut stand_in = String::new();
    quoted(&mut stand_in, dashboard::STAND_IN);
    for state in STATES {
        let text = config_map(&release(state), built_in()).unwrap();
        assert!(!text.contains(stand_in.trim_matches('"')), "{state}");
        let [json] = <[String; 1]>::try_from(data(&text)).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(!dashboard["panels"].as_array().unwrap().is_empty(), "{state}");
    }
}

#[test]
fn a_template_may_write_the_dashboard_in_its_own_way() {
    let plain = config_map(&release("canary"), built_in()).unwrap();
    let in_a_block = built_in().replace(": {{ dashboard_json }}", ": |-\n    {{ dashboard_json|safe }}");
    let twice =
        built_in().replace(": {{ dashboard_json }}", ": {{ dashboard_json }}\n  second.json: {{ dashboard_json }}");
    let longer = built_in().replace("dashboard_json }}", "dashboard_json ~ \" \" }}");
    assert_eq!(data(&config_map(&release("canary"), &in_a_block).unwrap()), data(&plain));
    assert_eq!(data(&config_map(&release("canary"), &twice).unwrap()), [data(&plain), data(&plain)].concat());
    assert_eq!(data(&config_map(&release("canary"), &longer).unwrap()), [format!("{} ", data(&plain)[0])]);
}

#[test]
fn a_model_may_be_named_like_the_stand_in() {
    let mut named = release("settled");
    named.spec.model = ModelName::parse(dashboard::STAND_IN).unwrap();
    let text = config_map(&named, built_in()).unwrap();
    let document: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(document["metadata"]["annotations"]["kmlflow.dev/model"], dashboard::STAND_IN);
    let json: serde_json::Value = serde_json::from_str(&data(&text)[0]).unwrap();
    assert!(json["title"].as_str().unwrap().ends_with(dashboard::STAND_IN));
}
