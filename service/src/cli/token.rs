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
    #[arg(long, value_name = "TIME")]
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
    /// Its id.
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
