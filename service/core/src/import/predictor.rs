//! A predictor of an object, as a version that a release serves.

use serde_json::Value;

use super::Hints;
use super::container;
use super::fields::{Fields, Found};
use crate::names::{ModelName, Version};
use crate::release::{Artifact, Autoscaling, Period, Protocol, Serving, model_of_image};

/// The most predictors that requests can make a release of.
const PREDICTORS_MAX: usize = 2;

/// A predictor as a release would serve it.
#[derive(Debug)]
pub(super) struct Served {
    /// Its name in the object.
    pub(super) predictor: String,
    /// Where it stands.
    pub(super) path: String,
    pub(super) model: Option<ModelName>,
    pub(super) version: Option<Version>,
    pub(super) artifact: Artifact,
    pub(super) serving: Serving,
    pub(super) traffic: Option<u64>,
    pub(super) is_shadow: bool,
}

/// Every predictor.
pub(super) fn all(spec: &mut Fields<'_>, hints: &Hints, found: &mut Found) -> Vec<Served> {
    let protocol = protocol(spec, found);
    if let Some(kind) = spec.text("serverType").filter(|kind| *kind != "rpc") {
        let detail = format!("`{}` is another way to serve than requests", crate::names::shown(kind));
        found.obstacle("spec.serverType", &detail, "a release answers requests over HTTP and gRPC only");
    }
    let replicas = spec.number("replicas");
    let mut annotations = spec.map("annotations");
    let of_all = Annotated::read(&mut annotations, found);
    annotations.end_all(found);
    let predictors = spec.list("predictors");
    if predictors.is_empty() || predictors.len() > PREDICTORS_MAX {
        let detail = format!("there are {} predictors, and a release is made of one or two", predictors.len());
        found.obstacle(
            "spec.predictors",
            &detail,
            "take out those that get no traffic, and add their versions by `kmlflow release` later",
        );
    }
    let read = |(number, predictor): (usize, &Value)| {
        let name = predictor["name"].as_str().unwrap_or_default();
        let path = format!("spec.predictors[{}]", if name.is_empty() { number.to_string() } else { name.to_owned() });
        one(Fields::of(predictor.as_object(), &path), (protocol, replicas, &of_all), hints, found)
    };
    predictors.iter().enumerate().map(read).collect()
}

fn protocol(spec: &mut Fields<'_>, found: &mut Found) -> Option<Protocol> {
    match spec.text("protocol") {
        None | Some("seldon") => Some(Protocol::Seldon),
        Some("v2" | "kfserving") => Some(Protocol::V2),
        Some(other) => {
            let detail = format!("`{}` is a protocol that no release has", crate::names::shown(other));
            found.obstacle("spec.protocol", &detail, "serve the model by `v2` or `seldon`");
            None
        }
    }
}

/// What annotations say that a release can say.
#[derive(Debug, Clone, Copy, Default)]
struct Annotated {
    without_engine: bool,
    timeout: Option<Period>,
}

impl Annotated {
    fn read(fields: &mut Fields<'_>, found: &mut Found) -> Self {
        let without_engine = fields.text("seldon.io/no-engine") == Some("true");
        let _grpc = fields.take("seldon.io/grpc-timeout");
        let timeout = fields.text("seldon.io/rest-timeout").and_then(|text| text.parse::<u64>().ok());
        if let Some(odd) = timeout.filter(|milliseconds| milliseconds % 1_000 != 0) {
            let detail = format!("{odd} ms become whole seconds, rounded up");
            found.change(&fields.at("seldon.io/rest-timeout"), &detail);
        }
        Self { without_engine, timeout: timeout.map(|milliseconds| Period::from_seconds(milliseconds.div_ceil(1_000))) }
    }
}

