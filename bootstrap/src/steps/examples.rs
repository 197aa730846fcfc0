//! The examples, for notebooks to run.

use super::{Look, Step};
use crate::catalogue::Profile;
use crate::fault::Fault;
use crate::manifests;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Examples;

fn manifest(session: &Session) -> Result<Option<String>, Fault> {
    let Some(root) = session.checkout.root.as_ref().filter(|_| session.options.profile >= Profile::Standard) else {
        return Ok(None);
    };
    manifests::files_as_config(&root.join("examples"), "jupyter", "examples").map(Some)
}

impl Step for Examples {
    fn name(&self) -> &'static str {
        "examples"
    }

    fn title(&self) -> &'static str {
        "Examples for JupyterLab"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        Ok(match manifest(session)? {
            Some(_) => vec!["apply the files of examples/ as the ConfigMap jupyter/examples".to_owned()],
            None => vec!["nothing: JupyterLab comes with the profile `standard`".to_owned()],
        })
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        match manifest(session)? {
            None => Ok(Look::Done("none: no JupyterLab in this profile, or no checkout".to_owned())),
            Some(manifest) if session.kubectl.differs(&manifest)? => Ok(Look::ToDo),
            Some(_) => Ok(Look::Done("are there".to_owned())),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        if let Some(manifest) = manifest(session)? {
            session.kubectl.apply(&manifest, "the examples")?;
        }
        Ok("applied".to_owned())
    }
}
