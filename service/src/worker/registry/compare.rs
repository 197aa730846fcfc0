//! One look at a whole registry: which models ask for something else than what is deployed, and what would come of it. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::asked::{Asked, Present, asked, away, task, without_rejected};
use super::status::{VersionStatus, refused};
use super::write_back::{Which, deployed};
use crate::names::{CommitId, ModelName, ReleaseKey, Version};
use crate::plan::Findings;
use crate::policy::{self, Desired, ReleasePolicy};
use crate::registry::{Reading, RegistryState};
use crate::release::{Intent, Refusal, RegistryView, Release, Variant};
use crate::worker::Fault;
use crate::worker::apply::{Ground, Proposal, propose, retracted};
use crate::worker::deliveries::asked_version;
use crate::worker::index::Entry;
use crate::worker::preview::Now;
use crate::worker::shared::{Shared, git_fault, read};
use crate::worker::view::{DifferenceKind, SweepDifference};

/// What a difference looked like when a delivery was last made for it: the same one is not asked for again while nothing changed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    view: RegistryView,
    wanted: Vec<(Version, Option<Version>)>,
    commit: Option<CommitId>,
}

/// A model that asks for something else than what is deployed.
pub(super) struct Found {
    pub(super) reading: Arc<Reading>,
    pub(super) difference: SweepDifference,
    pub(super) seen: Seen,
    pub(super) has_wish: bool,
    pub(super) findings: Arc<Findings>,
}

/// What one look at the registry came to.
#[derive(Default)]
pub(super) struct Looked {
    /// What is only to be told.
    pub(super) listed: Vec<SweepDifference>,
    /// What has to be found out about before it can be said what would come of it, and the release that it would be.
    pub(super) open: Vec<(Reading, ReleaseKey)>,
    pub(super) found: Vec<Found>,
    /// Versions that could not be released, with the tags that they have.
    pub(super) refused: Vec<Told>,
}

/// A version, the tags that it has, and what it is to be told.
pub(super) type Told = (Which, BTreeMap<String, String>, VersionStatus);

/// Looks at every model that a policy speaks for.
pub(super) fn compare(shared: &Shared, readings: Vec<Reading>) -> Result<Looked, Fault> {
    let there: BTreeSet<Which> = readings
        .iter()
        .flat_map(|reading| reading.versions.keys().map(|version| (reading.model.clone(), version.clone())))
        .collect();
    let mut looked = look_at(shared, readings.into_iter().map(|reading| (reading, None)))?;
    looked.listed.extend(deleted(shared, &there));
    Ok(looked)
}

/// Looks at models, with what was found out about them where something was.
pub(super) fn look_at(
    shared: &Shared,
    readings: impl Iterator<Item = (Reading, Option<Arc<Findings>>)>,
) -> Result<Looked, Fault> {
    let tip = shared.repository.tip().map_err(git_fault)?;
    let ground = Now { shared, tip, now: shared.clock.now(), is_live: false, known: None };
    let policies = shared.policy_set();
    let mut looked = Looked::default();
    for (reading, findings) in readings {
        let Some(selection) = policies.policies.select(&reading.model) else { continue };
        match look(&ground, reading, selection.policy, findings)? {
            Look::Same => {}
            Look::Listed(difference) => looked.listed.push(difference),
            Look::Refused(found) => {
                let (difference, refused) = *found;
                looked.listed.push(difference);
                looked.refused.extend(refused);
            }
            Look::Open(reading, key) => looked.open.push((reading, key)),
            Look::Asks(one) => looked.found.push(*one),
        }
    }
    Ok(looked)
}

/// The releases with a version that the registry does not have any more: no event tells of that, and nothing is done about it by itself.
fn deleted(shared: &Shared, there: &BTreeSet<Which>) -> Vec<SweepDifference> {
    let index = read(&shared.index);
    let mut gone = Vec::new();
    let models: BTreeSet<&ModelName> = there.iter().map(|(model, _)| model).collect();
    // A model that was never seen there was released by a person, who needs no registry.
    let is_known = |model: &ModelName| models.contains(model) || shared.registry_of(model).is_some();
    let is_there = |model: &ModelName, version: &Version| there.contains(&(model.clone(), version.clone()));
    for (key, kept) in index.iter().filter(|(_, kept)| is_known(&kept.model)) {
        if kept.versions().all(|version| is_there(&kept.model, &version)) {
            continue;
        }
        let release = kept.entry().release;
        let missing = release.staying().filter(|variant| !is_there(&kept.model, &variant.version));
        gone.extend(missing.map(|variant| no_longer_there(key, &release, variant)));
    }
    gone
}

fn no_longer_there(key: &ReleaseKey, release: &Release, variant: &Variant) -> SweepDifference {
    let ReleaseKey { environment, namespace, name } = key;
    let place = format!("{name} -n {namespace} -e {environment}");
    let version = &variant.version;
    let (does, cure) = if release.stable().is_some_and(|stable| stable.version == *version) {
        ("serves", format!("release another version, or take it away: `kmlflow retract {place}`"))
    } else {
        ("runs", format!("end the run without it: `kmlflow abort {place}`"))
    };
    SweepDifference {
        release: key.to_string(),
        model: release.spec.model.clone(),
        kind: DifferenceKind::Deleted,
        reason: format!("version {version} {does} and is not in the registry"),
        cure: Some(cure),
        delivery: None,
    }
}

enum Look {
    Same,
    Listed(SweepDifference),
    /// A version could not be released: what is to be told of it, unless a release has it.
    Refused(Box<(SweepDifference, Option<Told>)>),
    Open(Reading, ReleaseKey),
    Asks(Box<Found>),
}

