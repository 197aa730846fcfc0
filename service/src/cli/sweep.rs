//! `kmlflow sweep`: compares the whole registry with what is deployed, and has repaired what differs; and that with the clusters.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::Call;
use super::diff::differences;
use super::error::{CliError, Exit};
use super::table::{Cell, Table, Tone, plain};
use super::views::{items, text};
use super::{Context, usage};

/// Compare registry, Git and clusters, and repair where Git is behind the registry.
#[derive(Debug, Args)]
#[command(after_help = usage::SWEEP)]
pub(super) struct SweepArgs {
    /// Show what differs and what would be done about it, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Sweeps.
pub(super) async fn run(args: SweepArgs, ctx: &Context) -> Result<Exit, CliError> {
    let call = Call::new(Method::POST, &["sweep"]).flag("dryRun", args.dry_run).patient();
    let reply = ctx.client.call(call).await?;
    ctx.output.data(&reply.raw, &reply.body, |color| {
        shown(&reply.body, color) + &agreed(&reply.body) + &drift(&reply.body, color)
    })?;
    Ok(Exit::Done)
}

fn shown(report: &Value, color: bool) -> String {
    let list = items(&report["differences"]);
    if report["registry"] == false {
        return "no registry was compared: no tracking server is configured\n".to_owned();
    }
    if list.is_empty() {
        return format!("{}: registry and Git agree\n", counted(report, "models", "model"));
    }
    let mut table = Table::new(&["RELEASE", "MODEL", "OUTCOME", "WHY"]);
    for entry in list {
        let kind = text(entry, "/kind");
        let tone = if matches!(kind.as_str(), "refused" | "deleted" | "changed") { Tone::Bad } else { Tone::Plain };
        let why = match text(entry, "/cure") {
            cure if cure.is_empty() => text(entry, "/reason"),
            cure => format!("{}; {cure}", text(entry, "/reason")),
        };
        let kind = if kind == "repaired" && report["dryRun"] == true { "would be repaired".to_owned() } else { kind };
        table.row([
            Cell::new(&text(entry, "/release"), Tone::Strong),
            text(entry, "/model").into(),
            Cell::new(&kind, tone),
            why.into(),
        ]);
    }
    table.to_text(color)
}

/// What was compared with the clusters, where nothing of it differs.
fn agreed(report: &Value) -> String {
    let clusters: Vec<&str> = items(&report["clusters"]).iter().filter_map(Value::as_str).collect();
    let is_blind = !items(&report["unseen"]).is_empty();
    let mut text = match clusters.as_slice() {
        [] if is_blind => return String::new(),
        [] => "no cluster was compared: none is watched\n".to_owned(),
        names if items(&report["drift"]).is_empty() => {
            format!("{}: Git and {} agree\n", counted(report, "releases", "release"), plain(&names.join(", ")))
        }
        _ => String::new(),
    };
    if report["underWay"].as_u64().is_some_and(|number| number > 0) {
        text += &format!("not compared: {} on the way to live\n", counted(report, "underWay", "release"));
    }
    text
}

/// `1 model`, `3 models`.
fn counted(report: &Value, field: &str, what: &str) -> String {
    let number = report.get(field).and_then(Value::as_u64).unwrap_or_default();
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// One table per release that differs from its cluster.
fn drift(report: &Value, color: bool) -> String {
    let mut text_of_all = String::new();
    for entry in items(&report["drift"]) {
        let [release, cluster, place] = ["/release", "/cluster", "/place"].map(|field| text(entry, field));
        let head = match release.as_str() {
            "" => format!("{place} in the cluster {cluster}, of no release:"),
            release => format!("{release}, in the cluster {cluster}:"),
        };
        text_of_all += &format!("\n{}\n{}", plain(&head), differences(items(&entry["differences"]), color));
    }
    let unseen = items(&report["unseen"]).iter().filter_map(Value::as_str);
    let unseen: String = unseen.map(|why| format!("\nnot compared: {}\n", plain(why))).collect();
    text_of_all + &unseen
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_says_what_differs_why_and_what_helps() {
        let none = json!({"registry": true, "models": 3, "differences": []});
        assert_eq!(shown(&none, false), "3 models: registry and Git agree\n");
        let report = json!({"models": 3, "dryRun": true, "differences": [
            {"release": "production/models/fraud", "model": "fraud", "kind": "repaired", "reason": "version 2 is the stable one", "cure": null},
            {"release": "production/models/churn", "model": "churn", "kind": "deleted", "reason": "version 1 is gone", "cure": "release another version"},
        ]});
        let text = shown(&report, false);
        assert!(
            text.contains("would be repaired") && text.contains("version 1 is gone; release another version"),
            "{text}"
        );
        assert!(text.lines().nth(1).unwrap().ends_with("version 2 is the stable one"), "{text}");
    }

    #[test]
    fn what_was_not_compared_does_not_agree() {
        let all = |report: Value| shown(&report, false) + &agreed(&report);
        let cluster_alone = json!({"registry": false, "models": 0, "differences": [], "clusters": ["in-cluster"], "releases": 2, "drift": [], "unseen": []});
        let text = all(cluster_alone);
        assert_eq!(
            text,
            "no registry was compared: no tracking server is configured\n2 releases: Git and in-cluster agree\n"
        );
        let registry_alone = json!({"registry": true, "models": 1, "differences": [], "clusters": [], "drift": []});
        assert_eq!(all(registry_alone), "1 model: registry and Git agree\nno cluster was compared: none is watched\n");
        let blind = json!({"registry": true, "models": 1, "differences": [], "clusters": [], "unseen": ["it is away"]});
        assert_eq!(all(blind), "1 model: registry and Git agree\n", "the reason stands below");
        let under_way = json!({"clusters": ["c"], "releases": 1, "underWay": 1, "drift": [{}]});
        assert_eq!(agreed(&under_way), "not compared: 1 release on the way to live\n");
    }

    #[test]
    fn each_release_that_differs_from_its_cluster_has_a_table() {
        let one = json!({"kind": "orphaned", "object": "Service/left", "field": "", "want": "no", "have": "yes", "cure": "delete it"});
        let report = json!({"drift": [
            {"release": "production/models/fraud", "cluster": "c", "place": "models/fraud", "differences": [one]},
            {"release": null, "cluster": "c", "place": "models/left", "differences": [one]},
        ], "unseen": ["it is away"]});
        let text = drift(&report, false);
        assert!(text.contains("\nproduction/models/fraud, in the cluster c:\nKIND"), "{text}");
        assert!(text.contains("\nmodels/left in the cluster c, of no release:\nKIND"), "{text}");
        assert!(text.contains("  delete it\n") && text.ends_with("not compared: it is away\n"), "{text}");
        assert_eq!(drift(&json!({"models": 1}), false), "", "a service that knows nothing of clusters");
    }
}
