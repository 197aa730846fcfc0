//! How a version is served: protocol, ports, resources, environment, pod settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Period;

/// The model's HTTP port unless another one is given; Seldon's own wrappers use it.
pub const MODEL_PORT: u16 = 9000;

/// The port that every model container listens on for gRPC; Seldon's own wrappers use it.
pub const GRPC_PORT: u16 = 9500;

/// The port that a model container serves its own metrics on.
pub const METRICS_PORT: u16 = 6000;

/// The engine's HTTP port, in the same pod as the model.
pub const ENGINE_PORT: u16 = 8000;

/// The engine's gRPC port, which the predictor's Service has too.
pub const ENGINE_GRPC_PORT: u16 = 5001;

/// How a version is served. In a request and on a variant every field is an override; in a release every default is filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Serving {
    /// The inference protocol, `v2` unless given; one release has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub protocol: Option<Protocol>,
    /// Whether Seldon's engine stands before the model; it gives the request metrics.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub engine: Option<bool>,
    /// The port that the model's container listens on for HTTP.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// Pods per predictor where nothing scales them, at least 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replicas: Option<u16>,
    /// Scaling by CPU instead of a fixed number of pods.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub autoscaling: Option<Autoscaling>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resources: Option<Resources>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub env: Option<Vec<EnvVar>>,
    /// How long a request may take at the gateway and in the engine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout: Option<Period>,
    /// The readiness probe of an image; an artifact's runtime has its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub probe: Option<Probe>,
    /// The path of the model's own documentation page, routed to its container; none unless given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub docs_path: Option<String>,
    /// The image that serves an artifact, from the configuration's `runtimes` unless given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime: Option<String>,
    /// Name of the Secret with the settings of the artifact store.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub storage_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<PodSettings>,
}

/// Seldon's name of an inference protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The Open Inference Protocol.
    #[default]
    V2,
    /// Seldon's own.
    Seldon,
}

/// Scaling between two numbers of pods by CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Autoscaling {
    /// Fewest pods, at least 1: a predictor without a pod freezes the whole SeldonDeployment.
    pub min: u16,
    pub max: u16,
    /// Average use of the requested CPU in percent.
    pub cpu: u8,
}

/// Requests and limits as Kubernetes quantities.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub requests: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub limits: BTreeMap<String, String>,
}

/// One environment variable: a literal value, or a key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvVar {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value_from: Option<EnvSource>,
}

/// Where the value of an environment variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvSource {
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyRef {
    pub name: String,
    pub key: String,
}

/// A readiness probe over HTTP on the model's port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Probe {
    /// The path asked for, beginning with `/`.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub initial_delay: Option<Period>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub period: Option<Period>,
}

/// Settings of the pods, passed on as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodSettings {
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tolerations: Vec<Toleration>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub node_selector: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service_account_name: Option<String>,
    /// Names of Secrets that pull images.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub image_pull_secrets: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime_class_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub priority_class_name: Option<String>,
}

/// A toleration of a node's taint, Kubernetes' own fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Toleration {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub effect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub toleration_seconds: Option<i64>,
}

impl Serving {
    /// What a release has where nobody says otherwise.
    ///
    /// The requests are small enough for a laptop and there is no CPU limit, because a throttled model answers late.
    pub fn defaults() -> Self {
        let quantities =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self {
            protocol: Some(Protocol::V2),
            engine: Some(true),
            port: Some(MODEL_PORT),
            replicas: Some(1),
            resources: Some(Resources {
                requests: quantities(&[("cpu", "100m"), ("memory", "256Mi")]),
                limits: quantities(&[("memory", "1Gi")]),
            }),
            timeout: Some(Period::from_seconds(5)),
            ..Self::default()
        }
    }

