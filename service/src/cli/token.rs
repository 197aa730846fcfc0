//! `kmlflow token`: who may do what, by tokens with a role and a scope.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Call;
use super::error::{CliError, Exit};
use super::table::{Cell, Table, Tone};
use super::views::{age, items, text, words};
use super::{Context, usage};
use crate::access::{Scope, TokenRole};
use crate::release::Period;

/// Make, list and revoke tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a token; it is shown once.
#[derive(Debug, Args)]
#[command(after_help = usage::TOKEN_CREATE)]
pub(super) struct CreateArgs {
    /// viewer (reads), releaser (asks for releases too) or admin (everything).
    #[arg(long, value_name = "ROLE")]
    role: TokenRole,
    /// Where it is good for, such as production/models/fraud-*; everywhere unless given, can be given more than once.
    #[arg(long = "scope", value_name = "ENVIRONMENT/NAMESPACE/MODEL-GLOB")]
    scopes: Vec<Scope>,
    /// What it is for.
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// How long it lives, such as 30d; for ever unless given.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<String>,
}

/// List tokens.
#[derive(Debug, Args)]
#[command(after_help = usage::TOKEN_LIST)]
pub(super) struct ListArgs {}

/// Revoke a token.
#[derive(Debug, Args)]
#[command(after_help = usage::TOKEN_REVOKE)]
pub(super) struct RevokeArgs {
    /// Its id, or so much of its beginning that no other begins like it.
    #[arg(value_name = "ID")]
    id: String,
}

/// Carries out a command about tokens.
pub(super) async fn run(command: TokenCommand, ctx: &Context) -> Result<Exit, CliError> {
    match command {
        TokenCommand::Create(args) => create(args, ctx).await,
        TokenCommand::List(ListArgs {}) => {
            let reply = ctx.client.get(&["tokens"]).await?;
            ctx.output.data(&reply.raw, &reply.body, |color| table(items(&reply.body), ctx).to_text(color))?;
            Ok(Exit::Done)
        }
        TokenCommand::Revoke(RevokeArgs { id }) => {
            let tokens = ctx.client.get(&["tokens"]).await?;
            let id = whole_id(items(&tokens.body), &id)?;
            let reply = ctx.client.call(Call::new(Method::DELETE, &["tokens", &id])).await?;
            ctx.output.data(&reply.raw, &reply.body, |_| format!("token {id} is revoked\n"))?;
            Ok(Exit::Done)
        }
    }
}

async fn create(args: CreateArgs, ctx: &Context) -> Result<Exit, CliError> {
    let CreateArgs { role, scopes, name, expires } = args;
    let mut body = json!({"role": role, "scopes": scopes});
    if let Some(name) = name {
        body["name"] = json!(name);
    }
    if let Some(expires) = expires {
        body["expires"] = json!(expires);
    }
    let reply = ctx.client.call(Call::new(Method::POST, &["tokens"]).body(body)).await?;
    ctx.output.data(&reply.raw, &reply.body, |_| format!("{}\n", text(&reply.body, "/token")))?;
    ctx.output.progress("shown this once; it goes into KMLFLOW_TOKEN or a file for --token-file");
    Ok(Exit::Done)
}

/// The id of the one live token that begins so.
fn whole_id(tokens: &[Value], beginning: &str) -> Result<String, CliError> {
    let live = tokens.iter().filter(|token| text(token, "/revokedAt").is_empty()).map(|token| text(token, "/id"));
    let found: Vec<String> = live.filter(|id| !beginning.is_empty() && id.starts_with(beginning)).collect();
    let shown = crate::names::shown(beginning);
    match <[String; 1]>::try_from(found) {
        Ok([id]) => Ok(id),
        Err(found) if found.is_empty() => {
            Err(CliError::new(Exit::NotFound, format!("no token begins with `{shown}`, or it is revoked already"))
                .hint("`kmlflow token list` shows them"))
        }
        Err(_) => Err(CliError::usage(format!("more than one token begins with `{shown}`"))
            .hint("give more of the id; `kmlflow token list` shows them")),
    }
}

/// Reads how long a token lives: days, or a length of time as everywhere.
fn lifetime(given: &str) -> Result<String, String> {
    let days = given.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let is_length = match days {
        Some(days) => days > 0,
        None => given.parse::<Period>().is_ok_and(|period| !period.is_zero()),
    };
    if is_length { Ok(given.to_owned()) } else { Err("must be a length of time such as 30d or 12h".to_owned()) }
}

fn table(list: &[Value], ctx: &Context) -> Table {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "SCOPES", "AGE", "EXPIRES", "REVOKED"]);
    for token in list {
        table.row([
            Cell::new(&text(token, "/id"), Tone::Strong),
            text(token, "/name").into(),
            text(token, "/role").into(),
            words(token.get("scopes")).into(),
            age(token, "/createdAt", ctx.now).into(),
            text(token, "/expiresAt").into(),
            Cell::new(&text(token, "/revokedAt"), Tone::Bad),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_named_by_the_beginning_that_it_alone_has() {
        let token = |id: &str, revoked: Option<&str>| json!({"id": id, "revokedAt": revoked});
        let tokens =
            [token("0190b2c4-1", None), token("0190b2c4-2", Some("2026-11-23T10:00:00Z")), token("0190aaaa-3", None)];
        assert_eq!(whole_id(&tokens, "0190b2c4").unwrap(), "0190b2c4-1", "a revoked one does not count");
        assert_eq!(whole_id(&tokens, "0190aaaa-3").unwrap(), "0190aaaa-3");
        assert_eq!(whole_id(&tokens, "0190").unwrap_err().exit, Exit::Usage);
        for nobody in ["0190b2c4-2", "x", ""] {
            assert_eq!(whole_id(&tokens, nobody).unwrap_err().exit, Exit::NotFound, "{nobody}");
        }
    }

    #[test]
    fn a_lifetime_is_a_length_of_time() {
        assert!(["30d", "12h", "90m"].iter().all(|given| lifetime(given).is_ok()));
        assert!(["never", "0d", "0s", "", "30 days"].iter().all(|given| lifetime(given).is_err()));
    }
}
