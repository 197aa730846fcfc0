//! One registry: asking it for a manifest's digest.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials::Login;
use super::reference::Reference;
use crate::names::{Digest, shown};

/// The sorts of manifest whose digest a cluster pulls by: an index or a single image, OCI's and Docker's.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The longest manifest: the specification has registries take no less than 4 MiB, and nobody sends more.
const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest answer with a token or an error.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The header with a manifest's digest.
const DIGEST: &str = "docker-content-digest";

/// The header by which a registry says that it is one.
const VERSION: &str = "docker-distribution-api-version";

/// A registry that is asked for one image.
pub(super) struct Registry<'a> {
    pub(super) client: &'a reqwest::Client,
    /// Whether it is spoken to without TLS.
    pub(super) is_insecure: bool,
    pub(super) login: Option<&'a Login>,
}

/// Why there is no digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It says that it has no such image.
    Absent,
    Unreachable,
    Late,
    /// It wants credentials that nobody gave, or others.
    Forbidden,
    /// It wants credentials to be sent without TLS.
    Unsafe,
    Busy,
    Failing(StatusCode),
    /// What answers is no registry, or not as one.
    Strange(&'static str),
}

impl Trouble {
    /// Whether every image of the registry would meet the same.
    pub(super) fn is_of_the_whole_registry(&self) -> bool {
        matches!(self, Self::Unreachable | Self::Late | Self::Busy)
    }

    /// A sentence for people.
    pub(super) fn reason(&self, registry: &str) -> String {
        let registry = shown(registry);
        match self {
            Self::Absent => format!("the registry `{registry}` has no such image"),
            Self::Unreachable => format!("the registry `{registry}` cannot be reached"),
            Self::Late => format!("the registry `{registry}` did not answer in time"),
            Self::Forbidden => format!(
                "the registry `{registry}` does not show the image without other credentials (`images.auth_file`)"
            ),
            Self::Unsafe => format!("the registry `{registry}` wants credentials to be sent without TLS"),
            Self::Busy => format!("the registry `{registry}` takes no more requests for now"),
            Self::Failing(status) => format!("the registry `{registry}` answered {}", status.as_u16()),
            Self::Strange(what) => format!("the registry `{registry}` {what}"),
        }
    }
}

impl Registry<'_> {
    /// The digest that the tag names now. A HEAD costs registries little and is not counted by Docker's limit; the manifest itself is
    /// fetched where that says no digest.
    pub(super) async fn digest(&self, reference: &Reference) -> Result<Digest, Trouble> {
        let scheme = if self.is_insecure { "http" } else { "https" };
        let Reference { repository, tag, .. } = reference;
        let url = Url::parse(&format!("{scheme}://{}/v2/{repository}/manifests/{tag}", reference.host()))
            .map_err(|_| Trouble::Strange("has no address that can be asked"))?;
        let mut authorization = None;
        let mut answer = self.send(Method::HEAD, &url, None).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            authorization = Some(self.authorization(&answer, reference).await?);
            answer = self.send(Method::HEAD, &url, authorization.as_ref()).await?;
        }
        if answer.status() == StatusCode::OK
            && is_manifest(answer.headers())
            && let Some(digest) = digest_of(answer.headers())
        {
            return Ok(digest);
        }
        if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status()) {
            return Err(Trouble::Forbidden);
        }
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            return Err(Trouble::Busy);
        }
        read(self.send(Method::GET, &url, authorization.as_ref()).await?).await
    }

    async fn send(&self, method: Method, url: &Url, authorization: Option<&HeaderValue>) -> Result<Response, Trouble> {
        let mut request = self.client.request(method, url.clone()).header(ACCEPT, MANIFESTS.join(", "));
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        request.send().await.map_err(|error| trouble_of(&error))
    }

    /// What meets the challenge of a 401.
    async fn authorization(&self, answer: &Response, reference: &Reference) -> Result<HeaderValue, Trouble> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        match Challenge::parse(headers) {
            Some(Challenge::Basic) => basic(self.login.ok_or(Trouble::Forbidden)?),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", reference.repository));
                self.token((reference.host(), &realm), service.as_deref(), &scope).await
            }
            None => Err(Trouble::Forbidden),
        }
    }

    async fn token(
        &self,
        (registry, realm): (&str, &str),
        service: Option<&str>,
        scope: &str,
    ) -> Result<HeaderValue, Trouble> {
        let mut url = Url::parse(realm).map_err(|_| Trouble::Strange("names no address for its tokens"))?;
        match url.scheme() {
            "https" => {}
            // Spoken to without TLS is the registry alone, not whom it names.
            "http" if self.is_insecure && is_at(&url, registry) => {}
            _ => return Err(Trouble::Unsafe),
        }
        url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service))).append_pair("scope", scope);
        let mut request = self.client.get(url);
        if let Some(login) = self.login {
            request = request.header(AUTHORIZATION, basic(login)?);
        }
        let answer = request.send().await.map_err(|error| trouble_of(&error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(Trouble::Busy),
            status if status.is_client_error() => return Err(Trouble::Forbidden),
            status => return Err(Trouble::Failing(status)),
        }
        let body = body_of(answer, ANSWER_BYTES_MAX).await?;
        let token: Token =
            serde_json::from_slice(&body).map_err(|_| Trouble::Strange("gave no token that can be read"))?;
        let token = token.token.or(token.access_token).ok_or(Trouble::Strange("gave no token"))?;
        secret_header(&format!("Bearer {token}"))
    }
}

