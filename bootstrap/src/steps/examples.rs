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

/// Why there is nothing to apply.
#[derive(Clone, Copy)]
enum Without {
    Profile,
    Part,
    Checkout,
}

impl Without {
    fn told(self) -> &'static str {
        match self {
            Self::Profile => "JupyterLab comes with the profile `standard`",
            Self::Part => "JupyterLab is left out",
            Self::Checkout => "they lie in a checkout of Kmlflow, and this is run in none",
        }
    }
}

fn manifest(session: &Session) -> Result<Result<String, Without>, Fault> {
    if session.options.profile < Profile::Standard {
        return Ok(Err(Without::Profile));
    }
    if session.catalogue.component("jupyterlab").is_none() {
        return Ok(Err(Without::Part));
    }
    let Some(root) = session.checkout.root.as_ref() else { return Ok(Err(Without::Checkout)) };
    let made: Result<Vec<String>, Fault> =
        FOLDERS.iter().map(|(folder, name)| manifests::files_as_config(&root.join(folder), "jupyter", name)).collect();
    Ok(Ok(made?.join("\n---\n")))
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
            Ok(_) => FOLDERS
                .iter()
                .map(|(folder, name)| format!("apply the files of {folder}/ as the ConfigMap jupyter/{name}"))
                .collect(),
            Err(without) => vec![format!("nothing: {}", without.told())],
        })
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        match manifest(session)? {
            Err(without) => Ok(Look::Done(format!("none: {}", without.told()))),
            Ok(manifest) if session.kubectl.differs(&manifest)? => Ok(Look::ToDo),
            Ok(_) => Ok(Look::Done("are there".to_owned())),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        if let Ok(manifest) = manifest(session)? {
            session.kubectl.apply(&manifest, "the examples")?;
        }
        Ok("applied".to_owned())
    }
}
