//! The cluster: a new one on this machine, or one that is there and stays as it is.

use serde_json::Value;

use super::minikube::{self, GPU_LABEL, GPU_PLUGIN};
use super::{Look, Step, argo_cd};
use crate::arguments::{ArgoCd, ClusterKind, Gpu};
use crate::fault::{Fault, Kind};
use crate::kinds;
use crate::kubectl::refuse;
use crate::manifests::RECORD;
use crate::options::MINIKUBE_PROFILE;
use crate::program::Call;
use crate::reporter::Reporter;
use crate::secrets::LABEL;
use crate::session::Session;
use crate::version::Version;

pub(super) struct Cluster;

/// How many cards each node offers, and whether it has the label that says that it has one.
const CARDS: &str = r#"jsonpath={range .items[*]}{.status.allocatable.nvidia\.com/gpu}{"\t"}{.metadata.labels.nvidia\.com/gpu\.present}{"\n"}{end}"#;

/// The oldest Kubernetes whose API has everything here: PostgreSQL's and the service's probes need `preStop.sleep` (1.30).
const KUBERNETES_MINIMUM: Version = Version::new(1, 30);

impl Step for Cluster {
    fn name(&self) -> &'static str {
        "cluster"
    }

    fn title(&self) -> &'static str {
        "Cluster"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        match session.options.cluster {
            ClusterKind::Minikube => {
                let mut lines = vec![
                    format!("check {}", minikube::status().line()),
                    format!("run {}", minikube::minikube_start(session, false)?.line()),
                ];
                if session.options.nodes > 1 {
                    let off = minikube::BUILT_IN_STORAGE
                        .map(|name| format!("run {} where it is on", minikube::addon_off(name).line()));
                    lines.extend(off);
                }
                if session.options.gpu == Gpu::Auto {
                    lines.push("with `--gpus all` where Docker has the NVIDIA runtime".to_owned());
                }
                Ok(lines)
            }
            ClusterKind::Existing => Ok(vec![
                format!(
                    "check {} (at least {KUBERNETES_MINIMUM})",
                    session.kubectl.call(&["version", "--output", "json"]).line()
                ),
                format!("check {}", may_call(session).line()),
                "check that there is a default storage class".to_owned(),
                "check that no namespace and no kind of the platform is there that is somebody else's".to_owned(),
            ]),
        }
    }

    fn look(&self, session: &Session, reporter: &mut Reporter) -> Result<Look, Fault> {
        match session.options.cluster {
            ClusterKind::Minikube => look_at_minikube(session, reporter),
            ClusterKind::Existing => look_at_existing(session, reporter).map(Look::Done),
        }
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        if !minikube::nodes()?.iter().any(minikube::runs) {
            let has_gpu = session.options.gpu == Gpu::Auto && has_nvidia_runtime()?;
            start(minikube::minikube_start(session, has_gpu)?, reporter)?;
        }
        minikube::switch_off_built_in_storage(session)?;
        minikube::warn_of_class(session, reporter)?;
        if minikube::lacks_label(session)? {
            minikube::label_the_card(session)?;
        }
        Ok(format!("{} node(s) with Kubernetes {}", session.options.nodes, session.catalogue.kubernetes))
    }
}

/// What there was of minikube's cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Running,
    /// It is there and did not run; now it does.
    Stopped,
}

/// Starts minikube's cluster as it was made, where it is there and does not run: only then it says what it was brought up with.
pub fn wake(reporter: &mut Reporter) -> Result<Found, Fault> {
    let nodes = match minikube::nodes() {
        // The steps say in their order which program is missing.
        Err(fault) if fault.kind == Kind::NotFound => Vec::new(),
        nodes => nodes?,
    };
    if nodes.is_empty() {
        return Ok(Found::Nothing);
    }
    if nodes.iter().all(minikube::runs) {
        return Ok(Found::Running);
    }
    let title = "Stopped cluster";
    reporter.step_began("start", title);
    match start(minikube::start_as_made(), reporter) {
        Ok(()) => reporter.step_ended(title, "started"),
        Err(fault) => {
            reporter.step_failed(title);
            return Err(fault);
        }
    }
    Ok(Found::Stopped)
}

