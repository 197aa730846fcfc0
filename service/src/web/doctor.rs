//! The doctor for signatures: says why a delivery is not believed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Releaser;
use super::body::Json as JsonBody;
use super::error::{Answer, Problem};
use super::{Web, client};
use crate::webhook::doctor::{Diagnosis, Door, Exhibit, diagnose};
use crate::webhook::signature::Headers;

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(webhook))
}

/// A delivery as it was sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Visit {
    /// `mlflow`, `generic` or `github`; guessed from the headers unless given.
    source: Option<VisitSource>,
    /// Value by name.
    headers: BTreeMap<String, String>,
    /// The body, byte for byte.
    body: String,
    /// The secret it was signed with; the live ones unless given. It is neither kept nor logged.
    secret: Option<String>,
}

/// Which door the delivery was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum VisitSource {
    Mlflow,
    Generic,
    Github,
}

impl From<VisitSource> for Door {
    fn from(source: VisitSource) -> Self {
        match source {
            VisitSource::Mlflow => Self::Mlflow,
            VisitSource::Generic => Self::Standard,
            VisitSource::Github => Self::Github,
        }
    }
}

/// Says why a delivery is not believed, and how to send it so that it is.
#[utoipa::path(post, path = "/doctor/webhook", operation_id = "diagnoseDelivery", tag = "operation", request_body = Visit,
    responses((status = 200, body = Diagnosis), (status = "4XX", body = Problem)))]
async fn webhook(
    State(web): State<Web>,
    Releaser(_caller): Releaser,
    parts: Parts,
    JsonBody(visit): JsonBody<Visit>,
) -> Answer<Json<Diagnosis>> {
    let address = client::address(&parts.extensions, &parts.headers, &web.settings().trusted_proxies);
    let waited = web.0.doctor_visits.count(address, web.clock().now());
    waited.map_err(|seconds| Problem::too_many("too many visits to the doctor from this address", seconds))?;
    Ok(Json(diagnose(&visit.exhibit(&web)?)))
}

impl Visit {
    fn exhibit(self, web: &Web) -> Answer<Exhibit> {
        let Self { source, headers, body, secret } = self;
        let headers = Headers::from_pairs(headers);
        let door = source.map_or_else(|| Door::guess(&headers), Door::from);
        let may_sign = secret.is_some();
        let secrets = match (secret, door) {
            (None, Door::Mlflow) => web.settings().mlflow_secrets.current().to_vec(),
            (None, Door::Standard) => web.settings().generic_secrets.clone(),
            (None, Door::Github) => web.settings().github_secrets.clone(),
            (Some(text), door) => {
                vec![door.parse_secret(&text).map_err(|error| Problem::invalid("secret", error.to_string()))?]
            }
        };
        Ok(Exhibit {
            door,
            headers,
            body: body.into_bytes(),
            secrets,
            now: web.clock().now(),
            present: web.clock().now(),
            body_file: None,
            url: web.settings().public_url.clone(),
            may_sign,
        })
    }
}
