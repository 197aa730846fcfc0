//! What changes have in common: how they are asked, and how they are answered.

use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, ToSchema};

use super::super::Web;
use super::super::auth::{Caller, Releaser};
use super::super::body::{InQuery, flag};
use super::super::error::{Answer, Problem};
use super::super::idempotency::Claimed;
use super::super::releases::{ReleaseAt, etag, hidden};
use crate::access::TokenRole;
use crate::event::{Guard, Requested};
use crate::names::{CommitId, ModelName, ReleaseKey, Requester, TreeId};
use crate::release::Intent;
use crate::worker::{self, Became, Done, Preview, ReleaseView};

/// How long a change may take before it is answered as queued; a commit takes milliseconds, a slow remote seconds.
pub(super) const WAIT: Duration = Duration::from_secs(10);

/// How a change is asked.
#[derive(Debug, Default, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangeQuery {
    /// Answers what would be done, and touches nothing.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    pub dry_run: bool,
    /// Until when to wait: `committed` or `live`.
    #[param(inline, value_type = Option<Wait>)]
    pub wait: Wait,
    /// Renders over files that were changed by hand.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    pub force: bool,
    /// Takes over what was changed by hand.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    pub adopt: bool,
}

/// Until when a change waits for its answer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wait {
    #[default]
    Committed,
    Live,
}

/// A change that is committed, or that had nothing to do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// The release as it is now; absent after a retraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseView>,
    /// The last commit that carries it out.
    #[schema(value_type = Option<String>, required)]
    commit: Option<CommitId>,
    /// Whether something had to change.
    changed: bool,
    /// Why nothing had to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What a change answers: what was done or, to `dryRun`, what would be.
pub(super) struct ChangedOrPreview;

impl utoipa::PartialSchema for ChangedOrPreview {
    fn schema() -> RefOr<Schema> {
        let forms = ["Changed", "Preview"];
        let either =
            forms.into_iter().fold(OneOfBuilder::new(), |either, form| either.item(Ref::from_schema_name(form)));
        RefOr::T(Schema::OneOf(either.build()))
    }
}

impl ToSchema for ChangedOrPreview {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("Changed".to_owned(), <Changed as utoipa::PartialSchema>::schema()));
        schemas.push(("Preview".to_owned(), <Preview as utoipa::PartialSchema>::schema()));
        Changed::schemas(schemas);
        Preview::schemas(schemas);
    }
}

/// A change that is durable and done later.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queued {
    /// `queued`.
    state: &'static str,
    /// The id under which `/api/v1/deliveries/{id}` has it.
    delivery: String,
    /// What it waits for, one sentence.
    waits_for: String,
}

/// Who asks for a change of which release, and how. The caller has the role for it; `check` is the rest.
pub(in crate::web) struct Asked {
    pub caller: Caller,
    pub key: ReleaseKey,
    query: ChangeQuery,
    headers: HeaderMap,
    pub(super) claimed: Option<Claimed>,
}

/// Carries a change out, or says what it would do, and answers. `requested_by` is whom the caller speaks for, where it is somebody else.
pub(in crate::web) async fn carry_out(
    web: &Web,
    asked: Asked,
    guard: Guard,
    intent: Intent,
    requested_by: Option<Requester>,
) -> Answer<Response> {
    let Asked { caller, key, query, headers: _, claimed } = asked;
    let requested_by = Some(requested_by.map_or_else(|| caller.name().to_owned(), String::from));
    let request = Requested { key: key.clone(), intent, guard, requested_by };
    let until = tokio::time::Instant::now() + WAIT;
    if query.dry_run {
        return Ok(Json(web.handle().dry_run(request).await?).into_response());
    }
    let answer = match claimed {
        Some(Claimed { id, .. }) => web.handle().request_as(id, request, WAIT).await?,
        None => web.handle().request(request, WAIT).await?,
    };
    Ok(match answer {
        worker::Answer::Done(done) if query.wait == Wait::Live && done.release.is_some() => {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let release = web.handle().until_live(&key, left).await.or_else(|| done.release.clone());
            of_done(Done { release, ..*done })
        }
        answer => of_answer(answer),
    })
}

pub(super) fn of_answer(answer: worker::Answer) -> Response {
    match answer {
        worker::Answer::Done(done) => of_done(*done),
        worker::Answer::Queued { delivery, waits_for } => of_queued(delivery, waits_for),
    }
}

impl Asked {
    /// A change that somebody asks for who has the role for it; the conditions stand in the headers.
    pub(in crate::web) fn by(caller: Caller, key: ReleaseKey, dry_run: bool, headers: HeaderMap) -> Self {
        Self { caller, key, query: ChangeQuery { dry_run, ..ChangeQuery::default() }, headers, claimed: None }
    }

    /// The answer to the same request under the same key, where it was carried out before and the service went down before it said so: done
    /// again, a step would be two.
    pub(super) async fn answered_before(&mut self, web: &Web) -> Answer<Option<Response>> {
        let Some(claimed) = self.claimed.as_ref().filter(|claimed| claimed.is_again) else { return Ok(None) };
        match web.handle().became(&self.key, &claimed.id).await? {
            Became::Answered(answer) => Ok(Some(of_answer(answer))),
            Became::Nothing => Ok(None),
            Became::Refused => {
                // The inbox has it under this id; it is judged anew under another one.
                self.claimed = Some(claimed.clone().anew(web).await?);
                Ok(None)
            }
        }
    }

