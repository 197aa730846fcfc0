//! `kmlflow rerender`: brings the files of releases up to date with the present templates, and says who restarts.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Call;
use super::error::{CliError, Exit};
use super::table::{Cell, Table, Tone};
use super::views::{commit, items, text, words};
use super::{Context, usage};
use crate::names::{EnvironmentName, Namespace, ReleaseName};

/// Render releases again with the present templates.
#[derive(Debug, Args)]
#[command(after_help = usage::RERENDER)]
pub(super) struct RerenderArgs {
    /// These releases.
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<ReleaseName>,
    /// Every release that is outdated.
    #[arg(long)]
    all: bool,
    /// Only of this namespace.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<Namespace>,
    /// Only of this environment.
    #[arg(short, long, value_name = "ENVIRONMENT")]
    environment: Option<EnvironmentName>,
    /// At most so many a minute, such as 10/min; they are accepted at once and rendered in turn.
    #[arg(long, value_name = "N/min", value_parser = rate)]
    rate: Option<u32>,
    /// Show what would change and who would restart, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Renders releases again.
pub(super) async fn run(args: RerenderArgs, ctx: &Context) -> Result<Exit, CliError> {
    let RerenderArgs { names, all, namespace, environment, rate, dry_run } = args;
    let mut body = json!({"names": names, "all": all, "dryRun": dry_run});
    if let Some(namespace) = namespace {
        body["namespace"] = json!(namespace);
    }
    if let Some(environment) = environment {
        body["environment"] = json!(environment);
    }
    if let Some(rate) = rate {
        body["rate"] = json!(rate);
    }
    let call = Call::new(Method::POST, &["rerender"]).body(body).patient();
    let reply = ctx.client.call(call).await?;
    let list = items(&reply.body);
    ctx.output.data(&reply.raw, &reply.body, |color| {
        if list.is_empty() { "nothing is outdated\n".to_owned() } else { table(list).to_text(color) }
    })?;
    let refused = list.iter().any(|entry| text(entry, "/outcome") == "refused");
    Ok(if refused { Exit::Conflict } else { Exit::Done })
}

fn table(list: &[Value]) -> Table {
    let mut table = Table::new(&["RELEASE", "OUTCOME", "RESTARTS", "COMMIT", "WHY"]);
    for entry in list {
        let outcome = text(entry, "/outcome");
        let tone = if outcome == "refused" { Tone::Bad } else { Tone::Plain };
        table.row([
            Cell::new(&text(entry, "/release"), Tone::Strong),
            Cell::new(&outcome, tone),
            words(entry.get("restarts")).into(),
            Cell::new(&commit(entry, "/commit"), Tone::Dim),
            text(entry, "/reason").into(),
        ]);
    }
    table
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/min").unwrap_or(text);
    number.parse().ok().filter(|rate| *rate > 0).ok_or_else(|| "must be written like 10/min".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_minute() {
        assert_eq!((rate("10/min"), rate("7")), (Ok(10), Ok(7)));
        assert!(rate("0/min").is_err() && rate("fast").is_err());
    }
}