fn start(call: Call, reporter: &mut Reporter) -> Result<(), Fault> {
    let mut said = String::new();
    let answer = call.run_and_tell(&mut |line| {
        if let Some(step) = step_of(line) {
            reporter.waiting(&step);
        }
        if let Some(error) = error_of(line) {
            said = error;
        }
    })?;
    if answer.is_success() {
        return Ok(());
    }
    let reason = if said.is_empty() { answer.reason() } else { said };
    let cure = "`minikube logs --profile k5w` has the rest; `minikube delete --profile k5w` begins anew";
    Err(Fault::new(format!("minikube could not start the cluster: {reason}"), cure))
}

fn look_at_minikube(session: &Session, reporter: &mut Reporter) -> Result<Look, Fault> {
    let nodes = minikube::nodes()?;
    if nodes.is_empty() {
        return Ok(Look::ToDo);
    }
    let wanted = usize::from(session.options.nodes);
    if nodes.len() != wanted {
        let what = format!("the cluster `{MINIKUBE_PROFILE}` has {} nodes, not {wanted}", nodes.len());
        let cure = format!("`--nodes {}`, or begin anew: `cargo bootstrap down`", nodes.len());
        return Err(Fault::new(what, cure).of(Kind::Conflict));
    }
    minikube::refuse_small(session)?;
    if !nodes.iter().all(minikube::runs)
        || minikube::lacks_label(session)?
        || !minikube::built_in_storage(session)?.is_empty()
    {
        return Ok(Look::ToDo);
    }
    minikube::warn_of_class(session, reporter)?;
    Ok(Look::Done(format!("`{MINIKUBE_PROFILE}` runs with {wanted} node(s)")))
}

fn look_at_existing(session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
    let kubectl = &session.kubectl;
    let answer = kubectl.call(&["version", "--output", "json"]).run()?;
    refuse(&answer, "the cluster does not answer")?;
    let versions: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let version = versions["serverVersion"]["gitVersion"].as_str().unwrap_or_default().to_owned();
    if Version::find(&version).is_none_or(|version| version < KUBERNETES_MINIMUM) {
        let what =
            format!("the cluster's Kubernetes is `{version}`, and {KUBERNETES_MINIMUM} is the oldest that will do");
        return Err(Fault::new(what, "upgrade the cluster, or use another context").of(Kind::Refused));
    }
    let may = may_call(session).run()?;
    if may.stdout.trim() != "yes" {
        let what = "this context may not administer the cluster: namespaces, kinds and roles are made";
        return Err(Fault::new(what, "use one that may: `kubectl config get-contexts`").of(Kind::Refused));
    }
    let classes = kubectl.list(&["storageclasses"])?;
    let is_default =
        |class: &Value| class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
    if !classes.iter().any(is_default) {
        let cure = "`kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true`";
        return Err(
            Fault::new("the cluster has no default storage class, so no volume would be made", cure).of(Kind::Refused)
        );
    }
    refuse_foreign_namespaces(session)?;
    let record = kubectl.get(&["configmap", RECORD.1, "--namespace", RECORD.0])?;
    let is_first = record.is_none();
    let before = record.map(|record| kinds::before(&record).unwrap_or_default());
    kinds::refuse_foreign(session, before.as_deref())?;
    if session.options.argo_cd == ArgoCd::Present {
        argo_cd::look_at_present(session)?;
    }
    let cards = look_at_cards(session, is_first, reporter)?;
    Ok(format!("Kubernetes {version}{cards}, nothing of it is changed but the platform's namespaces"))
}