    /// Refuses to change a release that is hidden from the caller, as if it were not there, and says under which conditions the change may
    /// be carried out.
    pub(in crate::web) async fn check(&self, web: &Web) -> Answer<Guard> {
        self.caller.check(TokenRole::Releaser, &self.key, None)?;
        if !self.covers_present(web).await {
            return Err(hidden(&self.key).to(self.caller.name()));
        }
        self.query.guard(web, &self.key, &self.headers).await
    }

    /// Whether an act that makes no sense by what is known is kept until that is decided. Not where the caller may not change whatever the release turns out to
    /// be of; and a dry run says what is known.
    pub(super) async fn may_be_kept(&self, web: &Web) -> bool {
        let is_decided = self.query.dry_run || !web.handle().awaits_a_decision();
        !is_decided && (self.caller.covers_any_model(&self.key) || web.handle().release(&self.key).await.is_ok())
    }

    /// Refuses to put a model onto a release that the caller may not change, and says the same conditions.
    pub(in crate::web) async fn check_put(&self, web: &Web, model: &ModelName) -> Answer<Guard> {
        self.caller.check(TokenRole::Releaser, &self.key, Some(model))?;
        if !self.covers_present(web).await {
            // That the name is taken cannot be hidden from who may take it; by which model can.
            return Err(self.caller.refused(TokenRole::Releaser, &self.key, None));
        }
        self.query.guard(web, &self.key, &self.headers).await
    }

    /// Whether the caller may change the release that is there now, if there is one.
    async fn covers_present(&self, web: &Web) -> bool {
        if !self.caller.is_scoped() {
            return true;
        }
        let present = web.handle().release(&self.key).await;
        present.map_or(true, |view| self.caller.sees(&self.key, Some(&view.release.spec.model)))
    }
}

impl FromRequestParts<Web> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Answer<Self> {
        let Releaser(caller) = Releaser::from_request_parts(parts, web).await?;
        let ReleaseAt(key) = ReleaseAt::from_request_parts(parts, web).await?;
        let InQuery(query) = InQuery::from_request_parts(parts, web).await?;
        let claimed = parts.extensions.get().cloned();
        Ok(Self { caller, key, query, headers: parts.headers.clone(), claimed })
    }
}

impl ChangeQuery {
    /// Under which conditions the change may be carried out.
    async fn guard(self, web: &Web, key: &ReleaseKey, headers: &HeaderMap) -> Answer<Guard> {
        if self.wait == Wait::Live && !web.handle().is_watched(&key.environment) {
            let problem = Problem::invalid("wait", "`wait=live` needs a cluster, and no cluster is configured");
            return Err(problem.cure("use `wait=committed`, or leave it out"));
        }
        if self.force && self.adopt {
            return Err(Problem::invalid("force", "`force` and `adopt` exclude each other"));
        }
        let if_match = if_match(web, key, headers).await?;
        let if_absent = if_absent(headers)?;
        Ok(Guard { force: self.force, adopt: self.adopt, if_match, if_absent, per_minute: None })
    }
}

/// The tree that `If-Match` asks for. A tag that no tree can have, and `*` where nothing is, fail at once.
async fn if_match(web: &Web, key: &ReleaseKey, headers: &HeaderMap) -> Answer<Option<TreeId>> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let tags: Vec<&str> = value.to_str().unwrap_or_default().split(',').map(str::trim).collect();
    let trees: Vec<TreeId> =
        tags.iter().filter_map(|tag| TreeId::parse(tag.strip_prefix('"')?.strip_suffix('"')?).ok()).collect();
    if let ([_], [tree]) = (tags.as_slice(), trees.as_slice()) {
        return Ok(Some(tree.clone()));
    }
    let present = web.handle().release(key).await.ok().filter(|view| view.deployed).map(|view| view.etag);
    match present {
        Some(present) if tags == ["*"] || trees.contains(&present) => Ok(Some(present)),
        _ => {
            let detail = "the release is not what `If-Match` says";
            let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", detail);
            Err(problem.cure("read it again and send its `ETag`"))
        }
    }
}

/// Whether `If-None-Match` asks that there be no release; a tag there has no meaning for a change.
fn if_absent(headers: &HeaderMap) -> Answer<bool> {
    match headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes().trim_ascii()) {
        None => Ok(false),
        Some(b"*") => Ok(true),
        Some(_) => Err(Problem::malformed("`If-None-Match` of a change must be `*`")
            .cure("send `If-Match` with the `ETag` that the release should have")),
    }
}

fn of_done(done: Done) -> Response {
    let Done { release, key: _, commit, changed, created, reason } = done;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let tag: Option<[(HeaderName, String); 1]> = release.as_ref().map(|view| [etag(&view.etag)]);
    let body = Json(Changed { release, commit, changed, reason });
    match tag {
        Some(tag) => (status, tag, body).into_response(),
        None => (status, body).into_response(),
    }
}

fn of_queued(delivery: String, waits_for: String) -> Response {
    let location = [(header::LOCATION, format!("/api/v1/deliveries/{delivery}"))];
    (StatusCode::ACCEPTED, location, Json(Queued { state: "queued", delivery, waits_for })).into_response()
}
