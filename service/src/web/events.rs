//! What happens, as it happens: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::{Caller, Viewer, is_still_let_in};
use super::error::{Answer, Problem};
use super::limits::StreamPlace;
use crate::names::ReleaseKey;
use crate::worker::{Notice, Subscription};

/// How often a silent stream says that it is still there: below the minute after which proxies give up.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often a silent stream looks whether its reader is still let in; whoever is shut out by a request is noticed at once.
const RECHECK: Duration = Duration::from_secs(5);

/// Somebody who reads the stream.
struct Reader {
    shut_out: watch::Receiver<()>,
    subscription: Subscription,
    caller: Caller,
    /// Of the request, with what lets the reader in.
    headers: HeaderMap,
    place: StreamPlace,
}

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// Streams `release`, `delivery`, `rollout` and `sync` events. `Last-Event-ID` resumes, the newest 10,000 back; where the events after it
/// are no longer there, also after a restart of the service, one `reset` says so: read everything again. What is no number is 400. The
/// stream ends when its token or session does; at most 64 are open per token, and 256 in all.
#[utoipa::path(get, path = "/events", operation_id = "streamEvents", tag = "operation",
    params(("Last-Event-ID" = Option<u64>, Header, description = "Goes on after the event with this `id`")),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "4XX", body = Problem)))]
async fn stream(
    State(web): State<Web>,
    Viewer(caller): Viewer,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let last = last_seen(&headers)?;
    let place = web.0.streams.take(&caller.0.id)?;
    let reader = Reader {
        shut_out: web.0.shut_out.subscribe(),
        subscription: web.handle().subscribe(last),
        caller,
        headers,
        place,
    };
    let notices = reader.notices(web);
    Ok(Sse::new(notices).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("still there")))
}

/// The event that the reader saw last; none for one that begins.
fn last_seen(headers: &HeaderMap) -> Answer<Option<u64>> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
        let problem = Problem::malformed("`Last-Event-ID` must be a number, the `id` of an event");
        problem.cure("leave it out to see only what happens from now on")
    })
}

impl Reader {
    /// What the reader may see, until the service stops or the reader is shut out.
    fn notices(mut self, web: Web) -> impl Stream<Item = Result<Event, Infallible>> {
        async_stream::stream! {
            let _place = self.place;
            loop {
                let notice = tokio::select! {
                    biased;
                    () = web.0.stop.cancelled() => break,
                    _ = self.shut_out.changed() => None,
                    () = tokio::time::sleep(RECHECK) => None,
                    notice = self.subscription.next() => match notice {
                        Some(notice) => Some(notice),
                        None => break,
                    },
                };
                match notice {
                    None if is_still_let_in(&web, &self.headers).await => {}
                    Some(notice) if self.caller.0.is_live(web.clock().now()) => {
                        if sees(&web, &self.caller, &notice).await {
                            yield Ok(Event::default().id(notice.id.to_string()).event(notice.kind).data(&*notice.data));
                        }
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Whether a caller may see a notice; one that names no release concerns only who may see all of them.
async fn sees(web: &Web, caller: &Caller, notice: &Notice) -> bool {
    if notice.kind == "reset" || !caller.is_scoped() {
        return true;
    }
    let data: serde_json::Value = serde_json::from_str(&notice.data).unwrap_or_default();
    let text = |field: &str| data.get(field).and_then(serde_json::Value::as_str);
    let key = text("release").or_else(|| text("key")).and_then(|key| ReleaseKey::parse(key).ok());
    match key {
        Some(key) => caller.sees_release(web, &key).await,
        None => false,
    }
}
