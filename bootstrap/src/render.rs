//! The files of `platform/profiles/`: an Application and the project that limits it for each component, made from the catalogue.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::catalogue::{Catalogue, Component, Namespace, Profile};

/// The cluster that Argo CD itself runs in.
const HERE: &str = "https://kubernetes.default.svc";

/// What every file begins with, by which it is known as one of these.
pub const MARK: &str = "# Made from `../../catalogue.yaml` by `cargo bootstrap render`";

/// Path below `platform/profiles/` and text of every file.
pub fn files(catalogue: &Catalogue) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for profile in Profile::ALL {
        let own: Vec<&Component> =
            catalogue.components.iter().filter(|part| part.profile == profile && part.part_of.is_none()).collect();
        for part in &own {
            files.insert(format!("{}/{}.yaml", profile.name(), part.name), application(part));
        }
        files.insert(format!("{}/namespaces.yaml", profile.name()), namespaces(catalogue, profile));
        files.insert(format!("{}/kustomization.yaml", profile.name()), kustomization(profile, &own));
    }
    files
}

fn kustomization(profile: Profile, own: &[&Component]) -> String {
    let mut text = format!("{MARK}: what the profile {} has", profile.name());
    text.push_str(match profile {
        Profile::Core => ".\n",
        Profile::Standard => " beside core.\n",
        Profile::Full => " beside standard.\n",
    });
    text.push_str("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n");
    text.push_str(match profile {
        Profile::Core => "- ../../repository\n",
        Profile::Standard => "- ../core\n",
        Profile::Full => "- ../standard\n",
    });
    text.push_str("- namespaces.yaml\n");
    for part in own {
        // Writing to a string does not fail.
        let _written = writeln!(text, "- {}.yaml", part.name);
    }
    text.push_str(REPLACEMENTS);
    text
}

/// Where the repository is stands in one place.
const REPLACEMENTS: &str = "\
replacements:
- source: {kind: ConfigMap, name: repository, fieldPath: data.url}
  targets:
  - select: {kind: AppProject}
    fieldPaths: [spec.sourceRepos.0]
  - select: {kind: Application}
    fieldPaths: [spec.sources.0.repoURL]
- source: {kind: ConfigMap, name: repository, fieldPath: data.branch}
  targets:
  - select: {kind: Application}
    fieldPaths: [spec.sources.0.targetRevision]
";

fn namespaces(catalogue: &Catalogue, profile: Profile) -> String {
    let mut text = format!("{MARK}.\n");
    let own =
        catalogue.namespaces.iter().filter(|namespace| namespace.profile == profile && namespace.made_by.is_none());
    let documents: Vec<String> = own.map(namespace).collect();
    text.push_str(&documents.join("---\n"));
    text
}

fn namespace(namespace: &Namespace) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n  annotations: {{argocd.argoproj.io/sync-wave: \"-40\", argocd.argoproj.io/sync-options: \"{STAYS}\"}}\n  labels:\n",
        namespace.name
    );
    for (key, value) in labels(namespace) {
        let _written = writeln!(text, "    {key}: {}", quoted(&value));
    }
    text
}

/// A namespace goes with everything in it, volumes too: that is for `down` to decide, and not for a smaller profile.
const STAYS: &str = "Prune=false,Delete=false";

/// The labels that a namespace has, whoever makes it.
pub fn labels(namespace: &Namespace) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/part-of".to_owned(), "k5w".to_owned()),
        ("pod-security.kubernetes.io/enforce".to_owned(), namespace.pods.clone()),
    ]);
    if namespace.routes {
        labels.insert("kmlflow.dev/routes".to_owned(), "true".to_owned());
    }
    labels.extend(namespace.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    labels
}

/// A label's value as YAML: only the words that YAML would read as something else need quotes.
fn quoted(value: &str) -> String {
    match value {
        "true" | "false" => format!("\"{value}\""),
        other => other.to_owned(),
    }
}

fn application(part: &Component) -> String {
    let mut text = format!("{MARK}.\n");
    text.push_str(&project(part));
    text.push_str("---\n");
    let name = &part.name;
    let _written = write!(
        text,
        "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: {name}
  namespace: argocd
  labels: {{app.kubernetes.io/part-of: k5w, kmlflow.dev/component: {name}}}
  annotations:
    argocd.argoproj.io/sync-wave: \"{}\"
    kmlflow.dev/version: \"{}\"
",
        part.wave, part.version
    );
    // Whoever takes Argo CD away by Argo CD never ends.
    if name != "argo-cd" {
        text.push_str("  finalizers: [resources-finalizer.argocd.argoproj.io]\n");
    }
    let _written = write!(text, "spec:\n  project: {name}\n  sources:\n{}", sources(part));
    let _written = write!(
        text,
        "  destination: {{server: {HERE}, namespace: {}}}
  syncPolicy:
    automated: {{prune: true, selfHeal: true}}
    # Without `refresh` a commit that the cluster refuses is tried again and again, and the one that puts it right waits behind it.
    retry: {{limit: 10, refresh: true, backoff: {{duration: 5s, factor: 2, maxDuration: 3m}}}}
    syncOptions: [ServerSideApply=true, ApplyOutOfSyncOnly=true, SkipDryRunOnMissingResource=true]
",
        part.namespace
    );
    text
}

