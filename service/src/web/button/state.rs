//! What the button shows before anything is asked for: what is live, what may be done, where a new release would go.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::body::{InPath, InQuery};
use super::super::error::{Answer, Problem};
use super::super::releases::{bad, visible};
use super::Button;
use super::identity::{Rights, identify};
use crate::access::TokenRole;
use crate::event::DeliveryState;
use crate::names::{CommitId, EnvironmentName, ModelName, Namespace, ReleaseKey, ReleaseName, Version};
use crate::release::{Act, Phase, Release, Role};
use crate::worker::{HoldView, ReleaseFilter, ReleaseView};

/// Where a release goes when neither another release of the model nor a policy says so.
const NAMESPACE: &str = "models";

/// Which version of which model.
#[derive(Deserialize)]
pub(super) struct Which {
    model: String,
    version: String,
}

/// Which release of the model; the model's first one unless given.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StateQuery {
    /// Written `environment/namespace/name`.
    release: Option<String>,
    /// A request whose end is waited for.
    delivery: Option<String>,
}

/// All that the button shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ButtonState {
    model: ModelName,
    version: Version,
    user: UserView,
    /// The release that is looked at.
    key: ReleaseKey,
    /// The release's page at this service.
    page: String,
    /// As it is now, where there is one of this model.
    release: Option<ReleaseView>,
    /// What can be done with it now.
    acts: Vec<ActView>,
    /// The releases of the model, each written `environment/namespace/name`.
    releases: Vec<String>,
    environments: Vec<EnvironmentChoice>,
    /// Namespaces that releases are in.
    namespaces: Vec<Namespace>,
    /// The request that was asked about.
    delivery: Option<DeliveryOutcome>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserView {
    name: String,
    may_release: bool,
    may_break_callers: bool,
}

/// An act that is possible now.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ActView {
    act: &'static str,
    /// The arms of which one must be named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    variants: Vec<Role>,
}

#[derive(Serialize)]
struct EnvironmentChoice {
    name: EnvironmentName,
    hold: Option<HoldView>,
}

/// What became of a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryOutcome {
    id: String,
    state: DeliveryState,
    commit: Option<CommitId>,
    reason: Option<String>,
    cure: Option<String>,
    waits_for: Option<String>,
    /// When it is tried again, where it failed for now.
    next_attempt_at: Option<Timestamp>,
}

/// Reads the state of a model's release.
pub(super) async fn read(
    State(button): State<Button>,
    parts: Parts,
    InPath(which): InPath<Which>,
    InQuery(query): InQuery<StateQuery>,
) -> Answer<Json<ButtonState>> {
    let model = ModelName::parse(&which.model).map_err(bad("model"))?;
    let version = Version::parse(&which.version).map_err(bad("version"))?;
    let identity = identify(&button, &parts).await?;
    let authorization = identity.authorization().map(ToOwned::to_owned);
    let rights = identity.rights(&button, &model).await?;
    button.check_version(authorization.as_deref(), &model, &version).await?;
    let asked = query.release.map(|text| ReleaseKey::parse(&text).map_err(bad("release"))).transpose()?;
    if let Some(key) = &asked {
        button.web.handle().check_environment(Some(&key.environment))?;
    }
    Ok(Json(button.state(&rights, model, version, asked, query.delivery).await?))
}

impl Button {
    async fn state(
        &self,
        rights: &Rights,
        model: ModelName,
        version: Version,
        asked: Option<ReleaseKey>,
        delivery: Option<String>,
    ) -> Answer<ButtonState> {
        let handle = self.web.handle();
        let filter = ReleaseFilter { model: Some(model.clone()), ..ReleaseFilter::default() };
        let releases: Vec<ReleaseKey> =
            visible(&self.web, &rights.caller, &filter).items.iter().map(|view| view.release.key()).collect();
        let key = match asked {
            Some(key) => key,
            None => self.usual(&model, &releases)?,
        };
        let release = match handle.release(&key).await {
            Ok(view) if view.release.spec.model == model && rights.caller.sees(&key, Some(&model)) => Some(view),
            _ => None,
        };
        let acts = match &release {
            Some(view) => self.acts(&view.release).await,
            None => Vec::new(),
        };
        let environments = handle.environments(|_, _| false).into_iter();
        Ok(ButtonState {
            user: UserView {
                name: rights.caller.name().to_owned(),
                may_release: rights.caller.0.allows(TokenRole::Releaser, &key, Some(&model)),
                may_break_callers: rights.may_break_callers,
            },
            page: format!("{}/releases/{key}", self.web.settings().public_url),
            delivery: self.outcome(delivery, &key).await,
            namespaces: namespaces(&releases, &key),
            releases: releases.iter().map(ToString::to_string).collect(),
            environments: environments.map(|view| EnvironmentChoice { name: view.name, hold: view.hold }).collect(),
            model,
            version,
            key,
            release,
            acts,
        })
    }

