//! An event of the registry in a turn: what is known of its model is brought up to date, the policy is asked, and what differs is carried out.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::asked::{Asked, Present, asked, away, task, without_rejected};
use crate::bounds::SIGNED_WINDOW_SECONDS;
use crate::event::{Delivery, DeliveryState, RegistryChange, RegistryFact};
use crate::git::GitError;
use crate::names::{CommitId, ModelName};
use crate::plan::Findings;
use crate::policy::{self, Desired, ReleasePolicy};
use crate::registry::RegistryState;
use crate::release::Intent;
use crate::worker::apply::{Ground, retracted};
use crate::worker::conclusion::{Concluded, Keep};
use crate::worker::deliveries::{asked_version, begun, conclude, held};
use crate::worker::task::{Task, id_of};
use crate::worker::turn::{Carried, Turn};

/// Carries an event of the registry out as far as it goes in this turn; `done` is the commit of a part that was carried out before a crash.
pub(in crate::worker) fn registry_changed(
    turn: &mut Turn<'_>,
    delivery: &Delivery,
    change: &RegistryChange,
    done: Option<CommitId>,
) -> Result<(Concluded, Keep), GitError> {
    let before = turn.registry_of(&change.model);
    let mut state = before.as_deref().cloned().unwrap_or_else(|| RegistryState::new(change.model.clone()));
    let told = RegistryChange { at: change.at.min(latest(delivery.received_at)), ..change.clone() };
    let mut late = None;
    match (&turn.shared.settings.registry, turn.found.get(&change.model)) {
        (None, _) => {
            late = state.superseded_since(&told).map(|(alias, since)| {
                format!("it is of {}, and of the alias `{alias}` something newer is known, of {since}", told.at)
            });
            state.apply(&told);
        }
        (Some(_), Some(Some(reading))) => {
            state.apply(&told);
            state.confirm(reading);
        }
        (Some(_), Some(None)) => {
            let reason =
                format!("the registry has no model `{}` (a test delivery names one that there is not)", change.model);
            return Ok((Concluded::ignored(reason), Keep::No));
        }
        // It was read when the delivery was first carried out, and whatever changed since has a delivery of its own.
        (Some(_), None) => {}
    }
    let policies = turn.policies();
    let Some(selection) = policies.policies.select(&change.model) else {
        remember(turn, before, state);
        return Ok((Concluded::ignored(format!("no policy speaks for the model `{}`", change.model)), Keep::No));
    };
    let wanted = policy::desired(&state, selection.policy);
    if let Some(held) = held(turn, &wanted.key, delivery) {
        return Ok(held);
    }
    remember(turn, before.clone(), state);
    let event = RegistryEvent {
        delivery,
        model: &change.model,
        policy: selection.policy,
        before,
        done: done.or_else(|| begun(delivery).cloned()),
        findings: turn.findings.get(&delivery.number).cloned().unwrap_or_default(),
        late,
    };
    event.carry_out(turn, wanted)
}

/// The latest moment that an event may claim: a clock that runs further ahead would let one event win over all that follow.
fn latest(received_at: Timestamp) -> Timestamp {
    /// As far ahead as the doors let a signed time be.
    const AHEAD: SignedDuration = SignedDuration::from_secs(SIGNED_WINDOW_SECONDS);
    received_at.saturating_add(AHEAD).unwrap_or(Timestamp::MAX)
}

/// Keeps what the registry says, where it says something new.
fn remember(turn: &mut Turn<'_>, before: Option<Arc<RegistryState>>, state: RegistryState) {
    if before.as_deref() != Some(&state) {
        turn.registry.insert(state.model.clone(), Arc::new(state));
    }
}

struct RegistryEvent<'a> {
    delivery: &'a Delivery,
    model: &'a ModelName,
    policy: &'a ReleasePolicy,
    /// What was known of the model before this event.
    before: Option<Arc<RegistryState>>,
    /// The commit of the part that was done before.
    done: Option<CommitId>,
    findings: Arc<Findings>,
    /// Why it says nothing new, where a newer event came before it.
    late: Option<String>,
}

