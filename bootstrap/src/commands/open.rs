//! `open`: a part's page.

use std::io::IsTerminal as _;

use serde_json::json;

use crate::answer;
use crate::arguments::General;
use crate::fault::{Fault, Kind};
use crate::kubectl::refuse;
use crate::program::Call;
use crate::session::Session;

/// How much of the beginning of the service's log is read, in bytes: the link is among the first lines of a start.
const LOG_BYTES: &str = "--limit-bytes=1048576";

/// The words that the service prints before the link.
const SIGN_IN: &str = "sign in";

pub(super) fn run(session: &Session, general: &General, service: &str, is_print: bool) -> Result<(), Fault> {
    let part = super::part(&session.catalogue, service)?;
    let base = session.catalogue.url(part).unwrap_or_default();
    // The service lets people in by a link that each of its starts prints.
    let url = match part.name.as_str() {
        "kmlflow" => sign_in_link(session, &base)?,
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

/// The address with the code that the service's last start printed.
fn sign_in_link(session: &Session, base: &str) -> Result<String, Fault> {
    let answer = session.kubectl.call(&["logs", "--namespace", "k5w", "statefulset/kmlflow", LOG_BYTES]).run()?;
    refuse(&answer, "the log of the release service, which has the link, cannot be read")?;
    let code = answer.stdout.lines().rev().find_map(code_of);
    let gone = || {
        let make = session.kubectl.call(&[
            "exec",
            "--namespace",
            "k5w",
            "statefulset/kmlflow",
            "--",
            "kmlflow",
            "token",
            "create",
            "--role=admin",
            "--name=page",
            "--expires=12h",
        ]);
        let what = format!("the link of the service's last start is no longer in its log; its page is {base}");
        Fault::new(what, format!("`{}` makes a token: the page takes it in the place of the link", make.line()))
            .of(Kind::NotFound)
    };
    code.map(|code| format!("{base}/#{code}")).ok_or_else(gone)
}

/// The code in a line such as `sign in        http://k5w.localhost/#kmlflow_…`.
fn code_of(line: &str) -> Option<&str> {
    let (_, code) = line.strip_prefix(SIGN_IN)?.trim().split_once("/#")?;
    Some(code).filter(|code| !code.is_empty())
}
