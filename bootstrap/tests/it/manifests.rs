//! The manifests as they are: parsed, pinned, limited, and as the catalogue says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kmlflow_bootstrap::catalogue::{Catalogue, Component, Profile, Requests};
use kmlflow_bootstrap::quantity::{Cpu, Memory};
use kmlflow_bootstrap::render;
use serde::Deserialize as _;
use serde_json::Value;

use crate::scene::{catalogue, gitops_repo};

pub(crate) fn platform() -> PathBuf {
    gitops_repo().join("platform")
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => found.extend(files(&entry)),
            false => found.push(entry),
        }
    }
    found.sort();
    found
}

pub(crate) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml")
}

pub(crate) fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let parsed: Result<Vec<Value>, _> = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize).collect();
    parsed.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects that a component's folder has, but for patches of somebody else's.
pub(crate) fn objects(part: &Component) -> Vec<Value> {
    let Some(path) = &part.path else { return Vec::new() };
    let named = files(&platform().join(path))
        .into_iter()
        .filter(|file| is_yaml(file) && file.file_name().unwrap() != "values.yaml");
    named
        .flat_map(|file| documents(&file))
        .filter(|object| object["kind"].is_string() && object["kind"] != "Kustomization")
        .collect()
}

pub(crate) fn containers(object: &Value) -> Vec<&Value> {
    object["spec"]["template"]["spec"]["containers"].as_array().map(|all| all.iter().collect()).unwrap_or_default()
}

