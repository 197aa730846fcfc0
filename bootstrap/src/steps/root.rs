//! The root Application: from here on the cluster follows the repository.

use super::{Look, Step};
use crate::fault::Fault;
use crate::manifests;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Root;

fn manifest(session: &Session) -> String {
    manifests::root(&session.repository, &session.options, &session.without_namespaces)
}

impl Step for Root {
    fn name(&self) -> &'static str {
        "root"
    }

    fn title(&self) -> &'static str {
        "Root Application"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let (url, branch, follows) = (&session.repository.url, &session.repository.branch, &session.options.follows);
        let mut more = session.left_out().map_or_else(String::new, |parts| format!("; left out: {parts}"));
        more.extend(session.options.set.iter().map(|setting| format!("; {setting}")));
        Ok(vec![format!(
            "apply the Application argocd/{} and its project: {url}, {branch}, platform/{follows}{more}",
            manifests::ROOT
        )])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        match session.kubectl.differs(&manifest(session))? {
            true => Ok(Look::ToDo),
            false => Ok(Look::Done(format!("follows `platform/{}`", session.options.follows))),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        session.kubectl.apply(&manifest(session), "the root Application")?;
        Ok(format!("follows `platform/{}`", session.options.follows))
    }
}
