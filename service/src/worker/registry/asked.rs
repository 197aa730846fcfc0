//! From a change of the registry to what is asked of a release: the policy's wish compared with what is deployed.
//!
//! Level-triggered: the whole state is compared, so it does not matter which event came, or how often.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::names::{CommitId, ModelName, Version};
use crate::plan::Findings;
use crate::policy::{Desired, WhenStableGoes};
use crate::registry::RegistryState;
use crate::release::{
    Artifact, Intent, Origin, Refusal, RegistryView, Rejected, Release, Retracted, Strategy, Wanted, WantedArm,
};
use crate::worker::task::Task;

/// What the registry asks for.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::worker) enum Asked {
    /// These, one after the other; all the same once they are so.
    Intents(Vec<Intent>),
    /// The tag's wish, answered once; refused where it names nothing that could be done.
    Wish(Result<Intent, Refusal>),
    /// Nothing, because the release was made after this very state of the registry.
    Stands(String),
    /// Nothing, because the registry names no version to serve.
    Nothing(String),
}

/// What is there of the release.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) struct Present<'a> {
    pub(in crate::worker) model: &'a ModelName,
    /// The alias that the policy takes the stable version from.
    pub(in crate::worker) stable_alias: &'a str,
    pub(in crate::worker) release: Option<&'a Release>,
    pub(in crate::worker) retracted: Option<&'a Retracted>,
    /// What is known of the model in the registry.
    pub(in crate::worker) known: Option<&'a RegistryState>,
    /// A delivery that has carried out a part of what this state asks for goes on with the rest.
    pub(in crate::worker) is_midway: bool,
}

