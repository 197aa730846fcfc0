//! Creating, changing and retracting.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaType};
use utoipa::openapi::{Ref, RefOr};

use super::super::Web;
use super::super::body::{self, Json};
use super::super::error::{Answer, Problem};
use super::super::releases::PathParams;
use super::answer::{Asked, ChangeQuery, Changed, ChangedOrPreview, Queued, carry_out};
use crate::names::{ReleaseKey, Requester};
use crate::release::{ApiVersion, Intent, Metadata, ReleaseKind, ReleaseRequest, ReleaseSpec, Wanted};

/// What the service writes beside a release's `spec`: it may stand in the body of a PUT, where it is not read.
pub(in crate::web) const WRITTEN_BY_THE_SERVICE: [&str; 16] = [
    "origin",
    "rollout",
    "rendered",
    "deployed",
    "commit",
    "etag",
    "changedAt",
    "status",
    "files",
    "notes",
    "endpoint",
    "split",
    "waitsFor",
    "waiting",
    "nextAt",
    "review",
];

/// A whole release, without what the service writes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WholeRelease {
    #[serde(default)]
    api_version: ApiVersion,
    #[serde(default)]
    kind: ReleaseKind,
    metadata: Option<Metadata>,
    spec: ReleaseSpec,
    /// Who asks, where the caller speaks for somebody else.
    requested_by: Option<Requester>,
}

/// The body of a PUT: what is wanted in short, or a whole release as a GET answers it.
pub(super) struct PutBody;

impl utoipa::PartialSchema for PutBody {
    fn schema() -> RefOr<Schema> {
        let forms = ["ReleaseRequest", "WholeRelease"];
        let either =
            forms.into_iter().fold(OneOfBuilder::new(), |either, form| either.item(Ref::from_schema_name(form)));
        RefOr::T(Schema::OneOf(either.build()))
    }
}

impl ToSchema for PutBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("ReleaseRequest".to_owned(), <ReleaseRequest as utoipa::PartialSchema>::schema()));
        schemas.push(("WholeRelease".to_owned(), with_unread(<WholeRelease as utoipa::PartialSchema>::schema())));
        ReleaseRequest::schemas(schemas);
        WholeRelease::schemas(schemas);
    }
}

/// The schema with what may stand beside and is not read, so that the body of a GET fits it.
fn with_unread(mut schema: RefOr<Schema>) -> RefOr<Schema> {
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        for name in WRITTEN_BY_THE_SERVICE {
            let unread = ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some("Not read"));
            object.properties.insert(name.to_owned(), unread.into());
        }
    }
    schema
}

/// Creates or changes a release. Answers once it is committed; 202 where it must wait.
#[utoipa::path(put, path = "/releases/{environment}/{namespace}/{name}", operation_id = "putRelease", tag = "changes", params(PathParams, ChangeQuery),
    request_body = PutBody,
    responses((status = 201, body = Changed), (status = 200, body = ChangedOrPreview, description = "Done, or nothing had to change; with `dryRun` a preview"),
        (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn put(
    State(web): State<Web>,
    mut asked: Asked,
    Json(body): Json<Map<String, Value>>,
) -> Answer<Response> {
    if let Some(answer) = asked.answered_before(&web).await? {
        return Ok(answer);
    }
    let (wanted, requested_by) = read(body, &asked.key)?;
    let guard = asked.check_put(&web, &wanted.model).await?;
    carry_out(&web, asked, guard, Intent::Put(Box::new(wanted)), requested_by).await
}

/// Retracts a release: one commit that removes it.
#[utoipa::path(delete, path = "/releases/{environment}/{namespace}/{name}", operation_id = "retractRelease", tag = "changes", params(PathParams, ChangeQuery),
    responses((status = 200, body = ChangedOrPreview), (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn retract(State(web): State<Web>, mut asked: Asked) -> Answer<Response> {
    if let Some(answer) = asked.answered_before(&web).await? {
        return Ok(answer);
    }
    let guard = asked.check(&web).await?;
    carry_out(&web, asked, guard, Intent::Retract, None).await
}

/// Reads either form of the body, and who asks.
fn read(body: Map<String, Value>, key: &ReleaseKey) -> Answer<(Wanted, Option<Requester>)> {
    if !body.contains_key("spec") {
        let request: ReleaseRequest = body::parse_value(Value::Object(body))?;
        let requested_by = request.requested_by.clone();
        return Ok((request.wanted()?, requested_by));
    }
    let mut body = body;
    body.retain(|name, _| !WRITTEN_BY_THE_SERVICE.contains(&name.as_str()));
    let WholeRelease { api_version: ApiVersion::V1, kind: ReleaseKind::Release, metadata, spec, requested_by } =
        body::parse_value(Value::Object(body))?;
    if let Some(Metadata { name, namespace, environment }) = metadata {
        let named = ReleaseKey { environment, namespace, name };
        if named != *key {
            return Err(Problem::invalid(
                "metadata",
                format!("`metadata` names `{named}`, and the path names `{key}`"),
            ));
        }
    }
    Ok((spec.wanted()?, requested_by))
}
