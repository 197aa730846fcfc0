//! Why something is not ready: the objects of the platform's namespaces are gathered, and [`diagnose()`] says what they mean.

pub mod diagnose;

use serde_json::Value;

use crate::catalogue::{Catalogue, Profile};
use crate::fault::Fault;
use crate::kubectl::Kubectl;
pub use diagnose::{Finding, diagnose};

/// How many pods in a crash loop are asked for their last line; the others have the same reason, mostly.
const LOGS_MAX: usize = 20;

/// What is looked at.
#[derive(Debug, Default)]
pub struct Objects {
    pub nodes: Vec<Value>,
    pub pods: Vec<Value>,
    pub events: Vec<Value>,
    pub claims: Vec<Value>,
    pub storage_classes: Vec<Value>,
    pub applications: Vec<Value>,
    pub gateways: Vec<Value>,
    pub webhooks: Vec<Value>,
    pub services: Vec<Value>,
    /// The last line that a crashed container wrote, by `namespace/pod/container`.
    pub last_lines: Vec<(String, String)>,
}

/// Reads everything that a diagnosis needs.
pub fn gather(kubectl: &Kubectl, catalogue: &Catalogue, profile: Profile) -> Result<Objects, Fault> {
    let ours: Vec<&str> = catalogue.namespaces(profile).iter().map(|namespace| namespace.name.as_str()).collect();
    let in_ours = |objects: Vec<Value>| -> Vec<Value> {
        let is_ours = |object: &Value| {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            ours.contains(&namespace) || namespace == "kube-system"
        };
        objects.into_iter().filter(is_ours).collect()
    };
    let everywhere = |kind: &str| kubectl.list(&[kind, "--all-namespaces"]);
    let mut objects = Objects {
        nodes: kubectl.list(&["nodes"])?,
        pods: in_ours(everywhere("pods")?),
        events: in_ours(everywhere("events")?),
        claims: in_ours(everywhere("persistentvolumeclaims")?),
        storage_classes: kubectl.list(&["storageclasses"])?,
        applications: kubectl.list(&["applications.argoproj.io", "--namespace", "argocd"])?,
        gateways: in_ours(everywhere("gateways.gateway.networking.k8s.io")?),
        webhooks: kubectl.list(&["validatingwebhookconfigurations,mutatingwebhookconfigurations"])?,
        services: in_ours(everywhere("endpointslices.discovery.k8s.io")?),
        last_lines: Vec::new(),
    };
    let crashed: Vec<(String, String, String)> = diagnose::crashed(&objects.pods).into_iter().take(LOGS_MAX).collect();
    for (namespace, pod, container) in crashed {
        let call = ["logs", "--namespace", &namespace, &pod, "--container", &container, "--previous", "--tail", "20"];
        let answer = kubectl.call(&call).run()?;
        let last = answer.stdout.lines().rev().find(|line| !line.trim().is_empty());
        if let Some(line) = last.filter(|_| answer.is_success()) {
            objects.last_lines.push((format!("{namespace}/{pod}/{container}"), line.trim().to_owned()));
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests;
