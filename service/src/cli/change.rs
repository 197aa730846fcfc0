//! A change of a release: asking for it, waiting for its end where that was asked for, and saying what came of it.

use std::cell::OnceCell;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::args::{WaitFor, Waiting};
use super::client::{Call, Reply};
use super::error::{CliError, Exit};
use super::live::until_live;
use super::table::plain;
use super::views::{commit, diff, key, standing, text};
use super::{Context, asked_to_stop};

/// How often a queued change is looked at: a person does not notice it, and a service does not either.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long to wait before looking again where nobody answers.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// The parts of the address of a release: `releases`, environment, namespace, name.
const RELEASE_PARTS: usize = 4;

/// How often in a row nobody may answer: half a minute, longer than a restart takes.
const RECONNECTS_MAX: u32 = 30;

/// Makes a call that changes a release, waits for its end where that was asked for, and prints what came of it.
pub(super) async fn change(call: Call<'_>, waiting: &Waiting, ctx: &Context) -> Result<Exit, CliError> {
    change_unless(call, waiting, ctx, async |_| Ok(())).await
}

/// The same, where a look at the answer may find that nothing of it should be told but an error.
pub(super) async fn change_unless(
    call: Call<'_>,
    waiting: &Waiting,
    ctx: &Context,
    look: impl AsyncFnOnce(&Reply) -> Result<(), CliError>,
) -> Result<Exit, CliError> {
    let accepted = OnceCell::new();
    let done = async {
        let Waiting { wait, timeout, idempotency_key } = waiting;
        let path = call.path();
        let call = call.query("wait", wait.map(WaitFor::as_str)).idempotency_key(idempotency_key.clone());
        let reply = ctx.client.call(call).await?;
        look(&reply).await?;
        let exit = match (wait, &reply.location) {
            (Some(_), Some(location)) if reply.status == 202 => {
                let later = accepted.get_or_init(|| later(&text(&reply.body, "/delivery")));
                until_done(location, timeout.as_duration(), later, ctx).await
            }
            _ => told(&reply, ctx),
        }?;
        match (exit, wait, path.get(..RELEASE_PARTS)) {
            (Exit::Done, Some(WaitFor::Live), Some(release)) => until_live(release, timeout.as_duration(), ctx).await,
            _ => Ok(exit),
        }
    };
    tokio::select! {
        done = done => done,
        () = asked_to_stop() => {
            let unknown = || "whether it was accepted shows in `kmlflow deliveries list`";
            ctx.output.progress(accepted.get().map_or_else(unknown, String::as_str));
            Ok(Exit::Interrupted)
        }
    }
}

/// Prints an answer; what is done later says where to look for it.
fn told(reply: &Reply, ctx: &Context) -> Result<Exit, CliError> {
    ctx.output.data(&reply.raw, &reply.body, |_| outcome(&reply.body))?;
    if reply.status != 202 {
        return Ok(Exit::Done);
    }
    ctx.output.progress(&format!("{}, `--wait committed` waits for it", later(&text(&reply.body, "/delivery"))));
    Ok(Exit::Deadline)
}

/// What is to be said of a change that nobody waits for any more.
fn later(delivery: &str) -> String {
    format!(
        "it is accepted as delivery {delivery} and done later, also after a restart; `kmlflow deliveries list` shows it"
    )
}

/// Prints what a request would do.
pub(super) fn show_preview(reply: &Reply, ctx: &Context) -> Result<Exit, CliError> {
    ctx.output.data(&reply.raw, &reply.body, |color| preview(&reply.body, color))?;
    Ok(Exit::Done)
}

