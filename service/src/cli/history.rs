//! `kmlflow history`: the commits of a release, newest first.

use clap::Args;
use reqwest::Method;

use super::args::Place;
use super::client::Call;
use super::error::{CliError, Exit};
use super::list::say_more;
use super::views::{history, items, text};
use super::{Context, usage};

/// Show the commits of a release, newest first.
#[derive(Debug, Args)]
#[command(after_help = usage::HISTORY)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    place: Place,
    /// At most this many, 100 at once.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Shows the history of a release.
pub(super) async fn run(args: HistoryArgs, ctx: &Context) -> Result<Exit, CliError> {
    let HistoryArgs { place, limit, cursor } = args;
    let path = place.path(&["history"]);
    let reply = ctx.client.call(Call::new(Method::GET, &path).query("limit", limit).query("cursor", cursor)).await?;
    ctx.output.data(&reply.raw, &reply.body, |color| history(items(&reply.body), ctx.now).to_text(color))?;
    say_more(&text(&reply.body, "/next"), ctx);
    Ok(Exit::Done)
}
