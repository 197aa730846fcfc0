//! `doctor`: why something is not ready.

use crate::arguments::General;
use crate::fault::{Fault, Kind};
use crate::session::Session;
use crate::waves::{self, Part};
use crate::{answer, doctor, steps};

pub(super) fn run(session: &Session, general: &General) -> Result<(), Fault> {
    let findings = doctor::findings(session)?;
    if findings.is_empty()
        && let Some((wave, waited)) = waves::waiting(&steps::parts(session)?)
    {
        return not_ready_yet(general, wave, &waited);
    }
    answer::write(general.output, &findings, || match findings.is_empty() {
        true => "Nothing was found that keeps a part from being ready.\n".to_owned(),
        false => told(&findings),
    })?;
    match findings.len() {
        0 => Ok(()),
        count => Err(Fault::new(
            format!("{count} thing(s) are wrong"),
            "cure them from the top: the first ones explain others",
        )
        .of(Kind::Failed)),
    }
}

/// Parts that are not ready, while nothing is seen that keeps them: they may only need time.
fn not_ready_yet(general: &General, wave: i32, waited: &[&Part]) -> Result<(), Fault> {
    let finding = |part: &&Part| doctor::Finding {
        subject: format!("application {}", part.name),
        reason: format!("{}; nothing is seen that keeps it from being ready", waves::sentence(part)),
        cure: format!("wait; or `kubectl --namespace argocd describe application {}` says more", part.name),
    };
    let findings: Vec<doctor::Finding> = waited.iter().map(finding).collect();
    answer::write(general.output, &findings, || told(&findings))?;
    let cure = "`cargo bootstrap status --watch` goes on until everything is healthy";
    Err(Fault::new(waves::told(wave, waited), cure).of(Kind::Deadline))
}

fn told(findings: &[doctor::Finding]) -> String {
    let one =
        |finding: &doctor::Finding| format!("{}\n  {}\n  cure: {}\n", finding.subject, finding.reason, finding.cure);
    findings.iter().map(one).collect::<Vec<_>>().join("\n")
}
