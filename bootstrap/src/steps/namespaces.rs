//! The namespaces of the profile: Secrets need a place before anything else is there.

use super::{Look, Step};
use crate::arguments::ArgoCd;
use crate::catalogue::Namespace;
use crate::fault::Fault;
use crate::manifests;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Namespaces;

/// Those of the profile but for an Argo CD's that is somebody else's.
fn ours(session: &Session) -> Vec<&Namespace> {
    let all = session.catalogue.namespaces(session.options.profile).into_iter();
    all.filter(|namespace| namespace.name != "argocd" || session.options.argo_cd == ArgoCd::Install).collect()
}

impl Step for Namespaces {
    fn name(&self) -> &'static str {
        "namespaces"
    }

    fn title(&self) -> &'static str {
        "Namespaces"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let names: Vec<&str> = ours(session).iter().map(|namespace| namespace.name.as_str()).collect();
        Ok(vec![format!("apply {} namespaces: {}", names.len(), names.join(", "))])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        let ours = ours(session);
        match session.kubectl.differs(&manifests::namespaces(&ours))? {
            true => Ok(Look::ToDo),
            false => Ok(Look::Done(format!("{} are there", ours.len()))),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        let ours = ours(session);
        session.kubectl.apply(&manifests::namespaces(&ours), "the namespaces")?;
        Ok(format!("{} applied", ours.len()))
    }
}
