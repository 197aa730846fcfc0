//! The requests that make a release of what was read, one after the other.

use indexmap::IndexMap;
use serde_json::Value;

use super::fields::Found;
use super::predictor::Served;
use super::{Hints, name_of};
use crate::names::ReleaseName;
use crate::release::{DEFAULT_STEPS, ReleaseRequest, Role, StepRequest, Strategy};

/// The requests: the stable version alone, and where there are two then the run.
pub(super) fn requests(served: &[Served], hints: &Hints, found: &mut Found) -> Vec<ReleaseRequest> {
    let requests = match served {
        [one] => request(one, Strategy::Single).into_iter().collect(),
        [first, second] => {
            let (stable, other) = if is_first_stable(first, second) { (first, second) } else { (second, first) };
            let run = run(stable, other, hints, found);
            request(stable, Strategy::Single).into_iter().chain(run).collect()
        }
        _ => Vec::new(),
    };
    for request in &requests {
        let refused = request.clone().wanted().err();
        for violation in refused.into_iter().flat_map(|refusal| refusal.violations) {
            found.obstacle(
                &violation.field,
                &violation.detail,
                "correct it in the object, or give the object by a file (`-f`)",
            );
        }
    }
    requests
}

/// The predictor that is the stable one.
pub(super) fn stable(served: &[Served]) -> Option<&Served> {
    match served {
        [first, second] if !is_first_stable(first, second) => Some(second),
        _ => served.first(),
    }
}

fn is_first_stable(first: &Served, second: &Served) -> bool {
    second.is_shadow || (!first.is_shadow && first.traffic.unwrap_or(0) >= second.traffic.unwrap_or(0))
}

fn request(served: &Served, strategy: Strategy) -> Option<ReleaseRequest> {
    Some(ReleaseRequest {
        model: served.model.clone()?,
        version: served.version.clone()?,
        strategy,
        baseline: None,
        steps: None,
        weights: None,
        matches: Vec::new(),
        percent: None,
        scale_down_delay: None,
        auto_promote_after: None,
        image: served.artifact.image.clone(),
        model_uri: served.artifact.model_uri.clone(),
        serving: Some(served.serving.clone()),
        deadline: None,
        allow_breaking_signature: false,
        requested_by: None,
    })
}

/// The request for the run of the second version beside the stable one.
fn run(stable: &Served, other: &Served, hints: &Hints, found: &mut Found) -> Option<ReleaseRequest> {
    if stable.model != other.model {
        found.obstacle(
            "spec.predictors",
            "they serve two models",
            "`hints.model` (`--model M`) says which registered model it is",
        );
    }
    if stable.version == other.version && stable.version.is_some() {
        let cure = format!(
            "name both in `hints.versions` (`--version {}=V --version {}=W`)",
            stable.predictor, other.predictor
        );
        found.obstacle("spec.predictors", "both serve the same version", &cure);
    }
    let share = other.traffic.unwrap_or(0);
    let sum = stable.traffic.unwrap_or(0).saturating_add(share);
    if !other.is_shadow && sum != 100 {
        let detail = format!("the traffic of the predictors is {sum} together");
        found.obstacle("spec.predictors", &detail, "give each its share of 100 in `traffic`");
    }
    let strategy = strategy(stable, other, hints, found);
    let share = u8::try_from(share).unwrap_or(u8::MAX);
    let mut request = request(other, strategy)?;
    request.baseline.clone_from(&stable.version);
    match strategy {
        Strategy::Canary => {
            // From the weight that it has on, by the steps that are usual behind it.
            let behind = DEFAULT_STEPS.into_iter().filter(|weight| *weight > share);
            request.steps = Some([share].into_iter().chain(behind).map(StepRequest::Weight).collect());
        }
        Strategy::Ab => {
            request.weights =
                Some(IndexMap::from([(Role::ARMS[0], 100_u8.saturating_sub(share)), (Role::ARMS[1], share)]));
        }
        // A shadow without a percentage gets a copy of everything.
        Strategy::Shadow => request.percent = Some(if share == 0 { 100 } else { share }),
        Strategy::Single | Strategy::BlueGreen => {}
    }
    Some(request)
}

/// How two predictors run beside each other.
fn strategy(stable: &Served, other: &Served, hints: &Hints, found: &mut Found) -> Strategy {
    let share = other.traffic.unwrap_or(0);
    let by_traffic = match (other.is_shadow, share) {
        (true, _) => Strategy::Shadow,
        (false, 0) => Strategy::BlueGreen,
        (false, _) if stable.traffic == other.traffic => Strategy::Ab,
        (false, _) => Strategy::Canary,
    };
    let Some(wanted) = hints.strategy else { return by_traffic };
    let fits = match wanted {
        Strategy::Shadow => other.is_shadow,
        Strategy::Canary | Strategy::Ab => !other.is_shadow && share > 0,
        Strategy::BlueGreen => !other.is_shadow && share == 0,
        Strategy::Single => false,
    };
    if !fits {
        let detail = format!("its traffic is that of the strategy `{by_traffic}`, not of `{wanted}`");
        found.obstacle(
            &other.path,
            &detail,
            "leave `hints.strategy` (`--strategy`) out, or change the traffic in the object first",
        );
    }
    wanted
}

/// What becomes otherwise for whoever calls it and for its pods.
pub(super) fn changes(name: &ReleaseName, object: &Value, served: &[Served], found: &mut Found) {
    let old = name_of(object);
    let is_same = name.as_str() == old;
    for Served { predictor, path, version, .. } in served {
        let Some(version) = version else { continue };
        let becomes = format!("v{version}");
        if is_same && *predictor != becomes {
            let detail = format!(
                "the predictor becomes `{becomes}`: the operator starts its pods, and removes those of `{predictor}` and its Service \
                 `{old}-{predictor}` once the new ones are ready; callers in the cluster name the Service `{name}` instead"
            );
            found.change(path, &detail);
        }
    }
    if served.len() > 1 {
        let detail = "first the stable version serves alone, and the run begins once it is live: until then the other version gets no requests";
        found.change("spec.predictors", detail);
    }
    let detail = if is_same {
        "Argo CD takes the SeldonDeployment over under its name: what Git says replaces what is there, what Git does not say stays".to_owned()
    } else {
        format!(
            "the SeldonDeployment `{old}` stays beside the release and is to be removed by hand: `kubectl delete seldondeployment {old}`"
        )
    };
    found.change("metadata.name", &detail);
    found.change("", "callers from outside come by the release's HTTPRoute and its host; routes of Istio or Ambassador are not taken over");
}