    /// These settings, with those of `base` where these have none. Fields are taken whole, never merged inside.
    pub fn over(&self, base: &Self) -> Self {
        let Self {
            protocol,
            engine,
            port,
            replicas,
            autoscaling,
            resources,
            env,
            timeout,
            probe,
            docs_path,
            runtime,
            storage_secret,
            pod,
        } = self;
        Self {
            protocol: protocol.or(base.protocol),
            engine: engine.or(base.engine),
            port: port.or(base.port),
            replicas: replicas.or(base.replicas),
            autoscaling: autoscaling.clone().or_else(|| base.autoscaling.clone()),
            resources: resources.clone().or_else(|| base.resources.clone()),
            env: env.clone().or_else(|| base.env.clone()),
            timeout: timeout.or(base.timeout),
            probe: probe.clone().or_else(|| base.probe.clone()),
            docs_path: docs_path.clone().or_else(|| base.docs_path.clone()),
            runtime: runtime.clone().or_else(|| base.runtime.clone()),
            storage_secret: storage_secret.clone().or_else(|| base.storage_secret.clone()),
            pod: pod.clone().or_else(|| base.pod.clone()),
        }
    }

    /// What must be written on a variant so that it has these settings over `base`; none where `base` says it all.
    pub fn differing_from(&self, base: &Self) -> Option<Self> {
        fn differs<T: PartialEq + Clone>(own: &Option<T>, base: &Option<T>) -> Option<T> {
            if own == base { None } else { own.clone() }
        }
        let diff = Self {
            protocol: differs(&self.protocol, &base.protocol),
            engine: differs(&self.engine, &base.engine),
            port: differs(&self.port, &base.port),
            replicas: differs(&self.replicas, &base.replicas),
            autoscaling: differs(&self.autoscaling, &base.autoscaling),
            resources: differs(&self.resources, &base.resources),
            env: differs(&self.env, &base.env),
            timeout: differs(&self.timeout, &base.timeout),
            probe: differs(&self.probe, &base.probe),
            docs_path: differs(&self.docs_path, &base.docs_path),
            runtime: differs(&self.runtime, &base.runtime),
            storage_secret: differs(&self.storage_secret, &base.storage_secret),
            pod: differs(&self.pod, &base.pod),
        };
        (diff != Self::default()).then_some(diff)
    }

    /// What two have in common, for others to be written over; a setting in which they differ is left out.
    #[must_use]
    pub fn in_common(&self, other: &Self) -> Self {
        fn same<T: PartialEq + Clone>(one: &Option<T>, other: &Option<T>) -> Option<T> {
            if one == other { one.clone() } else { None }
        }
        Self {
            protocol: same(&self.protocol, &other.protocol),
            engine: same(&self.engine, &other.engine),
            port: same(&self.port, &other.port),
            replicas: same(&self.replicas, &other.replicas),
            autoscaling: same(&self.autoscaling, &other.autoscaling),
            resources: same(&self.resources, &other.resources),
            env: same(&self.env, &other.env),
            timeout: same(&self.timeout, &other.timeout),
            probe: same(&self.probe, &other.probe),
            docs_path: same(&self.docs_path, &other.docs_path),
            runtime: same(&self.runtime, &other.runtime),
            storage_secret: same(&self.storage_secret, &other.storage_secret),
            pod: same(&self.pod, &other.pod),
        }
    }

    /// Whether callers of either reach the other through one Service.
    pub fn has_ports_of(&self, other: &Self) -> bool {
        self.engine() == other.engine() && self.port() == other.port()
    }

    /// The protocol, or its default.
    pub fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_default()
    }

    /// Whether the engine stands before the model, or the default.
    pub fn engine(&self) -> bool {
        self.engine.unwrap_or(true)
    }

    /// The model's HTTP port, or its default.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(MODEL_PORT)
    }

    /// The port that callers reach on the predictor's Service: the engine's, or without it the model's.
    pub fn service_port(&self) -> u16 {
        if self.engine() { ENGINE_PORT } else { self.port() }
    }
}
