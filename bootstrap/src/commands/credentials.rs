//! `credentials`: the addresses, and how a person gets in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::arguments::General;
use crate::fault::Fault;
use crate::session::Session;
use crate::{answer, hints};

/// One part with a page.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) url: String,
    /// None where nobody signs in.
    pub(super) user: Option<String>,
    /// `namespace/name/key` of the Secret with the password.
    pub(super) secret: Option<String>,
    /// The command that makes a password.
    pub(super) command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
}

pub(super) fn run(session: &Session, general: &General, is_shown: bool) -> Result<(), Fault> {
    let mut entries = entries(session);
    if is_shown {
        for entry in &mut entries {
            entry.password = entry.secret.as_ref().map_or(Ok(None), |path| password(session, path))?;
        }
    }
    answer::write(general.output, &entries, || match is_shown {
        true => table(&entries),
        false => format!("{}\n`--show` prints the passwords.\n", table(&entries)),
    })
}

/// A command as it is typed for the cluster of this session.
fn typed(session: &Session, line: &str) -> String {
    let told = |context| hints::in_context(&format!("`{line}`"), context).trim_matches('`').to_owned();
    session.options.context().map_or_else(|| line.to_owned(), told)
}

/// The parts of the profile that have an address.
pub(super) fn entries(session: &Session) -> Vec<Entry> {
    let parts = session.catalogue.components(session.options.profile).into_iter();
    let entry = |part: &crate::catalogue::Component| {
        let url = session.catalogue.url(part)?;
        let sign_in = part.sign_in.as_ref();
        let command = sign_in.and_then(|sign_in| sign_in.command.as_ref());
        Some(Entry {
            name: part.name.clone(),
            title: part.title.clone(),
            url,
            user: sign_in.map(|sign_in| sign_in.user.clone()),
            secret: sign_in.and_then(|sign_in| sign_in.secret.clone()),
            command: command.map(|line| typed(session, line)),
            password: None,
        })
    };
    parts.filter_map(entry).collect()
}

pub(super) fn table(entries: &[Entry]) -> String {
    let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let row = |entry: &Entry| {
        let command = || entry.command.as_ref().map(|command| format!("`{command}`"));
        let from = entry.password.clone().or_else(|| entry.secret.clone()).or_else(command);
        vec![entry.title.clone(), entry.url.clone(), cell(entry.user.clone()), cell(from)]
    };
    answer::table(&["PART", "ADDRESS", "USER", "PASSWORD"], &entries.iter().map(row).collect::<Vec<_>>())
}

fn password(session: &Session, path: &str) -> Result<Option<String>, Fault> {
    let mut parts = path.splitn(3, '/');
    let (Some(namespace), Some(name), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Ok(None) };
    let secret = session.kubectl.get(&["secret", name, "--namespace", namespace])?;
    let value = secret.as_ref().and_then(|secret| secret["data"][key].as_str());
    Ok(value.and_then(|value| STANDARD.decode(value).ok()).and_then(|bytes| String::from_utf8(bytes).ok()))
}
