//! A cluster in miniature: what is rendered is applied document by document, the operator follows when it is told to.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::live::{
    Facts, Index, Kind, Look, Object, Place, Watched, WireApplication, WireDeployment, WirePod, WireRoute, WireSeldon,
    WireService, look,
};
use crate::names::PredictorName;
use crate::release::Release;
use crate::render::{self, Templates};

/// Two commits, the second on top of the first.
pub(crate) const FIRST: &str = "1111111111111111111111111111111111111111";
pub(crate) const SECOND: &str = "2222222222222222222222222222222222222222";

/// The fraud detector with these variants (role and version), in this phase.
pub(crate) fn release(strategy: &str, phase: &str, variants: &[(&str, &str)]) -> Release {
    let settings = match strategy {
        "canary" => "canary: {steps: [{weight: 5}, {weight: 50}]}",
        "blue-green" => "blueGreen: {active: blue, scaleDownDelay: 30m}",
        "shadow" => "shadow: {percent: 20}",
        "ab" => "ab: {weights: {a: 70, b: 30}}",
        _ => "",
    };
    let variants = variants.iter().map(|(role, version)| {
        format!("  - {{role: {role}, version: '{version}', predictor: v{version}, image: 'registry.example/fraud:{version}'}}\n")
    });
    let mut release = Release::parse(&format!(
        "apiVersion: kmlflow.dev/v1\nkind: Release\nmetadata: {{name: fraud, namespace: models, environment: production}}\nspec:\n  \
         model: fraud\n  strategy: {strategy}\n  variants:\n{}  {settings}\n  serving: {{}}\n  target: {{cluster: in-cluster, namespace: models, \
         gateway: {{namespace: gateway, name: models}}, host: f.example, previewHost: p.example, grpcHost: g.example, monitoring: {{mode: 'off'}}, links: {{}}}}\n\
         rollout: {{phase: {phase}, since: 2026-11-23T10:00:00Z}}\n",
        variants.collect::<String>()
    ))
    .unwrap();
    let manifests = render::render(&release, &Templates::built_in()).unwrap();
    render::finish(&mut release, &manifests, &Templates::built_in());
    release
}

/// The cluster, and what Git holds.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) index: Index,
    /// Every object that is there, by kind and name.
    pub(crate) objects: BTreeMap<(Kind, String), Value>,
    /// The newest commit and its release.
    pub(crate) head: Option<(String, Release)>,
    /// What that renders to.
    documents: Vec<Value>,
    /// Whether the commit has had the time that pods take to start.
    pub(crate) is_late: bool,
}

impl World {
    /// A cluster that is seen, with a release that is live in it.
    pub(crate) fn live(release: &Release) -> Self {
        let mut world = Self::default();
        for kind in [Kind::Application].into_iter().chain(Kind::OF_RELEASES) {
            world.index.replace(kind, Vec::new());
        }
        world.commit(FIRST, release);
        world.sync();
        world.operate();
        world.accept_routes();
        assert_eq!(world.look().missing, None);
        world
    }

    pub(crate) fn commit(&mut self, id: &str, release: &Release) {
        self.head = Some((id.to_owned(), release.clone()));
        self.documents = documents(release);
    }

    /// Argo CD applies the newest commit and is done with it.
    pub(crate) fn sync(&mut self) {
        let (id, _) = self.head.clone().unwrap();
        self.apply(|_| true);
        self.say_synced(&id);
    }

    /// Argo CD says that all of a commit is applied.
    pub(crate) fn say_synced(&mut self, id: &str) {
        self.application(json!({
            "sync": {"status": "Synced", "revision": id}, "reconciledAt": "2026-11-23T10:00:09Z",
            "operationState": {"phase": "Succeeded", "message": "successfully synced", "finishedAt": "2026-11-23T10:00:08Z", "syncResult": {"revision": id}},
        }));
    }

    pub(crate) fn application(&mut self, status: Value) {
        let object = json!({
            "metadata": {"name": "production.models.fraud", "namespace": "argocd"},
            "spec": {"source": {"path": "releases/production/models/fraud"}}, "status": status,
        });
        self.put(Kind::Application, object);
    }

