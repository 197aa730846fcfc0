//! What differs between the strategies: one file each.

mod ab;
mod blue_green;
mod canary;
mod shadow;
mod single;

use crate::names::PredictorName;
use crate::release::{Action, Intent, Refusal, Release, ReleaseSpec, Role, Strategy, Wanted, WeightsRequest};

/// The rules of one strategy while it runs.
pub(super) trait Rules: Sync {
    /// Writes the strategy's settings, with defaults where the request has none; `arms` counts the stable one too.
    fn set_up(&self, wanted: &Wanted, spec: &mut ReleaseSpec, arms: usize);

    /// `rollout.step` at the start of the run.
    fn first_step(&self) -> Option<u32> {
        None
    }

    /// The summary of the commit that gives the entered variants their first traffic.
    fn started(&self, release: &Release) -> String;

    /// Writes other settings into a run of the same variants; none where they are as they were.
    fn retune(&self, wanted: &Wanted, release: &mut Release) -> Option<(Action, String)>;

    /// What `advance` means now.
    fn advance(&self, release: &Release) -> Result<Intent, Refusal>;

    /// Which predictor `promote` keeps.
    fn winner(&self, release: &Release, variant: Option<Role>) -> Result<PredictorName, Refusal>;

    /// Writes other shares; none where they are as they were.
    fn weigh(&self, request: &WeightsRequest, release: &mut Release) -> Result<Option<String>, Refusal>;
}

/// The rules of a strategy.
pub(super) fn rules(strategy: Strategy) -> &'static dyn Rules {
    match strategy {
        Strategy::Single => &single::Single,
        Strategy::Canary => &canary::Canary,
        Strategy::Ab => &ab::Ab,
        Strategy::BlueGreen => &blue_green::BlueGreen,
        Strategy::Shadow => &shadow::Shadow,
    }
}

/// The predictor of a role that the strategy always has while it runs.
fn predictor(release: &Release, role: Role) -> Result<PredictorName, Refusal> {
    let variant = release.variant(role).ok_or_else(|| {
        Refusal::conflict(format!("the release has no variant `{role}`"), "`kmlflow get NAME` shows the variants")
    })?;
    Ok(variant.predictor.clone())
}

/// Refuses a `variant` where the strategy leaves no choice but `only`.
fn only_winner(release: &Release, variant: Option<Role>, only: Role) -> Result<PredictorName, Refusal> {
    if variant.is_some_and(|role| role != only) {
        let reason = format!("`promote` on `{}` keeps `{only}`; it takes no other variant", release.spec.strategy);
        return Err(Refusal::invalid(reason, "leave `variant` out, or use `abort` to keep the stable one"));
    }
    predictor(release, only)
}

/// Refuses `weights` where the strategy has none to give.
fn no_weights(release: &Release, cure: &str) -> Refusal {
    Refusal::invalid(format!("a release by `{}` takes no `weights`", release.spec.strategy), cure)
}

/// The version of the variant with a role, for a summary.
fn version(release: &Release, role: Role) -> &str {
    release.variant(role).map_or("?", |variant| variant.version.as_str())
}
