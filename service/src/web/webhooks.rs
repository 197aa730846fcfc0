//! Doors for events: proof first, then reading, then the inbox, and only then the answer.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Answer, Problem};
use super::{Web, body, client};
use crate::event::{Event, NewDelivery, Source};
use crate::names::DeliveryId;
use crate::webhook::bearer::verify_bearer;
use crate::webhook::signature::{Headers, Proof, ProofError, verify_github, verify_mlflow, verify_standard};
use crate::webhook::{ParseError, argocd, github, mlflow, standard};
use crate::worker::Received;

/// A delivery that is authentic, fresh and read.
struct Proven {
    delivery: NewDelivery,
    /// It only asks whether somebody is there.
    is_greeting: bool,
}

/// The answer to a delivery that is kept.
#[derive(Debug, Serialize, ToSchema)]
struct Kept {
    /// The delivery's id, by which `/api/v1/deliveries/{id}` finds it.
    delivery: DeliveryId,
}

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(deliver))
}

/// Takes a delivery. 202 once it is durable, 200 for a repeat of one that was carried out and for a greeting.
#[utoipa::path(
    post, path = "/webhooks/{source}", operation_id = "deliver", tag = "doors", security(()),
    params(("source" = String, Path, description = "`mlflow`, `generic`, `github`, which is Gitea's and Forgejo's too, or `argocd`, which is told of an Application")),
    request_body(content = Object, description = "As the sender signs it; Argo CD's has a bearer token instead of a signature", content_type = "application/json"),
    responses((status = 202, body = Kept), (status = 200, body = Kept, description = "A repeat, or GitHub's `ping`"),
        (status = 422, body = Problem, description = "It is authentic and asks for a release that cannot be: a `repository_dispatch` of the type `mlflow-model-update`, or a generic delivery, whose `violations` say which field does not fit. Nothing of it is kept, and the same again is refused again"),
        (status = "4XX", body = Problem), (status = 503, body = Problem))
)]
async fn deliver(State(web): State<Web>, Proven { delivery, is_greeting }: Proven) -> Answer<Response> {
    let (kept, is_hint) = (Kept { delivery: delivery.id.clone() }, delivery.source == Source::Argocd);
    let status = match web.handle().deliver(delivery).await? {
        Received::Accepted if !is_greeting => StatusCode::ACCEPTED,
        // Whether it is new is nothing to a sender that wants nothing done.
        Received::Repeat if is_hint => StatusCode::ACCEPTED,
        Received::Accepted | Received::Repeat => StatusCode::OK,
    };
    Ok((status, axum::Json(kept)).into_response())
}

impl FromRequest<Web> for Proven {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Web) -> Answer<Self> {
        let source = source(&request);
        let address = client::address(request.extensions(), request.headers(), &web.settings().trusted_proxies);
        let (parts, body) = request.into_parts();
        let body = body::read(body).await.inspect_err(|_| turned_away(web, source, "unreadable"))?;
        let allowed = &web.settings().allow_from;
        if !allowed.is_empty() && !allowed.iter().any(|net| net.contains(&address)) {
            return Err(unproven(web, source, &format!("{address} may not deliver")));
        }
        let Some(known) = source else { return Err(unproven(web, None, "unknown source")) };
        let now = web.clock().now();
        let pairs = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let headers = Headers::from_pairs(pairs);
        let proof = prove(web, known, &headers, &body, now);
        let proof = proof.map_err(|error| unproven(web, source, &error.to_string()))?;
        check_content_type(known, &parts.headers).inspect_err(|_| turned_away(web, source, "unreadable"))?;
        let event = read_event(known, &headers, &body).inspect_err(|_| turned_away(web, source, "unreadable"))?;
        let body = String::from_utf8(body.into()).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
        let delivery = NewDelivery { source: known, id: proof.delivery_id, received_at: now, body, event };
        Ok(Self { delivery, is_greeting: known == Source::Github && github::is_ping(&headers) })
    }
}

/// The door's name from the path; only doors that are there.
fn source(request: &Request) -> Option<Source> {
    match request.uri().path().strip_prefix("/webhooks/")? {
        "mlflow" => Some(Source::Mlflow),
        "generic" => Some(Source::Generic),
        "github" => Some(Source::Github),
        "argocd" => Some(Source::Argocd),
        _ => None,
    }
}

fn prove(web: &Web, source: Source, headers: &Headers, body: &[u8], now: Timestamp) -> Result<Proof, ProofError> {
    match source {
        Source::Mlflow => verify_mlflow(headers, body, &web.settings().mlflow_secrets.current(), now),
        Source::Generic => verify_standard(headers, body, &web.settings().generic_secrets, now),
        Source::Github => verify_github(headers, body, &web.settings().github_secrets),
        Source::Argocd => verify_bearer(headers, body, &web.settings().argocd_tokens, now),
        Source::Api | Source::Sweep => Err(ProofError::NoSecret),
    }
}

/// What helps against a form.
const FORM_CURE: &str = "set the webhook's content type to `application/json`";

/// Refuses a body that is no JSON. GitHub, Gitea and Forgejo can also send a form, so there the cure names their setting, in the log as well:
/// whoever set the webhook up may see only one of the two.
fn check_content_type(source: Source, headers: &HeaderMap) -> Answer<()> {
    let given = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_form = given.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded");
    let checked = body::check_content_type(headers);
    if !is_form || source != Source::Github {
        return checked;
    }
    tracing::warn!(delivery.source = source.as_str(), "A delivery to `{source}` is authentic and a form: {FORM_CURE}");
    checked.map_err(|refused| refused.cure(FORM_CURE))
}

fn read_event(source: Source, headers: &Headers, body: &Bytes) -> Answer<Event> {
    let parsed = match source {
        Source::Mlflow => mlflow::parse(body),
        Source::Generic => standard::parse(body),
        Source::Github => github::parse(headers, body),
        Source::Argocd => argocd::parse(body),
        // There is no such door, so nothing is proven at it.
        Source::Api | Source::Sweep => return Err(Problem::internal()),
    };
    parsed.map_err(|error| match error {
        ParseError::Refused(refusal) => refusal.into(),
        ParseError::Fields(refusal) => Problem::malformed(refusal.reason).with_violations(refusal.violations),
        error => Problem::malformed(error.to_string()),
    })
}

/// The one answer to whatever is not proven: it does not say what is missing, which the log and the doctor do.
fn unproven(web: &Web, source: Option<Source>, why: &str) -> Problem {
    let shown = source.map_or("unknown", Source::as_str);
    tracing::warn!(delivery.source = shown, "A delivery to `{shown}` is not believed: {why}");
    turned_away(web, source, "unauthorized");
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "the delivery is not proven authentic");
    problem.cure("`kmlflow doctor webhook` says why a signature does not match")
}

fn turned_away(web: &Web, source: Option<Source>, outcome: &'static str) {
    if let Some(source) = source {
        web.handle().count_turned_away(source, outcome);
    }
}
