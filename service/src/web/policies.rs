//! Trying a policy: what would be released, and by which rule.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::Viewer;
use super::body::Json as JsonBody;
use super::error::{Answer, Problem};
use crate::names::{AliasName, ModelName, Version};
use crate::release::{version_or_number, version_schema};
use crate::worker::PolicyVerdict;

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(test))
}

/// A registry state to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PolicyTest {
    #[schema(value_type = String)]
    model: ModelName,
    /// Version by alias.
    #[serde(default)]
    #[schema(schema_with = versions_schema, required = false)]
    aliases: BTreeMap<AliasName, Given>,
    /// Value by key, on every version that an alias names.
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// A version as it may be written.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Given(#[serde(deserialize_with = "version_or_number")] Version);

fn versions_schema() -> Schema {
    ObjectBuilder::new().additional_properties(Some(version_schema())).into()
}

/// Says what the policies make of a registry state, and touches nothing.
#[utoipa::path(post, path = "/policies/test", operation_id = "testPolicies", tag = "operation", request_body = PolicyTest,
    responses((status = 200, body = PolicyVerdict), (status = "4XX", body = Problem)))]
async fn test(
    State(web): State<Web>,
    Viewer(_caller): Viewer,
    JsonBody(body): JsonBody<PolicyTest>,
) -> Answer<Json<PolicyVerdict>> {
    let PolicyTest { model, aliases, tags } = body;
    let aliases = aliases.into_iter().map(|(alias, Given(version))| (alias, version)).collect();
    Ok(Json(web.handle().policy_test(model, aliases, tags)))
}
