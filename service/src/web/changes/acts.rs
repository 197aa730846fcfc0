//! Acts on a release that is there.

use axum::extract::State;
use axum::response::Response;
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::super::Web;
use super::super::body::MaybeJson;
use super::super::error::{Answer, Problem};
use super::super::releases::PathParams;
use super::answer::{Asked, ChangeQuery, ChangedOrPreview, Queued, WAIT, carry_out, of_answer};
use crate::event::{ActRequested, Guard};
use crate::names::{CommitId, Requester, Version};
use crate::release::{Act, Role, RollbackTo, WeightsRequest};
use crate::worker::Fault;

/// The body of an act that needs no more.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ActBody {
    /// Who asks, where the caller speaks for somebody else.
    requested_by: Option<Requester>,
}

/// The body of a promotion.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PromoteBody {
    /// The winner of an A/B release.
    variant: Option<Role>,
    requested_by: Option<Requester>,
}

/// The body of a rollback.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RollbackBody {
    /// A commit or a version; the newest settled state before the present one unless given.
    #[serde(default, deserialize_with = "rollback_to")]
    #[schema(schema_with = rollback_schema, required = false)]
    to: Option<RollbackTo>,
    requested_by: Option<Requester>,
}

/// The body of new shares.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WeightsBody {
    /// Percent per arm of an A/B release.
    #[schema(value_type = Option<std::collections::BTreeMap<String, u8>>)]
    weights: Option<IndexMap<Role, u8>>,
    /// Mirrored percent of a shadow.
    percent: Option<u8>,
    requested_by: Option<Requester>,
}

