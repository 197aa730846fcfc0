//! `kmlflow diff`: where Git and the cluster differ, one table per release.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::Value;

use super::args::Place;
use super::error::{CliError, Exit};
use super::table::{Cell, Table, Tone, plain};
use super::views::{items, text};
use super::{Context, usage};

/// Compare a release in Git with what the cluster has.
#[derive(Debug, Args)]
#[command(after_help = usage::DIFF)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    place: Place,
    /// End with 1 where they differ, or where that cannot be said.
    #[arg(long)]
    exit_code: bool,
}

/// Shows how Git and the cluster differ.
pub(super) async fn diff(args: DiffArgs, ctx: &Context) -> Result<Exit, CliError> {
    let reply = ctx.client.get(&args.place.path(&["diff"])).await?;
    ctx.output.data(&reply.raw, &reply.body, |color| shown(&reply.body, color))?;
    let agree = items(&reply.body["differences"]).is_empty() && text(&reply.body, "/state") != "unknown";
    Ok(if agree || !args.exit_code { Exit::Done } else { Exit::Failed })
}

fn shown(body: &Value, color: bool) -> String {
    let [release, state, reason] = ["/release", "/state", "/reason"].map(|field| text(body, field));
    let head = plain(&format!("{release}, {state}: {reason}"));
    format!("{head}\n{}", differences(items(&body["differences"]), color))
}

/// One table of differences, and below it what helps.
pub(super) fn differences(list: &[Value], color: bool) -> String {
    let mut table = Table::new(&["KIND", "OBJECT", "FIELD", "GIT", "CLUSTER"]);
    for one in list {
        let kind = text(one, "/kind");
        let tone = if kind == "unmanaged" { Tone::Plain } else { Tone::Bad };
        table.row([
            Cell::new(&kind, tone),
            Cell::new(&text(one, "/object"), Tone::Strong),
            text(one, "/field").into(),
            text(one, "/want").into(),
            text(one, "/have").into(),
        ]);
    }
    if list.is_empty() {
        return String::new();
    }
    let cures: BTreeSet<String> = list.iter().map(|one| plain(&text(one, "/cure"))).collect();
    let cures: String = cures.iter().map(|cure| format!("  {cure}\n")).collect();
    table.to_text(color) + &cures
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_difference_is_a_row_and_each_cure_is_said_once() {
        let one = |object: &str| json!({"kind": "edited", "object": object, "field": "spec.replicas", "want": "1", "have": "9", "cure": "c"});
        let body = json!({"release": "production/models/fraud", "state": "live", "reason": "they differ", "differences": [one("A/a"), one("B/b")]});
        let shown = shown(&body, false);
        assert_eq!(
            shown,
            "production/models/fraud, live: they differ\n\
             KIND     OBJECT   FIELD           GIT   CLUSTER\n\
             edited   A/a      spec.replicas   1     9\n\
             edited   B/b      spec.replicas   1     9\n  \
             c\n"
        );
        assert_eq!(differences(&[], false), "");
    }
}