/// Looks at a queued change until it is done or the time is over, also where the service starts again meanwhile.
async fn until_done(location: &str, timeout: Duration, later: &str, ctx: &Context) -> Result<Exit, CliError> {
    let deadline = Instant::now() + timeout;
    let (mut said, mut failures) = (String::new(), 0);
    loop {
        let reply = match ctx.client.follow(location).await {
            Ok(reply) => reply,
            Err(error) if error.exit == Exit::Failed => {
                failures += 1;
                if failures > RECONNECTS_MAX || Instant::now() >= deadline {
                    return Err(error.hint(later));
                }
                if failures == 1 {
                    ctx.output.progress(&format!("{}; looking again", error.sentence));
                }
                sleep(RECONNECT_AFTER).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        if let Some(ended) = ended(&reply, ctx) {
            return ended;
        }
        let waits_for = ["/waitsFor", "/reason"].map(|field| text(&reply.body, field));
        let waits_for = waits_for.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        if waits_for != said {
            ctx.output.progress(&format!("waiting: {waits_for}"));
            said = waits_for;
        }
        if Instant::now() >= deadline {
            return Err(CliError::new(Exit::Deadline, format!("still queued: {said}")).hint(later));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// How a delivery ended, where it has.
fn ended(reply: &Reply, ctx: &Context) -> Option<Result<Exit, CliError>> {
    match text(&reply.body, "/state").as_str() {
        "applied" | "unchanged" | "ignored" => {
            let shown = ctx.output.data(&reply.raw, &reply.body, |_| delivery_line(&reply.body));
            Some(shown.map(|()| Exit::Done))
        }
        "refused" => {
            let error = CliError::new(Exit::Refused, text(&reply.body, "/reason"));
            let cure = Some(text(&reply.body, "/cure")).filter(|cure| !cure.is_empty());
            Some(Err(CliError { hint: cure, ..error }))
        }
        _ => None,
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

/// Whether an answer says that nothing had to change.
pub(super) fn is_unchanged(reply: &Reply) -> bool {
    reply.body.get("changed").and_then(Value::as_bool) == Some(false)
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
    let because = match text(body, "/reason") {
        reason if reason.is_empty() => String::new(),
        reason => plain(&format!("because: {reason}")) + "\n",
    };
    let changed = body.get("changed").and_then(Value::as_bool).unwrap_or(true);
    match (release, changed) {
        (Some(release), true) => {
            let (standing, endpoint) = (standing(release), text(release, "/endpoint"));
            format!("{name}: {standing}\ncommit {commit}, {endpoint}\n{}", serves(release))
        }
        (Some(release), false) => format!("{name}: nothing had to change; {}\n{because}", standing(release)),
        (None, true) => format!("retracted, commit {commit}\n"),
        (None, false) => format!("nothing had to change\n{because}"),
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
    format!("{waits}{said}\n{}{}", signature(&body["signature"]), diff(&text(body, "/diff"), color))
}

/// How what callers send would change.
fn signature(change: &Value) -> String {
    let lines = change["lines"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let lines: String = lines.map(|line| format!("  {line}\n")).collect();
    let breaks = change["breaks"].as_array().into_iter().flatten();
    let breaks = breaks.map(|one| format!("  breaks callers: `{}` {}\n", text(one, "/input"), text(one, "/fault")));
    let more = change["moreBreaks"].as_u64().map(|more| format!("  breaks callers: … and {more} more\n"));
    let lines: String = [lines].into_iter().chain(breaks).chain(more).collect();
    match change["warning"].as_str() {
        Some(warning) => format!("signature: {warning}\n{lines}"),
        None if lines.is_empty() => String::new(),
        None => format!("signature:\n{lines}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_preview_says_what_of_the_signature_breaks_callers() {
        let breaks = json!([{"input": "height", "fault": "is new and required: `double (required)`"}]);
        let lines = json!(["+ height: double (required)"]);
        let body = json!({"summary": "s", "signature": {"lines": lines, "breaks": breaks, "moreBreaks": 2}});
        assert!(
            preview(&body, false).contains(
                "signature:\n  + height: double (required)\n  breaks callers: `height` is new and required: `double (required)`\n  \
                 breaks callers: … and 2 more\n"
            ),
            "{}",
            preview(&body, false)
        );
        let added = json!({"summary": "s", "signature": {"lines": ["+ note: string (optional)"]}});
        assert!(!preview(&added, false).contains("breaks"), "{}", preview(&added, false));
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
        assert!(!outcome(&body).contains("because"));
        let body = json!({"release": release, "commit": "0123456789", "changed": false, "reason": "it is already so"});
        assert!(outcome(&body).ends_with("\nbecause: it is already so\n"), "{}", outcome(&body));
        assert_eq!(outcome(&json!({"state": "queued", "waitsFor": "v7 is not ready"})), "queued: v7 is not ready\n");
        assert_eq!(
            outcome(&json!({"release": null, "commit": "0123456789", "changed": true})),
            "retracted, commit 0123456\n"
        );
    }
}
