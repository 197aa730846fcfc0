//! From objects to reasons; pure.

use serde::Serialize;
use serde_json::Value;

use super::Objects;
use crate::waves::Part;

/// One reason, with what cures it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Such as `pod mlflow/mlflow-5d…`.
    pub subject: String,
    pub reason: String,
    pub cure: String,
}

impl Finding {
    /// Whether it is about a part: about its Application, or about what lies in its namespace.
    pub fn is_about(&self, part: &Part) -> bool {
        self.subject == format!("application {}", part.name) || self.subject.contains(&format!(" {}/", part.namespace))
    }
}

/// How many characters of somebody else's words are passed on.
const WORDS_MAX: usize = 240;

/// Everything that is wrong, the root of it first: a node or a resolver that fails explains many pods.
pub fn diagnose(objects: &Objects) -> Vec<Finding> {
    let mut findings: Vec<Finding> = objects.nodes.iter().flat_map(of_node).collect();
    findings.extend(of_resolver(objects));
    findings.extend(objects.claims.iter().filter_map(|claim| of_claim(claim, objects)));
    findings.extend(objects.pods.iter().flat_map(|pod| of_pod(pod, objects)));
    findings.extend(objects.webhooks.iter().flat_map(|configuration| of_webhook(configuration, objects)));
    findings.extend(objects.gateways.iter().filter_map(of_gateway));
    findings.extend(objects.applications.iter().filter_map(|application| of_application(application, objects)));
    findings
}

/// Namespace, pod and container of what ends again and again.
pub fn crashed(pods: &[Value]) -> Vec<(String, String, String)> {
    let of = |pod: &Value| {
        let (namespace, name) = place(pod);
        let looping = containers(pod).filter(|container| container["state"]["waiting"]["reason"] == "CrashLoopBackOff");
        looping.map(|container| (namespace.clone(), name.clone(), text(&container["name"]))).collect::<Vec<_>>()
    };
    pods.iter().flat_map(of).collect()
}

fn of_node(node: &Value) -> Vec<Finding> {
    let name = text(&node["metadata"]["name"]);
    let of = |condition: &Value| {
        let is_true = condition["status"] == "True";
        let (reason, cure) = match condition["type"].as_str()? {
            "Ready" if !is_true => ("is not ready", format!("`kubectl describe node {name}` says more; on minikube run `cargo bootstrap up` again")),
            "MemoryPressure" if is_true => {
                ("runs out of memory", "use a smaller profile, or give the cluster more: `cargo bootstrap down --keep-data`, then `minikube delete` and `up` on a larger machine".to_owned())
            }
            "DiskPressure" if is_true => ("runs out of disk, so that images are removed and pods are evicted", "free space: `docker system prune`, or on the node `crictl rmi --prune`".to_owned()),
            "PIDPressure" if is_true => ("runs out of processes", "end what starts so many, or use another node".to_owned()),
            _ => return None,
        };
        let said = text(&condition["message"]);
        Some(Finding { subject: format!("node {name}"), reason: with(reason, &said), cure })
    };
    list(&node["status"]["conditions"]).iter().filter_map(of).collect()
}

/// Without names nothing finds anything.
fn of_resolver(objects: &Objects) -> Option<Finding> {
    let is_resolver = |pod: &&Value| pod["metadata"]["labels"]["k8s-app"] == "kube-dns";
    let mut resolvers = objects.pods.iter().filter(is_resolver).peekable();
    resolvers.peek()?;
    let is_any_ready = resolvers.any(is_ready);
    (!is_any_ready).then(|| Finding {
        subject: "the resolver of the cluster (CoreDNS)".to_owned(),
        reason: "no pod of it is ready, so no part finds another by its name".to_owned(),
        cure: "`kubectl --namespace kube-system logs -l k8s-app=kube-dns` says why; `loop` there means that the machine's own resolver points at itself".to_owned(),
    })
}

fn of_claim(claim: &Value, objects: &Objects) -> Option<Finding> {
    if claim["status"]["phase"] != "Pending" {
        return None;
    }
    let (namespace, name) = place(claim);
    let class = claim["spec"]["storageClassName"].as_str();
    let is_default =
        |class: &Value| class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
    let known = |name: &str| objects.storage_classes.iter().any(|class| class["metadata"]["name"] == name);
    let (reason, cure) = match class {
        None if !objects.storage_classes.iter().any(is_default) => (
            "names no storage class, and the cluster has no default one".to_owned(),
            "mark one: `kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true`"
                .to_owned(),
        ),
        Some(class) if !known(class) => (
            format!("names the storage class `{class}`, which is not there"),
            "`kubectl get storageclass` lists those that are; change the claim's in the repository".to_owned(),
        ),
        _ => {
            let said = event_about(objects, "PersistentVolumeClaim", &namespace, &name, &["ProvisioningFailed"])?;
            (
                with("no volume could be made for it", &said),
                "look at the provisioner's pod in the namespace of the storage class".to_owned(),
            )
        }
    };
    Some(Finding { subject: format!("volume claim {namespace}/{name}"), reason, cure })
}

