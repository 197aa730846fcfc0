//! What comes next by itself: the phases, the steps of a canary, the delays of a blue-green release.
//!
//! `decide` is pure: a release, what is observed of it and the time. It says *what* as an intent; how that looks is `plan`'s.

mod due;

use jiff::Timestamp;

use crate::names::PredictorName;
use crate::release::{Intent, Observed, Period, Phase, Readiness, Release, Restorable, Seen};

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

/// Whether something may go on.
enum Gate {
    Open,
    Closed { until: Option<Timestamp>, reason: String },
}

impl Gate {
    fn then(self, intent: impl FnOnce() -> Intent) -> Decision {
        match self {
            Self::Open => Decision::Go(intent()),
            Self::Closed { until, reason } => Decision::Wait { until, reason },
        }
    }
}

impl View<'_> {
    fn settled(&self, restorable: Option<&Restorable>) -> Decision {
        let pending = restorable.filter(|restorable| restorable.release.spec != self.release.spec);
        if let (Some(restorable), Some(stable)) = (pending, self.release.stable()) {
            return self
                .unrouted(std::slice::from_ref(&stable.predictor))
                .then(|| Intent::Rollback { to: restorable.commit.clone() });
        }
        let Some(stable) = self.release.stable() else { return Decision::Done };
        let has_docs = self.release.serving_of(stable).docs_path.is_some();
        if has_docs && self.release.rollout.docs.as_ref() != Some(&stable.predictor) {
            return self.live().then(|| Intent::RouteDocs { predictor: stable.predictor.clone() });
        }
        Decision::Done
    }

    fn entering(&self) -> Decision {
        let gone: Vec<PredictorName> = self.release.leaving().map(|variant| variant.predictor.clone()).collect();
        if !gone.is_empty() {
            return self.unrouted(&gone).then(|| Intent::Remove { gone });
        }
        let entered = || self.release.staying().skip(1).map(|variant| variant.predictor.clone()).collect();
        self.live().then(|| Intent::Run { entered: entered() })
    }

    fn leaving(&self) -> Decision {
        let gone: Vec<PredictorName> = self.release.leaving().map(|variant| variant.predictor.clone()).collect();
        if !gone.is_empty() {
            return self.unrouted(&gone).then(|| Intent::Remove { gone });
        }
        match self.release.stable() {
            Some(stable) => self.live().then(|| Intent::Settle { keep: stable.predictor.clone() }),
            None => Decision::Done,
        }
    }

    /// Open once everything of the present commit is live.
    fn live(&self) -> Gate {
        match self.observed {
            Observed::Blind { delay } => blind(self.release, *delay, self.now),
            Observed::Seen(seen) if seen.live_since.is_some() => Gate::Open,
            Observed::Seen(seen) => Gate::Closed { until: None, reason: not_live(self.release, seen) },
        }
    }

    /// Open once the applied route and own Service name none of these, whatever Git says meanwhile.
    fn unrouted(&self, gone: &[PredictorName]) -> Gate {
        match self.observed {
            Observed::Blind { delay } => blind(self.release, *delay, self.now),
            Observed::Seen(seen) => match gone.iter().find(|predictor| seen.routed.contains(predictor)) {
                Some(named) => Gate::Closed { until: None, reason: format!("the applied route still names {named}") },
                None if !seen.applied => {
                    Gate::Closed { until: None, reason: "the last commit is not applied yet".to_owned() }
                }
                None => Gate::Open,
            },
        }
    }
}

/// Without a cluster a commit counts as applied and ready once the delay is over.
fn blind(release: &Release, delay: Period, now: Timestamp) -> Gate {
    let at = release.rollout.counts_as_live_at(delay);
    if now >= at {
        Gate::Open
    } else {
        Gate::Closed {
            until: Some(at),
            reason: "no cluster is watched: the commit counts as ready after the delay".to_owned(),
        }
    }
}

fn not_live(release: &Release, seen: &Seen) -> String {
    let waits = release.spec.variants.iter().find_map(|variant| match seen.variants.get(&variant.predictor) {
        Some(Readiness::Ready) => None,
        Some(Readiness::NotReady(why)) => Some(format!("{} is not ready: {why}", variant.predictor)),
        Some(Readiness::Unknown) | None => Some(format!("it is not known whether {} is ready", variant.predictor)),
    });
    waits.unwrap_or_else(|| "the last commit is not live yet".to_owned())
}
