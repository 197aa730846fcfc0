//! What the templates see: the release's document, with every default filled in and every name that depends on another spelled out.
//!
//! What a template writes into a predictor's pods comes from [`Predictor`], which knows neither role nor phase: so no step of
//! a rollout can restart a pod.

use indexmap::IndexMap;
use serde::Serialize;

use crate::names::{Digest, PredictorName};
use crate::release::{
    ENGINE_GRPC_PORT, EnvVar, GRPC_PORT, HeaderMatch, METRICS_PORT, MainRule, MonitoringMode, OwnSelector, PodSettings,
    Protocol, Release, Resources, Role, Serving, Target, Traffic, Variant,
};

/// The slowest p95 in seconds that the engine's histogram can tell; its last bucket ends there.
const SLOWEST_MEASURED_SECONDS: f64 = 10.0;

#[derive(Serialize)]
pub(super) struct Context<'a> {
    release: Names<'a>,
    target: &'a Target,
    monitored: bool,
    /// Bookkeeping and links, on every object.
    annotations: IndexMap<String, String>,
    protocol: Protocol,
    timeout: Timeout,
    predictors: Vec<Predictor<'a>>,
    route: Routing<'a>,
    alerts: Alerts<'a>,
    dashboard: Dashboard,
}

#[derive(Serialize)]
struct Names<'a> {
    name: &'a str,
    namespace: &'a str,
    environment: &'a str,
    model: &'a str,
    strategy: &'static str,
}

#[derive(Serialize)]
struct Timeout {
    text: String,
}

/// One predictor: everything here but `traffic` and `replicas` restarts its pods when it changes.
#[derive(Serialize)]
struct Predictor<'a> {
    name: &'a str,
    traffic: u8,
    replicas: Option<u16>,
    pod_hash: Digest,
    engine: bool,
    timeout_milliseconds: String,
    image: Option<String>,
    model_uri: Option<&'a str>,
    storage_secret: Option<String>,
    port: u16,
    grpc_port: u16,
    metrics_port: u16,
    resources: Resources,
    env: Vec<EnvVar>,
    probe: Option<Probe>,
    autoscaling: Option<Scale>,
    pod: Option<PodSettings>,
}

#[derive(Serialize)]
struct Probe {
    path: String,
    initial_delay_seconds: Option<u64>,
    period_seconds: u64,
}

#[derive(Serialize)]
struct Scale {
    min: u16,
    max: u16,
    cpu: u8,
}

/// Which Services the routes name; weights of a rule with one backend are 1.
#[derive(Serialize)]
struct Routing<'a> {
    own: Own,
    split: Vec<Backend>,
    matches: Vec<Match<'a>>,
    mirror: Option<Mirror>,
    preview: Option<Backend>,
    docs: Option<Docs>,
}

#[derive(Serialize)]
struct Own {
    selector: IndexMap<&'static str, String>,
    port: u16,
    grpc_port: u16,
}

#[derive(Serialize, Clone)]
struct Backend {
    service: String,
    port: u16,
    grpc_port: u16,
    weight: u8,
}

#[derive(Serialize)]
struct Match<'a> {
    header: &'a str,
    value: &'a str,
    backend: Backend,
}

#[derive(Serialize)]
struct Mirror {
    backend: Backend,
    percent: u8,
}

#[derive(Serialize)]
struct Docs {
    path: String,
    service: String,
    port: u16,
}

/// Which predictors callers reach, and so may wake somebody.
#[derive(Serialize)]
struct Alerts<'a> {
    predictors: Vec<&'a str>,
    /// Those of them whose requests the engine counts.
    counted: Vec<&'a str>,
    deployments: Vec<String>,
    slow_seconds: f64,
}

#[derive(Serialize)]
struct Dashboard {
    uid: String,
    file: String,
    /// Predictor of each role, where a panel compares two.
    baseline: String,
    second: Option<String>,
    mirrored_ratio: Option<f64>,
}

/// Builds what the templates see, with a stand-in for each pod hash.
pub(super) fn build<'a>(
    release: &'a Release,
    stable: &'a Variant,
    traffic: &'a Traffic,
    stand_in: &dyn Fn(&PredictorName) -> Digest,
) -> Context<'a> {
    let serving = release.spec.serving.over(&Serving::defaults());
    let metadata = &release.metadata;
    Context {
        release: Names {
            name: metadata.name.as_str(),
            namespace: metadata.namespace.as_str(),
            environment: metadata.environment.as_str(),
            model: release.spec.model.as_str(),
            strategy: release.spec.strategy.as_str(),
        },
        target: &release.spec.target,
        monitored: release.spec.target.monitoring.mode == MonitoringMode::Operator,
        annotations: annotations(release, stable),
        protocol: serving.protocol(),
        timeout: timeout(release),
        predictors: release
            .spec
            .variants
            .iter()
            .map(|v| predictor(release, v, stable, stand_in(&v.predictor)))
            .collect(),
        route: routing(release, traffic, stable),
        alerts: alerts(release, traffic, stable, &serving),
        dashboard: dashboard(release, traffic, stable),
    }
}

