//! The template set: its digest, its overrides, its errors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::samples::release;
use crate::render::templates::BUILT_IN;
use crate::render::{RenderError, Templates, finish, render};

fn overridden(name: &str, text: &str) -> Result<Templates, RenderError> {
    Templates::with_overrides(BTreeMap::from([(name.to_owned(), text.to_owned())]))
}

fn text_of(name: &str) -> &'static str {
    BUILT_IN.iter().find(|(n, _)| *n == name).unwrap().1
}

#[test]
fn every_template_file_is_part_of_the_set() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates/seldon");
    let mut found = Vec::new();
    for dir in ["", "route", "dashboard"] {
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".j2") {
                found.push(if dir.is_empty() { name } else { format!("{dir}/{name}") });
            }
        }
    }
    found.sort();
    assert_eq!(found, BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
}

#[test]
fn the_digest_changes_with_any_text_and_with_nothing_else() {
    let built_in = Templates::built_in();
    let same = Templates::with_overrides(BTreeMap::new()).unwrap();
    assert_eq!(built_in.digest(), same.digest());
    let other = overridden("route.yaml.j2", &format!("{}\n", text_of("route.yaml.j2"))).unwrap();
    assert_ne!(built_in.digest(), other.digest());
}

#[test]
fn an_override_replaces_one_template() {
    let text = text_of("route/canary.yaml.j2").replace("timeouts:", "timeouts: # Our own.");
    let files = render(&release("canary"), &overridden("route/canary.yaml.j2", &text).unwrap());
    assert!(files.unwrap_err().to_string().contains("route.yaml"), "a comment swallows the rest of its line");
    let text = format!("{}# Our own.\n", text_of("route/canary.yaml.j2"));
    let files = render(&release("canary"), &overridden("route/canary.yaml.j2", &text).unwrap()).unwrap().files;
    assert!(files["route.yaml"].contains("# Our own."));
}

#[test]
fn an_override_of_nothing_is_refused_with_the_names() {
    let error = overridden("rout.yaml.j2", "").unwrap_err();
    assert!(error.to_string().contains("route.yaml.j2") && error.to_string().contains("`rout.yaml.j2`"), "{error}");
}

#[test]
fn an_override_that_does_not_parse_names_template_and_line() {
    let error = overridden("seldon.yaml.j2", "kind: x\n{% if %}\n").unwrap_err();
    assert!(
        matches!(&error, RenderError::Template { template, line: 2, .. } if template == "seldon.yaml.j2"),
        "{error:?}"
    );
}

#[test]
fn an_override_that_fails_names_template_and_line() {
    let templates = overridden("kustomization.yaml.j2", "kind: Kustomization\nx: {{ release.nonsense }}\n").unwrap();
    let error = render(&release("settled"), &templates).unwrap_err();
    assert!(
        matches!(&error, RenderError::Template { template, line: 2, .. } if template == "kustomization.yaml.j2"),
        "{error:?}"
    );
    assert!(error.refusal().cure.unwrap().contains("templates_dir"));
}

#[test]
fn a_field_that_its_kind_has_not_is_refused_not_dropped() {
    for (template, from, to, word) in [
        ("seldon.yaml.j2", "progressDeadlineSeconds", "progresDeadlineSeconds", "progresDeadlineSeconds"),
        ("route.yaml.j2", "targetPort: {{ route.own.port }}", "targetProt: {{ route.own.port }}", "targetProt"),
        ("route.yaml.j2", "hostnames:", "hostname:", "hostname"),
        ("monitoring.yaml.j2", "interval: 15s", "intervall: 15s", "intervall"),
        ("dashboard.yaml.j2", "data:", "dta:", "dta"),
        ("seldon.yaml.j2", "    traffic: {{ predictor.traffic }}", "    traffic: 50", "traffic"),
        ("seldon.yaml.j2", "    traffic:", "    shadow: true\n    traffic:", "shadow"),
        ("seldon.yaml.j2", "      kmlflow.dev/pod-hash: {{ predictor.pod_hash }}", "      a: b", "pod hash"),
        ("kustomization.yaml.j2", "- route.yaml", "- rote.yaml", "route.yaml"),
        ("dashboard.json.j2", "\"panels\":[", "\"panels\":[[", "JSON"),
        ("route.yaml.j2", "  selector:", "  selector: {}\n  selector:", "selector"),
    ] {
        let text = text_of(template);
        assert!(text.contains(from), "{template} has no {from}");
        let error =
            render(&release("settled"), &overridden(template, &text.replacen(from, to, 1)).unwrap()).unwrap_err();
        assert!(error.to_string().contains(word), "{template}: {error}");
    }
}

#[test]
fn what_was_rendered_is_written_into_the_release() {
    let mut release = release("canary");
    let templates = Templates::built_in();
    let manifests = render(&release, &templates).unwrap();
    finish(&mut release, &manifests, &templates);
    assert_eq!(release.rendered.templates.as_ref(), Some(templates.digest()));
    assert_eq!(release.rendered.files.keys().collect::<Vec<_>>(), manifests.files.keys().collect::<Vec<_>>());
    assert_eq!(render(&release, &templates).unwrap(), manifests, "`rendered` is not read");
}

#[test]
fn the_documentation_names_every_panel_and_every_metric() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dashboard.md")).unwrap();
    for state in super::samples::STATES {
        let files = render(&release(state), &Templates::built_in()).unwrap().files;
        let document: serde_yaml::Value = serde_yaml::from_str(&files["dashboard.yaml"]).unwrap();
        let json = document["data"].as_mapping().unwrap().values().next().unwrap().as_str().unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(json).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(text.contains(&format!("| {title}")), "{title}");
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap();
                let metrics =
                    query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| is_metric(word));
                for metric in metrics {
                    let documented = text.contains(metric)
                        || text.contains(metric.trim_end_matches("_count").trim_end_matches("_sum"));
                    assert!(documented, "{title}: {metric}");
                }
            }
        }
    }
}

fn is_metric(word: &str) -> bool {
    ["seldon_", "kube_", "container_", "DCGM_", "kmlflow_", "model_load"].iter().any(|prefix| word.starts_with(prefix))
}

#[test]
fn panels_lie_side_by_side_and_have_queries() {
    let files = render(&release("canary"), &Templates::built_in()).unwrap().files;
    let document: serde_yaml::Value = serde_yaml::from_str(&files["dashboard.yaml"]).unwrap();
    let json = document["data"].as_mapping().unwrap().values().next().unwrap().as_str().unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(json).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let places: std::collections::BTreeSet<_> =
        panels.iter().map(|panel| (panel["gridPos"]["x"].as_u64(), panel["gridPos"]["y"].as_u64())).collect();
    assert_eq!(places.len(), panels.len());
    assert!(panels.iter().all(|panel| !panel["targets"].as_array().unwrap().is_empty()));
    assert!(!json.contains("status!~"), "the engine's label is `code`");
}
