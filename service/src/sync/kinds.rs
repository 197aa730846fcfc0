//! An object of which only what is read is kept while it is read.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer};

use super::access::{Resource, resource};
use crate::live::{Kind, Meta, Object, Watched};

/// An object with a small part of its metadata and content. The rest of it is skipped while it is read.
#[derive(Clone)]
pub(super) struct Small<W> {
    /// What the client itself reads: name, namespace, version.
    meta: ObjectMeta,
    content: W,
}

impl<W> fmt::Debug for Small<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Small({:?}/{:?})", self.meta.namespace, self.meta.name)
    }
}

impl<'de, W: Watched + Deserialize<'de>> Deserialize<'de> for Small<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content = W::deserialize(deserializer)?;
        let Meta { name, namespace, resource_version, .. } = content.meta().clone();
        let meta =
            ObjectMeta { name: Some(name), namespace: Some(namespace), resource_version, ..ObjectMeta::default() };
        Ok(Self { meta, content })
    }
}

impl<W: Watched> Small<W> {
    /// What is kept of it.
    pub(super) fn kept(&self, kind: Kind) -> Option<Object> {
        self.content.kept(kind)
    }
}

impl<W> kube::Resource for Small<W> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// How the client is told of a kind.
pub(super) fn api_resource(kind: Kind) -> ApiResource {
    let Resource { group, version, plural, selector: _ } = resource(kind);
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
        kind: kind.as_str().to_owned(),
        plural: plural.to_owned(),
    }
}