    /// Applies those documents of the newest commit that are chosen by kind.
    pub(crate) fn apply(&mut self, chosen: impl Fn(Kind) -> bool) {
        let mut there: Vec<(Kind, String)> = Vec::new();
        for mut object in self.documents.clone() {
            let kind = match object["kind"].as_str().unwrap() {
                "SeldonDeployment" => Kind::Seldon,
                "Service" => Kind::Service,
                "HTTPRoute" => Kind::HttpRoute,
                _ => Kind::GrpcRoute,
            };
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            there.push((kind, name.clone()));
            if !chosen(kind) {
                continue;
            }
            let before = self.objects.get(&(kind, name));
            let is_same = before.is_some_and(|before| before["spec"] == object["spec"]);
            let generation = before.map_or(0, |before| before["metadata"]["generation"].as_i64().unwrap());
            object["metadata"]["generation"] = json!(if is_same { generation } else { generation + 1 });
            if let Some(status) = before.and_then(|before| before.get("status")) {
                object["status"] = status.clone();
            }
            self.put(kind, object);
        }
        let gone: Vec<(Kind, String)> = self
            .objects
            .keys()
            .filter(|key| matches!(key.0, Kind::HttpRoute) && chosen(key.0) && !there.contains(key))
            .cloned()
            .collect();
        gone.iter().for_each(|(kind, name)| self.remove(*kind, name));
    }

    /// The operator does all that the applied SeldonDeployment asks for, and every pod becomes ready.
    pub(crate) fn operate(&mut self) {
        let predictors = self.applied_predictors();
        for (name, hash) in &predictors {
            self.deployment(name, hash, (1, 1));
        }
        for gone in self.deployments().into_iter().filter(|it| predictors.iter().all(|(name, _)| name != it)) {
            self.remove(Kind::Deployment, &format!("fraud-{gone}-0-model"));
        }
        self.seldon_says("Available");
    }