    /// Where the model's release is, or would be: as its policy says, or else where the first one is.
    fn usual(&self, model: &ModelName, releases: &[ReleaseKey]) -> Answer<ReleaseKey> {
        let handle = self.web.handle();
        let verdict = handle.policy_test(model.clone(), Default::default(), Default::default());
        let of_policy = verdict.release.and_then(|text| ReleaseKey::parse(&text).ok());
        let of_policy = of_policy.filter(|key| handle.check_environment(Some(&key.environment)).is_ok());
        let usual = match (of_policy, releases.first()) {
            (Some(key), None) => Some(key),
            (Some(key), Some(_)) if releases.contains(&key) => Some(key),
            (_, Some(first)) => Some(first.clone()),
            (None, None) => None,
        };
        if let Some(usual) = usual {
            return Ok(usual);
        }
        let environment = handle.environments(|_, _| false).into_iter().next().ok_or_else(Problem::internal)?.name;
        let namespace = Namespace::parse(NAMESPACE).map_err(|_| Problem::internal())?;
        Ok(ReleaseKey { environment, namespace, name: ReleaseName::of_model(model) })
    }

    /// What can be done with a release now: whatever can be made absolute, where it would change something.
    async fn acts(&self, release: &Release) -> Vec<ActView> {
        let key = release.key();
        let is_possible = async |act: Act| self.web.handle().absolute(&key, act).await.is_ok();
        let phase = release.rollout.phase;
        let mut acts = Vec::new();
        if phase == Phase::Running {
            if is_possible(Act::Advance).await {
                acts.push(ActView { act: "advance", variants: Vec::new() });
            }
            let arms: Vec<Role> = release.spec.variants.iter().map(|variant| variant.role).collect();
            if is_possible(Act::Promote { variant: None }).await {
                acts.push(ActView { act: "promote", variants: Vec::new() });
            } else if let Some(arm) = arms.first()
                && is_possible(Act::Promote { variant: Some(*arm) }).await
            {
                acts.push(ActView { act: "promote", variants: arms });
            }
        }
        if is_possible(Act::Rollback { to: None }).await {
            acts.push(ActView { act: "rollback", variants: Vec::new() });
        }
        let plain = |act| ActView { act, variants: Vec::new() };
        if matches!(phase, Phase::Entering | Phase::Running) {
            acts.push(plain("abort"));
            acts.push(plain(if release.rollout.paused.is_some() { "resume" } else { "pause" }));
        }
        acts.push(plain("retract"));
        acts
    }

    /// What became of a request, where it is about this release.
    async fn outcome(&self, id: Option<String>, key: &ReleaseKey) -> Option<DeliveryOutcome> {
        let view = self.web.handle().delivery(&id?).await.ok()?;
        let is_about_it = view.release.as_deref().is_none_or(|of| of == key.to_string());
        is_about_it.then_some(DeliveryOutcome {
            id: view.id,
            state: view.state,
            commit: view.commit,
            reason: view.reason,
            cure: view.cure,
            waits_for: view.waits_for,
            next_attempt_at: view.next_attempt_at,
        })
    }
}

fn namespaces(releases: &[ReleaseKey], key: &ReleaseKey) -> Vec<Namespace> {
    let mut found: Vec<Namespace> = releases.iter().chain([key]).map(|key| key.namespace.clone()).collect();
    found.extend(Namespace::parse(NAMESPACE));
    found.sort();
    found.dedup();
    found
}
