//! What a delivery comes to in a turn: a request is carried out, a change of the registry is first compared with what is there.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::adopt;
use super::apply::{Ground, Hindrance, Task, new_id, retracted};
use super::conclusion::{Concluded, Conclusion, Keep};
use super::registry::{Asked, Present, asked, away, origin, without_rejected};
use super::shared::about_the_request;
use super::turn::{Carried, Turn};
use crate::bounds::SIGNED_WINDOW_SECONDS;
use crate::event::{Delivery, DeliveryState, Event, Guard, RegistryChange, RegistryFact, Requested};
use crate::git::GitError;
use crate::names::{CommitId, ModelName, ReleaseKey};
use crate::policy::{self, Desired, ReleasePolicy};
use crate::registry::RegistryState;
use crate::release::{Intent, Origin};

/// Deliveries that were carried out before a crash, before the store heard of it: found by their trailers.
pub(super) type DoneBefore = HashMap<String, (ReleaseKey, CommitId)>;

/// Carries one delivery out as far as it goes in this turn.
///
/// # Errors
/// The repository fails in a way that may pass; what concerns this delivery alone is a refusal.
pub(super) fn carry_out(
    turn: &mut Turn<'_>,
    delivery: Delivery,
    done_before: &DoneBefore,
) -> Result<Conclusion, GitError> {
    let done = done_before.get(delivery.id.as_str());
    let concluded = match &delivery.event {
        Event::Ignored { reason } => Ok((Concluded::ignored(reason.clone()), Keep::No)),
        Event::Requested(requested) => match done {
            Some((key, commit)) => Ok((Concluded::applied(key.clone(), commit.clone(), false, None), Keep::No)),
            None => request(turn, &delivery, requested),
        },
        Event::RegistryChanged(change) => {
            registry_changed(turn, &delivery, change, done.map(|(_, commit)| commit.clone()))
        }
    };
    let (concluded, keep) = match concluded {
        Ok(concluded) => concluded,
        Err(error) if error.is_about_the_request() => (Concluded::refused(None, about_the_request(&error)), Keep::No),
        Err(error) => return Err(error),
    };
    Ok(Conclusion { delivery, concluded, keep })
}

fn request(turn: &mut Turn<'_>, delivery: &Delivery, requested: &Requested) -> Result<(Concluded, Keep), GitError> {
    let key = &requested.key;
    if let Some(held) = held(turn, key, delivery) {
        return Ok(held);
    }
    let mut task = Task::of(delivery, requested);
    // What a request found when it began is no condition of its later parts: by then its own first part stands.
    if begun(delivery).is_some() {
        task.guard = Guard { if_match: None, if_absent: false, ..task.guard };
    }
    let is_adopting = task.guard.adopt;
    let mut adopted = None;
    if is_adopting {
        match adopt::adopt(turn, &task) {
            Ok(None) => {}
            Ok(Some(commit)) => {
                adopted = Some(commit);
                task.guard = Guard::default();
            }
            Err(Hindrance::Refused(refusal)) => return Ok((Concluded::refused(Some(key.clone()), refusal), Keep::No)),
            Err(Hindrance::Failed(error)) => return Err(error),
        }
    }
    let carried = turn.carry_out(&task)?;
    let carried = match (carried, adopted) {
        (Carried::Unchanged(_), Some(commit)) => Carried::Changed { commit, created: false },
        (carried, _) => carried,
    };
    Ok(conclude(delivery, key, carried, begun(delivery).cloned()))
}

/// The commit of the part that is done, where the rest waits. A delivery that is carried out once more has the commit of the time
/// before and waits for nothing: it begins anew.
fn begun(delivery: &Delivery) -> Option<&CommitId> {
    delivery.verdict.commit.as_ref().filter(|_| delivery.verdict.waits_for.is_some())
}

