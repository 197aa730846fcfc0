//! A new release, or an act on one that is there. What is asked, refused and answered is the API's.

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::body::{self, InPath, Json};
use super::super::changes::{Asked, act as carry_out_act, carry_out};
use super::super::error::{Answer, Problem};
use super::super::releases::{bad, hidden};
use super::Button;
use super::identity::{Rights, identify};
use crate::names::{EnvironmentName, Namespace, ReleaseKey, ReleaseName};
use crate::release::{Act, Intent, ReleaseRequest, Role};

/// The field that lets a release break the callers of the live version.
const BREAKS_CALLERS: &str = "allowBreakingSignature";

/// Which release, and what of it.
#[derive(Deserialize)]
pub(super) struct ActPath {
    environment: String,
    namespace: String,
    name: String,
    act: String,
}

/// What an act needs.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct ActBody {
    dry_run: bool,
    /// The winner of an A/B release.
    variant: Option<Role>,
}

/// What stands beside the request itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beside {
    release: ReleaseKey,
    #[serde(default)]
    dry_run: bool,
}

/// Creates or changes a release. The body is the API's short form with `release` (where) and `dryRun`; who asks is who is signed in.
pub(super) async fn release(
    State(button): State<Button>,
    parts: Parts,
    Json(mut given): Json<Map<String, Value>>,
) -> Answer<Response> {
    let beside = ["release", "dryRun"].into_iter().filter_map(|name| given.remove_entry(name)).collect();
    let Beside { release: key, dry_run } = body::parse_value(Value::Object(beside))?;
    let breaks_callers = given.get(BREAKS_CALLERS) == Some(&Value::Bool(true));
    let request: ReleaseRequest = body::parse_value(Value::Object(given))?;
    button.web.handle().check_environment(Some(&key.environment))?;
    let rights = identify(&button, &parts).await?.rights(&button, &request.model).await?;
    rights.check_releaser()?;
    if breaks_callers && !rights.may_break_callers {
        let problem = Problem::forbidden(format!("only who may manage the model may set `{BREAKS_CALLERS}`"));
        return Err(problem.to(rights.caller.name()).cure("ask for MANAGE on the model in MLflow"));
    }
    let wanted = ReleaseRequest { requested_by: None, ..request }.wanted()?;
    let asked = Asked::by(rights.caller, key, dry_run, parts.headers);
    let guard = asked.check_put(&button.web, &wanted.model).await?;
    carry_out(&button.web, asked, guard, Intent::Put(Box::new(wanted)), None).await
}

/// Carries out an act on a release.
pub(super) async fn act(
    State(button): State<Button>,
    parts: Parts,
    InPath(path): InPath<ActPath>,
    Json(ActBody { dry_run, variant }): Json<ActBody>,
) -> Answer<Response> {
    let key = ReleaseKey {
        environment: EnvironmentName::parse(&path.environment).map_err(bad("environment"))?,
        namespace: Namespace::parse(&path.namespace).map_err(bad("namespace"))?,
        name: ReleaseName::parse(&path.name).map_err(bad("name"))?,
    };
    let act = named(&path.act, variant)?;
    let rights = button.rights_over(&parts, &key).await?;
    rights.check_releaser()?;
    let asked = Asked::by(rights.caller, key, dry_run, parts.headers);
    if act == Act::Retract {
        let guard = asked.check(&button.web).await?;
        return carry_out(&button.web, asked, guard, Intent::Retract, None).await;
    }
    carry_out_act(&button.web, asked, act, None).await
}

/// The act of a name.
fn named(name: &str, variant: Option<Role>) -> Answer<Act> {
    match name {
        "advance" => Ok(Act::Advance),
        "promote" => Ok(Act::Promote { variant }),
        "abort" => Ok(Act::Abort),
        "rollback" => Ok(Act::Rollback { to: None }),
        "pause" => Ok(Act::Pause),
        "resume" => Ok(Act::Resume),
        "retract" => Ok(Act::Retract),
        _ => Err(Problem::not_found(format!("there is no act `{}`", crate::names::shown(name)))
            .cure("use advance, promote, abort, rollback, pause, resume or retract")),
    }
}

impl Button {
    /// What the caller may do with the model of a release; of one that is not there nothing is said but that.
    async fn rights_over(&self, parts: &Parts, key: &ReleaseKey) -> Answer<Rights> {
        let identity = identify(self, parts).await?;
        match self.web.handle().release(key).await {
            Ok(view) => {
                // Whoever may not read the model learns nothing of its release either.
                let rights = identity.rights(self, &view.release.spec.model).await;
                rights.map_err(|problem| if problem.is_forbidden() { hidden(key) } else { problem })
            }
            Err(fault) => Err(fault.into()),
        }
    }
}
