//! `kmlflow watch`: what happens, one line each, as the service says it by server-sent events.

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Call;
use super::error::{CliError, Exit};
use super::output::{Format, Output};
use super::table::{Tone, plain};
use super::views::{commit, items, key, text};
use super::{Context, asked_to_stop, usage};
use crate::names::{EnvironmentName, Namespace, ReleaseName};

/// How long to wait before connecting again; the ring of the service forgets nothing in so short a time.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// How often a lost connection is taken up again before giving up: half a minute, longer than a restart takes.
const RECONNECTS_MAX: u32 = 30;

/// The longest line of an event; a longer one is no event of this service.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Print what happens, one line each, until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = usage::WATCH)]
pub(super) struct WatchArgs {
    /// Only this release; everything unless given.
    #[arg(value_name = "NAME")]
    name: Option<ReleaseName>,
    /// Only of this namespace.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<Namespace>,
    /// Only of this environment.
    #[arg(short, long, value_name = "ENVIRONMENT")]
    environment: Option<EnvironmentName>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happening {
    pub id: String,
    pub kind: String,
    pub data: Value,
}

/// Watches until it is asked to stop.
pub(super) async fn run(args: WatchArgs, ctx: &Context) -> Result<Exit, CliError> {
    let output = &ctx.output;
    check(&args, ctx).await?;
    output.progress("watching; Ctrl-C ends it");
    let each = |happening: &Happening| if concerns(&args, happening) { print(happening, output) } else { Ok(()) };
    tokio::select! {
        ended = follow(ctx, each) => ended.map(|()| Exit::Done),
        () = asked_to_stop() => Ok(Exit::Done),
    }
}

/// Hands on everything that happens, and connects again where the connection breaks.
pub(super) async fn follow(
    ctx: &Context,
    mut each: impl FnMut(&Happening) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut last_id = String::new();
    let mut failures = 0;
    loop {
        let id = Some(last_id.as_str()).filter(|id| !id.is_empty());
        match ctx.client.events(id).await {
            Ok(stream) => {
                failures = 0;
                let mut stream = std::pin::pin!(stream);
                let mut reader = Reader::default();
                while let Some(Ok(bytes)) = stream.next().await {
                    for happening in reader.push(bytes.as_ref())? {
                        each(&happening)?;
                        last_id = happening.id;
                    }
                }
                ctx.output.progress("the connection ended; connecting again");
            }
            Err(error)
                if last_id.is_empty() && failures == 0 || error.exit != Exit::Failed || failures >= RECONNECTS_MAX =>
            {
                return Err(error);
            }
            Err(_) => failures += 1,
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// Refuses to watch what is not there: nothing would ever show.
async fn check(args: &WatchArgs, ctx: &Context) -> Result<(), CliError> {
    let WatchArgs { name, namespace, environment } = args;
    let mut cursor = String::new();
    loop {
        let call = Call::new(Method::GET, &["releases"])
            .query("environment", environment.as_ref())
            .query("namespace", namespace.as_ref())
            .query("q", name.as_ref())
            .query("cursor", Some(&cursor).filter(|cursor| !cursor.is_empty()));
        let page = ctx.client.call(call).await?.body;
        let Some(name) = name else { return Ok(()) };
        if items(&page).iter().any(|release| text(release, "/metadata/name") == name.as_str()) {
            return Ok(());
        }
        cursor = text(&page, "/next");
        if cursor.is_empty() {
            return Err(CliError::new(Exit::NotFound, format!("there is no release called `{name}` to watch"))
                .hint("`kmlflow list` shows what there is; `kmlflow watch` without a name shows everything"));
        }
    }
}

/// Reads the format of server-sent events from bytes as they come.
#[derive(Debug, Default)]
struct Reader {
    buffer: Vec<u8>,
    id: String,
    kind: String,
    data: String,
}

impl Reader {
    /// Takes in bytes and gives what is complete.
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<Happening>, CliError> {
        self.buffer.extend_from_slice(bytes);
        let mut complete = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            complete.extend(self.line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n'])));
        }
        if self.buffer.len() + self.data.len() > LINE_BYTES_MAX {
            return Err(CliError::failed("the service sends something that is no event"));
        }
        Ok(complete)
    }

    fn line(&mut self, line: &str) -> Option<Happening> {
        if line.is_empty() {
            let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
            if data.is_empty() {
                return None;
            }
            let data = serde_json::from_str(&data).unwrap_or(Value::String(data));
            return Some(Happening { id: self.id.clone(), kind, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.kind),
            "data" if self.data.is_empty() => value.clone_into(&mut self.data),
            "data" => self.data.extend(["\n", value]),
            _ => {}
        }
        None
    }
}

/// Prints something that happened.
fn print(happening: &Happening, output: &Output) -> Result<(), CliError> {
    let Happening { id, kind, data } = happening;
    let object = || json!({"id": id, "event": kind, "data": data});
    match output.format() {
        Format::Text => output.line(&line(happening, Timestamp::now(), output.color())),
        Format::Json => output.line(&object().to_string()),
        Format::Yaml => output.write(&format!("---\n{}", crate::release::to_yaml(&object()).unwrap_or_default())),
    }
}

/// Something that happened, as one line.
pub(super) fn line(happening: &Happening, now: Timestamp, color: bool) -> String {
    let Happening { kind, data, .. } = happening;
    let time = now.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string();
    format!("{}  {:<9} {}", Tone::Dim.paint(&time, color), plain(kind), plain(&what(kind, data)))
}

fn what(kind: &str, data: &Value) -> String {
    if kind == "reset" {
        return "more happened than is remembered; what was missed shows in `kmlflow list`".to_owned();
    }
    let said = ["/summary", "/reason", "/waitsFor"]
        .map(|field| text(data, field))
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    let commit = Some(commit(data, "/commit"))
        .filter(|commit| !commit.is_empty())
        .map(|commit| format!("(commit {commit})"))
        .unwrap_or_default();
    let words = match kind {
        "sync" => vec![name(data), text(data, "/status/state"), text(data, "/status/reason")],
        "delivery" => vec![text(data, "/source"), text(data, "/state"), name(data), said, commit],
        _ if said.is_empty() => vec![name(data), text(data, "/action"), text(data, "/phase"), commit],
        _ => vec![name(data), said, commit],
    };
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `environment/namespace/name` of what it is about, where it is about a release.
fn name(data: &Value) -> String {
    match data.get("release") {
        _ if data.get("metadata").is_some() => key(data),
        Some(Value::String(name)) => name.clone(),
        Some(release) if release.get("metadata").is_some() => key(release),
        Some(release) => ["environment", "namespace", "name"].map(|part| text(release, &format!("/{part}"))).join("/"),
        None => text(data, "/key"),
    }
}

fn concerns(args: &WatchArgs, happening: &Happening) -> bool {
    let WatchArgs { name: release, namespace, environment } = args;
    if release.is_none() && namespace.is_none() && environment.is_none() || happening.kind == "reset" {
        return true;
    }
    let whole = name(&happening.data);
    let mut parts = whole.split('/');
    let mut is = |wanted: Option<&str>| {
        let part = parts.next();
        wanted.is_none_or(|wanted| part == Some(wanted))
    };
    is(environment.as_ref().map(EnvironmentName::as_str))
        & is(namespace.as_ref().map(Namespace::as_str))
        & is(release.as_ref().map(ReleaseName::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&str]) -> Vec<Happening> {
        let mut reader = Reader::default();
        chunks.iter().flat_map(|chunk| reader.push(chunk.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let whole = ": keep-alive\n\nid: 7\nevent: release\ndata: {\"a\":\ndata: 1}\n\n";
        let expected = vec![Happening { id: "7".into(), kind: "release".into(), data: json!({"a": 1}) }];
        assert_eq!(read(&[whole]), expected);
        for cut in 0..whole.len() {
            assert_eq!(read(&[&whole[..cut], &whole[cut..]]), expected, "{cut}");
        }
        assert_eq!(read(&[&whole.replace('\n', "\r\n")]), expected);
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut reader = Reader::default();
        assert!(reader.push(&vec![b'x'; LINE_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn what_happened_is_one_line_without_gaps() {
        let delivery =
            json!({"source": "api", "state": "applied", "release": "production/models/fraud", "commit": "0123456789"});
        assert_eq!(what("delivery", &delivery), "api applied production/models/fraud (commit 0123456)");
        let release =
            json!({"release": "production/models/fraud", "summary": "25 % to version 3", "commit": "0123456789"});
        assert_eq!(what("release", &release), "production/models/fraud 25 % to version 3 (commit 0123456)");
    }

    #[test]
    fn only_what_concerns_the_release_is_shown() {
        let args = WatchArgs {
            name: Some("fraud".parse().unwrap()),
            namespace: None,
            environment: Some("production".parse().unwrap()),
        };
        let of = |data: Value| concerns(&args, &Happening { id: String::new(), kind: "delivery".into(), data });
        assert!(of(json!({"release": "production/models/fraud"})));
        assert!(of(json!({"release": {"environment": "production", "namespace": "x", "name": "fraud"}})));
        assert!(
            !of(json!({"release": "staging/models/fraud"}))
                && !of(json!({"release": "production/models/churn"}))
                && !of(json!({}))
        );
    }
}
