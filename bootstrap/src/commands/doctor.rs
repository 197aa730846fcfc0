//! `doctor`: why something is not ready.

use crate::arguments::General;
use crate::doctor::{self, Finding};
use crate::fault::{Fault, Kind};
use crate::session::Session;
use crate::waves::{self, Part, State};
use crate::{answer, hints, steps};

pub(super) fn run(session: &Session, general: &General) -> Result<(), Fault> {
    let findings = doctor::findings(session)?;
    let parts = steps::parts(session)?;
    let unexplained: Vec<&Part> = parts.iter().filter(|part| is_unexplained(part, &findings)).collect();
    let context = session.options.context();
    let all: Vec<Finding> =
        findings.iter().cloned().chain(unexplained.iter().map(|part| of_part(part, context))).collect();
    answer::write(general.output, &all, || told(&all))?;
    match (findings.len(), waves::waiting(&parts)) {
        (0, None) => Ok(()),
        // Nobody knows why: it may be on its way, as for `status`.
        (0, Some((wave, waited))) => Err(Fault::new(
            format!("nothing was found that explains it: {}", waves::told(wave, &waited)),
            "`cargo bootstrap status --watch` goes on until all are healthy",
        )
        .of(Kind::Deadline)),
        (count, _) => Err(Fault::new(
            format!("{count} thing(s) are wrong"),
            "cure them from the top: the first ones explain others",
        )
        .of(Kind::Failed)),
    }
}

/// Whether a part is not healthy, and no finding is about it.
fn is_unexplained(part: &Part, findings: &[Finding]) -> bool {
    part.state != State::Healthy && !findings.iter().any(|finding| finding.is_about(part))
}

fn of_part(part: &Part, context: Option<&str>) -> Finding {
    let cure = match part.state {
        State::NotThere => "it is made when what it waits for is healthy".to_owned(),
        _ => {
            let cure = format!(
                "`kubectl --namespace argocd describe application {}` says which object of it is not ready, `kubectl get pods --namespace {}` how its pods are",
                part.name, part.namespace
            );
            context.map_or_else(|| cure.clone(), |context| hints::in_context(&cure, context))
        }
    };
    Finding { subject: format!("part {}", part.name), reason: part.told(), cure }
}

fn told(findings: &[Finding]) -> String {
    let one = |finding: &Finding| format!("{}\n  {}\n  cure: {}\n", finding.subject, finding.reason, finding.cure);
    match findings.is_empty() {
        true => "Nothing was found that keeps a part from being ready.\n".to_owned(),
        false => findings.iter().map(one).collect::<Vec<_>>().join("\n"),
    }
}
