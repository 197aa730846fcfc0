//! A model server for each pod: a process of its own on the pod's address, from when the pod is ready until it is gone.
//!
//! The pods of the bed have no containers. Somebody who is sent to a pod that is not ready yet, or is gone, finds nobody there, as in a
//! real cluster: so a hand-over that comes too early is seen as failed requests.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// Between two attempts to watch, while the API server is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Itself, also when its file was replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// Watches every pod of the cluster until it is killed.
pub async fn run(client: Client) -> Result<(), Box<dyn Error>> {
    let mut servers: BTreeMap<String, Child> = BTreeMap::new();
    let mut listed = BTreeSet::new();
    let mut pause = tokio::time::interval(PAUSE);
    let mut events = Box::pin(watcher(Api::<Pod>::all(client), watcher::Config::default()));
    loop {
        let event = match events.try_next().await {
            Ok(event) => event.ok_or("the watch has ended")?,
            Err(error) => {
                eprintln!("watching pods: {error}");
                pause.tick().await;
                continue;
            }
        };
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(pod) | Event::Apply(pod) => {
                listed.insert(key(&pod));
                if let Some(server) = server(&pod)
                    && !servers.contains_key(&key(&pod))
                {
                    println!("started {server}");
                    servers.insert(key(&pod), start(&server)?);
                }
            }
            Event::InitDone => {
                let gone: Vec<String> = servers.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                for key in gone {
                    end(&mut servers, &key).await?;
                }
            }
            Event::Delete(pod) => end(&mut servers, &key(&pod)).await?,
        }
    }
}

/// A pod that is made anew under its old name is another one.
fn key(pod: &Pod) -> String {
    format!("{}/{}/{}", pod.namespace().unwrap_or_default(), pod.name_any(), pod.uid().unwrap_or_default())
}

/// What serves a pod, once it is ready: its address and its ports.
fn server(pod: &Pod) -> Option<Value> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let is_ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let address = status.pod_ip.as_ref().filter(|_| is_ready)?;
    let containers = &pod.spec.as_ref()?.containers;
    let ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let ports: BTreeSet<i32> = ports.map(|port| port.container_port).collect();
    let predictor = pod.labels().get("version");
    (!ports.is_empty())
        .then(|| json!({"name": pod.name_any(), "predictor": predictor, "address": address, "ports": ports}))
}

fn start(server: &Value) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(PROGRAM);
    command.args(["model", &server.to_string()]).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn end(servers: &mut BTreeMap<String, Child>, key: &str) -> Result<(), Box<dyn Error>> {
    if let Some(mut child) = servers.remove(key) {
        println!("ended {key}");
        child.kill().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(ready: &str) -> Pod {
        let container = |ports: Value| json!({"name": "model", "ports": ports});
        let one = container(json!([{"name": "http", "containerPort": 9000}, {"name": "grpc", "containerPort": 9500}]));
        let other = container(json!([{"name": "metrics", "containerPort": 8000}]));
        let pod = json!({"metadata": {"name": "fraud-v7-x", "namespace": "models", "uid": "1", "labels": {"version": "v7"}},
            "spec": {"containers": [one, other]},
            "status": {"podIP": "10.244.0.7", "conditions": [{"type": "Ready", "status": ready}]}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_ready_pod_is_served_on_every_port_of_its_containers() {
        let expected =
            json!({"name": "fraud-v7-x", "predictor": "v7", "address": "10.244.0.7", "ports": [8000, 9000, 9500]});
        assert_eq!(server(&pod("True")), Some(expected));
    }

    #[test]
    fn a_pod_that_is_not_ready_or_has_no_port_is_not_served() {
        assert_eq!(server(&pod("False")), None);
        let mut silent = pod("True");
        silent.spec.as_mut().unwrap().containers.iter_mut().for_each(|container| container.ports = None);
        assert_eq!(server(&silent), None);
    }
}
