//! `kmlflow deliveries`: what came through the doors, what became of it, and trying it once more.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::args::page_size;
use super::client::Call;
use super::error::{CliError, Exit};
use super::list::say_more;
use super::views::{deliveries, delivery, items, text};
use super::{Context, usage};
use crate::names::{EnvironmentName, Namespace, ReleaseKey, ReleaseName};

/// Show what was delivered and what became of it.
#[derive(Debug, Subcommand)]
pub(super) enum DeliveriesCommand {
    List(ListArgs),
    Show(ShowArgs),
    Redeliver(RedeliverArgs),
}

/// List deliveries, newest first.
#[derive(Debug, Args)]
#[command(after_help = usage::DELIVERIES_LIST)]
pub(super) struct ListArgs {
    /// Only from this source: mlflow, github, generic, argocd, api or sweep.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Only in this state: accepted, applied, unchanged, ignored, refused or failed.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those that led to this release, or wait for it.
    #[arg(long, value_name = "NAME")]
    release: Option<ReleaseName>,
    /// The release's namespace.
    #[arg(short, long, default_value = "models", value_name = "NAMESPACE", requires = "release")]
    namespace: Namespace,
    /// The release's environment.
    #[arg(short, long, default_value = "production", value_name = "ENVIRONMENT", requires = "release")]
    environment: EnvironmentName,
    /// At most this many, 100 at once.
    #[arg(long, value_name = "N", value_parser = page_size)]
    limit: Option<u32>,
    /// Go on where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Show one delivery.
#[derive(Debug, Args)]
#[command(after_help = usage::DELIVERIES_SHOW)]
pub(super) struct ShowArgs {
    /// Its id or number.
    #[arg(value_name = "ID")]
    id: String,
}

/// Try a delivery once more.
#[derive(Debug, Args)]
#[command(after_help = usage::DELIVERIES_REDELIVER)]
pub(super) struct RedeliverArgs {
    /// Its id or number.
    #[arg(value_name = "ID")]
    id: String,
}

/// Carries out a command about deliveries.
pub(super) async fn run(command: DeliveriesCommand, ctx: &Context) -> Result<Exit, CliError> {
    match command {
        DeliveriesCommand::List(args) => list(args, ctx).await,
        DeliveriesCommand::Show(ShowArgs { id }) => one(Call::new(Method::GET, &["deliveries", &id]), ctx).await,
        DeliveriesCommand::Redeliver(RedeliverArgs { id }) => {
            one(Call::new(Method::POST, &["deliveries", &id, "redeliver"]), ctx).await
        }
    }
}

async fn list(args: ListArgs, ctx: &Context) -> Result<Exit, CliError> {
    let ListArgs { source, state, release, namespace, environment, limit, cursor } = args;
    let release = release.map(|name| ReleaseKey { environment, namespace, name }.to_string());
    let call = Call::new(Method::GET, &["deliveries"])
        .query("source", source)
        .query("state", state)
        .query("release", release)
        .query("limit", limit)
        .query("cursor", cursor);
    let reply = ctx.client.call(call).await?;
    let list = items(&reply.body);
    if list.is_empty() {
        ctx.output.progress("nothing was delivered; `kmlflow doctor webhook` says why a signature does not match");
    }
    ctx.output.data(&reply.raw, &reply.body, |color| {
        if list.is_empty() { String::new() } else { deliveries(list, ctx.now).to_text(color) }
    })?;
    say_more(&text(&reply.body, "/next"), ctx);
    Ok(Exit::Done)
}

async fn one(call: Call<'_>, ctx: &Context) -> Result<Exit, CliError> {
    let reply = ctx.client.call(call).await?;
    ctx.output.data(&reply.raw, &reply.body, |color| delivery(&reply.body, color))?;
    Ok(Exit::Done)
}
