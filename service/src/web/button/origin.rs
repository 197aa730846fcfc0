//! Which pages may change something: the service's own. A browser sends credentials along whoever made it ask.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::auth::is_loopback_caller;
use super::super::body::check_content_type;
use super::super::error::{Answer, Problem};
use super::{Button, ButtonSettings};

/// Refuses a change that a page of somebody else asks for.
pub(super) async fn layer(State(button): State<Button>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let is_here = button.settings.is_local && is_loopback_caller(&parts);
    match check(&button.settings, &parts.headers, is_here) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// `is_here`: the request came over loopback under a loopback name, to a service that knows no other; then the name that the page was opened
/// under counts too. Whose page it is says nothing of who asks.
fn check(settings: &ButtonSettings, headers: &HeaderMap, is_here: bool) -> Answer<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN);
    let is_own = origin.is_some_and(|origin| settings.origins.iter().any(|own| own.eq_ignore_ascii_case(origin)));
    let host = origin.and_then(|origin| origin.strip_prefix("http://"));
    let is_own = is_own || (is_here && host.is_some() && host == text(header::HOST));
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    if !is_own || site.is_some_and(|site| site != "same-origin") {
        let problem = Problem::forbidden("only MLflow's pages at this service may ask for this");
        return Err(problem.cure("open them at the address in `public_url`; a program uses `/api/v1` with a token"));
    }
    // A form of another page cannot send this type.
    check_content_type(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_our_own_that_sends_json_may_change_something() {
        let settings = ButtonSettings { origins: vec!["https://k.example".to_owned()], is_local: true };
        let json = "application/json";
        for (origin, host, site, kind, is_here, may) in [
            ("https://k.example", "k.example", "", json, false, true),
            ("https://k.example", "k.example", "same-origin", json, false, true),
            ("https://k.example", "k.example", "cross-site", json, false, false),
            ("https://k.example", "k.example", "same-site", json, false, false),
            ("https://k.example", "k.example", "", "text/plain", false, false),
            ("https://k.example", "k.example", "", "", false, false),
            ("https://evil.example", "k.example", "", json, false, false),
            ("http://k.example", "k.example", "", json, false, false),
            ("https://k.example.evil.example", "k.example", "", json, false, false),
            ("null", "k.example", "", json, false, false),
            ("", "k.example", "same-origin", json, false, false),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "", json, true, true),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "", json, false, false),
            ("http://127.0.0.1:3000", "127.0.0.1:8080", "", json, true, false),
            ("https://127.0.0.1:8080", "127.0.0.1:8080", "", json, true, false),
        ] {
            let given = [("origin", origin), ("host", host), ("sec-fetch-site", site), ("content-type", kind)];
            let given = given.into_iter().filter(|(_, value)| !value.is_empty());
            let headers: HeaderMap =
                given.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(check(&settings, &headers, is_here).is_ok(), may, "{origin} {host} {site} {kind} {is_here}");
        }
    }
}
