//! Acts on a release: advance, promote, rollback, pause, resume, abort, weights, retract; and what every change has to say when it is done.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::args::{Place, WaitFor, Waiting, pair};
use super::client::{Call, Reply};
use super::error::{CliError, Exit};
use super::history::{is_short_commit, whole_commit};
use super::release::percentages;
use super::table::plain;
use super::views::{commit, diff, key, standing, text};
use super::{Context, usage};
use crate::names::{CommitId, Version};

/// How often a queued change is looked at: a person does not notice it, and a service does not either.
const LOOK_EVERY: Duration = Duration::from_millis(500);

macro_rules! simple_act {
    ($(#[$doc:meta])* $name:ident, $verb:literal, $help:ident) => {
        $(#[$doc])*
        #[derive(Debug, Args)]
        #[command(after_help = usage::$help)]
        pub(super) struct $name {
            #[command(flatten)]
            place: Place,
            #[command(flatten)]
            waiting: Waiting,
        }

        impl From<$name> for Order {
            fn from($name { place, waiting }: $name) -> Self {
                Self { place, verb: $verb, body: json!({}), waiting }
            }
        }
    };
}

simple_act!(
    /// Take a canary one step on, or flip a blue-green release.
    AdvanceArgs, "advance", ADVANCE
);
simple_act!(
    /// Let nothing go on by itself, but for a rollback.
    PauseArgs, "pause", PAUSE
);
simple_act!(
    /// Let a paused release go on.
    ResumeArgs, "resume", RESUME
);
simple_act!(
    /// End a run, back to the version before it.
    AbortArgs, "abort", ABORT
);
simple_act!(
    /// Remove a release from the repository.
    RetractArgs, "retract", RETRACT
);

/// End a run with the new version.
#[derive(Debug, Args)]
#[command(after_help = usage::PROMOTE)]
pub(super) struct PromoteArgs {
    #[command(flatten)]
    place: Place,
    /// ab: the arm that wins.
    #[arg(long, value_name = "V")]
    variant: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Go back to the newest settled state before the present one.
#[derive(Debug, Args)]
#[command(after_help = usage::ROLLBACK)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    place: Place,
    /// To this commit of the history, or to this version.
    #[arg(long, value_name = "COMMIT|VERSION", value_parser = rollback_to)]
    to: Option<Value>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Change the shares of an A/B release, or the percentage of a shadow.
#[derive(Debug, Args)]
#[command(after_help = usage::WEIGHTS)]
pub(super) struct WeightsArgs {
    #[command(flatten)]
    place: Place,
    /// ab: a=70,b=30; shadow: the mirrored percentage.
    #[arg(value_name = "WEIGHTS")]
    weights: String,
    #[command(flatten)]
    waiting: Waiting,
}

/// An act that was ordered.
#[derive(Debug)]
pub(super) struct Order {
    place: Place,
    verb: &'static str,
    body: Value,
    waiting: Waiting,
}

impl From<PromoteArgs> for Order {
    fn from(PromoteArgs { place, variant, waiting }: PromoteArgs) -> Self {
        let body = variant.map_or_else(|| json!({}), |variant| json!({ "variant": variant }));
        Self { place, verb: "promote", body, waiting }
    }
}

impl From<RollbackArgs> for Order {
    fn from(RollbackArgs { place, to, waiting }: RollbackArgs) -> Self {
        let body = to.map_or_else(|| json!({}), |to| json!({ "to": to }));
        Self { place, verb: "rollback", body, waiting }
    }
}

impl TryFrom<WeightsArgs> for Order {
    type Error = CliError;

    fn try_from(WeightsArgs { place, weights, waiting }: WeightsArgs) -> Result<Self, CliError> {
        Ok(Self { place, verb: "weights", body: shares(&weights)?, waiting })
    }
}

/// Carries out an act.
pub(super) async fn run(order: Order, ctx: &Context) -> Result<Exit, CliError> {
    let Order { place, verb, mut body, waiting } = order;
    if let Some(digits) = body.pointer("/to/digits").and_then(Value::as_str) {
        body = json!({ "to": { "commit": whole_commit(&place, digits, ctx).await? } });
    } else if let Some(digits) = body.pointer("/to/version").and_then(Value::as_str).filter(|v| is_short_commit(v)) {
        // Digits of a commit may all be decimal; a version of so many digits is not seen in a registry.
        if let Ok(commit) = whole_commit(&place, digits, ctx).await {
            body = json!({ "to": { "commit": commit } });
        }
    }
    let path = place.path(&[verb]);
    let call = match verb {
        "retract" => Call::new(Method::DELETE, &path[..path.len() - 1]),
        _ => Call::new(Method::POST, &path).body(body),
    };
    change(call, &waiting, ctx).await
}

/// Makes a call that changes a release, waits for its end where that was asked for, and prints what came of it.
pub(super) async fn change(call: Call<'_>, waiting: &Waiting, ctx: &Context) -> Result<Exit, CliError> {
    let Waiting { wait, timeout, idempotency_key } = waiting;
    let call = call.query("wait", wait.map(WaitFor::as_str)).idempotency_key(idempotency_key.clone());
    let reply = ctx.client.call(call).await?;
    if reply.status != 202 {
        ctx.output.data(&reply.raw, &reply.body, |_| outcome(&reply.body))?;
        return Ok(Exit::Done);
    }
    match (wait, &reply.location) {
        (Some(_), Some(location)) => until_done(location, timeout.as_duration(), ctx).await,
        _ => {
            ctx.output.data(&reply.raw, &reply.body, |_| outcome(&reply.body))?;
            ctx.output.progress("it is done later, also after a restart; `kmlflow deliveries list` shows it, `--wait committed` waits for it");
            Ok(Exit::Deadline)
        }
    }
}

/// Prints what a request would do.
pub(super) fn show_preview(reply: &Reply, ctx: &Context) -> Result<Exit, CliError> {
    ctx.output.data(&reply.raw, &reply.body, |color| preview(&reply.body, color))?;
    Ok(Exit::Done)
}

/// Looks at a queued change until it is done or the time is over.
async fn until_done(location: &str, timeout: Duration, ctx: &Context) -> Result<Exit, CliError> {
    let deadline = Instant::now() + timeout;
    let mut said = String::new();
    loop {
        let reply = ctx.client.follow(location).await?;
        let state = text(&reply.body, "/state");
        let reason = text(&reply.body, "/reason");
        match state.as_str() {
            "applied" | "unchanged" | "ignored" => {
                ctx.output.data(&reply.raw, &reply.body, |_| delivery_line(&reply.body))?;
                return Ok(Exit::Done);
            }
            "refused" => {
                let error = CliError::new(Exit::Refused, reason);
                let cure = Some(text(&reply.body, "/cure")).filter(|cure| !cure.is_empty());
                return Err(CliError { hint: cure, ..error });
            }
            _ => {}
        }
        let waits_for = Some(text(&reply.body, "/waitsFor")).filter(|text| !text.is_empty()).unwrap_or(reason);
        if waits_for != said {
            ctx.output.progress(&format!("waiting: {waits_for}"));
            said = waits_for;
        }
        if Instant::now() >= deadline {
            return Err(CliError::new(Exit::Deadline, format!("still queued: {said}"))
                .hint("it is done later all the same; look with `kmlflow deliveries list`"));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn delivery_line(delivery: &Value) -> String {
    let mut line = format!("{}: {}", text(delivery, "/release"), text(delivery, "/state"));
    let commit = commit(delivery, "/commit");
    if !commit.is_empty() {
        line.push_str(&format!(", commit {commit}"));
    }
    format!("{line}\n")
}

/// What came of a change, in one or two lines.
fn outcome(body: &Value) -> String {
    let release = body.get("release").filter(|release| release.is_object());
    let name = release.map(key).unwrap_or_default();
    let commit = commit(body, "/commit");
    let state = text(body, "/state");
    if !state.is_empty() && release.is_none() && body.get("changed").is_none() {
        let waits_for = text(body, "/waitsFor");
        let waits_for = if waits_for.is_empty() { String::new() } else { format!(": {waits_for}") };
        return format!("{state}{waits_for}\n");
    }
    let changed = body.get("changed").and_then(Value::as_bool).unwrap_or(true);
    match (release, changed) {
        (Some(release), true) => {
            let (standing, endpoint) = (standing(release), text(release, "/endpoint"));
            format!("{name}: {standing}\ncommit {commit}, {endpoint}\n{}", serves(release))
        }
        (Some(release), false) => format!("{name}: nothing had to change; {}\n", standing(release)),
        (None, true) => format!("retracted, commit {commit}\n"),
        (None, false) => "nothing had to change\n".to_owned(),
    }
}

/// What serves each variant, in one line: an image that nobody named shows here.
fn serves(release: &Value) -> String {
    let variants = release.pointer("/spec/variants").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let each: Vec<String> = variants
        .iter()
        .map(|variant| {
            let artifact = ["/image", "/modelUri"].map(|field| text(variant, field)).concat();
            plain(&format!("{} {artifact}", text(variant, "/predictor")))
        })
        .collect();
    if each.is_empty() { String::new() } else { format!("serves {}\n", each.join(", ")) }
}

/// What would come of a request: a sentence, what it would wait for, then the difference.
pub(super) fn preview(body: &Value, color: bool) -> String {
    let [summary, action, waits_for] = ["/summary", "/action", "/waitsFor"].map(|field| text(body, field));
    let waits = if waits_for.is_empty() { String::new() } else { format!("would wait first: {waits_for}\n") };
    let said = if action.is_empty() { summary } else { format!("would {action}: {summary}") };
    format!("{waits}{said}\n{}", diff(&text(body, "/diff"), color))
}

fn shares(given: &str) -> Result<Value, CliError> {
    if let Ok(percent) = given.trim_end_matches('%').parse::<u8>() {
        return Ok(json!({ "percent": percent }));
    }
    let pairs = given.split(',').map(pair).collect::<Result<Vec<_>, _>>();
    let pairs = pairs.map_err(|_| {
        CliError::usage(format!("`{}` are no weights", crate::names::shown(given)))
            .hint("write a=70,b=30 for an A/B release, 20 for a shadow")
    })?;
    Ok(json!({ "weights": percentages(&pairs)? }))
}

/// Reads where a rollback goes: a version, a commit, or the first digits of one, to be looked up.
fn rollback_to(given: &str) -> Result<Value, String> {
    if let Ok(version) = Version::parse(given) {
        return Ok(json!({ "version": version }));
    }
    if let Ok(commit) = CommitId::parse(given) {
        return Ok(json!({ "commit": commit }));
    }
    if is_short_commit(given) {
        Ok(json!({ "digits": given }))
    } else {
        Err("must be a version, or a commit of `kmlflow history`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_shares_of_arms_or_one_percentage() {
        assert_eq!(shares("a=70,b=30").unwrap(), json!({"weights": {"a": 70, "b": 30}}));
        assert_eq!(shares("20").unwrap(), json!({"percent": 20}));
        assert_eq!(shares("20%").unwrap(), json!({"percent": 20}));
        for bad in ["", "a", "a=x", "a=-1,b=101", "a=50,a=50", "NaN", "300"] {
            assert_eq!(shares(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_rollback_goes_to_a_version_or_a_commit() {
        assert_eq!(rollback_to("6").unwrap(), json!({"version": "6"}));
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(rollback_to(commit).unwrap(), json!({"commit": commit}));
        assert_eq!(rollback_to("0123abc").unwrap(), json!({"digits": "0123abc"}));
        assert!(rollback_to("0123").is_err() && rollback_to("HEAD").is_err());
    }

    #[test]
    fn an_outcome_says_where_the_release_stands_now() {
        let release = json!({"metadata": {"environment": "production", "namespace": "models", "name": "fraud"}, "spec": {"strategy": "canary"},
            "rollout": {"phase": "running"}, "split": [{"predictor": "v8", "weight": 5, "mirror": 0}], "endpoint": "http://fraud"});
        let body = json!({"release": release, "commit": "0123456789", "changed": true});
        assert_eq!(outcome(&body), "production/models/fraud: canary, running: v8 5%\ncommit 0123456, http://fraud\n");
        let mut served = release.clone();
        served["spec"]["variants"] = json!([{"predictor": "v7", "image": "registry.example/fraud:7"}, {"predictor": "v8", "modelUri": "s3://m/8"}]);
        let said = outcome(&json!({"release": served, "commit": "0123456789", "changed": true}));
        assert!(said.ends_with("\nserves v7 registry.example/fraud:7, v8 s3://m/8\n"), "{said}");
        let body = json!({"release": release, "commit": "0123456789", "changed": false});
        assert!(outcome(&body).contains("nothing had to change"));
        assert_eq!(outcome(&json!({"state": "queued", "waitsFor": "v7 is not ready"})), "queued: v7 is not ready\n");
        assert_eq!(
            outcome(&json!({"release": null, "commit": "0123456789", "changed": true})),
            "retracted, commit 0123456\n"
        );
    }
}
