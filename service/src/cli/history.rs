//! `kmlflow history`: the commits of a release, newest first.

use clap::Args;
use reqwest::Method;

use super::args::{Place, page_size};
use super::client::Call;
use super::error::{CliError, Exit};
use super::list::say_more;
use super::views::{history, items, text};
use super::{Context, usage};
use crate::bounds::SHORT_COMMIT_DIGITS;
use crate::names::CommitId;

/// The digits of a whole commit.
const DIGITS: usize = 40;

/// Show the commits of a release, newest first.
#[derive(Debug, Args)]
#[command(after_help = usage::HISTORY)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    place: Place,
    /// At most this many, 100 at once.
    #[arg(long, value_name = "N", value_parser = page_size)]
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

/// Whether a text can be the beginning of a commit, as the history shows it.
pub(super) fn is_short_commit(text: &str) -> bool {
    (SHORT_COMMIT_DIGITS..DIGITS).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Reads a commit, whole or by its first digits, which are looked up later.
pub(super) fn commit_digits(text: &str) -> Result<String, String> {
    if is_short_commit(text) || CommitId::parse(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err("must be a commit of `kmlflow history`: 40 digits, or the first 7 and more".to_owned())
    }
}

/// Finds the one commit of the release's history that begins with some digits.
pub(super) async fn whole_commit(place: &Place, digits: &str, ctx: &Context) -> Result<String, CliError> {
    if digits.len() == DIGITS {
        return Ok(digits.to_owned());
    }
    let path = place.path(&["history"]);
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = ctx.client.call(Call::new(Method::GET, &path).query("cursor", cursor)).await?.body;
        let commits = items(&page).iter().map(|entry| text(entry, "/commit"));
        found.extend(commits.filter(|commit| commit.starts_with(digits)));
        cursor = Some(text(&page, "/next")).filter(|next| !next.is_empty());
        if cursor.is_none() {
            return only(found, digits);
        }
    }
}

fn only(found: Vec<String>, digits: &str) -> Result<String, CliError> {
    match <[String; 1]>::try_from(found) {
        Ok([commit]) => Ok(commit),
        Err(found) if found.is_empty() => {
            Err(CliError::new(Exit::NotFound, format!("`{digits}` is no commit of this release"))
                .hint("`kmlflow history NAME` shows them"))
        }
        Err(_) => {
            Err(CliError::usage(format!("`{digits}` is the beginning of more than one commit"))
                .hint("give more digits"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_named_whole_or_by_the_digits_of_the_table() {
        assert!(commit_digits("0123abc").is_ok() && commit_digits(&"a".repeat(40)).is_ok());
        for bad in ["0123ab", "HEAD", "0123ABC", ""] {
            assert!(commit_digits(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_digits_that_one_commit_begins_with_name_it() {
        let commit = || "0123abcdef".to_owned();
        assert_eq!(only(vec![commit()], "0123abc").unwrap(), commit());
        assert_eq!(only(Vec::new(), "0123abc").unwrap_err().exit, Exit::NotFound);
        assert_eq!(only(vec![commit(), commit()], "0123abc").unwrap_err().exit, Exit::Usage);
    }
}