/// How many cards the nodes offer. A device plugin that is there already is somebody else's.
fn look_at_cards(session: &Session, is_first: bool, reporter: &mut Reporter) -> Result<String, Fault> {
    let answer = session.kubectl.call(&["get", "nodes", "--output", CARDS]).run()?;
    refuse(&answer, "the nodes of the cluster cannot be listed")?;
    let nodes: Vec<(u64, bool)> = answer
        .stdout
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(cards, label)| (cards.parse().unwrap_or(0), label == "true"))
        .collect();
    let cards: u64 = nodes.iter().map(|(cards, _)| cards).sum();
    let has_plugin = session.catalogue.components(session.options.profile).iter().any(|part| part.name == GPU_PLUGIN);
    if has_plugin && is_first && cards > 0 {
        let what =
            format!("the nodes offer {cards} card(s) already, so a device plugin is there that is somebody else's");
        return Err(Fault::new(what, format!("leave ours out: `--without {GPU_PLUGIN}`")).of(Kind::Conflict));
    }
    if has_plugin && !nodes.iter().any(|(_, is_labelled)| *is_labelled) {
        reporter.warn(
            &format!("no node has the label `{GPU_LABEL}=true`, so the device plugin runs nowhere"),
            &format!("where one has a card: `kubectl label node NAME {GPU_LABEL}=true`; else `--without {GPU_PLUGIN} --without gpu-exporter`"),
        );
    }
    Ok(if cards > 0 { format!(", {cards} card(s)") } else { String::new() })
}

/// What is somebody else's is never changed.
fn refuse_foreign_namespaces(session: &Session) -> Result<(), Fault> {
    let present = session.kubectl.list(&["namespaces"])?;
    let is_lent = |name: &str| name == "argocd" && session.options.argo_cd == ArgoCd::Present;
    for ours in session.catalogue.namespaces(session.options.profile) {
        let found = present.iter().find(|namespace| namespace["metadata"]["name"] == ours.name.as_str());
        let is_foreign = |namespace: &Value| namespace["metadata"]["labels"][LABEL].is_null();
        if found.is_some_and(is_foreign) && !is_lent(&ours.name) {
            let cure = match ours.name.as_str() {
                "argocd" => "`--argo-cd present` uses the Argo CD that is there".to_owned(),
                name => {
                    format!("hand it over: `kubectl label namespace {name} {LABEL}=bootstrap`; or use another cluster")
                }
            };
            let what = format!("the namespace `{}` is there and was not made by bootstrap", ours.name);
            return Err(Fault::new(what, cure).of(Kind::Conflict));
        }
    }
    Ok(())
}

fn may_call(session: &Session) -> Call {
    session.kubectl.call(&["auth", "can-i", "*", "*", "--all-namespaces"])
}

fn has_nvidia_runtime() -> Result<bool, Fault> {
    let answer = Call::new("docker", ["info", "--format", "{{json .Runtimes}}"]).run()?;
    Ok(answer.is_success() && answer.stdout.contains("\"nvidia\""))
}

/// `3/12: Pulling base image ...` of an event of minikube.
fn step_of(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let data = &event["data"];
    let (now, of) = (data["currentstep"].as_str()?, data["totalsteps"].as_str()?);
    (event["type"] == "io.k8s.sigs.minikube.step")
        .then(|| format!("{now}/{of}: {}", data["message"].as_str().unwrap_or_default().trim()))
}

fn error_of(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["type"] == "io.k8s.sigs.minikube.error")
        .then(|| event["data"]["message"].as_str().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minikubes_events_become_progress() {
        let step = r#"{"type":"io.k8s.sigs.minikube.step","data":{"currentstep":"3","totalsteps":"19","message":"Pulling base image ...\n"}}"#;
        assert_eq!(step_of(step).as_deref(), Some("3/19: Pulling base image ..."));
        let error = r#"{"type":"io.k8s.sigs.minikube.error","data":{"message":"Docker is not running\n"}}"#;
        assert_eq!((step_of(error), error_of(error).as_deref()), (None, Some("Docker is not running")));
        assert_eq!(step_of("plain text"), None);
    }
}