/// What a token server answers; some call it the one, some the other.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Reads the digest from a whole manifest, which it must be the digest of.
async fn read(answer: Response) -> Result<Digest, Trouble> {
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => {
            let is_registry = answer.headers().contains_key(VERSION);
            let body = body_of(answer, ANSWER_BYTES_MAX).await.unwrap_or_default();
            return Err(if is_registry || names_an_error(&body) {
                Trouble::Absent
            } else {
                Trouble::Strange("answers like no registry")
            });
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Trouble::Forbidden),
        StatusCode::TOO_MANY_REQUESTS => return Err(Trouble::Busy),
        status => return Err(Trouble::Failing(status)),
    }
    if !is_manifest(answer.headers()) {
        return Err(Trouble::Strange("answers with no manifest that a cluster can pull by its digest"));
    }
    let said = digest_of(answer.headers());
    let digest = Digest::of(&body_of(answer, MANIFEST_BYTES_MAX).await?);
    match said {
        Some(said) if said != digest => Err(Trouble::Strange("names a digest that is not its manifest's")),
        _ => Ok(digest),
    }
}

/// Whether a body is an error of the distribution API: `{"errors": [{"code": …}]}`.
fn names_an_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Coded>,
    }
    #[derive(Deserialize)]
    struct Coded {
        code: String,
    }
    let codes = ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"];
    serde_json::from_slice::<Errors>(body)
        .is_ok_and(|body| body.errors.iter().any(|e| codes.contains(&e.code.as_str())))
}

fn is_manifest(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    MANIFESTS.contains(&kind.split(';').next().unwrap_or_default().trim())
}

fn digest_of(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(headers.get(DIGEST)?.to_str().ok()?.trim()).ok()
}

/// Reads a body up to a bound.
async fn body_of(mut answer: Response, bytes_max: usize) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| trouble_of(&error))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(Trouble::Strange("sends more than a registry needs to"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn basic(login: &Login) -> Result<HeaderValue, Trouble> {
    use base64::Engine as _;
    let pair = format!("{}:{}", login.username, login.password);
    secret_header(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

/// A header that no log shows.
fn secret_header(text: &str) -> Result<HeaderValue, Trouble> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Trouble::Strange("gave no token that can be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The cause stays here: it may name addresses.
fn trouble_of(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() { Trouble::Late } else { Trouble::Unreachable }
}

/// Whether an address is one of a registry, `host` or `host:port`.
fn is_at(url: &Url, registry: &str) -> bool {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    registry == host || registry == format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_login_is_not_sent_without_tls_unless_the_registry_is_named_as_insecure() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let login = Login { username: "ada".to_owned(), password: "hunter2".to_owned() };
        let client = reqwest::Client::new();
        let registry = |is_insecure| Registry { client: &client, is_insecure, login: Some(&login) };
        let token = async |is_insecure| {
            registry(is_insecure).token(("127.0.0.1:1", "http://127.0.0.1:1/token"), None, "x").await
        };
        assert_eq!(token(false).await, Err(Trouble::Unsafe));
        assert_eq!(token(true).await, Err(Trouble::Unreachable));
    }

    #[test]
    fn no_reason_names_more_than_the_registry() {
        let all = [
            Trouble::Absent,
            Trouble::Unreachable,
            Trouble::Late,
            Trouble::Forbidden,
            Trouble::Unsafe,
            Trouble::Busy,
            Trouble::Failing(StatusCode::BAD_GATEWAY),
            Trouble::Strange("is strange"),
        ];
        for trouble in all {
            let reason = trouble.reason("registry.example");
            assert!(reason.starts_with("the registry `registry.example` ") && !reason.ends_with('.'), "{reason}");
        }
    }
}