/// What carrying a task out means for its delivery; `before` is a part that was done in an earlier turn.
fn conclude(delivery: &Delivery, key: &ReleaseKey, carried: Carried, before: Option<CommitId>) -> (Concluded, Keep) {
    let key = key.clone();
    match carried {
        Carried::Changed { commit, created } => (Concluded::applied(key, commit, created, None), Keep::No),
        Carried::Unchanged(reason) => match before {
            Some(commit) => (Concluded::applied(key, commit, false, None), Keep::No),
            None => (Concluded::unchanged(key, reason), Keep::No),
        },
        Carried::Refused(refusal) => (Concluded::refused(Some(key), refusal), Keep::No),
        Carried::Waits { reason, commit } => {
            (Concluded::waits(Some(key.clone()), reason, commit.or(before)), Keep::Parked(key))
        }
        Carried::NextTurn { commit } => {
            let waits_for =
                delivery.verdict.waits_for.clone().unwrap_or_else(|| "the push of the phase before".to_owned());
            (Concluded::waits(Some(key), waits_for, commit.or(before)), Keep::NextTurn)
        }
        Carried::Storm => {
            let reason =
                format!("as many releases as allowed were newly made in `{}` within a minute", key.environment);
            (Concluded::waits(Some(key), reason, before), Keep::Storm)
        }
    }
}

fn held(turn: &Turn<'_>, key: &ReleaseKey, delivery: &Delivery) -> Option<(Concluded, Keep)> {
    let hold = turn.shared.hold_of(&key.environment)?;
    let what = hold
        .environment
        .as_ref()
        .map_or_else(|| "everything".to_owned(), |environment| format!("environment `{environment}`"));
    let waits_for = format!("{what} is held: {}", hold.reason);
    Some((Concluded::waits(Some(key.clone()), waits_for, begun(delivery).cloned()), Keep::Held))
}

fn registry_changed(
    turn: &mut Turn<'_>,
    delivery: &Delivery,
    change: &RegistryChange,
    done: Option<CommitId>,
) -> Result<(Concluded, Keep), GitError> {
    let before = turn.registry_of(&change.model);
    let mut state = before.as_deref().cloned().unwrap_or_else(|| RegistryState::new(change.model.clone()));
    state.apply(&RegistryChange { at: change.at.min(latest(delivery.received_at)), ..change.clone() });
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
        let desired = &without_rejected(desired, present);
        let (concluded, keep) = match asked(desired, present) {
            Asked::Intents(intents) => self.one_after_the_other(turn, desired, intents)?,
            Asked::Wish(wish) => {
                let (concluded, keep) = match wish {
                    Ok(intent) => self.one_after_the_other(turn, desired, vec![intent])?,
                    Err(refusal) => (Concluded::refused(Some(desired.key.clone()), refusal), Keep::No),
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
        let id = new_id();
        let mut done = self.done.clone();
        let mut was_created = false;
        let mut said = "it is already so".to_owned();
        for intent in intents {
            let wants_beside = matches!(&intent, Intent::Put(wanted) if wanted.baseline.is_some());
            if wants_beside && !self.stable_is_deployed(turn, desired) {
                break;
            }
            let task = Task {
                key: key.clone(),
                intent,
                guard: Guard::default(),
                requested_by: None,
                origin: Some(Origin { requested_by: None, ..origin(desired) }),
                delivery: Some(self.delivery.id.clone()),
                id: id.clone(),
                by_event: true,
            };
            match turn.carry_out(&task)? {
                Carried::Changed { commit, created } => {
                    done = Some(commit);
                    was_created |= created;
                }
                Carried::Unchanged(reason) => said = reason,
                // What was done stands; the rest is for a person.
                Carried::Refused(refusal) => {
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
        let said = std::iter::once(&reason).chain(desired.because.iter().filter(|because| !reason.contains(*because)));
        let said: Vec<&str> = said.map(String::as_str).collect();
        Concluded::unchanged(key, format!("policy `{}`: {}", self.policy.metadata.name, said.join("; ")))
    }

    /// A wish is answered once: from now on its tag counts as deleted. So does a repeat of the event that set it, unless the wish was
    /// refused: then the tag counts as deleted at the very moment at which it was set, and the same event sets it again.
    fn answer_wish(&self, turn: &mut Turn<'_>, desired: &Desired, answer: DeliveryState) {
        let (Some(wish), Some(state)) = (&desired.request, turn.registry_of(self.model)) else { return };
        let just_after = wish.at.saturating_add(SignedDuration::from_micros(1)).unwrap_or(wish.at);
        let at = if answer == DeliveryState::Refused { wish.at } else { just_after };
        let mut next = RegistryState::clone(&state);
        let fact = RegistryFact::TagDeleted { version: wish.version.clone(), key: wish.tag.clone() };
        next.apply(&RegistryChange { model: self.model.clone(), at, fact });
        remember(turn, Some(state), next);
    }
}