/// The repository comes first: the address in it is filled in.
fn sources(part: &Component) -> String {
    let mut text = String::from("  - repoURL: repository\n    targetRevision: branch\n");
    match (&part.chart, &part.path) {
        (Some(chart), Some(path)) => {
            text.push_str("    ref: repository\n");
            if part.has_manifests() {
                let _written = writeln!(text, "    path: platform/{path}");
            }
            let _written = write!(
                text,
                "  - repoURL: {}\n    chart: {}\n    targetRevision: {}\n    helm:\n      releaseName: {}\n      valueFiles: [$repository/platform/{path}/values.yaml]\n",
                chart.repository,
                chart.name,
                chart.version,
                chart.release.as_ref().unwrap_or(&part.name)
            );
            if chart.skip_kinds {
                text.push_str("      skipCrds: true\n");
            }
        }
        (None, Some(path)) => {
            let _written = writeln!(text, "    path: platform/{path}");
        }
        (_, None) => {}
    }
    text
}

fn project(part: &Component) -> String {
    let mut text = format!(
        "# What `{0}` may be made of, and where it may go.
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata:
  name: {0}
  namespace: argocd
  labels: {{app.kubernetes.io/part-of: k5w}}
  annotations: {{argocd.argoproj.io/sync-wave: \"-40\"}}
spec:
  description: {1}
  sourceRepos:
  - repository
",
        part.name, part.title
    );
    if let Some(chart) = &part.chart {
        let _written = writeln!(text, "  - {}", chart.repository);
    }
    text.push_str("  destinations:\n");
    for namespace in std::iter::once(&part.namespace).chain(&part.also_in) {
        let _written = writeln!(text, "  - {{server: {HERE}, namespace: {namespace}}}");
    }
    match part.cluster.is_empty() {
        true => text.push_str("  clusterResourceWhitelist: []\n"),
        false => {
            text.push_str("  clusterResourceWhitelist:\n");
            for kind in &part.cluster {
                let _written = writeln!(text, "  - {{group: {}, kind: {kind}}}", group_of(kind));
            }
        }
    }
    if !part.objects.is_empty() {
        text.push_str("  namespaceResourceWhitelist:\n");
    }
    for (group, kind) in part.objects.iter().filter_map(|object| object.split_once('/')) {
        let _written = writeln!(text, "  - {{group: {}, kind: {kind}}}", if group.is_empty() { "\"\"" } else { group });
    }
    text
}

/// The group of a kind without a namespace.
fn group_of(kind: &str) -> &'static str {
    match kind {
        "ClusterRole" | "ClusterRoleBinding" => "rbac.authorization.k8s.io",
        "CustomResourceDefinition" => "apiextensions.k8s.io",
        "GatewayClass" => "gateway.networking.k8s.io",
        "PriorityClass" => "scheduling.k8s.io",
        "Namespace" => "\"\"",
        // Webhooks and admission policies.
        _ => "admissionregistration.k8s.io",
    }
}

impl Component {
    /// Whether manifests of ours lie beside the values of its chart.
    fn has_manifests(&self) -> bool {
        self.address.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize as _;
    use serde_json::Value;

    fn catalogue() -> Catalogue {
        Catalogue::parse(include_str!("../../gitops-repo/platform/catalogue.yaml")).unwrap()
    }

    fn documents(text: &str) -> Vec<Value> {
        serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
    }

    #[test]
    fn every_application_waits_its_turn_repairs_itself_and_is_limited() {
        let files = files(&catalogue());
        for part in catalogue().applications(Profile::Full) {
            let text = &files[&format!("{}/{}.yaml", part.profile.name(), part.name)];
            let [project, application] = &documents(text)[..] else { panic!("{text}") };
            assert_eq!(application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"], part.wave.to_string());
            let policy = &application["spec"]["syncPolicy"];
            assert_eq!(policy["retry"]["refresh"], true);
            assert_eq!(policy["automated"]["selfHeal"], true);
            assert!(policy["syncOptions"].as_array().unwrap().contains(&"ServerSideApply=true".into()), "{text}");
            assert_eq!(application["spec"]["project"], project["metadata"]["name"]);
            let destinations = project["spec"]["destinations"].as_array().unwrap();
            assert!(destinations.iter().all(|place| place["namespace"] != "*"), "{text}");
            assert!(project["spec"]["sourceRepos"].as_array().unwrap().iter().all(|source| source != "*"), "{text}");
        }
    }

    #[test]
    fn argo_cd_never_takes_itself_away() {
        let files = files(&catalogue());
        let of = |name: &str| documents(&files[&format!("core/{name}.yaml")])[1]["metadata"]["finalizers"].clone();
        assert_eq!(of("argo-cd"), Value::Null);
        assert!(of("mlflow").is_array());
    }

    #[test]
    fn a_namespace_that_a_component_brings_is_listed_once() {
        let files = files(&catalogue());
        let names: Vec<String> = ["core", "standard", "full"]
            .iter()
            .flat_map(|profile| documents(&files[&format!("{profile}/namespaces.yaml")]))
            .map(|namespace| namespace["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        assert!(names.contains(&"mlflow".to_owned()) && !names.contains(&"k5w".to_owned()), "{names:?}");
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }

    #[test]
    fn argo_cd_takes_no_namespace_away() {
        let mut all = documents(include_str!("../../gitops-repo/platform/kmlflow/namespace.yaml"));
        all.extend(
            files(&catalogue())
                .iter()
                .filter(|(path, _)| path.ends_with("namespaces.yaml"))
                .flat_map(|(_, text)| documents(text)),
        );
        for namespace in all {
            assert_eq!(namespace["metadata"]["annotations"]["argocd.argoproj.io/sync-options"], STAYS, "{namespace}");
        }
    }

    #[test]
    fn the_address_of_the_repository_is_left_to_one_place() {
        for (path, text) in files(&catalogue()).iter().filter(|(path, _)| !path.ends_with("kustomization.yaml")) {
            assert!(!text.contains("gitops.git"), "{path}");
        }
    }
}
