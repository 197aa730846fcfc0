//! Blue-green: two colours, all traffic to the active one.

use super::{Rules, no_weights, only_winner, predictor, version};
use crate::names::PredictorName;
use crate::release::{Action, Intent, Period, Refusal, Release, ReleaseSpec, Role, Wanted, WeightsRequest};

/// How long the colour left behind is kept where nobody says: long enough to see a slow fault and flip back.
const DEFAULT_SCALE_DOWN_DELAY: Period = Period::from_minutes(30);

pub(super) struct BlueGreen;

impl Rules for BlueGreen {
    fn set_up(&self, wanted: &Wanted, spec: &mut ReleaseSpec, _: usize) {
        spec.blue_green = Some(crate::release::BlueGreen {
            active: Role::Blue,
            scale_down_delay: wanted.scale_down_delay.unwrap_or(DEFAULT_SCALE_DOWN_DELAY),
            auto_promote_after: wanted.auto_promote_after,
        });
    }

    fn first_step(&self) -> Option<u32> {
        Some(0)
    }

    fn started(&self, release: &Release) -> String {
        format!("preview of green (version {})", version(release, Role::Green))
    }

    fn retune(&self, wanted: &Wanted, release: &mut Release) -> Option<(Action, String)> {
        let blue_green = release.spec.blue_green.as_mut()?;
        let before = blue_green.clone();
        blue_green.scale_down_delay = wanted.scale_down_delay.unwrap_or(before.scale_down_delay);
        blue_green.auto_promote_after = wanted.auto_promote_after.or(before.auto_promote_after);
        (*blue_green != before).then(|| (Action::Update, "other delays".to_owned()))
    }

    fn advance(&self, release: &Release) -> Result<Intent, Refusal> {
        let active = release.spec.blue_green.as_ref().map_or(Role::Blue, |bg| bg.active);
        let colour = if active == Role::Blue { Role::Green } else { Role::Blue };
        Ok(Intent::Activate { colour, predictor: predictor(release, colour)? })
    }

    fn winner(&self, release: &Release, variant: Option<Role>) -> Result<PredictorName, Refusal> {
        only_winner(release, variant, Role::Green)
    }

    fn weigh(&self, _: &WeightsRequest, release: &mut Release) -> Result<Option<String>, Refusal> {
        Err(no_weights(release, "use `advance` to flip all traffic to the other colour"))
    }
}
