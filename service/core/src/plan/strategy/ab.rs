//! A/B: two to eight arms with fixed shares, or one arm by a header.

use indexmap::IndexMap;

use super::{Rules, predictor};
use crate::names::PredictorName;
use crate::release::{
    Action, HeaderMatch, Intent, Refusal, Release, ReleaseSpec, Role, Violations, Wanted, WeightsRequest, check_weights,
};

pub(super) struct Ab;

impl Rules for Ab {
    fn set_up(&self, wanted: &Wanted, spec: &mut ReleaseSpec, arms: usize) {
        let weights = wanted.weights.clone().unwrap_or_else(|| equal_shares(arms));
        spec.ab = Some(crate::release::Ab { weights, matches: wanted.matches.clone() });
    }

    fn started(&self, release: &Release) -> String {
        shares(release)
    }

    fn retune(&self, wanted: &Wanted, release: &mut Release) -> Option<(Action, String)> {
        let ab = release.spec.ab.as_mut()?;
        let weights = wanted.weights.clone().unwrap_or_else(|| ab.weights.clone());
        let matches: Vec<HeaderMatch> =
            if wanted.matches.is_empty() { ab.matches.clone() } else { wanted.matches.clone() };
        if same(&ab.weights, &weights) && ab.matches == matches {
            return None;
        }
        *ab = crate::release::Ab { weights, matches };
        Some((Action::Weights, shares(release)))
    }

    fn advance(&self, _: &Release) -> Result<Intent, Refusal> {
        Err(Refusal::conflict(
            "an A/B release has no steps",
            "use `weights` for other shares, or `promote --variant b` to end it",
        ))
    }

    fn winner(&self, release: &Release, variant: Option<Role>) -> Result<PredictorName, Refusal> {
        match variant {
            Some(role) if Role::ARMS.contains(&role) => predictor(release, role),
            Some(role) => Err(Refusal::invalid(
                format!("`{role}` is no arm of an A/B release"),
                "name one of its arms, such as `b`",
            )),
            None => Err(Refusal::invalid(
                "an A/B release ends with a winner, and none was named",
                "name the arm: `{\"variant\": \"b\"}` (`--variant b`)",
            )),
        }
    }

    fn weigh(&self, request: &WeightsRequest, release: &mut Release) -> Result<Option<String>, Refusal> {
        let (Some(weights), None) = (&request.weights, request.percent) else {
            return Err(Refusal::invalid(
                "an A/B release takes `weights`, one per arm",
                "for example `kmlflow weights NAME a=70,b=30`",
            ));
        };
        let mut found = Violations::default();
        check_weights(weights, release.staying().count(), &mut found);
        let found = found.into_vec();
        if !found.is_empty() {
            return Err(Refusal::violations(found));
        }
        let Some(ab) = release.spec.ab.as_mut() else { return Ok(None) };
        if same(&ab.weights, weights) {
            return Ok(None);
        }
        ab.weights.clone_from(weights);
        Ok(Some(shares(release)))
    }
}

/// Whether two sets of shares are the same, whatever their order.
fn same(one: &IndexMap<Role, u8>, other: &IndexMap<Role, u8>) -> bool {
    one.len() == other.len() && one.iter().all(|(role, weight)| other.get(role) == Some(weight))
}

/// Equal shares, the first arms taking what is left over: 34, 33, 33.
fn equal_shares(arms: usize) -> IndexMap<Role, u8> {
    let arms = arms.clamp(1, Role::ARMS.len());
    let (share, rest) = (100 / arms, 100 % arms);
    Role::ARMS
        .into_iter()
        .take(arms)
        .enumerate()
        .map(|(i, role)| (role, u8::try_from(share + usize::from(i < rest)).unwrap_or(1)))
        .collect()
}

fn shares(release: &Release) -> String {
    let weights = release.spec.ab.iter().flat_map(|ab| &ab.weights);
    let parts: Vec<String> = weights.map(|(role, weight)| format!("{role} {weight} %")).collect();
    parts.join(", ")
}
