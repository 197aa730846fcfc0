//! The release service with its embedded repository, which Argo CD then follows and takes the service over by.

use std::path::PathBuf;

use super::{Look, Step, rollout};
use crate::fault::Fault;
use crate::manifests;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Service;

const WORKLOAD: &str = "statefulset/kmlflow";

/// Its manifests without the kinds that come later.
fn manifests(session: &Session) -> Result<String, Fault> {
    let built = session.kubectl.kustomize(&folder(session)?)?;
    manifests::built_in_only(&built)
}

/// The folder that its Application will follow: an overlay may name another one than the profiles do.
fn folder(session: &Session) -> Result<PathBuf, Fault> {
    let follows = &session.options.follows;
    if follows.starts_with("profiles/") {
        return Ok(session.checkout.platform("kmlflow"));
    }
    let built = session.kubectl.kustomize(&session.checkout.platform(follows))?;
    let missing = || {
        Fault::new(
            format!("`platform/{follows}` has no Application `kmlflow`"),
            "take in a profile, as `platform/overlays/production` does",
        )
    };
    manifests::path_of(&built, "kmlflow").map(|path| session.checkout.gitops.join(path)).ok_or_else(missing)
}

impl Step for Service {
    fn name(&self) -> &'static str {
        "service"
    }

    fn title(&self) -> &'static str {
        "Release service with the repository"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let build = match session.options.follows.starts_with("profiles/") {
            true => session.kubectl.kustomize_call(&session.checkout.platform("kmlflow")).line(),
            false => format!("the folder that the Application `kmlflow` of platform/{} names", session.options.follows),
        };
        let seeds = match session.repository.is_embedded() {
            true => format!("; its first start seeds the repository {}", session.repository.url),
            false => String::new(),
        };
        Ok(vec![format!("apply {build}"), format!("wait for {WORKLOAD} in k5w{seeds}")])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        match session.kubectl.differs(&manifests(session)?)? || !rollout::is_rolled_out(session, "k5w", WORKLOAD)? {
            true => Ok(Look::ToDo),
            false => Ok(Look::Done("runs".to_owned())),
        }
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        session.kubectl.apply(&manifests(session)?, "the release service")?;
        rollout::wait(session, reporter, "k5w", WORKLOAD)?;
        Ok(match session.repository.is_embedded() {
            true => format!("runs, and serves {}", session.repository.url),
            false => "runs".to_owned(),
        })
    }
}
