//! Waiting, wave by wave, with the reason.

use std::time::{Duration, Instant};

use super::rollout::reasons;
use super::{Look, Step};
use crate::doctor::{self, Finding};
use crate::fault::{Fault, Kind};
use crate::manifests::ROOT;
use crate::reporter::{Reporter, seconds};
use crate::session::Session;
use crate::waves::{self, Part, State};

pub(super) struct Waves;

/// How long something may take before the reason is looked for: most images are pulled by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the reason is looked for then, in turns of the poll: it asks for every pod and event.
const TURNS_BETWEEN_DIAGNOSES: u32 = 5;

/// How every part of the profile stands.
pub fn parts(session: &Session) -> Result<Vec<Part>, Fault> {
    let applications = session.kubectl.list(&["applications.argoproj.io", "--namespace", "argocd"])?;
    let mut parts = waves::read(&session.catalogue, session.options.profile, &applications);
    // Where the root itself cannot be applied nothing else will be there.
    let root = applications.iter().find(|application| application["metadata"]["name"] == ROOT);
    let failing = root.and_then(waves::failure);
    if let (Some(reason), Some(first)) = (failing, parts.iter_mut().find(|part| part.state == State::NotThere)) {
        first.reason = format!("the root Application fails: {reason}");
    }
    Ok(parts)
}

impl Step for Waves {
    fn name(&self) -> &'static str {
        "waves"
    }

    fn title(&self) -> &'static str {
        "Waves"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let mut lines: Vec<String> = Vec::new();
        for part in session.catalogue.applications(session.options.profile) {
            let kind = match (&part.chart, &part.upstream) {
                (Some(chart), _) => format!("chart {} {} of {}", chart.name, chart.version, chart.repository),
                (None, Some(upstream)) => upstream.clone(),
                (None, None) => format!("platform/{}", part.path.as_deref().unwrap_or_default()),
            };
            lines.push(format!("wave {:>3}  {} {} ({kind})", part.wave, part.title, part.version));
        }
        Ok(lines)
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        let parts = parts(session)?;
        match waves::waiting(&parts) {
            None => Ok(Look::Done(format!("all {} parts are healthy", parts.len()))),
            Some(_) => Ok(Look::ToDo),
        }
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        let mut wave_began = (i32::MIN, Instant::now());
        let mut turn: u32 = 0;
        let mut findings: Vec<Finding> = Vec::new();
        loop {
            let parts = parts(session)?;
            let Some((wave, waited)) = waves::waiting(&parts) else {
                return Ok(format!("all {} parts are healthy", parts.len()));
            };
            if wave_began.0 != wave {
                wave_began = (wave, Instant::now());
                findings.clear();
            }
            let took = wave_began.1.elapsed();
            let is_failing = waited.iter().any(|part| part.state == State::Failing);
            let is_over = took >= session.timeout;
            let is_due = (took >= PATIENCE || is_failing) && turn.is_multiple_of(TURNS_BETWEEN_DIAGNOSES);
            if is_over || is_due {
                findings = of(&waited, doctor::findings(session)?);
            }
            let mut reason = waves::told(wave, &waited);
            for finding in findings.iter().take(1) {
                reason = format!("{reason} ({}: {})", finding.subject, finding.reason);
            }
            reporter.waiting(&reason);
            if is_over {
                return Err(overdue(wave, &waited, &findings, took));
            }
            turn = turn.wrapping_add(1);
            std::thread::sleep(session.poll);
        }
    }
}

/// The findings about what is waited for, and about what everything stands on.
fn of(waited: &[&Part], findings: Vec<Finding>) -> Vec<Finding> {
    let is_about = |finding: &Finding| {
        let is_below = finding.subject.starts_with("node ") || finding.subject.starts_with("the resolver");
        is_below || waited.iter().any(|part| finding.is_about(part))
    };
    findings.into_iter().filter(is_about).collect()
}

fn overdue(wave: i32, waited: &[&Part], findings: &[Finding], took: Duration) -> Fault {
    let what = format!("{} after {}{}", waves::told(wave, waited), seconds(took), reasons(findings));
    Fault::new(what, "`cargo bootstrap doctor` lists every reason; `up` goes on where it stopped").of(Kind::Deadline)
}