/// Compares what a policy makes of a model with what is there.
fn look(
    ground: &Now<'_>,
    reading: Reading,
    policy: &ReleasePolicy,
    findings: Option<Arc<Findings>>,
) -> Result<Look, Fault> {
    let before = ground.registry_of(&reading.model);
    let mut known = before.as_deref().cloned().unwrap_or_else(|| RegistryState::new(reading.model.clone()));
    let unread = known.clone();
    known.confirm(&reading);
    let desired = policy::desired(&known, policy);
    let entry = ground.entry(&desired.key);
    let left = if entry.is_none() { retracted(ground, &desired.key).map_err(git_fault)? } else { None };
    let model = reading.model.clone();
    let present = Present {
        model: &model,
        stable_alias: policy.spec.stable.alias.as_str(),
        release: entry.as_ref().map(|entry| entry.release.as_ref()),
        retracted: left.as_ref(),
        known: None,
        is_midway: false,
    };
    known.away = away(&unread, &policy::view(&unread, policy), present);
    let present = Present { known: Some(&known), ..present };
    let ground = &Now { known: Some(Arc::new(known.clone())), ..ground.clone() };
    let (desired, kept_away) = without_rejected(desired, present);
    let difference = |Outcome { kind, reason, cure, refused: _ }| SweepDifference {
        release: desired.key.to_string(),
        model: model.clone(),
        kind,
        reason,
        cure,
        delivery: None,
    };
    let stands = |reason| Look::Listed(difference(Outcome::of(DifferenceKind::Stands, reason)));
    // Agreed, unless a second version is kept away because it was rejected.
    let same = || kept_away.clone().map_or(Look::Same, stands);
    let asked = asked(&desired, present);
    match asked {
        Asked::Nothing(_) => return Ok(same()),
        Asked::Stands(_) if is_deployed(&desired, entry.as_ref()) => return Ok(same()),
        Asked::Stands(reason) => return Ok(stands(reason)),
        Asked::Wish(_) | Asked::Intents(_) => {}
    }
    let Some(findings) = findings else { return Ok(Look::Open(reading, desired.key)) };
    let outcome = match asked {
        Asked::Nothing(_) | Asked::Stands(_) => return Ok(same()),
        Asked::Wish(Err(refusal)) => Outcome::refused(refusal, None),
        // A wish that is granted already is still to be answered.
        Asked::Wish(Ok(intent)) => outcome(ground, &desired, vec![intent], &findings)?.unwrap_or_else(|| {
            Outcome::of(DifferenceKind::Repaired, "a wish that is granted already is to be answered".to_owned())
        }),
        Asked::Intents(intents) => match outcome(ground, &desired, intents, &findings)? {
            None => return Ok(same()),
            Some(outcome) => outcome,
        },
    };
    let has_wish = desired.request.is_some();
    if outcome.kind == DifferenceKind::Refused && !has_wish {
        let told = outcome.refused.as_ref().and_then(|(version, refusal)| {
            let (which, tags) = ((model.clone(), version.clone()), reading.versions.get(version)?.tags.clone());
            deployed(ground.shared, &which).is_none().then(|| (which, tags, refused(&desired.key, refusal)))
        });
        return Ok(Look::Refused(Box::new((difference(outcome), told))));
    }
    let second = desired.second.as_ref().map(|second| second.version.clone());
    let seen = Seen {
        view: desired.view.clone(),
        wanted: desired.stable.iter().map(|stable| (stable.clone(), second.clone())).collect(),
        commit: entry.map(|entry| entry.commit),
    };
    let difference = difference(outcome);
    Ok(Look::Asks(Box::new(Found { reading: Arc::new(reading), difference, seen, has_wish, findings })))
}

/// Whether what a policy wants is what serves.
pub(super) fn is_deployed(desired: &Desired, entry: Option<&Entry>) -> bool {
    let serves = entry.and_then(|entry| entry.release.stable()).map(|variant| &variant.version);
    let beside = entry.and_then(|entry| entry.release.staying().nth(1)).map(|variant| &variant.version);
    desired.stable.as_ref() == serves && desired.second.as_ref().map(|second| &second.version) == beside
}

/// What would come of what a model asks for.
struct Outcome {
    kind: DifferenceKind,
    reason: String,
    cure: Option<String>,
    /// The version that cannot be released.
    refused: Option<(Version, Refusal)>,
}

impl Outcome {
    fn of(kind: DifferenceKind, reason: String) -> Self {
        Self { kind, reason, cure: None, refused: None }
    }

    fn refused(refusal: Refusal, version: Option<Version>) -> Self {
        Self {
            kind: DifferenceKind::Refused,
            reason: refusal.reason.clone(),
            cure: refusal.cure.clone(),
            refused: version.map(|version| (version, refusal)),
        }
    }
}

/// What would come of the first intent that is not so already.
fn outcome(
    ground: &Now<'_>,
    desired: &Desired,
    intents: Vec<Intent>,
    findings: &Arc<Findings>,
) -> Result<Option<Outcome>, Fault> {
    let Desired { key, because, .. } = desired;
    if let Some(hold) = ground.shared.hold_of(&key.environment) {
        let reason = format!("`{}` is held: {}", key.environment, hold.reason);
        return Ok(Some(Outcome::of(DifferenceKind::Waiting, reason)));
    }
    for intent in intents {
        let version = asked_version(&intent).cloned();
        return Ok(Some(match propose(ground, &task(desired, intent, findings)).map_err(git_fault)? {
            Proposal::Nothing(_) => continue,
            Proposal::Write(_) => Outcome::of(DifferenceKind::Repaired, because.join("; ")),
            Proposal::Wait(reason) => Outcome::of(DifferenceKind::Waiting, reason),
            Proposal::Refused(refusal) => Outcome::refused(refusal, version),
        }));
    }
    Ok(None)
}
