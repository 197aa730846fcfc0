//! Routes as the API server writes them, and what is kept of them.

use serde::Deserialize;

use super::index::Kind;
use super::objects::{Object, Parent, Route, RouteCondition, RouteKind};
use super::wire::{Meta, Watched, WireCondition, of_release};

/// An HTTPRoute or a GRPCRoute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WireRoute {
    metadata: Meta,
    spec: RouteSpec,
    status: RouteStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct RouteSpec {
    rules: Vec<RouteRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RouteRule {
    backend_refs: Vec<Backend>,
    filters: Vec<RouteFilter>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Backend {
    name: String,
    weight: u32,
}

/// What a route leaves out counts as 1: <https://gateway-api.sigs.k8s.io/reference/spec/#backendref>.
impl Default for Backend {
    fn default() -> Self {
        Self { name: String::new(), weight: 1 }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    namespace: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RouteFilter {
    request_mirror: Option<Mirror>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Mirror {
    backend_ref: Named,
    percent: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct RouteStatus {
    parents: Vec<RouteParent>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RouteParent {
    parent_ref: Named,
    conditions: Vec<WireCondition>,
}

impl Watched for WireRoute {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn kept(&self, kind: Kind) -> Option<Object> {
        let meta = &self.metadata;
        let place = of_release(meta)?;
        let named = self.spec.rules.iter().flat_map(|rule| {
            let backends = rule.backend_refs.iter().map(|backend| &backend.name);
            backends.chain(rule.mirrors().map(|mirror| &mirror.backend_ref.name))
        });
        let mut backends: Vec<Box<str>> = named.map(|name| name.as_str().into()).collect();
        backends.sort();
        backends.dedup();
        let conditions = |parent: &RouteParent| {
            let of = |it: &WireCondition| RouteCondition { condition: it.kept(), generation: it.observed_generation };
            parent.conditions.iter().map(of).collect()
        };
        let parents = self.status.parents.iter().map(|parent| Parent {
            namespace: parent.parent_ref.namespace.as_deref().unwrap_or(&meta.namespace).into(),
            name: parent.parent_ref.name.as_str().into(),
            conditions: conditions(parent),
        });
        let last = self.spec.rules.last();
        let shares = last.iter().flat_map(|rule| &rule.backend_refs).map(|it| (it.name.as_str().into(), it.weight));
        let mirrors = last.iter().flat_map(|rule| rule.mirrors());
        let mirrors = mirrors.map(|it| (it.backend_ref.name.as_str().into(), it.percent.unwrap_or(100)));
        let route = Route {
            name: meta.name.as_str().into(),
            kind: if kind == Kind::GrpcRoute { RouteKind::Grpc } else { RouteKind::Http },
            generation: meta.generation,
            backends: backends.into(),
            shares: shares.collect(),
            mirrors: mirrors.collect(),
            parents: parents.collect(),
            release: meta.release(),
        };
        Some(Object::Route(place, route))
    }
}

impl RouteRule {
    fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.filters.iter().filter_map(|filter| filter.request_mirror.as_ref())
    }
}