#[track_caller]
pub(crate) fn none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn every_file_is_yaml_and_every_object_has_a_kind_and_a_name() {
    let mut seen = 0;
    for file in files(&platform()).iter().filter(|file| is_yaml(file)) {
        for document in documents(file) {
            seen += 1;
            let is_ours = !file.ends_with("values.yaml")
                && !file.ends_with("kustomization.yaml")
                && !file.ends_with("catalogue.yaml");
            if is_ours && document["apiVersion"].is_string() {
                assert!(document["kind"].is_string() && document["metadata"]["name"].is_string(), "{}", file.display());
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn the_profiles_are_made_from_the_catalogue() {
    let folder = platform().join("profiles");
    let present: BTreeMap<String, String> = files(&folder)
        .iter()
        .map(|file| (file.strip_prefix(&folder).unwrap().display().to_string(), fs::read_to_string(file).unwrap()))
        .collect();
    assert!(present == render::files(&catalogue()), "`cargo bootstrap render` writes platform/profiles/ anew");
}

#[test]
fn every_component_has_its_folder_its_namespace_and_a_size() {
    let catalogue = catalogue();
    let mut faults = Vec::new();
    let names: BTreeSet<&str> = catalogue.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    for part in &catalogue.components {
        let known = catalogue.namespaces.iter().find(|namespace| namespace.name == part.namespace);
        if known.is_none_or(|namespace| namespace.profile > part.profile) {
            faults.push(format!("{}: the namespace `{}` is not in its profile", part.name, part.namespace));
        }
        faults.extend(
            part.also_in
                .iter()
                .filter(|name| !names.contains(name.as_str()) && *name != "kube-system")
                .map(|name| format!("{}: `{name}`", part.name)),
        );
        let is_known = |left: &str| {
            let known = part.also_in.iter().any(|known| left.split('/').next() == Some(known));
            known && left.split('/').count() == 3
        };
        faults.extend(part.leaves.iter().filter(|left| !is_known(left)).map(|left| format!("{}: `{left}`", part.name)));
        let file = match (&part.path, &part.chart, &part.part_of) {
            (Some(path), Some(_), None) => platform().join(path).join("values.yaml"),
            (Some(path), None, None) => platform().join(path).join("kustomization.yaml"),
            (None, None, Some(whole)) if catalogue.component(whole).is_some() => continue,
            _ => panic!("{}: neither a folder nor a part of another", part.name),
        };
        if !file.is_file() {
            faults.push(format!("{}: there is no {}", part.name, file.display()));
        }
    }
    none("in the catalogue", &faults);
}

#[test]
fn the_requests_of_a_profile_stay_within_its_budget() {
    let catalogue = catalogue();
    for profile in Profile::ALL {
        let (sum, budget) = (catalogue.requests(profile), &catalogue.size(profile).unwrap().budget);
        assert!(
            sum.cpu <= budget.cpu && sum.memory <= budget.memory,
            "{profile:?}: {} {} of {} {}",
            sum.cpu,
            sum.memory,
            budget.cpu,
            budget.memory
        );
        let machine = &catalogue.size(profile).unwrap().machine;
        assert!(
            Cpu(machine.cpus * 1000) >= Cpu(sum.cpu.0 * 2) && machine.memory.0 >= sum.memory.0 * 2,
            "{profile:?}: room for models"
        );
    }
}

/// Both numbers are of the catalogue: that the first is what the manifests ask for is the next test's, and the second is a record of a measurement.
#[test]
fn no_program_asks_for_less_memory_than_it_was_measured_to_use() {
    let short = |part: &&Component| part.requests.resident.is_some_and(|resident| part.requests.memory < resident);
    let catalogue = catalogue();
    let faults: Vec<String> = catalogue.components.iter().filter(short).map(|part| part.name.clone()).collect();
    none("less than measured", &faults);
    assert!(catalogue.components.iter().filter(|part| part.requests.resident.is_some()).count() >= 8);
}

/// What the pods of an object ask for.
fn requests(object: &Value) -> Requests {
    let replicas = object["spec"]["replicas"].as_u64().unwrap_or(1);
    let of = |key: &str| -> Vec<String> {
        let found = containers(object).into_iter().map(|container| &container["resources"]["requests"][key]);
        found.filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let cpu: Cpu = of("cpu").into_iter().map(|text| Cpu::try_from(text).unwrap()).sum();
    let memory: Memory = of("memory").into_iter().map(|text| Memory::try_from(text).unwrap()).sum();
    Requests { cpu: Cpu(cpu.0 * replicas), memory: Memory(memory.0 * replicas), resident: None }
}

#[test]
fn what_the_catalogue_says_of_requests_is_what_the_manifests_ask_for() {
    let mut compared = 0;
    for part in catalogue().components.iter().filter(|part| part.path.is_some()) {
        let workloads: Vec<Value> = objects(part)
            .into_iter()
            .filter(|object| ["Deployment", "StatefulSet", "DaemonSet"].iter().any(|kind| object["kind"] == *kind))
            .filter(|object| !containers(object).is_empty() || object["spec"]["replicas"] == 0)
            .collect();
        // Kubeflow's own sums come from elsewhere; the tier `bootstrap` adds them up.
        if workloads.is_empty() || part.name == "katib" && workloads.len() != 3 {
            continue;
        }
        let unique: BTreeMap<String, &Value> = workloads
            .iter()
            .map(|object| (format!("{}/{}", object["kind"], object["metadata"]["name"]), object))
            .collect();
        let largest = |name: &str| {
            workloads
                .iter()
                .filter(|object| format!("{}/{}", object["kind"], object["metadata"]["name"]) == name)
                .map(requests)
                .max_by_key(|sum| sum.memory)
        };
        let sums: Vec<Requests> = unique.keys().filter_map(|name| largest(name)).collect();
        let cpu: Cpu = sums.iter().map(|sum| sum.cpu).sum();
        let memory: Memory = sums.iter().map(|sum| sum.memory).sum();
        if part.upstream.is_some() && memory.0 == 0 {
            continue;
        }
        assert_eq!((part.requests.cpu, part.requests.memory), (cpu, memory), "{}: {} {}", part.name, cpu, memory);
        compared += 1;
    }
    assert!(compared >= 7, "{compared}");
}

/// Components whose version is another one's.
const BY_ANOTHER: [(&str, &str); 3] =
    [("monitoring", "kmlflow"), ("object-store-browser", "object-store"), ("environments", "kmlflow")];

#[test]
fn the_version_of_the_catalogue_is_the_one_that_is_installed() {
    let catalogue = catalogue();
    let mut faults = Vec::new();
    for part in &catalogue.components {
        if let Some((_, other)) = BY_ANOTHER.iter().find(|(name, _)| *name == part.name) {
            assert_eq!(part.version, catalogue.component(other).unwrap().version, "{}", part.name);
            continue;
        }
        let (Some(path), None) = (&part.path, &part.chart) else { continue };
        let mut wanted = vec![part.version.clone()];
        wanted.extend(part.upstream.clone());
        let texts: Vec<String> =
            files(&platform().join(path)).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        faults.extend(
            wanted
                .iter()
                .filter(|text| !texts.iter().any(|file| file.contains(text.as_str())))
                .map(|text| format!("{}: {text}", part.name)),
        );
    }
    none("not in the component's folder", &faults);
}

#[test]
fn the_test_bed_runs_the_katib_of_the_catalogue() {
    let versions = fs::read_to_string(gitops_repo().join("../tests/cluster/versions")).unwrap();
    let catalogue = catalogue();
    let version = &catalogue.component("katib").unwrap().version;
    assert!(versions.lines().any(|line| line == format!("KATIB=v{version}")), "{version}");
}

#[test]
fn no_image_is_latest_and_none_is_without_a_tag() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for file in files(&platform()).iter().filter(|file| is_yaml(file)) {
        let text = fs::read_to_string(file).unwrap();
        let shown = file.strip_prefix(platform()).unwrap().display().to_string();
        let no_comments: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let bad = no_comments
            .iter()
            .filter(|line| line.contains(":latest") || line.contains("newTag: latest") || line.contains("/bitnami"));
        faults.extend(bad.map(|line| format!("{shown}: {line}")));
        for document in documents(file).iter().filter(|document| document["kind"] == "Kustomization") {
            for image in document["images"].as_array().into_iter().flatten() {
                seen += 1;
                let is_pinned = image["newTag"].is_string() || image["digest"].is_string();
                faults.extend((!is_pinned).then(|| format!("{shown}: {image}")));
            }
        }
    }
    none("images", &faults);
    assert!(seen >= 9, "{seen}");
}

#[test]
fn another_namespace_of_releases_has_what_fetches_artifacts_by_the_lines_of_the_readme() {
    let read = |name: &str| fs::read_to_string(platform().join(name)).unwrap();
    let page = read("README.md");
    let lines = page.split("```yaml catalogue\n").nth(1).unwrap().split("```").next().unwrap();
    let (namespace, secret) = lines.split_once("secrets:\n").unwrap();
    let mut text = read("catalogue.yaml");
    for (list, line) in [("components:", namespace.strip_prefix("namespaces:\n").unwrap()), ("successors:", secret)] {
        text = text.replace(&format!("\n{list}\n"), &format!("\n{line}\n{list}\n"));
    }
    let catalogue = Catalogue::parse(&text).unwrap();
    assert!(catalogue.namespaces(Profile::Core).iter().any(|known| known.name == "fraud" && known.routes));
    let mut known = kmlflow_bootstrap::secrets::Known::default();
    for recipe in catalogue.secrets(Profile::Core) {
        known.make(recipe).unwrap();
    }
    let key = |namespace: &str| {
        known.get(&format!("{namespace}/kmlflow-storage/RCLONE_CONFIG_S3_SECRET_ACCESS_KEY")).unwrap().to_owned()
    };
    assert_eq!(key("fraud"), key("models"));
}

#[test]
fn the_addresses_of_the_catalogue_are_the_routes_of_the_gateway() {
    let catalogue = catalogue();
    let host = |name: &str| match name {
        "" => catalogue.host_suffix.clone(),
        name => format!("{name}.{}", catalogue.host_suffix),
    };
    let wanted: BTreeSet<String> =
        catalogue.components.iter().filter_map(|part| part.address.as_deref()).map(host).collect();
    let routes: Vec<Value> =
        catalogue.components.iter().flat_map(objects).filter(|object| object["kind"] == "HTTPRoute").collect();
    let names = |route: &Value| {
        route["spec"]["hostnames"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let found: BTreeSet<String> = routes.iter().flat_map(names).collect();
    assert_eq!(found, wanted);
    for route in &routes {
        assert_eq!(route["spec"]["parentRefs"][0]["name"], "models", "{route}");
        assert_eq!(route["spec"]["parentRefs"][0]["namespace"], "gateway", "{route}");
    }
}

/// Kinds without a namespace, as far as the manifests here have them.
const CLUSTER_KINDS: [&str; 5] = ["ClusterRole", "ClusterRoleBinding", "GatewayClass", "Namespace", "PriorityClass"];

#[test]
fn each_project_lets_its_component_make_what_it_has_and_where_it_has_it() {
    let catalogue = catalogue();
    let mut faults = Vec::new();
    for part in &catalogue.components {
        for object in objects(part) {
            let kind = object["kind"].as_str().unwrap();
            if CLUSTER_KINDS.contains(&kind) {
                faults.extend(
                    (!part.cluster.iter().any(|known| known == kind)).then(|| format!("{}: {kind}", part.name)),
                );
                continue;
            }
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&part.namespace);
            let version = object["apiVersion"].as_str().unwrap();
            let group = version.split_once('/').map_or("", |(group, _)| group);
            let is_named = part.objects.is_empty() || part.objects.contains(&format!("{group}/{kind}"));
            let is_allowed =
                is_named && (namespace == part.namespace || part.also_in.iter().any(|known| known == namespace));
            faults.extend((!is_allowed).then(|| format!("{}: {kind} in {namespace}", part.name)));
        }
    }
    none("not let by its project", &faults);
}

#[test]
fn what_goes_into_argo_cd_s_namespace_is_named_kind_by_kind() {
    let catalogue = catalogue();
    let rendered = render::files(&catalogue);
    let is_guest = |part: &&Component| {
        part.name != "argo-cd" && (part.namespace == "argocd" || part.also_in.iter().any(|place| place == "argocd"))
    };
    let guests: Vec<&Component> = catalogue.components.iter().filter(is_guest).collect();
    assert!(guests.len() >= 3);
    for part in guests {
        let text = &rendered[&format!("{}/{}.yaml", part.profile.name(), part.name)];
        let project = Value::deserialize(serde_yaml::Deserializer::from_str(text).next().unwrap()).unwrap();
        let kinds = project["spec"]["namespaceResourceWhitelist"].as_array().unwrap_or_else(|| panic!("{}", part.name));
        // An Application of its own project would be made of anything; a Secret is what Argo CD signs people in by.
        assert!(kinds.iter().all(|kind| kind["kind"] != "Application" && kind["kind"] != "Secret"), "{kinds:?}");
    }
}

#[test]
fn a_wave_never_waits_for_a_later_one() {
    let catalogue = catalogue();
    let gateway = catalogue.component("gateway").unwrap().wave;
    let mut faults = Vec::new();
    for part in &catalogue.components {
        // A route is healthy once its gateway is.
        let has_route = objects(part).iter().any(|object| object["kind"] == "HTTPRoute");
        faults.extend((has_route && part.wave < gateway).then(|| format!("{}: a route before the gateway", part.name)));
        let kinds = objects(part).iter().any(|object| {
            object["apiVersion"].as_str().is_some_and(|version| version.starts_with("monitoring.coreos.com"))
        });
        faults.extend((kinds && part.wave <= -30).then(|| format!("{}: monitors before their kinds", part.name)));
        faults.extend(
            (part.profile > Profile::Core && part.wave <= 0).then(|| format!("{}: core would wait for it", part.name)),
        );
    }
    none("order of the waves", &faults);
}

/// The keys of our values that were found in the charts themselves; a misspelt one would be ignored without a word. The tier `platform` looks again
/// where a chart is at hand.
const VALUES: &str = include_str!("../values-keys.txt");

#[test]
fn every_value_of_a_chart_is_a_key_that_was_found_in_it() {
    let known: BTreeSet<&str> = VALUES.lines().filter(|line| !line.starts_with('#')).collect();
    let mut faults = Vec::new();
    for part in catalogue().components.iter().filter(|part| part.chart.is_some()) {
        let text = fs::read_to_string(platform().join(part.path.as_ref().unwrap()).join("values.yaml")).unwrap();
        let values: Value = serde_yaml::from_str(&text).unwrap();
        let mut keys = Vec::new();
        leaves(&values, &part.chart.as_ref().unwrap().name, &mut keys);
        faults.extend(keys.into_iter().filter(|key| !known.contains(key.as_str())));
    }
    none("not in values-keys.txt: `tests/python/check_charts.py --record` looks into the charts", &faults);
}

/// The paths to all values that are no maps, but for resources, whose form is Kubernetes' own.
fn leaves(value: &Value, path: &str, keys: &mut Vec<String>) {
    match value.as_object() {
        Some(map)
            if !map.is_empty()
                && !path.ends_with("esources")
                && !path.ends_with("nodeSelector")
                && !path.ends_with("volumeClaimTemplate") =>
        {
            for (key, inner) in map {
                leaves(inner, &format!("{path}.{key}"), keys);
            }
        }
        _ => keys.push(path.to_owned()),
    }
}

#[test]
fn the_workflow_for_a_ci_has_the_disk_that_up_asks_for_before_it_asks() {
    let workflow = documents(&gitops_repo().join("../docs/whole-stack-ci.yaml")).remove(0);
    let steps = workflow["jobs"]["core"]["steps"].as_array().unwrap();
    let at = |words: &str| {
        let has = |step: &Value| step["run"].as_str().is_some_and(|run| run.contains(words));
        steps.iter().position(has).unwrap_or_else(|| panic!("no step has `{words}`"))
    };
    let disk = catalogue().size(Profile::Core).unwrap().machine.disk.to_string().replace("Gi", "");
    assert!(at("sudo rm -rf") <= at(&format!("-ge {disk} ")));
    assert!(at(&format!("-ge {disk} ")) < at("cargo bootstrap up"));
}

#[test]
fn what_was_given_up_upstream_has_its_successor() {
    let catalogue: Catalogue = catalogue();
    for successor in &catalogue.successors {
        assert!(catalogue.component(&successor.became).is_some(), "{}", successor.name);
        assert!(!successor.why.is_empty(), "{}", successor.name);
    }
}

#[test]
fn the_tables_of_the_readme_are_made_from_the_catalogue() {
    let page = fs::read_to_string(gitops_repo().join("../README.md")).unwrap();
    let made = kmlflow_bootstrap::readme::with_tables(&page, &catalogue()).unwrap();
    assert!(page == made, "`cargo bootstrap render` writes them anew");
}

#[test]
fn no_release_may_go_into_a_namespace_of_the_platform() {
    let project = documents(&platform().join("releases/project.yaml")).remove(0);
    let places = project["spec"]["destinations"].as_array().unwrap();
    let is_closed = |name: &str| places.iter().any(|place| place["namespace"] == format!("!{name}"));
    let catalogue = catalogue();
    let open = catalogue.namespaces.iter().filter(|namespace| namespace.made_by.as_deref() != Some("environments"));
    none(
        "open",
        &open
            .filter(|namespace| !is_closed(&namespace.name))
            .map(|namespace| namespace.name.clone())
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_project_has_the_name_of_another_and_no_application_either() {
    let mut names = BTreeSet::new();
    for file in files(&platform()).iter().filter(|file| is_yaml(file) && !file.to_string_lossy().contains("/overlays/"))
    {
        for object in
            documents(file).iter().filter(|object| object["kind"] == "AppProject" || object["kind"] == "Application")
        {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            assert!(names.insert(name.clone()), "{}: {name}", file.display());
        }
    }
    assert!(names.len() > 40, "{}", names.len());
}
