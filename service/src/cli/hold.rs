//! `kmlflow hold` and `kmlflow unhold`: accept and keep everything, apply nothing, until it is lifted.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Call, Reply};
use super::error::{CliError, Exit};
use super::table::{Cell, Table, Tone};
use super::views::{age, items, text};
use super::{Context, usage};
use crate::names::EnvironmentName;

/// Accept and keep everything, apply nothing; without a reason, list what is held.
#[derive(Debug, Args)]
#[command(after_help = usage::HOLD)]
pub(super) struct HoldArgs {
    /// Why, for everybody who wonders.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only in this environment; everywhere unless given.
    #[arg(short, long, value_name = "ENVIRONMENT", requires = "reason")]
    environment: Option<EnvironmentName>,
}

/// Apply again, beginning with what was kept.
#[derive(Debug, Args)]
#[command(after_help = usage::UNHOLD)]
pub(super) struct UnholdArgs {
    /// Only in this environment; everywhere unless given.
    #[arg(short, long, value_name = "ENVIRONMENT")]
    environment: Option<EnvironmentName>,
    /// Why, for the log.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Holds, or lists what is held.
pub(super) async fn hold(args: HoldArgs, ctx: &Context) -> Result<Exit, CliError> {
    let HoldArgs { reason, environment } = args;
    let present = ctx.client.get(&["hold"]).await?;
    let Some(reason) = reason else { return show(&present, ctx) };
    let scope = environment.as_ref().map(ToString::to_string).unwrap_or_default();
    let former = items(&present.body).iter().find(|hold| text(hold, "/environment") == scope);
    let mut body = json!({ "reason": reason });
    if let Some(environment) = environment {
        body["environment"] = json!(environment);
    }
    let reply = ctx.client.call(Call::new(Method::POST, &["hold"]).body(body)).await?;
    if let Some(former) = former {
        ctx.output.progress(&format!("it replaces a former hold: {}", sentence(former, ctx)));
    }
    show(&reply, ctx)
}

/// Says on stderr what is held, of everything or of one environment: nothing else explains why nothing happens.
pub(super) async fn say(environment: Option<&EnvironmentName>, ctx: &Context) -> Result<(), CliError> {
    let reply = ctx.client.get(&["hold"]).await?;
    for hold in items(&reply.body) {
        let held = text(hold, "/environment");
        if held.is_empty() || environment.is_none_or(|environment| environment.as_str() == held) {
            ctx.output.progress(&format!("{}; `kmlflow unhold{}` lifts it", sentence(hold, ctx), option(&held)));
        }
    }
    Ok(())
}

/// The option that names an environment, where one is named.
fn option(environment: &str) -> String {
    if environment.is_empty() { String::new() } else { format!(" -e {environment}") }
}

/// `everything is held by ada for 3m: incident 4711`.
fn sentence(hold: &Value, ctx: &Context) -> String {
    let environment = text(hold, "/environment");
    let held = if environment.is_empty() { "everything".to_owned() } else { format!("environment `{environment}`") };
    let (by, since, reason) = (text(hold, "/by"), age(hold, "/since", ctx.now), text(hold, "/reason"));
    format!("{held} is held by {by} for {since}: {reason}")
}

/// Lifts a hold.
pub(super) async fn unhold(args: UnholdArgs, ctx: &Context) -> Result<Exit, CliError> {
    let UnholdArgs { environment, reason } = args;
    show(
        &ctx.client
            .call(Call::new(Method::DELETE, &["hold"]).query("environment", environment).query("reason", reason))
            .await?,
        ctx,
    )
}

fn show(reply: &Reply, ctx: &Context) -> Result<Exit, CliError> {
    ctx.output.data(&reply.raw, &reply.body, |color| {
        let list = items(&reply.body);
        if list.is_empty() { "nothing is held\n".to_owned() } else { holds(list, ctx).to_text(color) }
    })?;
    Ok(Exit::Done)
}

fn holds(list: &[Value], ctx: &Context) -> Table {
    let mut table = Table::new(&["HELD", "AGE", "BY", "REASON"]);
    for hold in list {
        let environment = text(hold, "/environment");
        let held = if environment.is_empty() { "everything" } else { &environment };
        table.row([
            Cell::new(held, Tone::Warn),
            age(hold, "/since", ctx.now).into(),
            text(hold, "/by").into(),
            text(hold, "/reason").into(),
        ]);
    }
    table
}
