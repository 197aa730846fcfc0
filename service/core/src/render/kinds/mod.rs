//! The kinds of objects that a release is made of, as strict types: a field that is not listed here is refused, not dropped.
//!
//! Only what the templates use is here. Services and `ConfigMap`s are `k8s-openapi`'s.

mod gateway;
mod monitoring;
mod seldon;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(super) use gateway::HttpRule;
pub(super) use gateway::{BackendRef, GrpcRoute, HttpRoute};
pub(super) use monitoring::{PodMonitor, PrometheusRule};
pub(super) use seldon::{ComponentSpec, Container, Predictor, SeldonDeployment};

/// Name, place and notes of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectMeta {
    pub name: String,
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}