/// The name of the predictor's Service.
fn service(release: &Release, predictor: &PredictorName) -> String {
    format!("{}-{predictor}", release.metadata.name)
}

/// How long the gateway waits: as long as the slowest variant may take that it can send a request to.
fn timeout(release: &Release) -> Timeout {
    let longest = release.staying().filter_map(|variant| release.serving_of(variant).timeout).max();
    Timeout { text: longest.unwrap_or_default().to_string() }
}

fn annotations(release: &Release, stable: &Variant) -> IndexMap<String, String> {
    let links = &release.spec.target.links;
    let mut all = IndexMap::from([
        ("kmlflow.dev/release".to_owned(), release.key().to_string()),
        ("kmlflow.dev/model".to_owned(), release.spec.model.to_string()),
        ("kmlflow.dev/version".to_owned(), stable.version.to_string()),
    ]);
    let mut link = |name: &str, address: String| all.insert(format!("link.argocd.argoproj.io/{name}"), address);
    if let Some(address) = &links.release {
        link("release", address.clone());
    }
    if let Some(base) = &links.grafana {
        link("dashboard", format!("{}/d/{}", base.trim_end_matches('/'), dashboard_uid(release)));
    }
    if let Some(base) = &links.mlflow {
        for variant in &release.spec.variants {
            let model = percent_encoded(release.spec.model.as_str());
            let address = format!("{}/#/models/{model}/versions/{}", base.trim_end_matches('/'), variant.version);
            link(&format!("mlflow-version-{}", variant.version), address);
        }
    }
    all
}

/// The name in a URL's path: everything but letters, digits and `-_.~` as `%` and two digits per byte.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn predictor<'a>(release: &Release, variant: &'a Variant, stable: &Variant, pod_hash: Digest) -> Predictor<'a> {
    let serving = release.serving_of(variant);
    let (engine, port) = (serving.engine(), serving.port());
    let artifact = &variant.artifact;
    let from_image = artifact.model_uri.is_none();
    Predictor {
        name: variant.predictor.as_str(),
        traffic: if variant.predictor == stable.predictor { 100 } else { 0 },
        replicas: serving.autoscaling.is_none().then(|| serving.replicas.unwrap_or(1)),
        pod_hash,
        engine,
        timeout_milliseconds: (serving.timeout.unwrap_or_default().as_seconds() * 1000).to_string(),
        image: if from_image { artifact.image.clone() } else { serving.runtime.clone() },
        model_uri: artifact.model_uri.as_deref(),
        storage_secret: serving.storage_secret.clone().filter(|_| !from_image),
        port,
        grpc_port: GRPC_PORT,
        metrics_port: METRICS_PORT,
        resources: serving.resources.clone().unwrap_or_default(),
        env: serving.env.clone().unwrap_or_default(),
        probe: probe(&serving).filter(|_| from_image),
        autoscaling: serving.autoscaling.as_ref().map(|a| Scale { min: a.min, max: a.max, cpu: a.cpu }),
        pod: serving.pod.clone().filter(|pod| *pod != PodSettings::default()),
    }
}

/// The probe asked for, or the one that the Open Inference Protocol has; without one Seldon tries the port alone.
fn probe(serving: &Serving) -> Option<Probe> {
    /// Seldon's own period for probes.
    const PERIOD_SECONDS: u64 = 5;
    match &serving.probe {
        Some(probe) => Some(Probe {
            path: probe.path.clone(),
            initial_delay_seconds: probe.initial_delay.map(crate::release::Period::as_seconds),
            period_seconds: probe.period.map_or(PERIOD_SECONDS, crate::release::Period::as_seconds),
        }),
        None if serving.protocol() == Protocol::V2 => Some(Probe {
            path: "/v2/health/ready".to_owned(),
            initial_delay_seconds: None,
            period_seconds: PERIOD_SECONDS,
        }),
        None => None,
    }
}

fn variant_of<'a>(release: &'a Release, predictor: &PredictorName, stable: &'a Variant) -> &'a Variant {
    release.spec.variants.iter().find(|variant| variant.predictor == *predictor).unwrap_or(stable)
}

