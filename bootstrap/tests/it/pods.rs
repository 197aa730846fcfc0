//! Our pods: limits, probes, who may call them, and what notebooks have of the examples.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::manifests::{containers, documents, files, none, objects, platform};
use crate::scene::{catalogue, gitops_repo};

#[test]
fn our_pods_run_as_nobody_special_with_limits_and_probes() {
    let mut seen = 0;
    for part in catalogue().components.iter().filter(|part| part.chart.is_none() && part.upstream.is_none()) {
        for object in objects(part).iter().filter(|object| !containers(object).is_empty()) {
            let pod = &object["spec"]["template"]["spec"];
            let shown = format!("{} {}", part.name, object["metadata"]["name"]);
            // A patch of somebody else's names what it changes only.
            if pod["securityContext"].is_null() && object["spec"]["selector"].is_null() && object["kind"] != "Job" {
                continue;
            }
            seen += 1;
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{shown}");
            for container in containers(object) {
                assert!(container["resources"]["limits"]["memory"].is_string(), "{shown}");
                assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false, "{shown}");
                assert!(object["kind"] == "Job" || container["readinessProbe"].is_object(), "{shown}");
            }
        }
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn our_pods_say_who_may_call_them_and_people_s_own_work_has_a_quota() {
    let catalogue = catalogue();
    let of_kind = |kind: &'static str| {
        let all = catalogue.components.iter().flat_map(objects).collect::<Vec<_>>();
        all.into_iter().filter(move |object| object["kind"] == kind).collect::<Vec<_>>()
    };
    let guarded: Vec<Value> =
        of_kind("NetworkPolicy").iter().map(|policy| policy["spec"]["podSelector"]["matchLabels"].clone()).collect();
    let mut faults = Vec::new();
    let mut seen = 0;
    for part in catalogue.components.iter().filter(|part| part.chart.is_none() && part.upstream.is_none()) {
        for object in objects(part).iter().filter(|object| object["spec"]["selector"]["matchLabels"].is_object()) {
            if containers(object).is_empty() {
                continue;
            }
            seen += 1;
            let selector = &object["spec"]["selector"]["matchLabels"];
            faults.extend((!guarded.contains(selector)).then(|| format!("{}: {selector}", part.name)));
        }
    }
    none("callable by everybody", &faults);
    assert!(seen >= 6, "{seen}");
    let has_quota =
        |part: &str| objects(catalogue.component(part).unwrap()).iter().any(|object| object["kind"] == "ResourceQuota");
    assert!(has_quota("jupyterlab") && has_quota("katib"));
}

#[test]
fn notebooks_have_what_the_examples_ask_for() {
    let lines = |path: PathBuf| -> BTreeSet<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let examples = gitops_repo().join("../examples");
    let kernel = "ipykernel==7.4.0";
    for (file, more) in
        [("requirements.txt", ["boto3==1.44.8", kernel].as_slice()), ("requirements-pipeline.txt", &[kernel])]
    {
        let mut expected = lines(examples.join(file));
        expected.extend(more.iter().map(|line| (*line).to_owned()));
        assert_eq!(lines(platform().join("jupyterlab").join(file)), expected, "{file}");
    }
}

#[test]
fn notebooks_see_every_file_of_the_examples_in_its_place() {
    let pods = documents(&platform().join("jupyterlab/jupyterlab.yaml"));
    let pod = pods.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let volumes = pod["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "examples").unwrap();
    for source in volume["projected"]["sources"].as_array().unwrap().iter().map(|source| &source["configMap"]) {
        let name = source["name"].as_str().unwrap();
        // The folder itself has all of its files at the top.
        let Some((_, folder)) = name.split_once('-') else {
            assert!(source["items"].is_null(), "{source}");
            continue;
        };
        let placed: BTreeSet<String> =
            source["items"].as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect();
        let there = files(&gitops_repo().join("../examples").join(folder));
        let expected: BTreeSet<String> =
            there.iter().map(|file| format!("{folder}/{}", file.file_name().unwrap().display())).collect();
        assert_eq!(placed, expected, "{name}");
    }
}
