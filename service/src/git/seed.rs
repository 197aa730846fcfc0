//! The files that a new repository begins with, compiled in from `gitops-repo/`.

/// The files of `gitops-repo/` with their paths in the repository.
pub fn seed() -> Vec<(String, Vec<u8>)> {
    FILES.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

/// Path and text of each file.
macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../../gitops-repo/", $path))),)*]
    };
}

/// All of them; a test holds the list against the directory.
const FILES: &[(&str, &str)] = files![
    "README.md",
    "platform/README.md",
    "platform/argocd/argocd-cm.yaml",
    "platform/argocd/kustomization.yaml",
    "platform/kmlflow-replicas/disruption.yaml",
    "platform/kmlflow-replicas/kustomization.yaml",
    "platform/kmlflow-replicas/replicas.yaml",
    "platform/kmlflow-replicas/settings.env",
    "platform/kmlflow/access.yaml",
    "platform/kmlflow/dashboard.json",
    "platform/kmlflow/kmlflow.yaml",
    "platform/kmlflow/kustomization.yaml",
    "platform/kmlflow/monitoring.yaml",
    "platform/kmlflow/namespace.yaml",
    "platform/kmlflow/network.yaml",
    "platform/kmlflow/service.yaml",
    "platform/kmlflow/statefulset.yaml",
    "platform/monitoring/alerts.yaml",
    "platform/monitoring/dashboard.json",
    "platform/monitoring/kustomization.yaml",
    "platform/releases/kustomization.yaml",
    "platform/releases/production.yaml",
    "platform/releases/project.yaml",
    "platform/repository/kustomization.yaml",
    "platform/repository/repository.yaml",
    "policies/default.yaml",
];
