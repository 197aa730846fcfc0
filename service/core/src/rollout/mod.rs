//! What comes next by itself: the phases, the steps of a canary, the delays of a blue-green release.
//!
//! `decide` is pure: a release, what is observed of it and the time. It says *what* as an intent; how that looks is `plan`'s.

mod due;
mod undo;

pub use undo::undo;

use jiff::Timestamp;

use crate::names::PredictorName;
use crate::release::{Gate, Intent, Observed, Phase, Release, Restorable};

/// What comes next by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// This, now.
    Go(Intent),
    /// Something, later: at this moment at the latest where one is known, else when somebody acts or something is seen.
    Wait { until: Option<Timestamp>, reason: String },
    /// Nothing: the release is settled.
    Done,
}

/// Decides what comes next by itself. `restorable` is the state that `rollout.restores` names.
pub fn decide(release: &Release, restorable: Option<&Restorable>, observed: &Observed, now: Timestamp) -> Decision {
    if let Some(paused) = &release.rollout.paused {
        return Decision::Wait { until: None, reason: format!("paused by {}", paused.by) };
    }
    let view = View { release, observed, now };
    match release.rollout.phase {
        Phase::Settled => view.settled(restorable),
        Phase::Entering => view.entering(),
        Phase::Running => due::running(release, observed, now),
        Phase::Leaving => view.leaving(),
    }
}

struct View<'a> {
    release: &'a Release,
    observed: &'a Observed,
    now: Timestamp,
}

impl View<'_> {
    fn settled(&self, restorable: Option<&Restorable>) -> Decision {
        let pending = restorable.filter(|restorable| restorable.release.spec != self.release.spec);
        if let (Some(restorable), Some(stable)) = (pending, self.release.stable()) {
            let gone = std::slice::from_ref(&stable.predictor);
            return decided(self.unrouted(gone), || Intent::Rollback { to: restorable.commit.clone() });
        }
        let Some(stable) = self.release.stable() else { return Decision::Done };
        let has_docs = self.release.serving_of(stable).docs_path.is_some();
        if has_docs && self.release.rollout.docs.as_ref() != Some(&stable.predictor) {
            return decided(self.live(), || Intent::RouteDocs { predictor: stable.predictor.clone() });
        }
        Decision::Done
    }

    fn entering(&self) -> Decision {
        let gone: Vec<PredictorName> = self.release.leaving().map(|variant| variant.predictor.clone()).collect();
        if !gone.is_empty() {
            return decided(self.unrouted(&gone), || Intent::Remove { gone });
        }
        let entered = || self.release.staying().skip(1).map(|variant| variant.predictor.clone()).collect();
        decided(self.live(), || Intent::Run { entered: entered() })
    }

    fn leaving(&self) -> Decision {
        let gone: Vec<PredictorName> = self.release.leaving().map(|variant| variant.predictor.clone()).collect();
        if !gone.is_empty() {
            return decided(self.unrouted(&gone), || Intent::Remove { gone });
        }
        match self.release.stable() {
            Some(stable) => decided(self.live(), || Intent::Settle { keep: stable.predictor.clone() }),
            None => Decision::Done,
        }
    }

    fn live(&self) -> Gate {
        self.observed.live(self.release, self.now)
    }

    /// Open once the present commit is applied and no applied route names these.
    fn unrouted(&self, gone: &[PredictorName]) -> Gate {
        match self.observed.unrouted(gone, self.release, self.now) {
            Gate::Open => self.observed.applied(self.release, self.now),
            closed @ Gate::Closed { .. } => closed,
        }
    }
}

/// What is to be done, as soon as the gate is open.
fn decided(gate: Gate, intent: impl FnOnce() -> Intent) -> Decision {
    match gate {
        Gate::Open => Decision::Go(intent()),
        Gate::Closed { until, reason } => Decision::Wait { until, reason },
    }
}
