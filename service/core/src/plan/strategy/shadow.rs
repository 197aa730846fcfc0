//! Shadow: the live version answers, a copy of the traffic goes to the shadow.

use super::{Rules, only_winner, version};
use crate::names::PredictorName;
use crate::release::{Action, Intent, Refusal, Release, ReleaseSpec, Role, Wanted, WeightsRequest};

pub(super) struct Shadow;

impl Rules for Shadow {
    fn set_up(&self, wanted: &Wanted, spec: &mut ReleaseSpec, _: usize) {
        spec.shadow = Some(crate::release::Shadow { percent: wanted.percent.unwrap_or(100) });
    }

    fn started(&self, release: &Release) -> String {
        mirrored(release)
    }

    fn retune(&self, wanted: &Wanted, release: &mut Release) -> Option<(Action, String)> {
        let percent = wanted.percent?;
        let shadow = release.spec.shadow.as_mut()?;
        if shadow.percent == percent {
            return None;
        }
        shadow.percent = percent;
        Some((Action::Weights, mirrored(release)))
    }

    fn advance(&self, _: &Release) -> Result<Intent, Refusal> {
        Err(Refusal::conflict(
            "a shadow release has no steps",
            "use `weights` for another percentage, or `promote` to end it",
        ))
    }

    fn winner(&self, release: &Release, variant: Option<Role>) -> Result<PredictorName, Refusal> {
        only_winner(release, variant, Role::Shadow)
    }

    fn weigh(&self, request: &WeightsRequest, release: &mut Release) -> Result<Option<String>, Refusal> {
        let percent = match (&request.weights, request.percent) {
            (None, Some(percent)) if (1..=100).contains(&percent) => percent,
            (None, Some(_)) => {
                return Err(Refusal::invalid("`percent` must be from 1 to 100", "use `abort` to end the mirroring"));
            }
            _ => return Err(Refusal::invalid("a shadow release takes `percent`", "for example `{\"percent\": 20}`")),
        };
        let Some(shadow) = release.spec.shadow.as_mut().filter(|shadow| shadow.percent != percent) else {
            return Ok(None);
        };
        shadow.percent = percent;
        Ok(Some(mirrored(release)))
    }
}

fn mirrored(release: &Release) -> String {
    let percent = release.spec.shadow.as_ref().map_or(0, |shadow| shadow.percent);
    format!("mirror {percent} % to version {}", version(release, Role::Shadow))
}
