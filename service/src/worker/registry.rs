//! From a change of the registry to what is asked of a release: the policy's wish compared with what is deployed.
//!
//! Level-triggered: the whole state is compared, so it does not matter which event came, or how often.

use crate::names::{ModelName, Version};
use crate::policy::{Desired, WhenStableGoes};
use crate::release::{
    Artifact, Intent, Origin, RegistryView, Rejected, Release, Retracted, Strategy, Wanted, WantedArm,
};

/// What the registry asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// These, one after the other; all the same once they are so.
    Intents(Vec<Intent>),
    /// The tag's wish, answered once.
    Wish(Intent),
    /// Nothing, because the release was made after this very state of the registry.
    Stands(String),
    /// Nothing, because the registry names no version to serve.
    Nothing(String),
}

/// What is there of the release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present<'a> {
    pub(super) model: &'a ModelName,
    /// The alias that the policy takes the stable version from.
    pub(super) stable_alias: &'a str,
    pub(super) release: Option<&'a Release>,
    pub(super) retracted: Option<&'a Retracted>,
    /// What the policy read when the registry's state was last answered, with or without a commit.
    pub(super) acted_on: Option<&'a RegistryView>,
    /// A delivery that has carried out a part of what this state asks for goes on with the rest.
    pub(super) is_midway: bool,
}

/// Compares what a policy wants with what is there.
pub(super) fn asked(desired: &Desired, present: Present<'_>) -> Asked {
    if let Some(wish) = &desired.request {
        return Asked::Wish(put(present.model, &wish.version, wish.strategy, false));
    }
    if let Some(reason) = stands(desired, present) {
        return Asked::Stands(reason);
    }
    let because = || {
        if desired.because.is_empty() {
            "the registry names no version to serve".to_owned()
        } else {
            desired.because.join("; ")
        }
    };
    match (&desired.stable, present.release) {
        (None, Some(release)) if desired.stable_gone && desired.when_stable_goes == WhenStableGoes::Retract => {
            if acted_on(present, &release.origin).is_some_and(|view| view.aliases.contains_key(present.stable_alias)) {
                Asked::Intents(vec![Intent::Retract])
            } else {
                // An alias that never was cannot go: somebody released this without one.
                Asked::Nothing(because())
            }
        }
        (None, _) => Asked::Nothing(because()),
        (Some(stable), _) => Asked::Intents(towards(desired, stable, present)),
    }
}

/// Why `origin` is the registry's state, for the commits that carry this out.
pub(super) fn origin(desired: &Desired) -> Origin {
    Origin { policy: Some(desired.policy.clone()), registry: Some(desired.view.clone()), requested_by: None }
}

/// Why nothing is to be done although something else may be deployed: the state has been acted on, by the policy or by a person who knew it.
fn stands(desired: &Desired, present: Present<'_>) -> Option<String> {
    // A directory that somebody removed by a push leaves no note: what the registry was answered last is all that is known of it.
    let unknown = Origin::default();
    let origin = match (present.release, present.retracted) {
        (Some(release), _) => &release.origin,
        (None, Some(retracted)) => &retracted.origin,
        (None, None) => &unknown,
    };
    let acted_on = acted_on(present, origin);
    let wanted = desired.stable.iter().chain(desired.second.as_ref().map(|second| &second.version));
    let anew = wanted.into_iter().any(|version| is_anew(desired, version, rejected(present)) == Some(true));
    if present.is_midway || anew || acted_on != Some(&desired.view) {
        return None;
    }
    Some(match (&origin.requested_by, present.release) {
        (_, None) if desired.stable.is_none() => return None,
        (_, None) => "it was removed, and the registry has not changed since".to_owned(),
        (Some(who), _) => format!("{who} decided otherwise, and the registry has not changed since"),
        (None, _) => "this state of the registry has been acted on".to_owned(),
    })
}

/// What the policy read when it last answered. A state that was so already made no commit, so Git does not know of it; without the
/// store, Git's word is the last one.
fn acted_on<'a>(present: Present<'a>, origin: &'a Origin) -> Option<&'a RegistryView> {
    present.acted_on.or(origin.registry.as_ref())
}

