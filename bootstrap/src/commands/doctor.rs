//! `doctor`: why something is not ready.

use crate::arguments::General;
use crate::fault::{Fault, Kind};
use crate::session::Session;
use crate::{answer, doctor};

pub(super) fn run(session: &Session, general: &General) -> Result<(), Fault> {
    let findings = doctor::findings(session)?;
    answer::write(general.output, &findings, || {
        let one = |finding: &doctor::Finding| {
            format!("{}\n  {}\n  cure: {}\n", finding.subject, finding.reason, finding.cure)
        };
        match findings.is_empty() {
            true => "Nothing was found that keeps a part from being ready.\n".to_owned(),
            false => findings.iter().map(one).collect::<Vec<_>>().join("\n"),
        }
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
