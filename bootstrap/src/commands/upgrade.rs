//! `upgrade`: how the versions in the cluster differ from those of this checkout.

use serde::Serialize;

use crate::arguments::{ClusterKind, General};
use crate::fault::{Fault, Kind};
use crate::session::Session;
use crate::{answer, steps};

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
                "The cluster follows the versions of this checkout. Whether other files of it differ shows the fourth line of these:\n{}\n",
                by_hand(session)
            ),
            false => format!(
                "{}\nTo take them over, commit this checkout's `gitops-repo/platform` to the repository:\n{}\n",
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

/// The commands, with the token of an administrator of the service asked for by Git; the fourth shows each file that differs.
fn by_hand(session: &Session) -> String {
    let repository = match session.repository.url.contains(".svc.") {
        true => format!(
            "{}/git/gitops.git",
            session.component("kmlflow").ok().and_then(|part| session.catalogue.url(part)).unwrap_or_default()
        ),
        false => session.repository.url.clone(),
    };
    format!(
        "  git clone {repository} gitops\n  rm -r gitops/platform && cp -r gitops-repo/platform gitops/\n  git -C gitops add -A platform\n  git -C gitops diff --cached\n  git -C gitops commit -m 'platform: Take over the versions of the checkout' && git -C gitops push"
    )
}
