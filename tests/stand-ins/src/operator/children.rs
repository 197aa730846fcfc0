//! A SeldonDeployment → the Deployments and Services that the operator makes of it, named, labelled and with ports as it does.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::pod::{Place, items, pod, port, text};

/// The container of the engine, and its ports.
const ENGINE: (&str, u64, u64) = ("seldon-container-engine", 8000, 5001);

/// What belongs to a SeldonDeployment.
#[derive(Debug, Default)]
pub(super) struct Children {
    pub(super) services: Vec<Value>,
    pub(super) deployments: Vec<Value>,
    /// The address of the first predictor, inside the cluster.
    pub(super) url: String,
}

/// The Services and Deployments of a SeldonDeployment, predictor by predictor.
pub(super) fn children(seldon: &Value) -> Children {
    let mut all = Children::default();
    for predictor in items(&seldon["spec"]["predictors"]) {
        let is_v2 = seldon["spec"]["protocol"] == "v2";
        Predictor { seldon, predictor }.add_to(&mut all, is_v2);
    }
    all
}

/// One predictor of a SeldonDeployment.
struct Predictor<'a> {
    seldon: &'a Value,
    predictor: &'a Value,
}

impl Predictor<'_> {
    fn add_to(&self, all: &mut Children, is_v2: bool) {
        let mut direct = (9000, 9500);
        for (index, component) in items(&self.predictor["componentSpecs"]).iter().enumerate() {
            // The metrics ports of containers that name none are counted up over all of them.
            let place = Place {
                release: &self.release(),
                predictor: self.predictor,
                metrics: 6000 + all.deployments.len() as u64,
            };
            let mut pod = pod(component, &place);
            let names: Vec<String> =
                items(&pod["containers"]).iter().map(|container| text(&container["name"])).collect();
            for container in items(&pod["containers"]) {
                direct = (port(container, "http"), port(container, "grpc"));
                let name = format!("{}-{}", self.app(), text(&container["name"]));
                let selector = json!({format!("seldon-app-svc-{}", text(&container["name"])): name});
                all.services.push(self.service(&name, &selector, direct));
            }
            if self.has_engine() && index == 0 {
                pod["containers"].as_array_mut().expect("the containers").push(self.engine());
            }
            all.deployments.push(self.deployment(component, &names, &pod, index));
        }
        let (http, grpc) = if self.has_engine() { (ENGINE.1, ENGINE.2) } else { direct };
        all.services.push(self.service(&self.app(), &json!({"seldon-app": self.app()}), (http, grpc)));
        if all.url.is_empty() {
            let model = text(&self.predictor["graph"]["name"]);
            let path = if is_v2 { format!("v2/models/{model}/infer") } else { "api/v1.0/predictions".to_owned() };
            all.url = format!("http://{}.{}.svc.cluster.local:{http}/{path}", self.app(), self.namespace());
        }
    }

    /// `wine-v7`: the Service of the predictor, and what its pods are selected by.
    fn app(&self) -> String {
        format!("{}-{}", self.release(), text(&self.predictor["name"]))
    }

    fn release(&self) -> String {
        text(&self.seldon["metadata"]["name"])
    }

    fn namespace(&self) -> String {
        text(&self.seldon["metadata"]["namespace"])
    }

    fn has_engine(&self) -> bool {
        self.predictor["annotations"]["seldon.io/no-engine"] != "true"
    }

    fn metadata(&self, name: &str, labels: &Value) -> Value {
        let owner = json!({"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "name": self.release(),
            "uid": self.seldon["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true});
        json!({"name": name, "namespace": self.namespace(), "labels": labels, "ownerReferences": [owner]})
    }

    /// What all that belongs to it carries.
    fn base_labels(&self) -> Map<String, Value> {
        let labels = json!({"seldon-deployment-id": self.release(), "app.kubernetes.io/managed-by": "seldon-core",
            "seldon.io/model": "true"});
        object(labels)
    }

    fn service(&self, name: &str, selector: &Value, (http, grpc): (u64, u64)) -> Value {
        let mut labels = self.base_labels();
        labels.extend(object(selector.clone()));
        let port = |name, number| json!({"name": name, "port": number, "targetPort": number, "protocol": "TCP"});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": self.metadata(name, &labels.into()),
            "spec": {"selector": selector, "ports": [port("http", http), port("grpc", grpc)]}})
    }

    fn deployment(&self, component: &Value, names: &[String], pod: &Value, index: usize) -> Value {
        let name = format!("{}-{index}-{}", self.app(), names.join("-"));
        let mut selector = object(json!({"seldon-app": self.app(), "seldon-deployment-id": self.release()}));
        selector.extend(
            names.iter().map(|name| (format!("seldon-app-svc-{name}"), format!("{}-{name}", self.app()).into())),
        );
        let mut labels = self.base_labels();
        labels.extend(selector.clone());
        labels.extend(object(json!({"app": name, "fluentd": "true", "version": self.predictor["name"]})));
        labels.extend(object(self.predictor["labels"].clone()));
        let mut annotations = object(self.seldon["spec"]["annotations"].clone());
        annotations.extend(object(self.predictor["annotations"].clone()));
        let mut metadata = self.metadata(&name, &labels.clone().into());
        metadata["annotations"] = annotations.clone().into();
        let scraped = [("prometheus.io/path", "/prometheus"), ("prometheus.io/scrape", "true")];
        annotations.extend(scraped.map(|(key, value)| (key.to_owned(), value.into())));
        let deadline = self.predictor["progressDeadlineSeconds"].as_u64().unwrap_or(600);
        let update = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}});
        let mut spec = json!({"selector": {"matchLabels": selector}, "progressDeadlineSeconds": deadline, "strategy": update,
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}});
        if component["hpaSpec"].is_null() {
            let asked = [&component["replicas"], &self.predictor["replicas"], &self.seldon["spec"]["replicas"]];
            spec["replicas"] = asked.into_iter().find(|replicas| !replicas.is_null()).cloned().unwrap_or(1.into());
        }
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    }

    /// The engine knows its predictor by heart, but for what may change without a restart.
    fn engine(&self) -> Value {
        let (name, http, grpc) = ENGINE;
        let mut known = self.predictor.clone();
        for key in ["traffic", "replicas", "explainer"] {
            object_mut(&mut known).remove(key);
        }
        let known = base64::engine::general_purpose::STANDARD.encode(known.to_string());
        let port = |name, number| json!({"name": name, "containerPort": number, "protocol": "TCP"});
        let resources = &self.predictor["svcOrchSpec"]["resources"];
        let mut engine = json!({"name": name, "image": "stand-in/seldon-core-executor:1.17.1",
            "env": [{"name": "ENGINE_PREDICTOR", "value": known}], "ports": [port("metrics", http), port("grpc", grpc)]});
        // It goes on for as long as the model does: the gateway hears of the end of a pod a moment after it.
        engine["lifecycle"] = json!({"preStop": {"exec": {"command": ["/bin/sh", "-c", "/bin/sleep 10"]}}});
        if !resources.is_null() {
            engine["resources"] = resources.clone();
        }
        engine
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("an object")
}
