//! What releases `SeldonDeployment`s would be that no release made.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::Releaser;
use super::body::Json as JsonBody;
use super::error::{Answer, Problem};
use super::releases::List;
use crate::access::TokenRole;
use crate::names::{EnvironmentName, Namespace};
use crate::worker::{ImportHints, ImportQuery, ImportView};

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(import))
}

/// Which objects are looked at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ImportRequest {
    #[schema(value_type = String)]
    environment: EnvironmentName,
    #[schema(value_type = String)]
    namespace: Namespace,
    /// These of the cluster; all that no release made where it is empty.
    #[serde(default)]
    names: Vec<String>,
    /// These, instead of the cluster's.
    #[schema(value_type = Option<Vec<Object>>)]
    objects: Option<Vec<Value>>,
    /// What the objects do not say.
    #[serde(default)]
    hints: ImportHints,
}

/// Says which requests would make releases of `SeldonDeployments` that are there, and what becomes otherwise. Changes nothing.
#[utoipa::path(post, path = "/import", operation_id = "planImport", tag = "operation", request_body = ImportRequest,
    responses((status = 200, body = List<ImportView>), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn import(
    State(web): State<Web>,
    Releaser(caller): Releaser,
    JsonBody(body): JsonBody<ImportRequest>,
) -> Answer<Json<List<ImportView>>> {
    let ImportRequest { environment, namespace, names, objects, hints } = body;
    let query = ImportQuery { environment, namespace, names, objects, hints };
    let items =
        web.handle().import(query, |key, model| caller.check(TokenRole::Releaser, key, Some(model)).is_ok()).await?;
    Ok(Json(List { items }))
}
