//! A pod template of an object, as the settings of a version.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fields::{Fields, Found};
use crate::release::{Period, PodSettings, Probe, Serving};

/// Reads a pod template; answers the image of its container.
pub(super) fn pod(mut pod: Fields<'_>, serving: &mut Serving, found: &mut Found) -> Option<String> {
    let mut settings = serving.pod.take().unwrap_or_default();
    settings.tolerations = typed(&mut pod, "tolerations", found).unwrap_or_default();
    settings.node_selector = typed(&mut pod, "nodeSelector", found).unwrap_or_default();
    let account = pod.text("serviceAccountName").map(ToOwned::to_owned);
    settings.service_account_name = account.or(settings.service_account_name);
    settings.runtime_class_name = pod.text("runtimeClassName").map(ToOwned::to_owned);
    settings.priority_class_name = pod.text("priorityClassName").map(ToOwned::to_owned);
    let secrets = pod.list("imagePullSecrets").iter();
    settings.image_pull_secrets = secrets.filter_map(|secret| secret["name"].as_str().map(ToOwned::to_owned)).collect();
    serving.pod = (settings != PodSettings::default()).then_some(settings);
    let image = match pod.list("containers") {
        [] => None,
        [one] => container(Fields::of(one.as_object(), &pod.at("containers[0]")), serving, found),
        _ => {
            let cure = "a release serves one container per version; bring what the others do into its image";
            found.obstacle(&pod.at("containers"), "there is more than one container", cure);
            None
        }
    };
    pod.end(&["terminationGracePeriodSeconds"], found);
    image
}

fn container(mut container: Fields<'_>, serving: &mut Serving, found: &mut Found) -> Option<String> {
    if let Some(name) = container.text("name").filter(|name| *name != "model") {
        let detail = format!(
            "the container `{}` is called `model` from then on, in names of pods and metrics too",
            crate::names::shown(name)
        );
        found.change(&container.at("name"), &detail);
    }
    let image = container.text("image").map(ToOwned::to_owned);
    serving.port = port(&mut container);
    serving.resources = typed(&mut container, "resources", found);
    serving.env = typed(&mut container, "env", found);
    if let Some(probe) = container.take("readinessProbe") {
        serving.probe = readiness(probe);
        if serving.probe.is_none() {
            found.change(&container.at("readinessProbe"), "a release asks by HTTP, by default the protocol's own path");
        }
    }
    let harmless = [
        "imagePullPolicy",
        "livenessProbe",
        "startupProbe",
        "lifecycle",
        "terminationMessagePath",
        "terminationMessagePolicy",
    ];
    container.end(&harmless, found);
    image
}

/// The port for HTTP: the one of that name, else the first.
fn port(container: &mut Fields<'_>) -> Option<u16> {
    let ports = container.list("ports");
    let http = ports.iter().find(|port| port["name"] == "http").or_else(|| ports.first())?;
    http["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok())
}

fn readiness(probe: &Value) -> Option<Probe> {
    let period = |name: &str| probe[name].as_u64().map(Period::from_seconds);
    let path = probe["httpGet"]["path"].as_str()?.to_owned();
    Some(Probe { path, initial_delay: period("initialDelaySeconds"), period: period("periodSeconds") })
}

/// A field whose form a release shares with Kubernetes. What is wrong with it is said without its content, which may be a secret.
fn typed<T: DeserializeOwned>(fields: &mut Fields<'_>, name: &str, found: &mut Found) -> Option<T> {
    let value = fields.take(name)?;
    let read = T::deserialize(value);
    if read.is_err() {
        let cure = match name {
            "env" => "give each variable a `value`, or one key of a Secret by `valueFrom.secretKeyRef`",
            "resources" => "name `requests` and `limits` alone, each quantity as a text",
            _ => "write it as Kubernetes' own documentation does",
        };
        found.obstacle(&fields.at(name), "it has a form that a release cannot say", cure);
    }
    read.ok()
}
