//! Waiting for a workload that bootstrap applies itself, with the reason.

use std::time::{Duration, Instant};

use crate::doctor::{self, Finding};
use crate::fault::{Fault, Kind};
use crate::reporter::{Reporter, seconds};
use crate::session::Session;

/// How long its pods may take before the reason is looked for: most images are pulled by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the reason is looked for then, in turns of the poll: it asks for every pod and event.
const TURNS_BETWEEN_DIAGNOSES: u32 = 5;

/// Waits until the pods of a workload are the ones that it asks for, as long as one wave may take.
pub(super) fn wait(session: &Session, reporter: &mut Reporter, namespace: &str, workload: &str) -> Result<(), Fault> {
    let began = Instant::now();
    let mut turn: u32 = 0;
    let mut found: Option<Finding> = None;
    while !session.kubectl.is_rolled_out(namespace, workload)? {
        let took = began.elapsed();
        let is_over = took >= session.timeout;
        if is_over || (took >= PATIENCE && turn.is_multiple_of(TURNS_BETWEEN_DIAGNOSES)) {
            let is_about = |finding: &Finding| {
                finding.subject.contains(&format!(" {namespace}/")) || finding.subject.starts_with("node ")
            };
            found = doctor::findings(session)?.into_iter().find(is_about);
        }
        let why = found
            .as_ref()
            .map_or_else(|| "its pods start".to_owned(), |finding| format!("{}: {}", finding.subject, finding.reason));
        reporter.waiting(&format!("{workload} in {namespace}: {why}"));
        if is_over {
            let what = format!("`{workload}` in `{namespace}` is not ready after {}: {why}", seconds(took));
            let cure = found.map_or_else(|| "`cargo bootstrap doctor` says why".to_owned(), |finding| finding.cure);
            return Err(Fault::new(what, format!("{cure}; then run this again")).of(Kind::Deadline));
        }
        turn = turn.wrapping_add(1);
        std::thread::sleep(session.poll);
    }
    Ok(())
}
