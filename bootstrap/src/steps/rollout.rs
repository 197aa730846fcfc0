//! Waiting for the pods of a workload, with the reason.

use std::time::Instant;

use serde_json::Value;

use crate::doctor::{self, Finding};
use crate::fault::{Fault, Kind};
use crate::reporter::{Reporter, seconds};
use crate::session::Session;

/// How many reasons are told at the end.
const REASONS_MAX: usize = 5;

/// How often the reason is looked for, in turns of the poll: it asks for every pod and event of the namespace.
const TURNS_BETWEEN_DIAGNOSES: u32 = 3;

/// Whether the pods of a workload are the ones that it asks for.
pub(super) fn is_rolled_out(session: &Session, namespace: &str, workload: &str) -> Result<bool, Fault> {
    Ok(lacking(session, namespace, workload)?.is_none())
}

/// Waits until they are.
pub(super) fn wait(session: &Session, reporter: &mut Reporter, namespace: &str, workload: &str) -> Result<(), Fault> {
    let began = Instant::now();
    let mut findings: Vec<Finding> = Vec::new();
    let mut turn: u32 = 0;
    while let Some(lacking) = lacking(session, namespace, workload)? {
        turn = turn.wrapping_add(1);
        let is_over = began.elapsed() >= session.timeout;
        if is_over || turn.is_multiple_of(TURNS_BETWEEN_DIAGNOSES) {
            findings = doctor::findings_in(session, namespace)?;
        }
        let mut reason = format!("{workload} in {namespace}: {lacking}");
        if let Some(finding) = findings.first() {
            reason = format!("{reason} ({}: {})", finding.subject, finding.reason);
        }
        reporter.waiting(&reason);
        if is_over {
            let took = seconds(began.elapsed());
            let what =
                format!("`{workload}` in `{namespace}` is not ready after {took}: {lacking}{}", reasons(&findings));
            let cure = "`cargo bootstrap doctor` lists every reason; `up` goes on where it stopped";
            return Err(Fault::new(what, cure).of(Kind::Deadline));
        }
        std::thread::sleep(session.poll);
    }
    Ok(())
}

/// The first findings, each with its cure, below the sentence that they explain.
pub(super) fn reasons(findings: &[Finding]) -> String {
    let told = |finding: &Finding| format!("\n  {}: {}\n    {}", finding.subject, finding.reason, finding.cure);
    findings.iter().take(REASONS_MAX).map(told).collect()
}

fn lacking(session: &Session, namespace: &str, workload: &str) -> Result<Option<String>, Fault> {
    let found = session.kubectl.get(&[workload, "--namespace", namespace])?;
    Ok(found.map_or_else(|| Some("it is not there".to_owned()), |found| lacking_in(&found)))
}

/// What a workload waits for, by what its controller says; none where its pods are those of its newest text, and ready.
fn lacking_in(workload: &Value) -> Option<String> {
    let status = &workload["status"];
    let count = |name: &str| status[name].as_i64().unwrap_or(0);
    let wanted = workload["spec"]["replicas"].as_i64().unwrap_or(1);
    if status["observedGeneration"] != workload["metadata"]["generation"] {
        return Some("its controller has not looked at it yet".to_owned());
    }
    let (ready, updated, all) = (count("readyReplicas"), count("updatedReplicas"), count("replicas"));
    match () {
        () if updated < wanted => Some(format!("{updated} of {wanted} pod(s) are made as they should be")),
        () if ready < wanted => Some(format!("{ready} of {wanted} pod(s) are ready")),
        () if all > updated => Some(format!("{} pod(s) of before have not ended", all - updated)),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_of_before_do_not_count_as_ready() {
        let of = |observed: u8, replicas: u8, updated: u8, ready: u8| {
            let status = json!({"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready});
            lacking_in(&json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}))
        };
        assert_eq!(of(2, 2, 2, 2), None);
        for (observed, replicas, updated, ready, words) in [
            (1, 2, 2, 2, "has not looked at it yet"),
            (2, 2, 1, 2, "1 of 2 pod(s) are made"),
            (2, 2, 2, 1, "1 of 2 pod(s) are ready"),
            (2, 3, 2, 2, "1 pod(s) of before"),
        ] {
            let told = of(observed, replicas, updated, ready).unwrap();
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
