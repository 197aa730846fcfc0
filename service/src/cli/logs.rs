//! `kmlflow logs`: what the pod of a release says that is in trouble.

use clap::Args;
use serde_json::Value;

use super::args::Place;
use super::error::{CliError, Exit};
use super::table::plain;
use super::views::text;
use super::{Context, usage};

/// Print the end of the log of a release's pod that is in trouble.
#[derive(Debug, Args)]
#[command(after_help = usage::LOGS)]
pub(super) struct LogsArgs {
    #[command(flatten)]
    place: Place,
}

/// Prints the log.
pub(super) async fn logs(args: LogsArgs, ctx: &Context) -> Result<Exit, CliError> {
    let reply = ctx.client.get(&args.place.path(&["logs"])).await?;
    let items = reply.body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    if items.is_empty() {
        ctx.output.progress("no pod of it is in trouble; `kubectl logs` has those of the others");
    }
    ctx.output.data(&reply.raw, &reply.body, |_| items.iter().map(shown).collect())?;
    Ok(Exit::Done)
}

/// A log below a line that says whose it is. What a pod writes may be anything, and does not move the cursor of whoever reads it.
fn shown(log: &Value) -> String {
    let which = if log.get("previous") == Some(&Value::Bool(true)) { "the run that failed" } else { "the present run" };
    let head = format!("--- {} {}, {which}\n", text(log, "/pod"), text(log, "/container"));
    let lines = text(log, "/text").lines().map(|line| plain(line) + "\n").collect::<String>();
    head + &lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_log_is_shown_below_its_pod_and_moves_no_cursor() {
        let log = json!({"pod": "fraud-1", "container": "model", "previous": true, "text": "a\n\u{1b}[2Jb\n"});
        let shown = shown(&log);
        assert!(shown.starts_with("--- fraud-1 model, the run that failed\na\n"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