fn one(
    mut fields: Fields<'_>,
    (protocol, replicas, of_all): (Option<Protocol>, Option<u64>, &Annotated),
    hints: &Hints,
    found: &mut Found,
) -> Served {
    let predictor = fields.text("name").unwrap_or_default().to_owned();
    let mut annotations = fields.map("annotations");
    let own = Annotated::read(&mut annotations, found);
    annotations.end_all(found);
    let mut serving = Serving {
        protocol,
        engine: Some(!(own.without_engine || of_all.without_engine)),
        timeout: own.timeout.or(of_all.timeout),
        ..Serving::default()
    };
    let model_uri = graph(fields.map("graph"), &mut serving, found);
    let own_replicas = fields.number("replicas");
    let mut image = None;
    let components = fields.list("componentSpecs");
    match components {
        [] => {}
        [component] => {
            let path = fields.at("componentSpecs[0]");
            image = self::component(Fields::of(component.as_object(), &path), &mut serving, found);
        }
        _ => found.obstacle(
            &fields.at("componentSpecs"),
            "the model is served by more than one pod template",
            "a release serves one container per version",
        ),
    }
    if serving.autoscaling.is_none() {
        let wanted = serving.replicas.map(u64::from).or(own_replicas).or(replicas).unwrap_or(1);
        serving.replicas = u16::try_from(wanted).ok();
    }
    if model_uri.is_none() && image.is_none() {
        found.obstacle(&fields.path, "it names neither an image nor an artifact", "give the container an image");
    }
    if model_uri.is_some() && image.is_some() {
        // The server that loads an artifact is one of the service's runtimes.
        found.change(&fields.at("componentSpecs"), "the artifact is served by one of the service's runtimes");
    }
    let said = image.as_deref().and_then(|image| model_of_image(image).ok());
    let path = fields.path.clone();
    let version = hints.versions.get(&predictor).or_else(|| hints.versions.get("*")).cloned();
    let served = Served {
        model: hints.model.clone().or_else(|| said.as_ref().map(|(model, _)| model.clone())),
        version: version.or_else(|| said.map(|(_, version)| version)),
        artifact: Artifact::new(if model_uri.is_some() { None } else { image }, model_uri),
        serving,
        traffic: fields.number("traffic"),
        is_shadow: fields.take("shadow").and_then(Value::as_bool).unwrap_or(false),
        predictor,
        path,
    };
    unknown(&served, found);
    fields.end(&["labels", "engineResources", "progressDeadlineSeconds", "svcOrchSpec"], found);
    served
}

/// What the object does not say of a predictor.
fn unknown(served: &Served, found: &mut Found) {
    if served.model.is_none() {
        found.obstacle(
            &served.path,
            "nothing says which registered model it serves",
            "name it by `hints.model` (`--model M`)",
        );
    }
    if served.version.is_none() {
        let cure = format!("name it in `hints.versions` (`--version {}=V`)", served.predictor);
        found.obstacle(&served.path, "nothing says which version of the model it serves", &cure);
    }
}

/// Reads the graph; answers the artifact that it names.
fn graph(mut graph: Fields<'_>, serving: &mut Serving, found: &mut Found) -> Option<String> {
    let _name = graph.take("name");
    if let Some(kind) = graph.text("type").filter(|kind| *kind != "MODEL") {
        let detail = format!("`{}` is no model", crate::names::shown(kind));
        found.obstacle(
            &graph.at("type"),
            &detail,
            "a release serves one model; a graph stays a SeldonDeployment of its own",
        );
    }
    let at = graph.at("implementation");
    match graph.text("implementation") {
        None | Some("UNKNOWN_IMPLEMENTATION" | "MLFLOW_SERVER") => {}
        Some(other) => {
            let detail = format!("`{}` is a server that the service has no runtime for", crate::names::shown(other));
            found.obstacle(
                &at,
                &detail,
                "serve the version by an image, or register it in MLflow with a flavour that a runtime loads",
            );
        }
    }
    serving.storage_secret = graph.text("envSecretRefName").map(ToOwned::to_owned);
    let account = graph.text("serviceAccountName").map(ToOwned::to_owned);
    if account.is_some() {
        serving.pod.get_or_insert_default().service_account_name = account;
    }
    let model_uri = graph.text("modelUri").map(ToOwned::to_owned);
    graph.end(&["endpoint", "storageInitializerImage"], found);
    model_uri
}

/// Reads the pod template and how it is scaled; answers the image.
fn component(mut component: Fields<'_>, serving: &mut Serving, found: &mut Found) -> Option<String> {
    serving.replicas = component.number("replicas").and_then(|number| u16::try_from(number).ok());
    if let Some(scaling) = component.take("hpaSpec") {
        serving.autoscaling = autoscaling(scaling);
        if serving.autoscaling.is_none() {
            let cure = "scale by the average use of CPU, with `minReplicas` from 1 on and `maxReplicas`";
            found.obstacle(&component.at("hpaSpec"), "a release scales by CPU alone", cure);
        }
    }
    let image = container::pod(component.map("spec"), serving, found);
    component.end(&["metadata", "pdbSpec"], found);
    image
}

/// Scaling by CPU, in the old form or in that of `autoscaling/v2`.
fn autoscaling(scaling: &Value) -> Option<Autoscaling> {
    let metrics = ["metricsv2", "metrics"].iter().find_map(|name| scaling[*name].as_array())?;
    let [metric] = metrics.as_slice() else { return None };
    let resource = &metric["resource"];
    let percent =
        resource["target"]["averageUtilization"].as_u64().or_else(|| resource["targetAverageUtilization"].as_u64());
    let number = |name: &str| scaling[name].as_u64().and_then(|number| u16::try_from(number).ok());
    (resource["name"] == "cpu").then_some(())?;
    Some(Autoscaling {
        min: number("minReplicas").unwrap_or(1),
        max: number("maxReplicas")?,
        cpu: u8::try_from(percent?).ok()?,
    })
}
