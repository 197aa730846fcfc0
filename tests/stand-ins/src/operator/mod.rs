//! Stands in for the operator of Seldon Core 1.17.1, which no registry has: makes the Deployments and Services of each
//! SeldonDeployment and writes its status, as the real one was seen to do.
//!
//! Left out: probes of liveness, which end what starts slowly on a busy machine, and those of containers without an implementation; HPA and
//! PDB objects, Istio and Ambassador, explainers, names that are too long.
//! What its webhook refuses about traffic is refused by `tests/cluster/manifests/seldon.yaml`.

/// A SeldonDeployment → its Deployments and Services.
mod children;

/// A component of a predictor → its pod.
mod pod;

/// What is seen of them → the status.
mod status;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use children::children;
use status::status;

/// Who it is in the list of managed fields.
const MANAGER: &str = "seldon-manager";

/// After a failure; a change of the SeldonDeployment or of a Deployment is looked at without waiting.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Follows every SeldonDeployment of the cluster until it is killed.
pub async fn run(client: Client) -> Result<(), Box<dyn Error>> {
    let (seldon, deployment) = (kind("machinelearning.seldon.io", "SeldonDeployment"), kind("apps", "Deployment"));
    let all = |kind: &ApiResource| Api::<DynamicObject>::all_with(client.clone(), kind);
    let controller = Controller::new_with(all(&seldon), watcher::Config::default(), seldon.clone());
    let owned = controller.owns_with(all(&deployment), deployment, watcher::Config::default());
    let failed = |_: Arc<DynamicObject>, _: &Failure, _: Arc<Client>| Action::requeue(RETRY_AFTER);
    owned
        .run(reconcile, failed, Arc::new(client.clone()))
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                eprintln!("{error}: {:?}", error.source().map(ToString::to_string));
            }
        })
        .await;
    Ok(())
}

/// What went wrong with one of them; it is tried again.
type Failure = kube::Error;

/// One look at a SeldonDeployment: Services, Deployments, then, once all of them are ready, what is no longer wanted goes.
async fn reconcile(seen: Arc<DynamicObject>, client: Arc<Client>) -> Result<Action, Failure> {
    if seen.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = seen.namespace().unwrap_or_default();
    let api = |kind: &ApiResource| Api::<DynamicObject>::namespaced_with((*client).clone(), &namespace, kind);
    let (services, deployments) = (api(&kind("", "Service")), api(&kind("apps", "Deployment")));
    let document = json!({"metadata": seen.metadata, "spec": seen.data["spec"]});
    let wanted = children(&document);
    for (api, objects) in [(&services, &wanted.services), (&deployments, &wanted.deployments)] {
        for object in objects {
            apply(api, object).await?;
        }
    }
    // Of the moment just after: the controllers of the Deployments have not looked yet, so what was ready still says that it is. The
    // real operator reads as early, and says `Available` in the middle of an update.
    let own = ListParams::default().labels(&format!("seldon-deployment-id={}", seen.name_any()));
    let found: Vec<Value> = deployments.list(&own).await?.into_iter().map(|object| json!(object)).collect();
    let status = status(&wanted, &found);
    if status["state"] == "Available" {
        remove(&deployments, &own, &wanted.deployments).await?;
        remove(&services, &own, &wanted.services).await?;
    }
    if seen.data["status"] != status {
        let patch = json!({"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "status": status});
        let seldon = api(&kind("machinelearning.seldon.io", "SeldonDeployment"));
        let name = seen.name_any();
        seldon.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await?;
    }
    Ok(Action::await_change())
}

async fn apply(api: &Api<DynamicObject>, object: &Value) -> Result<(), Failure> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await?;
    Ok(())
}

/// Deletes what carries the release's label and is not wanted any more: also a Service of somebody else's that carries it.
async fn remove(api: &Api<DynamicObject>, own: &ListParams, wanted: &[Value]) -> Result<(), Failure> {
    let names: BTreeSet<&str> = wanted.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
    for object in api.list(own).await? {
        let name = object.name_any();
        if !names.contains(name.as_str()) {
            println!("removing {name}");
            api.delete(&name, &Default::default()).await?;
        }
    }
    Ok(())
}

fn kind(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}
