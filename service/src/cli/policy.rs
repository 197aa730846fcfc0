//! `kmlflow policy test`: what would be released, and by which rule.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::pair;
use super::client::Call;
use super::error::{CliError, Exit};
use super::table::{Cell, Tone, facts, plain};
use super::views::text;
use super::{Context, usage};
use crate::names::ModelName;

/// Try policies out.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    Test(TestArgs),
}

/// Say what would be released, and by which rule; nothing is released.
#[derive(Debug, Args)]
#[command(after_help = usage::POLICY_TEST)]
pub(super) struct TestArgs {
    /// The registered model.
    #[arg(long, value_name = "M")]
    model: ModelName,
    /// An alias and the version it names; can be given more than once.
    #[arg(long = "alias", value_parser = pair, value_name = "ALIAS=VERSION")]
    aliases: Vec<(String, String)>,
    /// A tag of every version named; can be given more than once.
    #[arg(long = "tag", value_parser = pair, value_name = "KEY=VALUE")]
    tags: Vec<(String, String)>,
}

/// Carries out a command about policies.
pub(super) async fn run(command: PolicyCommand, ctx: &Context) -> Result<Exit, CliError> {
    let PolicyCommand::Test(TestArgs { model, aliases, tags }) = command;
    let object = |pairs: Vec<(String, String)>| {
        pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>()
    };
    let body = json!({"model": model, "aliases": object(aliases), "tags": object(tags)});
    let reply = ctx.client.call(Call::new(Method::POST, &["policies", "test"]).body(body)).await?;
    ctx.output.data(&reply.raw, &reply.body, |color| verdict(&reply.body, color))?;
    Ok(Exit::Done)
}

fn verdict(body: &Value, color: bool) -> String {
    let policy = text(body, "/policy");
    let policy =
        if policy.is_empty() { Cell::new("none matches", Tone::Warn) } else { Cell::new(&policy, Tone::Strong) };
    let mut out = facts(
        &[
            ("policy", policy),
            ("release", text(body, "/release").into()),
            ("stable", version(body, "/stable")),
            ("second", wish(body, "/second").into()),
            ("by tag", wish(body, "/request").into()),
        ],
        color,
    );
    for (list, tone) in [("because", Tone::Plain), ("warnings", Tone::Warn)] {
        for sentence in body.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            out.push_str(&format!("- {}\n", tone.paint(&plain(sentence), color)));
        }
    }
    out
}

fn version(body: &Value, pointer: &str) -> Cell {
    let version = text(body, pointer);
    if version.is_empty() { Cell::new("none", Tone::Dim) } else { format!("version {version}").into() }
}

fn wish(body: &Value, pointer: &str) -> String {
    let Some(wish) = body.pointer(pointer).filter(|wish| wish.is_object()) else { return String::new() };
    let rule = text(wish, "/rule");
    let rule = if rule.is_empty() || rule == "0" { String::new() } else { format!(", by rule {rule}") };
    format!("version {} as {}{rule}", text(wish, "/version"), text(wish, "/strategy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_versions_and_the_rule() {
        let body = json!({"policy": "default", "release": "production/models/fraud", "stable": "7", "second": {"version": "8", "strategy": "canary", "rule": 1}, "request": null,
            "because": ["champion is on 7"], "warnings": ["a tie"]});
        let text = verdict(&body, false);
        assert_eq!(
            text,
            "policy    default\nrelease   production/models/fraud\nstable    version 7\nsecond    version 8 as canary, by rule 1\n- champion is on 7\n- a tie\n"
        );
    }
}