/// Compares what a policy wants with what is there.
pub(in crate::worker) fn asked(desired: &Desired, present: Present<'_>) -> Asked {
    if let Some(wish) = &desired.request {
        return Asked::Wish(match &wish.strategy {
            Ok(strategy) => Ok(put(present.model, &wish.version, *strategy, false)),
            Err(reason) => Err(Refusal::invalid(reason, format!("set the tag `{}` to one of them", wish.tag))),
        });
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
        (None, Some(_)) if desired.stable_gone && desired.when_stable_goes == WhenStableGoes::Retract => {
            if acted_on(present).is_some_and(|view| view.aliases.contains_key(present.stable_alias)) {
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

/// What a policy wants without a second version that was rejected and whose alias was not set anew: then none should run. Says so, where
/// there was one.
pub(in crate::worker) fn without_rejected(mut desired: Desired, present: Present<'_>) -> (Desired, Option<String>) {
    let Some(second) = &desired.second else { return (desired, None) };
    let Some(why) = rejected(present).iter().find(|rejected| rejected.version == second.version) else {
        return (desired, None);
    };
    if is_anew(&desired, &second.version, present) == Some(true) {
        return (desired, None);
    }
    let instead = format!(
        "rule {}: version {} was rejected ({}), and its alias was not set anew",
        second.rule, second.version, why.reason
    );
    for said in desired.because.iter_mut().filter(|said| **said == second.said) {
        said.clone_from(&instead);
    }
    desired.second = None;
    (desired, Some(instead))
}

/// The rejected versions that no alias has named at some time since: those that were away before, and those that no alias names now,
/// where `read` is what the policy reads in `known`. Of an alias that no event has told of, Git has the last word.
pub(in crate::worker) fn away(
    known: &RegistryState,
    read: &RegistryView,
    present: Present<'_>,
) -> BTreeMap<Version, CommitId> {
    let is_told = |alias: &str| known.aliases.keys().any(|told| told.as_str() == alias);
    let written = origin_of(present).and_then(|origin| origin.registry.as_ref());
    let is_named = |version: &Version| {
        let by_git = written.is_some_and(|view| view.aliases.iter().any(|(a, v)| v == version && !is_told(a)));
        by_git || read.aliases.values().any(|named| named == version)
    };
    let is_away = |rejected: &&Rejected| {
        known.away.get(&rejected.version) == Some(&rejected.commit) || !is_named(&rejected.version)
    };
    rejected(present).iter().filter(is_away).map(|r| (r.version.clone(), r.commit.clone())).collect()
}

/// Why `origin` is the registry's state, for the commits that carry this out.
fn origin(desired: &Desired) -> Origin {
    Origin { policy: Some(desired.policy.clone()), registry: Some(desired.view.clone()), requested_by: None }
}

/// What a policy asks of its release: nobody's wish, and it counts for the storm guard.
pub(in crate::worker) fn task(desired: &Desired, intent: Intent, findings: &Arc<Findings>) -> Task {
    Task {
        origin: Some(origin(desired)),
        by_event: true,
        findings: Arc::clone(findings),
        ..Task::by_itself(desired.key.clone(), intent)
    }
}

/// Why nothing is to be done although something else may be deployed: the state has been acted on, by the policy or by a person who knew it.
fn stands(desired: &Desired, present: Present<'_>) -> Option<String> {
    // A directory that somebody removed by a push leaves no note: what the registry was answered last is all that is known of it.
    let who = origin_of(present).and_then(|origin| origin.requested_by.as_ref());
    let wanted = desired.stable.iter().chain(desired.second.as_ref().map(|second| &second.version));
    let anew = wanted.into_iter().any(|version| is_anew(desired, version, present) == Some(true));
    if present.is_midway || anew || acted_on(present) != Some(&desired.view) {
        return None;
    }
    Some(match (who, present.release) {
        (_, None) if desired.stable.is_none() => return None,
        (_, None) => "it was removed, and the registry has not changed since".to_owned(),
        (Some(who), _) => format!("{who} decided otherwise, and the registry has not changed since"),
        (None, _) => "this state of the registry has been acted on".to_owned(),
    })
}

/// What the policy read when it last answered. A state that was so already made no commit, so Git does not know of it; without the
/// store, Git's word is the last one.
fn acted_on(present: Present<'_>) -> Option<&RegistryView> {
    let answered = present.known.and_then(|known| known.acted_on.as_ref());
    answered.or_else(|| origin_of(present)?.registry.as_ref())
}

fn origin_of(present: Present<'_>) -> Option<&Origin> {
    match (present.release, present.retracted) {
        (Some(release), _) => Some(&release.origin),
        (None, retracted) => retracted.map(|retracted| &retracted.origin),
    }
}

/// First the stable version, then the one beside it.
fn towards(desired: &Desired, stable: &Version, present: Present<'_>) -> Vec<Intent> {
    let deployed = present.release.and_then(Release::stable).map(|variant| &variant.version);
    let by_registry = |version: &Version| is_anew(desired, version, present) != Some(true);
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
/// An alias that was elsewhere meanwhile and is back says so by itself, whatever the clocks say. One that never left says so by a newer
/// event: by whole seconds, because a rejection is written down in whole seconds, and one of the same second may have been before it.
fn is_anew(desired: &Desired, version: &Version, present: Present<'_>) -> Option<bool> {
    let rejected = rejected(present).iter().rfind(|rejected| rejected.version == *version)?;
    let is_back = present.known.is_some_and(|known| known.away.get(version) == Some(&rejected.commit));
    let is_newer = desired.set_at.get(version).is_some_and(|at| at.as_second() > rejected.at.as_second());
    Some(is_back || is_newer)
}

fn rejected(present: Present<'_>) -> &[Rejected] {
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
        allow_breaking_signature: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{RegistryChange, RegistryFact};
    use crate::policy::{Policies, desired};

    /// Whether version 2 is wanted anew, where it was rejected at 10:00:00 and its alias was set at this time.
    fn is_wanted_anew(set_at: &str, was_away: bool) -> Option<bool> {
        let text = "apiVersion: kmlflow.dev/v1\nkind: ReleasePolicy\nmetadata: {name: p}\nspec: {models: [\"*\"], release: {environment: e, namespace: n}, stable: {alias: champion}}\n";
        let (policies, problems) = Policies::parse(&[("p".parse().unwrap(), text.to_owned())]);
        assert!(problems.is_empty(), "{problems:?}");
        let (model, version): (ModelName, Version) = ("m".parse().unwrap(), "2".parse().unwrap());
        let commit: CommitId = "0".repeat(40).parse().unwrap();
        let mut known = RegistryState::new(model.clone());
        let fact = RegistryFact::AliasSet { alias: "champion".parse().unwrap(), version: version.clone() };
        known.apply(&RegistryChange { model: model.clone(), at: set_at.parse().unwrap(), fact });
        let at = "2026-11-23T10:00:00Z".parse().unwrap();
        let rejected =
            Rejected { version: version.clone(), commit: commit.clone(), reason: "rolled back".to_owned(), at };
        let retracted = Retracted { origin: Origin::default(), rejected: vec![rejected] };
        let policy = policies.select(&model).unwrap().policy;
        let present = Present {
            model: &model,
            stable_alias: "champion",
            release: None,
            retracted: Some(&retracted),
            known: None,
            is_midway: false,
        };
        let wanted = desired(&known, policy);
        assert!(away(&known, &wanted.view, present).is_empty(), "the alias names it");
        if was_away {
            known.away.insert(version.clone(), commit);
        }
        is_anew(&wanted, &version, Present { known: Some(&known), ..present })
    }

    #[test]
    fn an_alias_that_never_left_is_set_anew_by_an_event_of_a_later_second() {
        assert_eq!(is_wanted_anew("2026-11-23T10:00:00.9Z", false), Some(false));
        assert_eq!(is_wanted_anew("2026-11-23T09:30:00Z", false), Some(false));
        assert_eq!(is_wanted_anew("2026-11-23T10:00:01Z", false), Some(true));
    }

    #[test]
    fn an_alias_that_is_back_is_set_anew_whatever_the_clocks_say() {
        assert_eq!(is_wanted_anew("2026-11-23T10:00:00.9Z", true), Some(true));
        assert_eq!(is_wanted_anew("2026-11-23T09:59:30Z", true), Some(true));
    }
}
