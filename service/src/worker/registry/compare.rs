//! One look at a whole registry: which models ask for something else than what is deployed, and what would come of it. Changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::asked::{Asked, Present, asked, away, task, without_rejected};
use super::write_back::{Which, of_release};
use crate::names::{CommitId, Version};
use crate::plan::Findings;
use crate::policy::{self, Desired, ReleasePolicy};
use crate::registry::{Reading, RegistryState};
use crate::release::{Intent, RegistryView};
use crate::worker::Fault;
use crate::worker::apply::{Ground, Proposal, propose, retracted};
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
    /// What has to be found out about before it can be said what would come of it.
    pub(super) open: Vec<Reading>,
    pub(super) found: Vec<Found>,
}

/// Looks at every model that a policy speaks for.
pub(super) fn compare(shared: &Shared, readings: Vec<Reading>) -> Result<Looked, Fault> {
    let there: BTreeSet<Which> = readings
        .iter()
        .flat_map(|reading| reading.versions.keys().map(|version| (reading.model.clone(), version.clone())))
        .collect();
    remind(shared, &readings);
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
            Look::Open(reading) => looked.open.push(reading),
            Look::Asks(one) => looked.found.push(*one),
        }
    }
    Ok(looked)
}

/// Has said again what the registry should have been told.
fn remind(shared: &Shared, readings: &[Reading]) {
    let writes_back = shared.settings.registry.as_ref().is_some_and(|registry| registry.write_back);
    let index = read(&shared.index);
    let releases = index.by_model();
    for reading in readings {
        let Reading { model, aliases: _, versions } = reading;
        if let Some(known) = shared.registry_of(model).filter(|known| !known.answered.is_empty()) {
            let mut known = RegistryState::clone(&known);
            known.confirm(reading);
            for (version, answered) in known.answered {
                shared.outbox.delete((model.clone(), version), answered.tag);
            }
        }
        for (key, kept) in releases.get(model).into_iter().flatten().filter(|_| writes_back) {
            let entry = kept.entry();
            for (which, status) in of_release(key, &entry.commit, &entry.release) {
                if let Some(version) = versions.get(&which.1) {
                    shared.outbox.correct(which, &version.tags, status);
                }
            }
        }
    }
}

/// The releases with a version that the registry does not have any more: no event tells of that, and nothing is done about it by itself.
fn deleted(shared: &Shared, there: &BTreeSet<Which>) -> Vec<SweepDifference> {
    let index = read(&shared.index);
    let serving = index.iter().filter_map(|(key, kept)| Some((key, (kept.model.clone(), kept.versions().next()?))));
    // What was never seen there was released by a person, who needs no registry.
    let gone = serving.filter(|(_, which)| !there.contains(which) && shared.registry_of(&which.0).is_some());
    gone.map(|(key, (model, version))| SweepDifference {
        reason: format!("version {version} serves and is no longer in the registry"),
        cure: Some(format!(
            "release another version, or take it away: `kmlflow retract {} -n {} -e {}`",
            key.name, key.namespace, key.environment
        )),
        release: key.to_string(),
        model,
        kind: DifferenceKind::Deleted,
        delivery: None,
    })
    .collect()
}

enum Look {
    Same,
    Listed(SweepDifference),
    Open(Reading),
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
    let desired = without_rejected(desired, present);
    let listed = |kind, reason: String, cure: Option<String>| SweepDifference {
        release: desired.key.to_string(),
        model: model.clone(),
        kind,
        reason,
        cure,
        delivery: None,
    };
    let asked = asked(&desired, present);
    match asked {
        Asked::Nothing(_) => return Ok(Look::Same),
        Asked::Stands(_) if is_deployed(&desired, entry.as_ref()) => return Ok(Look::Same),
        Asked::Stands(reason) => return Ok(Look::Listed(listed(DifferenceKind::Stands, reason, None))),
        Asked::Wish(_) | Asked::Intents(_) => {}
    }
    let Some(findings) = findings else { return Ok(Look::Open(reading)) };
    let (kind, reason, cure) = match asked {
        Asked::Nothing(_) | Asked::Stands(_) => return Ok(Look::Same),
        Asked::Wish(Err(refusal)) => (DifferenceKind::Refused, refusal.reason, refusal.cure),
        Asked::Wish(Ok(intent)) => match outcome(ground, &desired, vec![intent], &findings)? {
            // The wish is granted already, and is still to be answered.
            None => (DifferenceKind::Repaired, "a wish that is granted already is to be answered".to_owned(), None),
            Some(outcome) => outcome,
        },
        Asked::Intents(intents) => match outcome(ground, &desired, intents, &findings)? {
            None => return Ok(Look::Same),
            Some(outcome) => outcome,
        },
    };
    let has_wish = desired.request.is_some();
    if let (DifferenceKind::Refused, false) = (kind, has_wish) {
        return Ok(Look::Listed(listed(kind, reason, cure)));
    }
    let second = desired.second.as_ref().map(|second| second.version.clone());
    let seen = Seen {
        view: desired.view.clone(),
        wanted: desired.stable.iter().map(|stable| (stable.clone(), second.clone())).collect(),
        commit: entry.map(|entry| entry.commit),
    };
    let difference = listed(kind, reason, cure);
    Ok(Look::Asks(Box::new(Found { reading: Arc::new(reading), difference, seen, has_wish, findings })))
}

/// Whether what a policy wants is what serves.
pub(super) fn is_deployed(desired: &Desired, entry: Option<&Entry>) -> bool {
    let serves = entry.and_then(|entry| entry.release.stable()).map(|variant| &variant.version);
    let beside = entry.and_then(|entry| entry.release.staying().nth(1)).map(|variant| &variant.version);
    desired.stable.as_ref() == serves && desired.second.as_ref().map(|second| &second.version) == beside
}

type Outcome = (DifferenceKind, String, Option<String>);

/// What would come of the first intent that is not so already.
fn outcome(
    ground: &Now<'_>,
    desired: &Desired,
    intents: Vec<Intent>,
    findings: &Arc<Findings>,
) -> Result<Option<Outcome>, Fault> {
    let Desired { key, because, .. } = desired;
    if let Some(hold) = ground.shared.hold_of(&key.environment) {
        return Ok(Some((DifferenceKind::Waiting, format!("`{}` is held: {}", key.environment, hold.reason), None)));
    }
    for intent in intents {
        match propose(ground, &task(desired, intent, findings)).map_err(git_fault)? {
            Proposal::Nothing(_) => {}
            Proposal::Write(_) => return Ok(Some((DifferenceKind::Repaired, because.join("; "), None))),
            Proposal::Wait(reason) => return Ok(Some((DifferenceKind::Waiting, reason, None))),
            Proposal::Refused(refusal) => {
                return Ok(Some((DifferenceKind::Refused, refusal.reason, refusal.cure)));
            }
        }
    }
    Ok(None)
}
