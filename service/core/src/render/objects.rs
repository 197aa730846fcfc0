//! Reading rendered files back: every document becomes a typed object, and the object written out again must be the document.
//! So no field is misspelt or lost without being seen.

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RenderError;
use super::kinds::{GrpcRoute, HttpRoute, PodMonitor, PrometheusRule, SeldonDeployment};
use super::same::compare;
use crate::release::{Node, read_yaml};

/// A rendered object.
#[derive(Debug)]
pub(super) enum Object {
    Seldon(Box<SeldonDeployment>),
    Service(Box<Service>),
    HttpRoute(HttpRoute),
    GrpcRoute(GrpcRoute),
    PodMonitor(PodMonitor),
    Rule(PrometheusRule),
    ConfigMap(Box<ConfigMap>),
}

/// An object and the document that it was read from.
#[derive(Debug)]
pub(super) struct Parsed {
    pub object: Object,
    pub document: Node,
}

/// What `kustomization.yaml` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Kustomization {
    pub api_version: String,
    pub kind: String,
    pub resources: Vec<String>,
}

/// Reads the objects of a file.
///
/// # Errors
/// What is not YAML, of an unknown kind, or has a field that its kind has not.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Parsed>, RenderError> {
    documents(file, text)?.into_iter().map(|document| parse_one(file, document)).collect()
}

/// Reads `kustomization.yaml`.
///
/// # Errors
/// What is not a kustomization.
pub(super) fn parse_kustomization(file: &str, text: &str) -> Result<Kustomization, RenderError> {
    let documents = documents(file, text)?;
    let [document] = documents.as_slice() else { return Err(RenderError::manifest(file, "it must be one document")) };
    typed(file, "Kustomization", document)
}

fn documents(file: &str, text: &str) -> Result<Vec<Node>, RenderError> {
    read_yaml(text).map_err(|error| RenderError::manifest(file, error))
}

fn parse_one(file: &str, document: Node) -> Result<Parsed, RenderError> {
    let word = |key: &str| document.get(key).and_then(Node::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (word("apiVersion"), word("kind"));
    let object = match (version.as_str(), kind.as_str()) {
        ("machinelearning.seldon.io/v1", "SeldonDeployment") => Object::Seldon(typed(file, &kind, &document)?),
        ("v1", "Service") => Object::Service(typed(file, &kind, &document)?),
        ("v1", "ConfigMap") => Object::ConfigMap(typed(file, &kind, &document)?),
        ("gateway.networking.k8s.io/v1", "HTTPRoute") => Object::HttpRoute(typed(file, &kind, &document)?),
        ("gateway.networking.k8s.io/v1", "GRPCRoute") => Object::GrpcRoute(typed(file, &kind, &document)?),
        ("monitoring.coreos.com/v1", "PodMonitor") => Object::PodMonitor(typed(file, &kind, &document)?),
        ("monitoring.coreos.com/v1", "PrometheusRule") => Object::Rule(typed(file, &kind, &document)?),
        _ => {
            let (version, kind) = (crate::names::shown(&version), crate::names::shown(&kind));
            return Err(RenderError::manifest(
                file,
                format!("a release has no object of kind `{kind}` in `{version}`"),
            ));
        }
    };
    Ok(Parsed { object, document })
}

fn typed<T: DeserializeOwned + Serialize>(file: &str, kind: &str, document: &Node) -> Result<T, RenderError> {
    let object = T::deserialize(document).map_err(|error| RenderError::manifest(file, format!("{kind}: {error}")))?;
    match compare(&object, document) {
        Ok(()) => Ok(object),
        Err(path) => Err(RenderError::manifest(file, format!("{kind} has no such field or value as `{path}`"))),
    }
}
