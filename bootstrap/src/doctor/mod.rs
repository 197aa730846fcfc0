//! Why something is not ready: the objects of the platform's namespaces are gathered, and [`diagnose()`] says what they mean.

pub mod diagnose;

use serde_json::Value;

use crate::catalogue::Recipe;
use crate::fault::Fault;
use crate::hints;
use crate::session::Session;
pub use diagnose::{Finding, diagnose};

/// How many pods in a crash loop are asked for their last line; the others have the same reason, mostly.
const LOGS_MAX: usize = 20;

/// The kinds of which a namespace is asked for all objects at once.
const IN_NAMESPACES: &str = "pods,events,persistentvolumeclaims,endpointslices.discovery.k8s.io";

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
    /// The Secrets that bootstrap makes, as `namespace/name`.
    pub makes: Vec<String>,
    /// Whether Argo CD reads a repository that is not ours, with what somebody gave it.
    pub is_repository_given: bool,
    /// The last line that a crashed container wrote, by `namespace/pod/container`.
    pub last_lines: Vec<(String, String)>,
}

/// Why something is not ready, with cures that reach this cluster.
pub fn findings(session: &Session) -> Result<Vec<Finding>, Fault> {
    let ours =
        session.catalogue.namespaces(session.options.profile).into_iter().map(|namespace| namespace.name.as_str());
    let kubectl = &session.kubectl;
    let objects = Objects {
        applications: kubectl.list(&["applications.argoproj.io", "--namespace", "argocd"])?,
        webhooks: kubectl.list(&["validatingwebhookconfigurations,mutatingwebhookconfigurations"])?,
        ..gather(session, ours.chain(["kube-system"]))?
    };
    Ok(told(session, &objects))
}

/// The same of the pods of one namespace alone.
pub fn findings_in(session: &Session, namespace: &str) -> Result<Vec<Finding>, Fault> {
    Ok(told(session, &gather(session, [namespace])?))
}

fn told(session: &Session, objects: &Objects) -> Vec<Finding> {
    let mut findings = diagnose(objects);
    if let Some(context) = session.options.context() {
        findings.iter_mut().for_each(|finding| finding.cure = hints::in_context(&finding.cure, context));
    }
    findings
}

/// Reads what a diagnosis of the pods of some namespaces needs.
fn gather<'n>(session: &Session, namespaces: impl IntoIterator<Item = &'n str>) -> Result<Objects, Fault> {
    let Session { kubectl, catalogue, options, repository, .. } = session;
    let is_made = |recipe: &&Recipe| catalogue.sources_without_recipe(recipe).is_empty();
    let token = repository.is_embedded().then(|| "argocd/repository".to_owned());
    let recipes = catalogue.secrets(options.profile).into_iter().filter(is_made).map(|recipe| recipe.secret.clone());
    let mut objects = Objects {
        nodes: kubectl.list(&["nodes"])?,
        storage_classes: kubectl.list(&["storageclasses"])?,
        makes: recipes.chain(token).collect(),
        is_repository_given: !repository.is_embedded(),
        ..Objects::default()
    };
    // Each by itself: a cluster that others use too has more than an answer may be long.
    for namespace in namespaces {
        for object in kubectl.list(&[IN_NAMESPACES, "--namespace", namespace])? {
            match object["kind"].as_str() {
                Some("Pod") => objects.pods.push(object),
                Some("Event") => objects.events.push(object),
                Some("PersistentVolumeClaim") => objects.claims.push(object),
                _ => objects.services.push(object),
            }
        }
        objects.gateways.extend(kubectl.list(&["gateways.gateway.networking.k8s.io", "--namespace", namespace])?);
    }
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