fn ports(release: &Release, predictor: &PredictorName, stable: &Variant) -> (u16, u16) {
    let serving = release.serving_of(variant_of(release, predictor, stable));
    (serving.service_port(), if serving.engine() { ENGINE_GRPC_PORT } else { GRPC_PORT })
}

fn routing<'a>(release: &'a Release, traffic: &'a Traffic, stable: &Variant) -> Routing<'a> {
    let backend = |predictor: &PredictorName, weight: u8| {
        let (port, grpc_port) = ports(release, predictor, stable);
        Backend { service: service(release, predictor), port, grpc_port, weight }
    };
    let (selector, selected) = match &traffic.own {
        OwnSelector::All => (("seldon-deployment-id", release.metadata.name.to_string()), &stable.predictor),
        OwnSelector::One(predictor) => (("seldon-app", service(release, predictor)), predictor),
    };
    let (port, grpc_port) = ports(release, selected, stable);
    let split = match &traffic.main {
        MainRule::Own => vec![Backend { service: release.metadata.name.to_string(), port, grpc_port, weight: 1 }],
        MainRule::Split(split) if split.len() == 1 => {
            split.iter().map(|(predictor, _)| backend(predictor, 1)).collect()
        }
        MainRule::Split(split) => split.iter().map(|(predictor, weight)| backend(predictor, *weight)).collect(),
    };
    let matching = |(rule, predictor): &'a (HeaderMatch, PredictorName)| Match {
        header: &rule.header,
        value: &rule.value,
        backend: backend(predictor, 1),
    };
    Routing {
        own: Own { selector: IndexMap::from([selector]), port, grpc_port },
        split,
        matches: traffic.matches.iter().map(matching).collect(),
        mirror: traffic
            .mirror
            .as_ref()
            .map(|(predictor, percent)| Mirror { backend: backend(predictor, 1), percent: *percent }),
        preview: traffic.preview.as_ref().map(|predictor| backend(predictor, 1)),
        docs: docs(release),
    }
}

fn docs(release: &Release) -> Option<Docs> {
    let predictor = release.rollout.docs.as_ref()?;
    let variant = release.spec.variants.iter().find(|variant| variant.predictor == *predictor)?;
    let serving = release.serving_of(variant);
    let port = serving.port();
    Some(Docs { path: serving.docs_path?, service: format!("{}-model", service(release, predictor)), port })
}

fn alerts<'a>(release: &'a Release, traffic: &'a Traffic, stable: &'a Variant, serving: &Serving) -> Alerts<'a> {
    let mut reached: Vec<&PredictorName> = traffic.matches.iter().map(|(_, predictor)| predictor).collect();
    match &traffic.main {
        MainRule::Own => reached.push(&stable.predictor),
        MainRule::Split(split) => reached.extend(split.iter().map(|(predictor, _)| predictor)),
    }
    reached.sort();
    reached.dedup();
    let engine = |predictor: &PredictorName| release.serving_of(variant_of(release, predictor, stable)).engine();
    // Half of what a caller is given: late enough to matter, early enough to act.
    let slow_seconds =
        (serving.timeout.unwrap_or_default().as_duration().as_secs_f64() / 2.0).min(SLOWEST_MEASURED_SECONDS);
    Alerts {
        predictors: reached.iter().map(|predictor| predictor.as_str()).collect(),
        counted: reached.iter().filter(|predictor| engine(predictor)).map(|predictor| predictor.as_str()).collect(),
        deployments: reached.iter().map(|predictor| format!("{}-0-model", service(release, predictor))).collect(),
        slow_seconds,
    }
}

fn dashboard(release: &Release, traffic: &Traffic, stable: &Variant) -> Dashboard {
    let second =
        release.staying().find(|variant| variant.predictor != stable.predictor && variant.role != Role::Leaving);
    let key = release.key();
    Dashboard {
        uid: dashboard_uid(release),
        file: format!("{}-{}-{}.json", key.environment, key.namespace, key.name),
        baseline: stable.predictor.to_string(),
        second: second.map(|variant| variant.predictor.to_string()),
        mirrored_ratio: traffic.mirror.as_ref().map(|(_, percent)| f64::from(*percent) / 100.0),
    }
}

/// Stable for a release and within Grafana's 40 characters: the beginning of a digest of where it lives.
fn dashboard_uid(release: &Release) -> String {
    let digest = Digest::of(release.key().to_string().as_bytes());
    format!("kmlflow-{}", &digest.as_str()["sha256:".len()..][..32])
}
