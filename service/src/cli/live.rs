//! Waiting until a change is live in its cluster.

use std::time::Duration;

use reqwest::Method;
use tokio::time::{Instant, sleep};

use super::Context;
use super::change::LOOK_EVERY;
use super::client::Call;
use super::error::{CliError, Exit};
use super::views::text;

/// The ends of a run that nobody waits for who asked for something else.
const TAKEN_BACK: [&str; 2] = ["aborted", "rolled-back"];

/// Waits until what a release's newest commit says is live and nothing of it is under way.
pub(super) async fn until_live(path: &[&str], timeout: Duration, ctx: &Context) -> Result<Exit, CliError> {
    let begin = Instant::now();
    let mut said = String::new();
    let mut first_outcome = None;
    loop {
        let reply = match ctx.client.call(Call::new(Method::GET, path)).await {
            Err(error) if error.exit == Exit::NotFound => {
                ctx.output.progress("it is gone");
                return Ok(Exit::Done);
            }
            reply => reply?,
        };
        let of = |pointer: &str| text(&reply.body, pointer);
        let outcome = of("/rollout/outcome");
        let first = first_outcome.get_or_insert_with(|| outcome.clone());
        let (state, reason) = (of("/status/state"), of("/status/reason"));
        if outcome != *first && TAKEN_BACK.contains(&outcome.as_str()) {
            return Err(CliError::new(Exit::Failed, format!("it was taken back; before that: {said}"))
                .hint("`kmlflow history NAME` shows the commits, `kmlflow logs NAME` what the pod says"));
        }
        let is_under_way = ["entering", "leaving"].contains(&of("/rollout/phase").as_str());
        match state.as_str() {
            "live" if !is_under_way => {
                ctx.output.progress("it is live");
                return Ok(Exit::Done);
            }
            "stalled" => {
                let cure = of("/status/cure");
                return Err(CliError::new(Exit::Failed, format!("it is stalled: {reason}")).hint(cure));
            }
            _ => {}
        }
        let waits_for = if state == "live" { of("/waitsFor") } else { reason };
        if waits_for != said && !waits_for.is_empty() {
            ctx.output.progress(&format!("waiting: {waits_for}"));
            said = waits_for;
        }
        if begin.elapsed() >= timeout {
            let error = CliError::new(Exit::Deadline, format!("not live yet: {said}"));
            return Err(error.hint("`kmlflow watch` shows how it goes on"));
        }
        sleep(LOOK_EVERY).await;
    }
}