    /// A Deployment with so many new and so many available replicas of one.
    pub(crate) fn deployment(&mut self, predictor: &str, hash: &str, (updated, available): (u32, u32)) {
        let labels = json!({"seldon-deployment-id": "fraud", "seldon-app": format!("fraud-{predictor}")});
        self.put(
            Kind::Deployment,
            json!({
                "metadata": {"name": format!("fraud-{predictor}-0-model"), "namespace": "models", "generation": 1, "labels": labels,
                             "annotations": {"kmlflow.dev/pod-hash": hash}},
                "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"spec": {"containers": [
                    {"name": "model", "image": format!("registry.example/fraud:{}", predictor.trim_start_matches('v'))},
                    {"name": "seldon-container-engine", "image": "seldon:1"}]}}},
                "status": {"observedGeneration": 1, "replicas": updated.max(1), "updatedReplicas": updated, "availableReplicas": available},
            }),
        );
    }

    /// A pod of a predictor with that status.
    pub(crate) fn pod(&mut self, predictor: &str, status: Value) {
        let labels = json!({"seldon-deployment-id": "fraud", "seldon-app": format!("fraud-{predictor}")});
        self.put(
            Kind::Pod,
            json!({
                "metadata": {"name": format!("fraud-{predictor}-0-model-abc"), "namespace": "models", "labels": labels},
                "spec": {"containers": [{"name": "model", "image": "registry.example/fraud:8"}]},
                "status": status,
            }),
        );
    }

    pub(crate) fn seldon_says(&mut self, state: &str) {
        if let Some(mut seldon) = self.objects.get(&(Kind::Seldon, "fraud".to_owned())).cloned() {
            seldon["status"] = json!({"state": state, "description": "it did not work"});
            self.put(Kind::Seldon, seldon);
        }
    }

    /// The Gateway takes every route as it is.
    pub(crate) fn accept_routes(&mut self) {
        self.routes_say(&[("Accepted", "True"), ("ResolvedRefs", "True")]);
    }

    pub(crate) fn routes_say(&mut self, conditions: &[(&str, &str)]) {
        let routes: Vec<((Kind, String), Value)> = self
            .objects
            .iter()
            .filter(|((kind, _), _)| matches!(kind, Kind::HttpRoute | Kind::GrpcRoute))
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        for ((kind, _), mut route) in routes {
            let generation = route["metadata"]["generation"].clone();
            let of = |(kind, status): &(&str, &str)| json!({"type": kind, "status": status, "reason": "Why", "message": format!("{kind} is {status}"), "observedGeneration": generation});
            let conditions: Vec<Value> = conditions.iter().map(of).collect();
            route["status"] = json!({"parents": [{"parentRef": {"name": "models", "namespace": "gateway"}, "conditions": conditions}]});
            self.put(kind, route);
        }
    }

    pub(crate) fn applied_predictors(&self) -> Vec<(String, String)> {
        let Some(seldon) = self.objects.get(&(Kind::Seldon, "fraud".to_owned())) else { return Vec::new() };
        let of = |it: &Value| {
            let hash = &it["annotations"]["kmlflow.dev/pod-hash"];
            (it["name"].as_str().unwrap().to_owned(), hash.as_str().unwrap().to_owned())
        };
        seldon["spec"]["predictors"].as_array().unwrap().iter().map(of).collect()
    }

    /// The predictors that have a Deployment.
    pub(crate) fn deployments(&self) -> Vec<String> {
        let of = self.objects.keys().filter(|(kind, _)| *kind == Kind::Deployment);
        of.map(|(_, name)| name.trim_start_matches("fraud-").split('-').next().unwrap().to_owned()).collect()
    }

    pub(crate) fn put(&mut self, kind: Kind, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        match kept(kind, &object) {
            Some(kept) => drop(self.index.apply(kept)),
            None => drop(self.index.remove(kind, "models", &name)),
        }
        self.objects.insert((kind, name), object);
    }

    pub(crate) fn remove(&mut self, kind: Kind, name: &str) {
        if self.objects.remove(&(kind, name.to_owned())).is_some() {
            self.index.remove(kind, "models", name);
        }
    }

    pub(crate) fn look(&self) -> Look {
        self.look_with(None)
    }

    pub(crate) fn look_with(&self, last_words: Option<&str>) -> Look {
        let (head, release) = self.head.as_ref().unwrap();
        let application = self.index.application("production.models.fraud");
        let revision = application.and_then(|it| it.revision.as_deref());
        let is_contained = revision == Some(head) || (head == FIRST && revision == Some(SECOND));
        let found = self.index.found(&place());
        look(release, Facts { found, application, is_contained, last_words, is_late: self.is_late, ..Facts::default() })
    }

    /// What is in the way, in words.
    pub(crate) fn trouble(&self) -> String {
        self.look().trouble.map_or_else(|| "nothing".to_owned(), |it| it.reason)
    }
}

/// The objects that a release renders to.
fn documents(release: &Release) -> Vec<Value> {
    let manifests = render::render(release, &Templates::built_in()).unwrap();
    let texts = ["seldon.yaml", "route.yaml"].map(|file| &manifests.files[file]);
    let of = |text| serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    texts.into_iter().flat_map(|text| of(text).collect::<Vec<_>>()).collect()
}

pub(crate) fn place() -> Place {
    Place { namespace: "models".into(), name: "fraud".into() }
}

/// The digest that was rendered for a predictor.
pub(crate) fn hash(release: &Release, predictor: &str) -> String {
    release.rendered.pods[&PredictorName::parse(predictor).unwrap()].as_str().to_owned()
}

/// What is kept of an object as the API server writes it.
pub(crate) fn kept(kind: Kind, object: &Value) -> Option<Object> {
    match kind {
        Kind::Application => WireApplication::deserialize(object).unwrap().kept(kind),
        Kind::Seldon => WireSeldon::deserialize(object).unwrap().kept(kind),
        Kind::Deployment => WireDeployment::deserialize(object).unwrap().kept(kind),
        Kind::Pod => WirePod::deserialize(object).unwrap().kept(kind),
        Kind::HttpRoute | Kind::GrpcRoute => WireRoute::deserialize(object).unwrap().kept(kind),
        Kind::Service => WireService::deserialize(object).unwrap().kept(kind),
    }
}