fn of_pod(pod: &Value, objects: &Objects) -> Vec<Finding> {
    let (namespace, name) = place(pod);
    let subject = format!("pod {namespace}/{name}");
    let mut findings: Vec<Finding> = Vec::new();
    if let Some((reason, cure)) = unscheduled(pod, &namespace, &name) {
        findings.push(Finding { subject: subject.clone(), reason, cure });
    }
    for container in containers(pod) {
        let found = of_container(container, &namespace, &name, objects);
        findings.extend(found.map(|(reason, cure)| Finding { subject: subject.clone(), reason, cure }));
    }
    if pod["status"]["phase"] == "Pending" && findings.is_empty() {
        let said = event_about(
            objects,
            "Pod",
            &namespace,
            &name,
            &["FailedMount", "FailedCreatePodSandBox", "FailedAttachVolume"],
        );
        findings.extend(said.map(|said| {
            let cure = cure_of_missing(&said, &namespace, objects);
            Finding { subject: subject.clone(), reason: with("cannot start", &said), cure }
        }));
    }
    findings
}

fn unscheduled(pod: &Value, namespace: &str, name: &str) -> Option<(String, String)> {
    let conditions = list(&pod["status"]["conditions"]);
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == "PodScheduled" && condition["reason"] == "Unschedulable")?;
    let said = text(&condition["message"]);
    let describe = format!("`kubectl describe pod {name} --namespace {namespace}` lists what each node lacks");
    let cure = match said.as_str() {
        said if said.contains("Insufficient memory") || said.contains("Insufficient cpu") => {
            "use a smaller profile (`cargo bootstrap up --profile core`), or a larger machine"
        }
        said if said.contains("nvidia.com/gpu") => {
            "label the node that has the card: `kubectl label node NAME nvidia.com/gpu.present=true`"
        }
        said if said.contains("unbound immediate PersistentVolumeClaims") || said.contains("volume node affinity") => {
            "the volume claim above explains it; a volume of one node keeps its pod there"
        }
        said if said.contains("taint") => "the nodes are tainted: `kubectl describe nodes | grep Taints`",
        _ => &describe,
    };
    Some((with("finds no node", &said), cure.to_owned()))
}

fn of_container(container: &Value, namespace: &str, pod: &str, objects: &Objects) -> Option<(String, String)> {
    let name = text(&container["name"]);
    let waiting = &container["state"]["waiting"];
    let last = &container["lastState"]["terminated"];
    match waiting["reason"].as_str().unwrap_or_default() {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
            let (reason, cure) = of_image(&text(&container["image"]), &pull_message(waiting, namespace, pod, objects));
            let describe = format!("`kubectl describe pod {pod} --namespace {namespace}` has the registry's words");
            Some((reason, cure.unwrap_or(&describe).to_owned()))
        }
        "CrashLoopBackOff" if last["reason"] == "OOMKilled" => Some(out_of_memory(&name)),
        "CrashLoopBackOff" => {
            let key = format!("{namespace}/{pod}/{name}");
            let kept = objects.last_lines.iter().find(|(place, _)| *place == key).map(|(_, line)| line.clone());
            let line = kept.unwrap_or_else(|| text(&last["message"]));
            let code = last["exitCode"].as_i64().map_or("an unknown code".to_owned(), |code| format!("code {code}"));
            let reason = with(&format!("`{name}` ends again and again with {code}"), line.trim());
            Some((
                reason,
                format!("`kubectl logs --namespace {namespace} {pod} --container {name} --previous` has the rest"),
            ))
        }
        "CreateContainerConfigError" => {
            let said = text(&waiting["message"]);
            Some((with(&format!("`{name}` lacks a setting"), &said), cure_of_missing(&said, namespace, objects)))
        }
        "CreateContainerError" | "RunContainerError" => Some((
            with(&format!("`{name}` could not be started"), &text(&waiting["message"])),
            "the message names what is missing".to_owned(),
        )),
        _ if last["reason"] == "OOMKilled" && container["ready"] == false => Some(out_of_memory(&name)),
        _ => None,
    }
}

