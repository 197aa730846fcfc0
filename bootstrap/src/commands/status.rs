//! `status`: each part, wave by wave.

use std::time::Duration;

use crate::arguments::General;
use crate::fault::{Fault, Kind};
use crate::session::Session;
use crate::waves::{self, Part, State};
use crate::{answer, steps};

/// How long `--watch` goes on.
const WATCH_LIMIT: Duration = Duration::from_secs(3600);

pub(super) fn run(session: &Session, general: &General, is_watch: bool) -> Result<(), Fault> {
    let began = std::time::Instant::now();
    let mut before = String::new();
    loop {
        let parts = steps::parts(session)?;
        let text = told(&parts);
        // While it is watched, only what is new is written.
        if text != before || !is_watch {
            answer::write(general.output, &parts, || text.clone())?;
            before = text;
        }
        let Some((wave, waited)) = waves::waiting(&parts) else { return Ok(()) };
        if !is_watch {
            // What is not ready yet is still to be waited for, whoever reads the answer.
            return Err(Fault::new(
                waves::told(wave, &waited),
                "`cargo bootstrap doctor` says why; `cargo bootstrap status --watch` goes on until it is",
            )
            .of(Kind::Deadline));
        }
        if began.elapsed() > WATCH_LIMIT {
            return Err(Fault::new(waves::told(wave, &waited), "`cargo bootstrap doctor` says why").of(Kind::Deadline));
        }
        std::thread::sleep(general.poll);
    }
}

fn told(parts: &[Part]) -> String {
    let row = |part: &Part| {
        vec![
            part.wave.to_string(),
            part.name.clone(),
            part.version.clone().unwrap_or_else(|| "-".to_owned()),
            part.state.word().to_owned(),
            part.reason.clone(),
        ]
    };
    let healthy = parts.iter().filter(|part| part.state == State::Healthy).count();
    let rows: Vec<Vec<String>> = parts.iter().map(row).collect();
    format!(
        "{}\n{healthy} of {} are healthy\n",
        answer::table(&["WAVE", "PART", "VERSION", "STATE", "REASON"], &rows),
        parts.len()
    )
}
