//! The webhook at MLflow, by which the registry tells the release service what happens.

use super::{Look, Step};
use crate::fault::Fault;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Webhook;

/// Finds the webhook by its address, makes or changes it, and has MLflow deliver an example; the same again changes nothing.
const CONNECT: [&str; 7] = [
    "kmlflow",
    "mlflow",
    "connect",
    "--config",
    "/etc/kmlflow/config/kmlflow.yaml",
    "--url",
    "http://kmlflow.k5w.svc.cluster.local",
];

impl Step for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn title(&self) -> &'static str {
        "MLflow's webhook"
    }

    fn plan(&self, _: &Session) -> Result<Vec<String>, Fault> {
        Ok(vec![format!("run in the service's pod: {}", CONNECT.join(" "))])
    }

    fn look(&self, session: &Session, reporter: &mut Reporter) -> Result<Look, Fault> {
        // The command looks and acts in one.
        let answer = session.kubectl.exec("k5w", "statefulset/kmlflow", &CONNECT)?;
        if answer.is_success() {
            return Ok(Look::Done("MLflow tells the service".to_owned()));
        }
        // Without it the service finds out by its sweep, a minute later: no reason to call the platform not ready.
        let call = session
            .kubectl
            .call(&[&["exec", "--namespace", "k5w", "statefulset/kmlflow", "--"], &CONNECT[..]].concat());
        reporter.warn(
            &format!("MLflow's webhook was not made: {}", answer.reason()),
            &format!("`{}` says more, and makes it", call.line()),
        );
        Ok(Look::Done("not made; the service sweeps the registry every minute".to_owned()))
    }

    fn act(&self, _: &Session, _: &mut Reporter) -> Result<String, Fault> {
        Ok(String::new())
    }
}
