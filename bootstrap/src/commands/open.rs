//! `open`: a part's page.

use std::io::IsTerminal as _;

use serde_json::json;

use crate::answer;
use crate::arguments::General;
use crate::fault::Fault;
use crate::program::Call;
use crate::session::Session;

/// How far back the service's log is read for its newest sign-in link.
const LOG_LINES: &str = "--tail=2000";

pub(super) fn run(session: &Session, general: &General, service: &str, is_print: bool) -> Result<(), Fault> {
    let part = super::part(&session.catalogue, service)?;
    let port = session.options.port;
    let base = session.catalogue.url(part, port).unwrap_or_default();
    // The service lets people in by a link that each of its starts prints.
    let url = match part.name.as_str() {
        "kmlflow" => sign_in_link(session)?.unwrap_or_else(|| base.clone()),
        _ => base,
    };
    answer::write(general.output, &json!({"name": part.name, "url": url}), || url.clone())?;
    if is_print || !std::io::stdout().is_terminal() {
        return Ok(());
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    // Without a desktop the address that was printed must do.
    let _without = Call::new(opener, [url]).run();
    Ok(())
}

fn sign_in_link(session: &Session) -> Result<Option<String>, Fault> {
    let answer = session.kubectl.call(&["logs", "--namespace", "k5w", "statefulset/kmlflow", LOG_LINES]).run()?;
    let is_link = |word: &&str| word.starts_with("http") && word.contains("/login");
    let words = answer.stdout.lines().rev().flat_map(|line| line.split([' ', '"']));
    Ok(words.filter(|_| answer.is_success()).find(is_link).map(str::to_owned))
}