/// Goes one step on, or flips.
#[utoipa::path(post, path = "/releases/{environment}/{namespace}/{name}/advance", operation_id = "advanceRelease", tag = "changes", params(PathParams, ChangeQuery),
    request_body = Option<ActBody>,
    responses((status = 200, body = ChangedOrPreview), (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn advance(
    State(web): State<Web>,
    asked: Asked,
    MaybeJson(body): MaybeJson<ActBody>,
) -> Answer<Response> {
    act(&web, asked, Act::Advance, body.requested_by).await
}

/// Goes to the end; of an A/B release `variant` names the winner.
#[utoipa::path(post, path = "/releases/{environment}/{namespace}/{name}/promote", operation_id = "promoteRelease", tag = "changes", params(PathParams, ChangeQuery),
    request_body = Option<PromoteBody>,
    responses((status = 200, body = ChangedOrPreview), (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn promote(
    State(web): State<Web>,
    asked: Asked,
    MaybeJson(body): MaybeJson<PromoteBody>,
) -> Answer<Response> {
    act(&web, asked, Act::Promote { variant: body.variant }, body.requested_by).await
}

/// Goes back to the stable variant.
#[utoipa::path(post, path = "/releases/{environment}/{namespace}/{name}/abort", operation_id = "abortRelease", tag = "changes", params(PathParams, ChangeQuery),
    request_body = Option<ActBody>,
    responses((status = 200, body = ChangedOrPreview), (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn abort(
    State(web): State<Web>,
    asked: Asked,
    MaybeJson(body): MaybeJson<ActBody>,
) -> Answer<Response> {
    act(&web, asked, Act::Abort, body.requested_by).await
}

/// Goes back to a settled state of before.
#[utoipa::path(post, path = "/releases/{environment}/{namespace}/{name}/rollback", operation_id = "rollBackRelease", tag = "changes", params(PathParams, ChangeQuery),
    request_body = Option<RollbackBody>,
    responses((status = 200, body = ChangedOrPreview), (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn rollback(
    State(web): State<Web>,
    asked: Asked,
    MaybeJson(body): MaybeJson<RollbackBody>,
) -> Answer<Response> {
    act(&web, asked, Act::Rollback { to: body.to }, body.requested_by).await
}

/// Stops every automatic change but a rollback.
#[utoipa::path(post, path = "/releases/{environment}/{namespace}/{name}/pause", operation_id = "pauseRelease", tag = "changes", params(PathParams, ChangeQuery),
    request_body = Option<ActBody>,
    responses((status = 200, body = ChangedOrPreview), (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn pause(
    State(web): State<Web>,
    asked: Asked,
    MaybeJson(body): MaybeJson<ActBody>,
) -> Answer<Response> {
    act(&web, asked, Act::Pause, body.requested_by).await
}

/// Goes on after a pause.
#[utoipa::path(post, path = "/releases/{environment}/{namespace}/{name}/resume", operation_id = "resumeRelease", tag = "changes", params(PathParams, ChangeQuery),
    request_body = Option<ActBody>,
    responses((status = 200, body = ChangedOrPreview), (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn resume(
    State(web): State<Web>,
    asked: Asked,
    MaybeJson(body): MaybeJson<ActBody>,
) -> Answer<Response> {
    act(&web, asked, Act::Resume, body.requested_by).await
}

/// Changes the shares of an A/B release or of a shadow.
#[utoipa::path(post, path = "/releases/{environment}/{namespace}/{name}/weights", operation_id = "setReleaseWeights", tag = "changes", params(PathParams, ChangeQuery),
    request_body = WeightsBody,
    responses((status = 200, body = ChangedOrPreview), (status = 202, body = Queued), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn weights(
    State(web): State<Web>,
    asked: Asked,
    MaybeJson(body): MaybeJson<WeightsBody>,
) -> Answer<Response> {
    let WeightsBody { weights, percent, requested_by } = body;
    let shares = Act::Weights(WeightsRequest { weights, percent });
    act(&web, asked, shares, requested_by).await
}

/// Makes an act absolute and carries it out.
pub(in crate::web) async fn act(
    web: &Web,
    mut asked: Asked,
    act: Act,
    requested_by: Option<Requester>,
) -> Answer<Response> {
    if let Some(answer) = asked.answered_before(web).await? {
        return Ok(answer);
    }
    let guard = asked.check(web).await?;
    match web.handle().absolute_now(&asked.key, act.clone()).await {
        Ok(intent) => carry_out(web, asked, guard, intent, requested_by).await,
        Err(Fault::Refused(_)) if asked.may_be_kept(web).await => keep(web, asked, guard, act, requested_by).await,
        Err(fault) => Err(fault.into()),
    }
}

/// Keeps an act as it was asked for, because nobody knows yet by what it is to be made absolute.
async fn keep(web: &Web, asked: Asked, guard: Guard, act: Act, requested_by: Option<Requester>) -> Answer<Response> {
    let Asked { caller, key, claimed, .. } = asked;
    let requested_by = Some(requested_by.map_or_else(|| caller.name().to_owned(), String::from));
    let act = ActRequested { key, act, guard, requested_by };
    Ok(of_answer(web.handle().keep_act(claimed.map(|claimed| claimed.id), act, WAIT).await?))
}

/// Where a rollback goes as it may be written.
fn rollback_schema() -> Schema {
    let named = <RollbackTo as utoipa::PartialSchema>::schema();
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    OneOfBuilder::new().item(ObjectBuilder::new().schema_type(Type::String)).item(number).item(named).into()
}

/// Reads where a rollback goes: a commit's 40 digits, a version as text or number, or either under its name.
fn rollback_to<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RollbackTo>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum To {
        Text(String),
        Number(u32),
        Named(RollbackTo),
    }
    let text = match Option::<To>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(To::Text(text)) => text,
        Some(To::Number(number)) => number.to_string(),
        Some(To::Named(to)) => return Ok(Some(to)),
    };
    let to = CommitId::parse(&text).map(RollbackTo::Commit).or_else(|_| Version::parse(&text).map(RollbackTo::Version));
    to.map(Some).map_err(|_| serde::de::Error::custom("must be a version, or a commit with all its 40 digits"))
}
