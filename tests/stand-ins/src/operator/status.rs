//! What the operator says of a SeldonDeployment, from what it sees of the Deployments. There is no observedGeneration: it never writes one.

use serde_json::{Map, Value, json};

use super::children::Children;

/// The status after a look at the Deployments that carry the release's label, those of predictors that are no longer wanted included.
pub(super) fn status(wanted: &Children, found: &[Value]) -> Value {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let own: Vec<&Value> = wanted
        .deployments
        .iter()
        .map(|deployment| found.iter().find(|other| name(other) == name(deployment)).unwrap_or(&Value::Null))
        .collect();
    let unready = own.iter().find(|deployment| !is_ready(deployment));
    // Once all are ready the others are removed, so they are not told of.
    let told = found.iter().filter(|other| unready.is_some() || own.iter().any(|own| name(own) == name(other)));
    let deployments: Map<String, Value> = told.map(|deployment| (name(deployment), replicas(deployment))).collect();
    let services = wanted.services.iter().map(|service| (name(service), endpoints(service)));
    let state = match unready {
        None => "Available",
        Some(deployment) if has_failed(deployment) => "Failed",
        Some(_) => "Creating",
    };
    json!({
        "state": state,
        "replicas": own.first().map_or(0, |deployment| count(deployment, "replicas")),
        "address": {"url": wanted.url},
        "deploymentStatus": deployments,
        "serviceStatus": services.collect::<Map<_, _>>(),
        "conditions": conditions(&own, unready.is_none()),
    })
}

/// Ready by its numbers, whatever generation they are of.
fn is_ready(deployment: &Value) -> bool {
    count(deployment, "readyReplicas") > 0 && count(deployment, "unavailableReplicas") == 0
}

/// No more progress is made, and what ran before does not run either.
fn has_failed(deployment: &Value) -> bool {
    let is_false = |kind: &str| condition(deployment, kind).is_some_and(|condition| condition["status"] == "False");
    is_false("Progressing") && is_false("Available")
}

fn conditions(own: &[&Value], is_ready: bool) -> Value {
    let unavailable = own
        .iter()
        .find_map(|deployment| condition(deployment, "Available").filter(|condition| condition["status"] != "True"));
    // A bad update of a predictor that still serves leaves this one `True`: its Deployment has its minimum.
    let deployments = unavailable.map_or_else(
        || json!({"type": "DeploymentsReady", "status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability."}),
        |seen| json!({"type": "DeploymentsReady", "status": "False", "reason": seen["reason"], "message": seen["message"]}),
    );
    // The spelling of the first reason is the operator's.
    let settled = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason});
    json!([
        settled("AmbassadorMappingsReady", "No Ambassador Mappaings defined"),
        deployments,
        settled("HpasReady", "No HPAs defined"),
        settled("KedaReady", "No KEDA resources defined"),
        settled("PdbsReady", "No PDBs defined"),
        {"type": "Ready", "status": if is_ready { "True" } else { "False" }},
        settled("ServicesReady", "All services created"),
        settled("istioVirtualServicesReady", "No VirtualServices defined"),
    ])
}

fn condition<'a>(deployment: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = deployment["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// A number of the status, which leaves out what is zero.
fn count(deployment: &Value, key: &str) -> u64 {
    deployment["status"][key].as_u64().unwrap_or(0)
}

fn replicas(deployment: &Value) -> Value {
    let counts = ["availableReplicas", "replicas"].map(|key| (key.to_owned(), count(deployment, key)));
    let known = counts.into_iter().filter(|(_, count)| *count > 0).map(|(key, count)| (key, count.into()));
    known.collect::<Map<_, _>>().into()
}

fn endpoints(service: &Value) -> Value {
    let (name, namespace) = (&service["metadata"]["name"], &service["metadata"]["namespace"]);
    let at = |index: usize| {
        let port = &service["spec"]["ports"][index]["port"];
        format!("{}.{}:{port}", name.as_str().unwrap_or_default(), namespace.as_str().unwrap_or_default())
    };
    json!({"svcName": name, "httpEndpoint": at(0), "grpcEndpoint": at(1)})
}
