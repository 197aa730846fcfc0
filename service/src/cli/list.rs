//! `kmlflow list` and `kmlflow get`: which releases there are, and one of them in full.

use clap::Args;
use reqwest::Method;

use super::args::{Place, page_size};
use super::client::Call;
use super::error::{CliError, Exit};
use super::hold;
use super::output::Format;
use super::views::{items, release, releases, text};
use super::{Context, usage};
use crate::names::{EnvironmentName, ModelName, Namespace};
use crate::release::Strategy;

/// List releases.
#[derive(Debug, Args)]
#[command(after_help = usage::LIST)]
pub(super) struct ListArgs {
    /// Only of this environment.
    #[arg(short, long, value_name = "ENVIRONMENT")]
    environment: Option<EnvironmentName>,
    /// Only of this namespace.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<Namespace>,
    /// Only of this model.
    #[arg(long, value_name = "M")]
    model: Option<ModelName>,
    /// Only with this strategy.
    #[arg(long, value_name = "S")]
    strategy: Option<Strategy>,
    /// Only in this phase: entering, running, leaving or settled.
    #[arg(long, value_name = "PHASE")]
    phase: Option<String>,
    /// Only with this status: live, syncing, degraded, stalled, retracting, unknown, outdated, drifted or invalid.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only with this in the name of the release or model.
    #[arg(value_name = "PART")]
    q: Option<String>,
    /// At most this many, 100 at once.
    #[arg(long, value_name = "N", value_parser = page_size)]
    limit: Option<u32>,
    /// Go on where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Show one release in full.
#[derive(Debug, Args)]
#[command(after_help = usage::GET)]
pub(super) struct GetArgs {
    #[command(flatten)]
    place: Place,
}

/// Lists releases.
pub(super) async fn list(args: ListArgs, ctx: &Context) -> Result<Exit, CliError> {
    let ListArgs { environment, namespace, model, strategy, phase, status, q, limit, cursor } = args;
    let within = environment.clone();
    let call = Call::new(Method::GET, &["releases"])
        .query("environment", environment)
        .query("namespace", namespace)
        .query("model", model)
        .query("strategy", strategy)
        .query("phase", phase)
        .query("status", status)
        .query("q", q)
        .query("limit", limit)
        .query("cursor", cursor);
    let reply = ctx.client.call(call).await?;
    if ctx.output.format() == Format::Text {
        hold::say(within.as_ref(), ctx).await?;
    }
    let list = items(&reply.body);
    if list.is_empty() {
        ctx.output.progress("there is no such release; `kmlflow release --help` shows how to make one");
    }
    ctx.output.data(&reply.raw, &reply.body, |color| {
        if list.is_empty() { String::new() } else { releases(list, ctx.now).to_text(color) }
    })?;
    say_more(&text(&reply.body, "/next"), ctx);
    Ok(Exit::Done)
}

/// Shows one release.
pub(super) async fn get(args: GetArgs, ctx: &Context) -> Result<Exit, CliError> {
    let reply = ctx.client.get(&args.place.path(&[])).await?;
    ctx.output.data(&reply.raw, &reply.body, |color| release(&reply.body, ctx.now, color))?;
    Ok(Exit::Done)
}

/// Says that a list goes on.
pub(super) fn say_more(next: &str, ctx: &Context) {
    if !next.is_empty() {
        ctx.output.progress(&format!("there are more: --cursor {next}"));
    }
}
