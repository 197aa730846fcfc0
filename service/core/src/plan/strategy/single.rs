//! Single: one version serves. It has a second one only on its way to another engine or port.

use super::{Rules, no_weights, only_winner, version};
use crate::names::PredictorName;
use crate::release::{Action, Intent, Refusal, Release, ReleaseSpec, Role, Wanted, WeightsRequest};

pub(super) struct Single;

impl Rules for Single {
    fn set_up(&self, _: &Wanted, _: &mut ReleaseSpec, _: usize) {}

    fn started(&self, release: &Release) -> String {
        format!("all traffic to version {}", version(release, Role::Candidate))
    }

    fn retune(&self, _: &Wanted, _: &mut Release) -> Option<(Action, String)> {
        None
    }

    fn advance(&self, _: &Release) -> Result<Intent, Refusal> {
        Err(Refusal::conflict("a single release goes on by itself", "`kmlflow watch NAME` shows how far it is"))
    }

    fn winner(&self, release: &Release, variant: Option<Role>) -> Result<PredictorName, Refusal> {
        only_winner(release, variant, Role::Candidate)
    }

    fn weigh(&self, _: &WeightsRequest, release: &mut Release) -> Result<Option<String>, Refusal> {
        Err(no_weights(release, "release the new version by `ab` or `canary` to share the traffic"))
    }
}
