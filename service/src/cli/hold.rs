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

/// Accept and keep everything, apply nothing.
#[derive(Debug, Args)]
#[command(after_help = usage::HOLD)]
pub(super) struct HoldArgs {
    /// Why, for everybody who wonders.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only in this environment; everywhere unless given.
    #[arg(short, long, value_name = "ENVIRONMENT")]
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

/// Holds.
pub(super) async fn hold(args: HoldArgs, ctx: &Context) -> Result<Exit, CliError> {
    let HoldArgs { reason, environment } = args;
    let mut body = json!({ "reason": reason });
    if let Some(environment) = environment {
        body["environment"] = json!(environment);
    }
    show(&ctx.client.call(Call::new(Method::POST, &["hold"]).body(body)).await?, ctx)
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
