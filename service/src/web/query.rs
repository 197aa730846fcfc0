//! Parameters of a query that nobody reads: refused on every path of the API, because a caller who writes one means something by it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use super::error::{Answer, Problem};
use crate::names::shown;

/// The parameters that the description names, by path and method; the description is made from the routes themselves. Doors for events
/// are not among them: what a sender's settings append to their address is no mistake of the sender.
#[derive(Debug, Clone)]
pub(super) struct Described(Arc<HashMap<(String, Method), Vec<String>>>);

impl Described {
    /// Reads them out of the description.
    pub(super) fn of(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter().filter(|(path, _)| path.starts_with("/api/"));
        let operations = paths.flat_map(|(path, item)| {
            let by_method = [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::DELETE, &item.delete),
            ];
            let known =
                by_method.into_iter().filter_map(|(method, operation)| Some((method, names(operation.as_ref()?))));
            known.map(|(method, names)| ((path.clone(), method), names))
        });
        Self(Arc::new(operations.collect()))
    }

    fn check(&self, request: &Request) -> Answer<()> {
        let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
        let method = if *request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let Some(known) = self.0.get(&(path.as_str().to_owned(), method)) else { return Ok(()) };
        let given = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let Query(given) = given.map_err(|_| Problem::malformed("the query cannot be read"))?;
        let Some((name, _)) = given.iter().find(|(name, _)| !known.contains(name)) else { return Ok(()) };
        let cure = if known.is_empty() { "leave it out".to_owned() } else { format!("use {}", known.join(", ")) };
        Err(Problem::malformed(format!("there is no parameter `{}`", shown(name))).cure(cure))
    }
}

fn names(operation: &Operation) -> Vec<String> {
    let parameters = operation.parameters.iter().flatten();
    parameters
        .filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        })
        .filter(|parameter| matches!(parameter.parameter_in, ParameterIn::Query))
        .map(|parameter| parameter.name.clone())
        .collect()
}

/// Refuses a request with a parameter that the description of its path does not name.
pub(super) async fn layer(State(described): State<Described>, request: Request, next: Next) -> Response {
    match described.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
