//! The pages themselves.

use std::sync::LazyLock;

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};
use minijinja::{Environment, Value, context};

use super::super::auth::Viewer;
use super::super::error::{Answer, Problem};
use super::super::releases::{self, ReleaseAt};
use super::super::{Web, deliveries};
use super::rows::{CommitRow, DeliveryRow, ReleaseRow};
use crate::worker::{DeliveryFilter, ReleaseFilter};

/// Deliveries on the page: what fits a screen, the rest is for `kmlflow deliveries`.
const DELIVERIES_SHOWN: u32 = 20;

/// Commits on a release's page.
const COMMITS_SHOWN: u32 = 50;

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    let templates = [
        ("base.html", include_str!("base.html")),
        ("overview.html", include_str!("overview.html")),
        ("release.html", include_str!("release.html")),
        ("releases_table.html", include_str!("releases_table.html")),
        ("sign_in.html", include_str!("sign_in.html")),
        ("problem.html", include_str!("problem.html")),
    ];
    for (name, text) in templates {
        if let Err(error) = environment.add_template(name, text) {
            // Compiled in and rendered by tests; a page that is missing answers 500.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "The page template {name} cannot be read: {error}"
            );
        }
    }
    environment
});

/// Releases and deliveries; who has no session is asked to sign in.
pub(super) async fn overview(State(web): State<Web>, mut parts: Parts) -> Response {
    match Viewer::from_request_parts(&mut parts, &web).await {
        Ok(Viewer(caller)) => overview_for(&web, &caller).await.unwrap_or_else(|problem| of_problem(&problem)),
        Err(problem) => sign_in(&problem),
    }
}

/// One release with its history.
pub(super) async fn release(State(web): State<Web>, mut parts: Parts) -> Response {
    match release_for(&web, &mut parts).await {
        Ok(response) => response,
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => sign_in(&problem),
        Err(problem) => of_problem(&problem),
    }
}

async fn overview_for(web: &Web, caller: &super::super::auth::Caller) -> Answer<Response> {
    let now = web.clock().now();
    let page = releases::visible(web, caller, &ReleaseFilter::default());
    let more = page.next.is_some();
    let rows: Vec<ReleaseRow> = page.items.into_iter().map(|view| ReleaseRow::of(view, now)).collect();
    let filter = DeliveryFilter { limit: Some(DELIVERIES_SHOWN), ..DeliveryFilter::default() };
    let inbox = deliveries::visible(web, caller, filter).await?;
    let inbox: Vec<DeliveryRow> = inbox.items.into_iter().map(|view| DeliveryRow::of(view, now)).collect();
    let holds = web.handle().holds();
    let repository = format!("{}/git/gitops.git", web.settings().public_url);
    let (releases, deliveries, holds) = (value(&rows), value(&inbox), value(&holds));
    Ok(rendered(StatusCode::OK, "overview.html", context! { releases, more, deliveries, holds, repository }))
}

async fn release_for(web: &Web, parts: &mut Parts) -> Answer<Response> {
    let Viewer(caller) = Viewer::from_request_parts(parts, web).await?;
    let ReleaseAt(key) = ReleaseAt::from_request_parts(parts, web).await?;
    let now = web.clock().now();
    let row = ReleaseRow::of(releases::read(web, &caller, &key).await?, now);
    let history = web.handle().history(&key, None, Some(COMMITS_SHOWN)).await?;
    let history: Vec<CommitRow> = history.items.into_iter().map(|entry| CommitRow::of(entry, now)).collect();
    let manifests = web.handle().manifests(&key, None).await?;
    Ok(rendered(
        StatusCode::OK,
        "release.html",
        context! { release => value(&row), history => value(&history), manifests => value(&manifests) },
    ))
}

fn sign_in(problem: &Problem) -> Response {
    rendered(problem.status(), "sign_in.html", context! {})
}

fn of_problem(problem: &Problem) -> Response {
    rendered(problem.status(), "problem.html", context! { problem => value(problem) })
}

fn value(of: &impl serde::Serialize) -> Value {
    Value::from(minijinja::value::Serde(of))
}

fn rendered(status: StatusCode, name: &str, context: Value) -> Response {
    match TEMPLATES.get_template(name).and_then(|template| template.render(context)) {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "The page {name} cannot be made: {error}");
            Problem::internal().into_response()
        }
    }
}