impl RegistryEvent<'_> {
    fn carry_out(&self, turn: &mut Turn<'_>, desired: Desired) -> Result<(Concluded, Keep), GitError> {
        let entry = turn.entry(&desired.key);
        let left = if entry.is_none() { retracted(turn, &desired.key)? } else { None };
        let present = Present {
            model: self.model,
            stable_alias: self.policy.spec.stable.alias.as_str(),
            release: entry.as_ref().map(|entry| entry.release.as_ref()),
            retracted: left.as_ref(),
            known: None,
            is_midway: self.done.is_some(),
        };
        self.note_away(turn, present);
        let known = turn.registry_of(self.model);
        let present = Present { known: known.as_deref(), ..present };
        let (desired, _) = &without_rejected(desired, present);
        let (concluded, keep) = match asked(desired, present) {
            Asked::Intents(intents) => self.one_after_the_other(turn, desired, intents)?,
            Asked::Wish(wish) => {
                let (concluded, keep) = match wish {
                    Ok(intent) => self.one_after_the_other(turn, desired, vec![intent])?,
                    Err(refusal) => {
                        if let Some(wish) = &desired.request {
                            turn.note_refused((self.model.clone(), wish.version.clone()), &desired.key, &refusal);
                        }
                        (Concluded::refused(Some(desired.key.clone()), refusal), Keep::No)
                    }
                };
                if keep == Keep::No {
                    self.answer_wish(turn, desired, concluded.state);
                }
                return Ok((concluded, keep));
            }
            Asked::Stands(reason) => (self.unchanged(desired, reason), Keep::No),
            Asked::Nothing(reason) => {
                (Concluded::ignored(format!("policy `{}`: {reason}", self.policy.metadata.name)), Keep::No)
            }
        };
        if keep == Keep::No && concluded.state != DeliveryState::Refused {
            self.answered(turn, desired);
        }
        Ok((concluded, keep))
    }

    /// Remembers which rejected versions no alias named before this event: if one names them now, they are wanted anew.
    fn note_away(&self, turn: &mut Turn<'_>, present: Present<'_>) {
        let Some(known) = turn.registry_of(self.model) else { return };
        let unknown = RegistryState::new(self.model.clone());
        let before = self.before.as_deref().unwrap_or(&unknown);
        let mut next = RegistryState::clone(&known);
        next.away = away(before, &policy::view(before, self.policy), present);
        remember(turn, Some(known), next);
    }

    /// Remembers that this state of the registry has been answered, so that only another one is acted on.
    fn answered(&self, turn: &mut Turn<'_>, desired: &Desired) {
        let before = turn.registry_of(self.model);
        let Some(mut state) = before.as_deref().cloned() else { return };
        state.acted_on = Some(desired.view.clone());
        remember(turn, before, state);
    }

    fn one_after_the_other(
        &self,
        turn: &mut Turn<'_>,
        desired: &Desired,
        intents: Vec<Intent>,
    ) -> Result<(Concluded, Keep), GitError> {
        let key = &desired.key;
        let id = id_of(self.delivery, key);
        let mut done = self.done.clone();
        let mut was_created = false;
        let mut said = "it is already so".to_owned();
        for intent in intents {
            let wants_beside = matches!(&intent, Intent::Put(wanted) if wanted.baseline.is_some());
            if wants_beside && !self.stable_is_deployed(turn, desired) {
                break;
            }
            let version = asked_version(&intent).cloned();
            let delivery = Some(self.delivery.id.clone());
            let task = Task { delivery, id: id.clone(), ..task(desired, intent, &self.findings) };
            match turn.carry_out(&task)? {
                Carried::Changed { commit, created } => {
                    done = Some(commit);
                    was_created |= created;
                }
                Carried::Unchanged(reason) => said = reason,
                // What was done stands; the rest is for a person.
                Carried::Refused(refusal) => {
                    if let Some(version) = version {
                        turn.note_refused((self.model.clone(), version), key, &refusal);
                    }
                    return Ok((
                        Concluded { created: was_created, ..Concluded::refused(Some(key.clone()), refusal) },
                        Keep::No,
                    ));
                }
                other => return Ok(conclude(self.delivery, key, other, done)),
            }
        }
        let because = (!desired.because.is_empty()).then(|| desired.because.join("; "));
        Ok((
            match done {
                Some(commit) => Concluded::applied(key.clone(), commit, was_created, because),
                None => self.unchanged(desired, said),
            },
            Keep::No,
        ))
    }

    /// Whether the version to compare with serves; a rejected one does not come back for it.
    fn stable_is_deployed(&self, turn: &Turn<'_>, desired: &Desired) -> bool {
        let entry = turn.entry(&desired.key);
        let deployed = entry.as_ref().and_then(|entry| entry.release.stable()).map(|variant| &variant.version);
        deployed == desired.stable.as_ref()
    }

    /// Nothing had to be done: says so, and what each rule of the policy said.
    fn unchanged(&self, desired: &Desired, reason: String) -> Concluded {
        let key = desired.key.clone();
        if let Some(commit) = &self.done {
            return Concluded::applied(key, commit.clone(), false, None);
        }
        let said = self
            .late
            .iter()
            .chain([&reason])
            .chain(desired.because.iter().filter(|because| !reason.contains(*because)));
        let said: Vec<&str> = said.map(String::as_str).collect();
        Concluded::unchanged(key, format!("policy `{}`: {}", self.policy.metadata.name, said.join("; ")))
    }

    /// A wish is answered once: from now on its tag counts as deleted. So does a repeat of the event that set it, unless the wish was
    /// refused: then the tag counts as deleted at the very moment at which it was set, and the same event sets it again.
    fn answer_wish(&self, turn: &mut Turn<'_>, desired: &Desired, answer: DeliveryState) {
        let (Some(wish), Some(state)) = (&desired.request, turn.registry_of(self.model)) else { return };
        if turn.shared.settings.registry.is_some() {
            let mut next = RegistryState::clone(&state);
            next.answer(&wish.version, &wish.tag, turn.now());
            if let Some(answered) = next.answered.get(&wish.version) {
                let which = (self.model.clone(), wish.version.clone());
                turn.answered.push((which, answered.tag.clone(), answered.value.clone()));
            }
            return remember(turn, Some(state), next);
        }
        let just_after = wish.at.saturating_add(SignedDuration::from_micros(1)).unwrap_or(wish.at);
        let at = if answer == DeliveryState::Refused { wish.at } else { just_after };
        let mut next = RegistryState::clone(&state);
        let fact = RegistryFact::TagDeleted { version: wish.version.clone(), key: wish.tag.clone() };
        next.apply(&RegistryChange { model: self.model.clone(), at, fact });
        remember(turn, Some(state), next);
    }
}