/// First the stable version, then the one beside it.
fn towards(desired: &Desired, stable: &Version, present: Present<'_>) -> Vec<Intent> {
    let deployed = present.release.and_then(Release::stable).map(|variant| &variant.version);
    let by_registry = |version: &Version| is_anew(desired, version, rejected(present)) != Some(true);
    let mut intents = Vec::new();
    if deployed != Some(stable) || desired.second.is_none() {
        intents.push(put(present.model, stable, Strategy::Single, by_registry(stable)));
    }
    if let Some(second) = &desired.second {
        intents.push(Intent::Put(Box::new(Wanted {
            baseline: Some(stable.clone()),
            steps: second.steps.clone(),
            weights: second.weights.clone(),
            percent: second.percent,
            ..wanted(present.model, &second.version, second.strategy, by_registry(&second.version))
        })));
    }
    intents
}

/// Whether a rejected version's alias was set anew since; none where it is not rejected.
///
/// By whole seconds, because a rejection is written down in whole seconds: an alias of the same second was set before it.
fn is_anew(desired: &Desired, version: &Version, rejected: &[Rejected]) -> Option<bool> {
    let rejected_at = rejected
        .iter()
        .filter(|rejected| rejected.version == *version)
        .map(|rejected| rejected.at.as_second())
        .max()?;
    Some(desired.set_at.get(version).is_some_and(|at| at.as_second() > rejected_at))
}

fn rejected<'a>(present: Present<'a>) -> &'a [Rejected] {
    match (present.release, present.retracted) {
        (Some(release), _) => &release.rollout.rejected,
        (None, Some(retracted)) => &retracted.rejected,
        (None, None) => &[],
    }
}

fn put(model: &ModelName, version: &Version, strategy: Strategy, by_registry: bool) -> Intent {
    Intent::Put(Box::new(wanted(model, version, strategy, by_registry)))
}

/// One version, everything else left as it is deployed or to its default.
fn wanted(model: &ModelName, version: &Version, strategy: Strategy, by_registry: bool) -> Wanted {
    Wanted {
        model: model.clone(),
        strategy,
        baseline: None,
        arms: vec![WantedArm { version: version.clone(), artifact: Artifact::default(), serving: None }],
        stable: None,
        steps: None,
        weights: None,
        matches: Vec::new(),
        percent: None,
        scale_down_delay: None,
        auto_promote_after: None,
        serving: None,
        deadline: None,
        target: None,
        by_registry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policies;
    use crate::registry::RegistryState;

    #[test]
    fn an_alias_of_the_same_second_as_a_rejection_is_not_set_anew() {
        let text = "apiVersion: kmlflow.dev/v1\nkind: ReleasePolicy\nmetadata: {name: p}\nspec: {models: [\"*\"], release: {environment: e, namespace: n}, stable: {alias: champion}}\n";
        let (policies, problems) = Policies::parse(&[("p".parse().unwrap(), text.to_owned())]);
        assert!(problems.is_empty(), "{problems:?}");
        let model: ModelName = "m".parse().unwrap();
        let version: Version = "2".parse().unwrap();
        let anew = |set_at: &str| {
            let mut state = RegistryState::new(model.clone());
            let fact =
                crate::event::RegistryFact::AliasSet { alias: "champion".parse().unwrap(), version: version.clone() };
            state.apply(&crate::event::RegistryChange { model: model.clone(), at: set_at.parse().unwrap(), fact });
            let desired = crate::policy::desired(&state, policies.select(&model).unwrap().policy);
            let rejected = |at: &str| Rejected {
                version: version.clone(),
                commit: "0".repeat(40).parse().unwrap(),
                reason: "rolled back".to_owned(),
                at: at.parse().unwrap(),
            };
            is_anew(&desired, &version, &[rejected("2026-11-23T09:00:00Z"), rejected("2026-11-23T10:00:00Z")])
        };
        assert_eq!(anew("2026-11-23T10:00:00.9Z"), Some(false));
        assert_eq!(anew("2026-11-23T09:30:00Z"), Some(false));
        assert_eq!(anew("2026-11-23T10:00:01Z"), Some(true));
    }
}
