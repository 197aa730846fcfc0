//! Tokens and the audit, for administrators.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::{Admin, Caller};
use super::body::{InPath, InQuery, Json as JsonBody, check_limit};
use super::error::{Answer, Problem, RefusedTo};
use super::releases::List;
use crate::access::{Scope, Token, TokenRole};
use crate::bounds::PAGE_MAX;
use crate::names::is_plain_line;
use crate::worker::{AuditEntry, Audited, Page, WantedToken};

/// The longest a token may be good for in days: ten years, beyond which none is meant to end.
const EXPIRY_DAYS_MAX: i64 = 3660;

/// The longest name of a token in characters, which commit messages repeat.
const NAME_CHARS_MAX: usize = 100;

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke)).routes(routes!(audit))
}

/// The token that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TokenRequest {
    role: TokenRole,
    /// Where it is good for, `ENVIRONMENT/NAMESPACE/MODEL-GLOB`; everywhere unless given.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// What the history calls whoever uses it.
    name: Option<String>,
    /// How long it is good for, such as `30d` or `12h`; without end unless given.
    expires: Option<String>,
}

/// A new token.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedToken {
    /// Its clear text, which is shown this once.
    token: String,
    #[serde(flatten)]
    details: Token,
}

/// Which entries to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// At most 100.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<i64>,
}

/// Lists the tokens, without their clear text.
#[utoipa::path(get, path = "/tokens", operation_id = "listTokens", tag = "administration",
    responses((status = 200, body = List<Token>), (status = "4XX", body = Problem)))]
async fn list(State(web): State<Web>, Admin(_caller): Admin) -> Answer<Json<List<Token>>> {
    Ok(Json(List { items: web.accounts().tokens().await? }))
}

/// Makes a token.
#[utoipa::path(post, path = "/tokens", operation_id = "createToken", tag = "administration", request_body = TokenRequest,
    responses((status = 201, body = CreatedToken), (status = "4XX", body = Problem)))]
async fn create(
    State(web): State<Web>,
    Admin(caller): Admin,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Answer<(StatusCode, Json<CreatedToken>)> {
    let now = web.clock().now();
    let wanted = request.wanted(now)?;
    for scope in &wanted.scopes {
        web.handle().check_environment(scope.environment())?;
    }
    let (details, clear) = web.accounts().create_token(wanted).await?;
    audited(&web, &caller, "token create", format!("token {} with the role {}", details.id, details.role)).await?;
    Ok((StatusCode::CREATED, Json(CreatedToken { token: clear.reveal().to_owned(), details })))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/tokens/{id}", operation_id = "revokeToken", tag = "administration", params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn revoke(State(web): State<Web>, Admin(caller): Admin, InPath(id): InPath<String>) -> Answer<StatusCode> {
    if !web.accounts().revoke_token(&id).await? {
        return Err(Problem::not_found("there is no such token, or it is revoked already")
            .cure("`kmlflow token list` shows them"));
    }
    web.0.shut_out.send_replace(());
    audited(&web, &caller, "token revoke", format!("token {id}")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists what was refused and what administrators did, newest first.
#[utoipa::path(get, path = "/audit", operation_id = "listAudit", tag = "administration", params(AuditQuery),
    responses((status = 200, body = Page<Audited>), (status = "4XX", body = Problem)))]
async fn audit(
    State(web): State<Web>,
    Admin(_caller): Admin,
    InQuery(query): InQuery<AuditQuery>,
) -> Answer<Json<Page<Audited>>> {
    check_limit(query.limit)?;
    let limit = query.limit.unwrap_or(PAGE_MAX);
    let items = web.accounts().audit(query.cursor, limit).await?;
    let is_full = u32::try_from(items.len()).is_ok_and(|len| len == limit);
    let next = items.last().filter(|_| is_full).map(|last| last.number.to_string());
    Ok(Json(Page { items, next }))
}

impl TokenRequest {
    fn wanted(self, now: Timestamp) -> Answer<WantedToken> {
        let Self { role, scopes, name, expires } = self;
        if !name.as_ref().is_none_or(|name| is_plain_line(name, NAME_CHARS_MAX)) {
            let detail = "`name` must be 1 to 100 characters without control or invisible characters";
            return Err(Problem::invalid("name", detail));
        }
        let expires_at = expires.map(|text| expiry(&text, now)).transpose()?;
        Ok(WantedToken { name, role, scopes, expires_at })
    }
}

/// When something that is good for `30d` or `12h` from now ends.
fn expiry(text: &str, now: Timestamp) -> Answer<Timestamp> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let length = match days {
        Some(days @ 1..=EXPIRY_DAYS_MAX) => Some(SignedDuration::from_hours(days * 24)),
        Some(_) => None,
        None => text
            .parse::<crate::release::Period>()
            .ok()
            .filter(|period| !period.is_zero())
            .map(|period| period.as_signed()),
    };
    let end = length.and_then(|length| now.checked_add(length).ok());
    end.ok_or_else(|| {
        Problem::invalid("expires", "`expires` must be a length of time such as `30d` or `12h`, at most ten years")
    })
}

/// Notes in the audit what a known caller was refused.
pub(super) async fn audit_refusals(State(web): State<Web>, request: Request, next: Next) -> Response {
    let action = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    if let Some(RefusedTo { actor, reason }) = response.extensions().get::<RefusedTo>().cloned() {
        let (at, outcome) = (web.clock().now(), "refused".to_owned());
        let entry = AuditEntry { at, actor: Some(actor), action, release: None, outcome, reason: Some(reason) };
        if let Err(fault) = web.accounts().record(entry).await {
            tracing::error!(error = &fault as &dyn std::error::Error, "A refusal was not noted in the audit: {fault}");
        }
    }
    response
}

/// Notes what an administrator did.
pub(super) async fn audited(web: &Web, caller: &Caller, action: &str, what: String) -> Answer<()> {
    let entry = AuditEntry {
        at: web.clock().now(),
        actor: Some(caller.name().to_owned()),
        action: action.to_owned(),
        release: None,
        outcome: "done".to_owned(),
        reason: Some(what),
    };
    Ok(web.accounts().record(entry).await?)
}
