//! An object of which only what is read is kept while it is read. One that is not as it should be keeps nobody from reading the others.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::access::{Resource, resource};
use crate::live::{Kind, Meta, Object, Watched};

/// An object with a small part of its metadata and content. The rest of it is skipped while it is read.
#[derive(Clone)]
pub(super) struct Small<W> {
    /// What the client itself reads: name, namespace, version.
    meta: ObjectMeta,
    /// Why it cannot be read, where it cannot.
    content: Result<W, String>,
}

impl<W> fmt::Debug for Small<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Small({:?}/{:?})", self.meta.namespace, self.meta.name)
    }
}

impl<'de, W: Watched + DeserializeOwned> Deserialize<'de> for Small<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Parts(PhantomData))
    }
}

/// Reads an object in parts: its metadata, of which the larger half is skipped, and the rest, which may be anything.
struct Parts<W>(PhantomData<W>);

impl<'de, W: Watched + DeserializeOwned> Visitor<'de> for Parts<W> {
    type Value = Small<W>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Small<W>, A::Error> {
        let (mut meta, mut rest) = (Meta::default(), Map::new());
        while let Some(name) = parts.next_key::<String>()? {
            if name == "metadata" {
                meta = parts.next_value()?;
            } else {
                rest.insert(name, parts.next_value()?);
            }
        }
        let Meta { name, namespace, resource_version, .. } = meta.clone();
        let of = ObjectMeta { name: Some(name), namespace: Some(namespace), resource_version, ..ObjectMeta::default() };
        let content = W::deserialize(Value::Object(rest)).map_err(|error| error.to_string());
        let content = content.map(|mut content| {
            *content.meta_mut() = meta;
            content
        });
        Ok(Small { meta: of, content })
    }
}

impl<W: Watched> Small<W> {
    /// What is kept of it.
    pub(super) fn kept(&self, kind: Kind) -> Option<Object> {
        self.content.as_ref().ok()?.kept(kind)
    }

    /// Why it cannot be read, where it cannot.
    pub(super) fn unread(&self) -> Option<&str> {
        self.content.as_ref().err().map(String::as_str)
    }

    /// Its namespace, empty where it has none, and its name.
    pub(super) fn at(&self) -> (&str, &str) {
        (self.meta.namespace.as_deref().unwrap_or_default(), self.meta.name.as_deref().unwrap_or_default())
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
