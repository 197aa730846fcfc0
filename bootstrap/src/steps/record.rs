//! What was asked for, and which kinds were there before, kept in the cluster: `status`, `doctor`, `down` and the next `up` read it there.

use serde_json::json;

use super::{Look, Step};
use crate::arguments::ClusterKind;
use crate::catalogue::Catalogue;
use crate::fault::Fault;
use crate::kinds;
use crate::manifests::{self, RECORD};
use crate::record;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Record;

fn manifest(session: &Session) -> Result<String, Fault> {
    let mut data = record::Record::data(session)?;
    if session.options.cluster == ClusterKind::Existing {
        data[kinds::BEFORE] = json!(kinds_before(session)?).to_string().into();
    }
    Ok(manifests::record(&data))
}

/// The kinds that were there at the first `up`, before anything was applied.
fn kinds_before(session: &Session) -> Result<Vec<String>, Fault> {
    let (namespace, name) = RECORD;
    let record = session.kubectl.get(&["configmap", name, "--namespace", namespace])?;
    if let Some(noted) = record.as_ref().and_then(kinds::before) {
        return Ok(noted);
    }
    // Also those of parts that are left out, as these may be taken in later.
    let whole = Catalogue::read(&session.checkout.gitops)?;
    let present = kinds::present(&session.kubectl, &whole, record.is_some().then_some(&[]))?;
    Ok(present.into_iter().filter(|definition| !definition.is_ours).map(|definition| definition.name).collect())
}

impl Step for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    fn title(&self) -> &'static str {
        "Options"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let (namespace, name) = RECORD;
        let more = match session.options.cluster {
            ClusterKind::Minikube => "",
            ClusterKind::Existing => " and the kinds that are there already",
        };
        Ok(vec![format!("apply the ConfigMap {namespace}/{name} with these options, the repository{more}")])
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