/// What helps where a pod names a Secret or a key that is not there.
fn cure_of_missing(said: &str, namespace: &str, objects: &Objects) -> String {
    let lower = said.to_lowercase();
    // `couldn't find key password in Secret k5w/kmlflow-git`, `references non-existent secret key: ca.crt`.
    if lower.contains("secret key") || (lower.contains("find key") && lower.contains("in secret")) {
        let secret = said.split_whitespace().next_back().and_then(|word| word.split_once('/')).map(|(_, name)| name);
        let name = secret.unwrap_or("NAME").trim_matches('"');
        return format!(
            "add the key below `stringData`: `kubectl edit secret {name} --namespace {namespace}`; a Secret that is there is never changed by bootstrap"
        );
    }
    // `secret "kmlflow-git" not found`, or with its namespace before the name.
    let quoted = lower.split_once("secret \"").and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name);
    let Some(name) = quoted.filter(|_| lower.contains("not found")) else {
        return "the message names what is missing".to_owned();
    };
    let name = name.rsplit('/').next().unwrap_or(name);
    let secret = format!("{namespace}/{name}");
    match objects.makes.contains(&secret) {
        true => "run `cargo bootstrap up` again: it makes the Secrets that are missing and changes none that is there"
            .to_owned(),
        false => format!(
            "bootstrap does not make `{secret}`: `kubectl create secret generic {name} --namespace {namespace} --from-file=KEY=FILE`; docs/from-laptop-to-production.md says what belongs into it"
        ),
    }
}

fn out_of_memory(container: &str) -> (String, String) {
    (
        format!("`{container}` needs more memory than its limit and is killed for it"),
        "raise `resources.limits.memory` of it in the repository".to_owned(),
    )
}

/// The waiting state says only that it backs off; the event before has the registry's words.
fn pull_message(waiting: &Value, namespace: &str, pod: &str, objects: &Objects) -> String {
    let said = text(&waiting["message"]);
    let told = event_about(objects, "Pod", namespace, pod, &["Failed"]).filter(|told| told.contains("pull"));
    match told {
        Some(told) if !told.starts_with("Error: ") => told,
        _ => said,
    }
}

/// What an image that is not there lacks, and the cure where its words say one.
fn of_image(image: &str, said: &str) -> (String, Option<&'static str>) {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let (reason, cure) = if image.trim_start_matches("docker.io/library/").starts_with("kmlflow:") {
        (
            "no registry has it by this name",
            "on minikube `cargo bootstrap up` loads it; for a cluster of yours build it, push it and name it by `newName` in gitops-repo/platform/kmlflow/kustomization.yaml, as README.md says under \"On a cluster of yours\"",
        )
    } else if has(&["toomanyrequests", "429", "rate limit"]) {
        (
            "the registry's limit of pulls is reached",
            "wait (Docker Hub counts six hours), or sign in: `kubectl create secret docker-registry` and name it in the ServiceAccount; or load it by `--offline-images`",
        )
    } else if has(&["not found", "manifest unknown", "does not exist"]) && !has(&["authorization", "denied"]) {
        ("there is no such image", "correct name and tag in the repository")
    } else if has(&["unauthorized", "denied", "authorization", "403"]) {
        (
            "the registry does not let the cluster in",
            "name a pull secret in the ServiceAccount's `imagePullSecrets`, or correct the name",
        )
    } else if has(&["no such host", "i/o timeout", "connection refused", "tls handshake", "dial tcp"]) {
        (
            "the registry is not reached from the node",
            "see that the machine has a network and a resolver; or load the image by `--offline-images`",
        )
    } else if has(&["no space left"]) {
        ("the disk of the node is full", "free space: `docker system prune`")
    } else {
        return (with(&format!("image `{image}`: the image cannot be pulled"), said), None);
    };
    (with(&format!("image `{image}`: {reason}"), said), Some(cure))
}

fn of_webhook(configuration: &Value, objects: &Objects) -> Vec<Finding> {
    let name = text(&configuration["metadata"]["name"]);
    let of = |webhook: &Value| {
        let service = &webhook["clientConfig"]["service"];
        let (namespace, target) = (service["namespace"].as_str()?, service["name"].as_str()?);
        let is_ours = objects.pods.iter().any(|pod| pod["metadata"]["namespace"] == namespace);
        if !is_ours || webhook["failurePolicy"] == "Ignore" {
            return None;
        }
        let subject = format!("webhook {} of {name}", text(&webhook["name"]));
        if webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().is_empty() {
            return Some(Finding {
                subject,
                reason: "has no certificate of its authority yet, so everything that it should look at is refused".to_owned(),
                cure: "wait until cert-manager (or Katib's controller) has written it; if it stays so: `kubectl --namespace cert-manager logs deploy/cert-manager-cainjector`".to_owned(),
            });
        }
        (!has_endpoint(objects, namespace, target)).then(|| Finding {
            subject,
            reason: format!("its Service `{namespace}/{target}` has no pod that is ready, so everything that it should look at is refused"),
            cure: format!("see why the pods in `{namespace}` are not ready"),
        })
    };
    list(&configuration["webhooks"]).iter().filter_map(of).collect()
}

