//! A model server for each pod: a process of its own on the pod's address, from when the pod starts until it is gone.
//!
//! The pods of the bed have no containers. Somebody who is sent to a pod that has not started yet, or is gone, finds nobody there, as in a
//! real cluster: so a hand-over that comes too early is seen as failed requests. Once the server listens the pod gets the annotation
//! `bed/answers`, and only then it becomes ready (`tests/cluster/manifests/stages.yaml`), as a readiness probe would have it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Between two attempts to watch, while the API server is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two looks whether a server listens.
const LOOK: Duration = Duration::from_millis(5);

/// So long a server may take until it listens, and its pod until that is noted.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Itself, also when its file was replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// Watches every pod of the cluster until it is killed.
pub async fn run(client: Client) -> Result<(), Box<dyn Error>> {
    let mut servers: BTreeMap<String, Child> = BTreeMap::new();
    let mut listed = BTreeSet::new();
    let mut pause = tokio::time::interval(PAUSE);
    let mut events = Box::pin(watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()));
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
                    tokio::spawn(tell_that_it_answers(client.clone(), pod, server));
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

/// What serves a pod, once it has started: its address and its ports.
fn server(pod: &Pod) -> Option<Value> {
    let status = pod.status.as_ref()?;
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
    let has_started = ready.status == "True" || ready.reason.as_deref() == Some("Starting");
    let address = status.pod_ip.as_ref().filter(|_| has_started)?;
    let containers = &pod.spec.as_ref()?.containers;
    let ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let ports: BTreeSet<i32> = ports.map(|port| port.container_port).collect();
    let predictor = pod.labels().get("version");
    Some(json!({"name": pod.name_any(), "predictor": predictor, "address": address, "ports": ports}))
}

fn start(server: &Value) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(PROGRAM);
    command.args(["model", &server.to_string()]).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command.spawn()?)
}

/// Notes at a pod that its server listens on every port, so that it becomes ready.
async fn tell_that_it_answers(client: Client, pod: Pod, server: Value) {
    let told = async {
        let mut look = tokio::time::interval(LOOK);
        while !listens(&server).await {
            look.tick().await;
        }
        let pods: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
        let note = Patch::Merge(json!({"metadata": {"uid": pod.uid(), "annotations": {"bed/answers": "yes"}}}));
        let mut pause = tokio::time::interval(PAUSE);
        loop {
            pause.tick().await;
            match pods.patch(&pod.name_any(), &PatchParams::default(), &note).await {
                Ok(_) => return,
                // It is gone already, or another one by now.
                Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => return,
                Err(error) => eprintln!("noting that {} answers: {error}", pod.name_any()),
            }
        }
    };
    if tokio::time::timeout(ANSWERS_WITHIN, told).await.is_err() {
        eprintln!("{} does not answer within {} s", pod.name_any(), ANSWERS_WITHIN.as_secs());
    }
}

/// Whether somebody listens on every port of a server.
async fn listens(server: &Value) -> bool {
    let Some(Ok(address)) = server["address"].as_str().map(str::parse::<IpAddr>) else { return false };
    let ports = server["ports"].as_array().into_iter().flatten();
    for port in ports.filter_map(Value::as_u64).filter_map(|port| u16::try_from(port).ok()) {
        if TcpStream::connect((address, port)).await.is_err() {
            return false;
        }
    }
    true
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
    use tokio::net::TcpListener;

    use super::*;

    fn pod(ready: &str, reason: &str) -> Pod {
        let container = |ports: Value| json!({"name": "model", "ports": ports});
        let one = container(json!([{"name": "http", "containerPort": 9000}, {"name": "grpc", "containerPort": 9500}]));
        let other = container(json!([{"name": "metrics", "containerPort": 8000}]));
        let pod = json!({"metadata": {"name": "fraud-v7-x", "namespace": "models", "uid": "1", "labels": {"version": "v7"}},
            "spec": {"containers": [one, other]},
            "status": {"podIP": "10.244.0.7", "conditions": [{"type": "Ready", "status": ready, "reason": reason}]}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_that_starts_or_is_ready_is_served_on_every_port_of_its_containers() {
        let expected =
            json!({"name": "fraud-v7-x", "predictor": "v7", "address": "10.244.0.7", "ports": [8000, 9000, 9500]});
        assert_eq!(server(&pod("False", "Starting")), Some(expected.clone()));
        assert_eq!(server(&pod("True", "")), Some(expected));
    }

    #[test]
    fn a_pod_that_has_not_started_or_fails_its_probe_is_not_served() {
        assert_eq!(server(&pod("False", "ContainersNotReady")), None);
        let mut without = pod("True", "");
        without.status.as_mut().unwrap().conditions = None;
        assert_eq!(server(&without), None);
    }

    #[tokio::test]
    async fn a_server_listens_once_it_does_on_all_of_its_ports() {
        let listeners =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let [one, other] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
        let server = json!({"address": "127.0.0.1", "ports": [one, other]});
        assert!(listens(&server).await);
        let [_one, other] = listeners;
        drop(other);
        assert!(!listens(&server).await);
    }
}
