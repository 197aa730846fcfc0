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
use crate::webhook::signature::{Headers, Secret};

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(webhook))
}

/// A delivery as it was sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Visit {
    /// `mlflow` or `generic`; guessed from the headers unless given.
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
        let is_standard = match source {
            Some(source) => source == VisitSource::Generic,
            None => headers.keys().any(|name| name.eq_ignore_ascii_case("webhook-signature")),
        };
        let may_sign = secret.is_some();
        let secrets = match secret {
            None if is_standard => web.settings().generic_secrets.clone(),
            None => web.settings().mlflow_secrets.current().to_vec(),
            Some(text) => {
                let parsed = if is_standard { Secret::parse_standard(&text) } else { Secret::parse(&text) };
                vec![parsed.map_err(|error| Problem::invalid("secret", error.to_string()))?]
            }
        };
        let door = source.map(|source| if source == VisitSource::Generic { Door::Standard } else { Door::Mlflow });
        Ok(Exhibit {
            door,
            headers: Headers::from_pairs(headers),
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
