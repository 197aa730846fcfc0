//! The cluster: a new one on this machine, or one that is there and stays as it is.

use std::time::Duration;

use serde_json::Value;

use super::{Look, Step};
use crate::arguments::{ArgoCd, ClusterKind, Gpu};
use crate::fault::{Fault, Kind};
use crate::kubectl::refuse;
use crate::options::MINIKUBE_PROFILE;
use crate::program::Call;
use crate::reporter::Reporter;
use crate::secrets::LABEL;
use crate::session::Session;
use crate::version::Version;

pub(super) struct Cluster;

/// A first start pulls the image of the nodes, about 1.3 GB.
const START_LIMIT: Duration = Duration::from_secs(1800);

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
                    format!("check {}", status().line()),
                    format!("run {}", minikube_start(session, false)?.line()),
                ];
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
                "check that no namespace of the platform is there that is somebody else's".to_owned(),
            ]),
        }
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        match session.options.cluster {
            ClusterKind::Minikube => look_at_minikube(session),
            ClusterKind::Existing => look_at_existing(session).map(Look::Done),
        }
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        let has_gpu = session.options.gpu == Gpu::Auto && has_nvidia_runtime()?;
        let mut said = String::new();
        let answer = minikube_start(session, has_gpu)?.run_and_tell(&mut |line| {
            if let Some(step) = step_of(line) {
                reporter.waiting(&step);
            }
            if let Some(error) = error_of(line) {
                said = error;
            }
        })?;
        if !answer.is_success() {
            let reason = if said.is_empty() { answer.reason() } else { said };
            let cure = "`minikube logs --profile k5w` has the rest; `minikube delete --profile k5w` begins anew";
            return Err(Fault::new(format!("minikube could not start the cluster: {reason}"), cure));
        }
        if has_gpu && session.options.nodes > 1 {
            label_the_card(session)?;
        }
        Ok(format!("{} node(s) with Kubernetes {}", session.options.nodes, session.catalogue.kubernetes))
    }
}

fn status() -> Call {
    Call::new("minikube", ["status", "--profile", MINIKUBE_PROFILE, "--output", "json"])
}

/// The call that makes or starts the cluster. The current context of the kubeconfig stays what it was.
pub fn minikube_start(session: &Session, has_gpu: bool) -> Result<Call, Fault> {
    let profile = session.options.profile;
    let missing =
        || Fault::new(format!("the catalogue has no size of `{}`", profile.name()), "restore it from the checkout");
    let machine = &session.catalogue.size(profile).ok_or_else(missing)?.machine;
    let nodes = session.options.nodes;
    // Each node is a container with its own limit: together they get what the profile wants.
    let cpus = machine.cpus.div_ceil(u64::from(nodes)).max(2);
    let memory = (machine.memory.0 >> 20).div_ceil(u64::from(nodes)).max(2200);
    // The card is handed over by Docker's own runtime only.
    let runtime = if has_gpu { "docker" } else { "containerd" };
    let mut arguments = vec![
        "start".to_owned(),
        format!("--profile={MINIKUBE_PROFILE}"),
        "--driver=docker".to_owned(),
        format!("--container-runtime={runtime}"),
        format!("--kubernetes-version={}", session.catalogue.kubernetes),
        format!("--nodes={nodes}"),
        format!("--cpus={cpus}"),
        format!("--memory={memory}m"),
        "--keep-context".to_owned(),
        "--interactive=false".to_owned(),
        "--output=json".to_owned(),
    ];
    if nodes > 1 {
        // The built-in provisioner makes a volume on the first node and lets the pod run on another.
        arguments.push("--addons=storage-provisioner-rancher".to_owned());
    }
    if has_gpu {
        arguments.push("--gpus=all".to_owned());
    }
    Ok(Call::new("minikube", arguments).within(START_LIMIT))
}

fn look_at_minikube(session: &Session) -> Result<Look, Fault> {
    let answer = status().run()?;
    // One object for one node, a list for several; nothing where there is no such profile.
    let found: Option<Value> = serde_json::from_str(&answer.stdout).ok();
    let nodes: Vec<&Value> = match &found {
        Some(Value::Array(nodes)) => nodes.iter().collect(),
        Some(node) if node["Host"].is_string() => vec![node],
        _ => return Ok(Look::ToDo),
    };
    let wanted = usize::from(session.options.nodes);
    if nodes.len() != wanted {
        let what = format!("the cluster `{MINIKUBE_PROFILE}` has {} nodes, not {wanted}", nodes.len());
        let cure = format!("`--nodes {}`, or begin anew: `cargo bootstrap down`", nodes.len());
        return Err(Fault::new(what, cure).of(Kind::Conflict));
    }
    let runs = |node: &&Value| node["Host"] == "Running" && node["Kubelet"] == "Running";
    match nodes.iter().all(runs) {
        true => Ok(Look::Done(format!("`{MINIKUBE_PROFILE}` runs with {wanted} node(s)"))),
        false => Ok(Look::ToDo),
    }
}

fn look_at_existing(session: &Session) -> Result<String, Fault> {
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
    Ok(format!("Kubernetes {version}, nothing of it is changed but the platform's namespaces"))
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

/// Every node sees the card, so one of them alone may offer it.
fn label_the_card(session: &Session) -> Result<(), Fault> {
    let addon =
        Call::new("minikube", ["addons", "disable", "nvidia-device-plugin", "--profile", MINIKUBE_PROFILE]).run()?;
    refuse(&addon, "minikube's own device plugin could not be switched off")?;
    let answer = session
        .kubectl
        .call(&["label", "node", MINIKUBE_PROFILE, "nvidia.com/gpu.present=true", "--overwrite"])
        .run()?;
    refuse(&answer, "the node with the card could not be labelled")
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
