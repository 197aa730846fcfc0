//! What was asked for, kept in the cluster: `status`, `doctor` and the next `up` read it there.

use super::{Look, Step};
use crate::fault::Fault;
use crate::manifests::{self, RECORD};
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Record;

fn manifest(session: &Session) -> Result<String, Fault> {
    let options = serde_json::to_string(&session.options)
        .map_err(|error| Fault::new(format!("the options cannot be written down: {error}"), "report it"))?;
    Ok(manifests::record(&options))
}

impl Step for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    fn title(&self) -> &'static str {
        "Options"
    }

    fn plan(&self, _: &Session) -> Result<Vec<String>, Fault> {
        let (namespace, name) = RECORD;
        Ok(vec![format!("apply the ConfigMap {namespace}/{name} with these options")])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        match session.kubectl.differs(&manifest(session)?)? {
            true => Ok(Look::ToDo),
            false => Ok(Look::Done(format!("follows `platform/{}`", session.options.follows))),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        session.kubectl.apply(&manifest(session)?, "the options")?;
        Ok(format!("written; follows `platform/{}`", session.options.follows))
    }
}