fn has_endpoint(objects: &Objects, namespace: &str, service: &str) -> bool {
    let is_its = |slice: &&Value| {
        slice["metadata"]["namespace"] == namespace
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == service
    };
    let is_ready = |endpoint: &Value| endpoint["conditions"]["ready"] != false;
    objects.services.iter().filter(is_its).any(|slice| list(&slice["endpoints"]).iter().any(is_ready))
}

fn of_gateway(gateway: &Value) -> Option<Finding> {
    let (namespace, name) = place(gateway);
    let conditions = list(&gateway["status"]["conditions"]);
    let problem = conditions.iter().find(|condition| condition["status"] == "False")?;
    let reason = text(&problem["reason"]);
    let cure = match reason.as_str() {
        "AddressNotAssigned" => {
            "its Service waits for a load balancer that nobody provides: `envoyService.type` of the EnvoyProxy must be NodePort or ClusterIP"
        }
        "NoResources" => "the proxy's pods are not ready: see the pods of `envoy-gateway-system`",
        _ => "`kubectl --namespace envoy-gateway-system logs deploy/envoy-gateway` says more",
    };
    let what = format!("is not {} ({reason})", text(&problem["type"]).to_lowercase());
    Some(Finding {
        subject: format!("gateway {namespace}/{name}"),
        reason: with(&what, &text(&problem["message"])),
        cure: cure.to_owned(),
    })
}

fn of_application(application: &Value, objects: &Objects) -> Option<Finding> {
    let name = text(&application["metadata"]["name"]);
    let status = &application["status"];
    // What is being removed is compared with nothing any more; only that it cannot be is news.
    let is_leaving = application["metadata"]["deletionTimestamp"].is_string();
    let is_error = |kind: &str| if is_leaving { kind == "DeletionError" } else { kind.ends_with("Error") };
    let errors = list(&status["conditions"]);
    let error = errors.iter().find(|condition| condition["type"].as_str().is_some_and(is_error));
    let operation = &status["operationState"];
    // One that went well at last keeps the count of its tries.
    let is_retried = operation["retryCount"].as_u64().is_some_and(|count| count > 0);
    let is_failed = match operation["phase"].as_str() {
        Some("Failed" | "Error") => true,
        phase => is_retried && phase != Some("Succeeded"),
    };
    let said = match error {
        Some(error) => text(&error["message"]),
        None if is_failed && !is_leaving => text(&operation["message"]),
        None => return None,
    };
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let is_let_in = !has(&["authentication required", "401", "403"]);
    let cure = if !is_let_in && objects.is_repository_given {
        "the repository does not let Argo CD in: correct `username` and `password` of the Secret `argocd/repository`"
    } else if !is_let_in {
        "Argo CD's token is not taken: `kubectl --namespace argocd delete secret repository`, then `cargo bootstrap up` makes another"
    } else if has(&["no such host", "i/o timeout", "failed to fetch", "Could not resolve host", "dial tcp"]) {
        "Argo CD reaches the chart or the repository not: see that the cluster has a network"
    } else if has(&["no matches for kind", "could not find the requested resource"]) {
        "its kinds come with an earlier wave: it is tried again by itself"
    } else if has(&["is not permitted in project"]) {
        "the project of the Application does not let it: correct `cluster` or `also_in` in the catalogue, and render"
    } else if has(&["failed calling webhook", "denied the request"]) {
        "a webhook refuses it: see the webhooks above"
    } else {
        "`kubectl --namespace argocd describe application` has the whole message"
    };
    Some(Finding {
        subject: format!("application {name}"),
        reason: with(if is_leaving { "cannot be removed" } else { "cannot be applied" }, &said),
        cure: cure.to_owned(),
    })
}

/// The newest words of an event with one of the reasons.
fn event_about(objects: &Objects, kind: &str, namespace: &str, name: &str, reasons: &[&str]) -> Option<String> {
    let is_about = |event: &&Value| {
        let about = &event["involvedObject"];
        about["kind"] == kind
            && about["namespace"] == namespace
            && about["name"] == name
            && event["reason"].as_str().is_some_and(|reason| reasons.contains(&reason))
    };
    let newest = objects.events.iter().filter(is_about).max_by_key(|event| text(&event["lastTimestamp"]))?;
    Some(text(&newest["message"]))
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let kinds = ["initContainerStatuses", "containerStatuses"];
    kinds.into_iter().flat_map(|kind| list(&pod["status"][kind]))
}

fn is_ready(pod: &Value) -> bool {
    list(&pod["status"]["conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn place(object: &Value) -> (String, String) {
    (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Our words and somebody else's.
fn with(ours: &str, theirs: &str) -> String {
    let line = theirs.lines().next().unwrap_or_default();
    match line.char_indices().nth(WORDS_MAX) {
        _ if line.is_empty() => ours.to_owned(),
        Some((end, _)) => format!("{ours}: {}…", &line[..end]),
        None => format!("{ours}: {line}"),
    }
}
