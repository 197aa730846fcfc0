//! `upgrade`: how the versions in the cluster differ from those of this checkout.

use serde::Serialize;

use crate::arguments::{ClusterKind, General};
use crate::fault::{Fault, Kind};
use crate::session::Session;
use crate::{answer, steps};

/// The subject of a commit with the platform's files as a checkout has them.
const SUBJECT: &str = "platform: Take over the files of Kmlflow";

#[derive(Debug, Serialize)]
struct Change {
    name: String,
    wave: i32,
    /// None where it is not there.
    from: Option<String>,
    to: String,
}

pub(super) fn run(session: &Session, general: &General, is_diff: bool) -> Result<(), Fault> {
    if !is_diff {
        let what = "an upgrade is a commit to the repository that the cluster follows, and this program makes none";
        return Err(Fault::new(
            what,
            format!("`cargo bootstrap upgrade --diff` shows what changes; then:\n{}", by_hand(session)),
        )
        .of(Kind::Refused));
    }
    let changes = changes(session)?;
    answer::write(general.output, &changes, || {
        let row = |change: &Change| {
            vec![
                change.wave.to_string(),
                change.name.clone(),
                change.from.clone().unwrap_or_else(|| "not there".to_owned()),
                change.to.clone(),
            ]
        };
        match changes.is_empty() {
            true => format!(
                "The cluster follows the versions of this checkout. Whether other files of it differ is shown by these:\n{}",
                by_hand(session)
            ),
            false => format!(
                "{}\nTo take them over:\n{}",
                answer::table(&["WAVE", "PART", "CLUSTER", "CHECKOUT"], &changes.iter().map(row).collect::<Vec<_>>()),
                by_hand(session)
            ),
        }
    })
}

fn changes(session: &Session) -> Result<Vec<Change>, Fault> {
    // What is built on this machine may be of other sources while its version is the same.
    let is_rebuilt = session.options.cluster == ClusterKind::Minikube && !steps::has_image_of_checkout(session)?;
    let mut changes = Vec::new();
    for part in steps::parts(session)? {
        let version = session.component(&part.name)?.version.clone();
        let is_other = part.version.as_ref() != Some(&version);
        let to = match part.name == "kmlflow" && is_rebuilt {
            true => format!("{version}, of other sources: `cargo bootstrap up` builds it"),
            false if is_other => version,
            false => continue,
        };
        changes.push(Change { name: part.name, wave: part.wave, from: part.version, to });
    }
    Ok(changes)
}

/// The commands by which a person takes the files of this checkout over: joined with what was changed in the repository since it had those of another
/// one, so that addresses, settings and added files stay, and what both changed is a conflict.
fn by_hand(session: &Session) -> String {
    let is_embedded = session.repository.is_embedded();
    let repository = match is_embedded {
        true => format!(
            "{}/git/gitops.git",
            session.component("kmlflow").ok().and_then(|part| session.catalogue.url(part)).unwrap_or_default()
        ),
        false => session.repository.url.clone(),
    };
    let branch = &session.repository.branch;
    let platform = std::path::absolute(session.checkout.platform("")).unwrap_or_else(|_| session.checkout.platform(""));
    let lines = [
        format!("git clone {repository} gitops && cd gitops"),
        format!("before=$(git log -1 --format=%H --grep='^{SUBJECT}')"),
        "before=${before:-$(git log --diff-filter=A --format=%H -- platform/catalogue.yaml | tail -n 1)}".to_owned(),
        "git switch --detach $before".to_owned(),
        format!("rm -r platform && cp -r '{}' platform && git add -A platform", platform.display()),
        format!("git commit -m '{SUBJECT}' && git tag taken-over"),
        format!("git switch {branch} && git merge --no-edit taken-over"),
        format!("git diff origin/{branch}"),
    ];
    let mut text: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    text.push_str("The last shows what changes in the cluster, after the conflicts that the merge names. When that is what you want:\n");
    text.push_str(&format!("  git push origin {branch}\n"));
    if is_embedded {
        text.push_str("Git asks for a user, which may be any, and a password, which is a token of an administrator: `kubectl --namespace k5w exec kmlflow-0 -- kmlflow token create --name=NAME --role=admin`.\n");
    }
    text
}
