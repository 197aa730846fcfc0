//! What comes next by itself: entering → running → leaving → settled, and the steps of a canary.
//!
//! `decide` is pure: a release, what is observed of it and the time. It says *what* as an intent; how that looks is `plan`'s.

use jiff::Timestamp;

use crate::release::{Intent, Observed, Release, Restorable};

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
    let _ = (release, restorable, observed, now);
    todo!()
}
