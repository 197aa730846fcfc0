//! The examples, for notebooks to run.

use super::{Look, Step};
use crate::catalogue::Profile;
use crate::fault::Fault;
use crate::manifests;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Examples;

/// What notebooks see, and the ConfigMap that each folder becomes: a key of one has no place for a folder's name.
const FOLDERS: [(&str, &str); 3] =
    [("examples", "examples"), ("examples/serving", "examples-serving"), ("examples/runtime", "examples-runtime")];

fn manifest(session: &Session) -> Result<Option<String>, Fault> {
    let Some(root) = session.checkout.root.as_ref().filter(|_| session.options.profile >= Profile::Standard) else {
        return Ok(None);
    };
    let made: Result<Vec<String>, Fault> =
        FOLDERS.iter().map(|(folder, name)| manifests::files_as_config(&root.join(folder), "jupyter", name)).collect();
    Ok(Some(made?.join("\n---\n")))
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
            Some(_) => FOLDERS
                .iter()
                .map(|(folder, name)| format!("apply the files of {folder}/ as the ConfigMap jupyter/{name}"))
                .collect(),
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
