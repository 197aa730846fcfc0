//! `Idempotency-Key`: the same request under the same key is carried out once, and answered the same for 24 hours.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::auth::Caller;
use super::error::{Answer, Problem};
use super::{Web, body};
use crate::names::DeliveryId;
use crate::worker::{Claim, ClaimKey, Fault};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Set on an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key in bytes; a UUID has 36.
const KEY_BYTES_MAX: usize = 255;

/// How much of a digest makes an id: as much as a UUID has.
const ID_BYTES: usize = 16;

/// How long a caller should wait while its first request is under way.
const RETRY_AFTER_SECONDS: u64 = 1;

/// The pause after an answer was not kept; each is twice as long as the one before, up to the longest.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

/// The longest such pause: nobody waits for much longer once the store works.
const KEEP_AGAIN_MAX: Duration = Duration::from_secs(8);

/// How long it is tried: half as long as a claim may go unanswered before somebody else takes it up. As many try at once as requests were under way
/// when the store began to fail, for nothing new is claimed then.
const KEEP_WITHIN: Duration = Duration::from_secs(1_800);

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    headers: Vec<(String, String)>,
    body: String,
}

/// A request that is made under a key.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    /// What the inbox and Git know it by, also when it is sent again.
    pub id: DeliveryId,
    /// Whether the service, or the replica that was asked, went down before the answer when it was sent before.
    pub is_again: bool,
    key: ClaimKey,
}

impl Claimed {
    /// The same request as another attempt: what was refused has its id.
    pub(super) async fn anew(self, web: &Web) -> Answer<Self> {
        let since = web.accounts().claim_anew(self.key.clone()).await?.ok_or_else(in_flight)?;
        let id = delivery_of(&self.key, since).ok_or_else(Problem::internal)?;
        Ok(Self { id, is_again: false, key: self.key })
    }
}

/// Lets each key through once.
pub(super) async fn layer(State(web): State<Web>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // A token's clear text is shown once and kept nowhere, so not here either.
    let is_kept = path.starts_with("/api/v1/") && path != "/api/v1/tokens";
    if !is_kept || !request.headers().contains_key(KEY) || matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    once(web, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn once(web: Web, request: Request, next: Next) -> Answer<Response> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &web).await?;
    let body = body::read(body).await?;
    let key = ClaimKey {
        token_id: caller.0.id.clone(),
        path: format!("{} {}", parts.method, parts.uri.path()),
        key: read_key(&parts.headers)?,
    };
    let hash = hash(parts.uri.query().unwrap_or_default(), &body);
    let (claim, since) = match web.accounts().claim(key.clone(), hash).await {
        Ok(claimed) => claimed,
        Err(fault) => {
            if matches!(fault, Fault::Unsure { .. }) {
                // It may be claimed, and nobody answers under it: the same request is to come again.
                tokio::spawn(keep_later(web, key, None));
            }
            return Err(fault.into());
        }
    };
    match claim {
        Claim::New | Claim::Interrupted(_) => {}
        Claim::Same(status, kept) => return replay(status, &kept),
        Claim::Other => {
            let problem = Problem::invalid("Idempotency-Key", "another request was sent under this `Idempotency-Key`");
            return Err(problem.cure("send each request under a key of its own"));
        }
        Claim::InFlight => return Err(in_flight()),
    }
    let id = delivery_of(&key, since).ok_or_else(Problem::internal)?;
    let is_again = matches!(claim, Claim::Interrupted(_));
    parts.extensions.insert(Claimed { id, is_again, key: key.clone() });
    // In a task of its own, so that a caller who hangs up does not leave the key claimed for ever.
    let carried_out = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        keep(&web, key, response).await
    });
    carried_out.await.map_err(|_| Problem::internal())
}

fn in_flight() -> Problem {
    let detail = "the first request under this `Idempotency-Key` is under way";
    Problem::new(StatusCode::CONFLICT, "in-flight", detail).cure(format!("ask again after {RETRY_AFTER_SECONDS} s"))
}

/// Keeps an answer that will not be another one next time, and passes it on.
async fn keep(web: &Web, key: ClaimKey, response: Response) -> Response {
    let status = response.status();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let passes = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    let is_final = (status.is_success() || status.is_client_error()) && !passes;
    let kept = is_final.then(|| (status.as_u16(), kept(&parts.headers, &body)));
    if let Err(fault) = web.accounts().settle_claim(key.clone(), kept.clone()).await {
        tracing::error!(
            error = &fault as &dyn std::error::Error,
            "An answer was not kept under its Idempotency-Key, which is tried again: {fault}"
        );
        tokio::spawn(keep_later(web.clone(), key, kept));
    }
    Response::from_parts(parts, Body::from(body))
}

/// Keeps an answer that the store did not take, as soon as it does: until then its key says that the request is under way.
async fn keep_later(web: Web, key: ClaimKey, kept: Option<(u16, String)>) {
    let (since, mut pause) = (Instant::now(), KEEP_AGAIN);
    while since.elapsed() < KEEP_WITHIN {
        tokio::time::sleep(pause).await;
        if web.accounts().settle_claim(key.clone(), kept.clone()).await.is_ok() {
            return;
        }
        pause = (pause * 2).min(KEEP_AGAIN_MAX);
    }
    tracing::error!("An answer was not kept under its Idempotency-Key, and is not any more");
}

fn kept(headers: &HeaderMap, body: &Bytes) -> String {
    let wanted = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];
    let pair = |name: &HeaderName| Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned()));
    let kept =
        Kept { headers: wanted.iter().filter_map(pair).collect(), body: String::from_utf8_lossy(body).into_owned() };
    serde_json::to_string(&kept).unwrap_or_default()
}

fn replay(status: u16, kept: &str) -> Answer<Response> {
    let Kept { headers, body } = serde_json::from_str(kept).map_err(|_| Problem::internal())?;
    let status = StatusCode::from_u16(status).map_err(|_| Problem::internal())?;
    let mut response = (status, body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// The id of the delivery that a request becomes: its own for each claim of a key, and the same where that claim is taken up again.
fn delivery_of(key: &ClaimKey, since: Timestamp) -> Option<DeliveryId> {
    let ClaimKey { token_id, path, key } = key;
    let digest = Sha256::digest(format!("{token_id}\n{path}\n{key}\n{}", since.as_millisecond()));
    DeliveryId::parse(&format!("key-{}", hex::encode(&digest[..ID_BYTES]))).ok()
}

fn read_key(headers: &HeaderMap) -> Answer<String> {
    let key = headers.get(KEY).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_plain = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if is_plain {
        Ok(key.to_owned())
    } else {
        Err(Problem::malformed("`Idempotency-Key` must be 1 to 255 printable characters"))
    }
}

fn hash(query: &str, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(query).chain_update([0]).chain_update(body).finalize();
    hex::encode(digest)
}
