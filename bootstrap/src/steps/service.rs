//! The release service with its embedded repository, which Argo CD then follows and takes the service over by.

use super::{Look, Step};
use crate::fault::Fault;
use crate::manifests;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Service;

const WORKLOAD: &str = "statefulset/kmlflow";

/// Its manifests without the kinds that come later.
fn manifests(session: &Session) -> Result<String, Fault> {
    let built = session.kubectl.kustomize(&session.checkout.platform("kmlflow"))?;
    manifests::built_in_only(&built)
}

/// Whether the pods of a workload are the ones that it asks for.
pub(super) fn is_rolled_out(session: &Session, namespace: &str, workload: &str) -> Result<bool, Fault> {
    let found = session.kubectl.get(&[workload, "--namespace", namespace])?;
    Ok(found.is_some_and(|found| {
        let wanted = found["spec"]["replicas"].as_i64().unwrap_or(1);
        let ready = found["status"]["readyReplicas"].as_i64().unwrap_or(0);
        ready >= wanted && found["status"]["observedGeneration"] == found["metadata"]["generation"]
    }))
}

impl Step for Service {
    fn name(&self) -> &'static str {
        "service"
    }

    fn title(&self) -> &'static str {
        "Release service with the repository"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let folder = session.checkout.platform("kmlflow");
        let build = session.kubectl.kustomize_call(&folder).line();
        Ok(vec![
            format!("apply {build}"),
            format!("wait for {WORKLOAD} in k5w; its first start seeds the repository {}", session.repository.url),
        ])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        match session.kubectl.differs(&manifests(session)?)? || !is_rolled_out(session, "k5w", WORKLOAD)? {
            true => Ok(Look::ToDo),
            false => Ok(Look::Done("runs".to_owned())),
        }
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        session.kubectl.apply(&manifests(session)?, "the release service")?;
        reporter.waiting(&format!("{WORKLOAD} in k5w: its pods start"));
        session.kubectl.wait_for_rollout("k5w", WORKLOAD, session.timeout)?;
        Ok(format!("runs, and serves {}", session.repository.url))
    }
}
