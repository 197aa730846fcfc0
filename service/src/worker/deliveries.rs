//! What a delivery comes to in a turn: a request is carried out, a change of the registry is first compared with what is there.

use std::collections::HashMap;

use super::adopt::{self, Adopted};
use super::apply::Hindrance;
use super::claims::is_carried_out;
use super::conclusion::{Concluded, Conclusion, Keep};
use super::holds;
use super::observe::{is_going, watched};
use super::read::NO_CLUSTER;
use super::registry::registry_changed;
use super::replaced::replaced;
use super::review::key_of_branch;
use super::shared::about_the_request;
use super::task::Task;
use super::turn::{Carried, Turn};
use crate::event::{Delivery, Event, Guard, Requested};
use crate::git::GitError;
use crate::live::application_key;
use crate::names::{CommitId, ReleaseKey, Version, shown};
use crate::release::Intent;

/// Deliveries that were carried out before a crash, before the store heard of it: found by their trailers.
pub(super) type DoneBefore = HashMap<String, (ReleaseKey, CommitId)>;

/// Where such deliveries are looked for.
#[derive(Clone, Copy)]
pub(super) struct Earlier<'d> {
    pub(super) known: &'d DoneBefore,
    /// Found on the branch a moment ago.
    pub(super) found: &'d DoneBefore,
}

/// Carries one delivery out as far as it goes in this turn.
///
/// # Errors
/// The repository fails in a way that may pass; what concerns this delivery alone is a refusal.
pub(super) fn carry_out(turn: &mut Turn<'_>, delivery: Delivery, earlier: Earlier<'_>) -> Result<Conclusion, GitError> {
    let id = delivery.id.as_str();
    let done = earlier.found.get(id).or_else(|| earlier.known.get(id));
    let concluded = match &delivery.event {
        Event::Ignored { reason } => Ok((Concluded::ignored(reason.clone()), Keep::No)),
        Event::Pushed { branch } => Ok((pushed(turn, branch), Keep::No)),
        Event::ReviewChanged { branch } => Ok((review_changed(turn, branch), Keep::No)),
        Event::ApplicationChanged { application } => Ok((application_changed(turn, application), Keep::No)),
        Event::Requested(requested) => match done {
            Some((key, commit)) if is_carried_out(turn.shared, requested, (key, commit))? => {
                Ok((Concluded::applied(key.clone(), commit.clone(), false, None), Keep::No))
            }
            _ => request(turn, &delivery, requested),
        },
        Event::ActRequested(asked) => Ok(kept(turn, &asked.key, &delivery)),
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

/// Every turn begins with what is new on the branch, so what was pushed is taken in by now.
fn pushed(turn: &Turn<'_>, branch: &str) -> Concluded {
    let ours = turn.shared.repository.branch();
    if branch == ours {
        return Concluded::taken_in(format!("what was pushed to `{ours}` is taken in"));
    }
    Concluded::ignored(format!("the push was to `{}`, and the branch that is read is `{ours}`", shown(branch)))
}

/// What became of it is asked of the forge: a delivery says only that there is something to ask.
fn review_changed(turn: &Turn<'_>, branch: &str) -> Concluded {
    let Some(key) = key_of_branch(branch) else {
        return Concluded::ignored(format!("the pull request of `{}` is none of the service's", shown(branch)));
    };
    // Of one that is not known, or was merged, nothing is to be asked.
    if !turn.shared.reviews.may_change(&key) {
        return Concluded::ignored(format!("the pull request of `{}` is not waited for", shown(branch)));
    }
    turn.shared.reviews.look(&key);
    Concluded::taken_in(format!("the forge is asked what became of the pull request of `{}`", shown(branch)))
}

/// What became of it is read from the cluster: a delivery says only that there is something to read.
fn application_changed(turn: &Turn<'_>, application: &str) -> Concluded {
    let (shared, name) = (turn.shared, shown(application));
    let Some(key) = application_key(application).filter(|key| shared.entry(key).is_some() || is_going(shared, key))
    else {
        return Concluded::ignored(format!("the Application `{name}` is of no release"));
    };
    if watched(shared, &key.environment).is_none() {
        return Concluded::ignored(format!(
            "what became of the Application `{name}` cannot be read, and is not believed unread: {NO_CLUSTER}"
        ));
    }
    shared.observations.read_anew(key);
    Concluded::taken_in(format!("the Application `{name}` is read anew"))
}

fn request(turn: &mut Turn<'_>, delivery: &Delivery, requested: &Requested) -> Result<(Concluded, Keep), GitError> {
    let key = &requested.key;
    if let Some(held) = held(turn, key, delivery) {
        return Ok(held);
    }
    if let Some(newer) = turn.replaced_by.get(&delivery.number) {
        return Ok((replaced(delivery.clone(), newer).concluded, Keep::No));
    }
    let mut task = Task::of(delivery, requested);
    task.findings = turn.findings.get(&delivery.number).cloned().unwrap_or_default();
    // What a request found when it began is no condition of its later parts: by then its own first part stands.
    if begun(delivery).is_some() {
        task.guard = Guard { if_match: None, if_absent: false, ..task.guard };
    }
    let is_adopting = task.guard.adopt;
    let mut adopted = None;
    if is_adopting {
        match adopt::adopt(turn, &task) {
            Ok(Adopted::Nothing) => {}
            Ok(Adopted::Committed(commit)) => {
                adopted = Some(commit);
                task.guard = Guard::default();
            }
            Ok(Adopted::Waits(waits_for)) => {
                let carried = Carried::Waits { reason: waits_for, commit: None };
                return Ok(conclude(delivery, key, carried, begun(delivery).cloned()));
            }
            Err(Hindrance::Refused(refusal)) => return Ok((Concluded::refused(Some(key.clone()), refusal), Keep::No)),
            Err(Hindrance::Failed(error)) => return Err(error),
        }
    }
    let carried = turn.carry_out(&task)?;
    if let (Carried::Refused(refusal), Intent::Put(wanted)) = (&carried, &task.intent)
        && let Some(version) = asked_version(&task.intent)
    {
        turn.note_refused((wanted.model.clone(), version.clone()), key, refusal);
    }
    let carried = match (carried, adopted) {
        (Carried::Unchanged(_), Some(commit)) => Carried::Changed { commit, created: false },
        (carried, _) => carried,
    };
    Ok(conclude(delivery, key, carried, begun(delivery).cloned()))
}

/// The version that a whole request is about: the last one it names.
pub(super) fn asked_version(intent: &Intent) -> Option<&Version> {
    match intent {
        Intent::Put(wanted) => wanted.arms.last().map(|arm| &arm.version),
        _ => None,
    }
}

/// The commit of the part that is done, where the rest waits. A delivery that is carried out once more has the commit of the time
/// before and waits for nothing: it begins anew.
pub(super) fn begun(delivery: &Delivery) -> Option<&CommitId> {
    delivery.verdict.commit.as_ref().filter(|_| delivery.verdict.waits_for.is_some())
}

/// What carrying a task out means for its delivery; `before` is a part that was done in an earlier turn.
pub(super) fn conclude(
    delivery: &Delivery,
    key: &ReleaseKey,
    carried: Carried,
    before: Option<CommitId>,
) -> (Concluded, Keep) {
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

pub(super) fn held(turn: &Turn<'_>, key: &ReleaseKey, delivery: &Delivery) -> Option<(Concluded, Keep)> {
    let hold = turn.shared.hold_of(&key.environment)?;
    let waits_for = holds::waits_for(&hold);
    Some((Concluded::waits(Some(key.clone()), waits_for, begun(delivery).cloned()), Keep::Held))
}

/// What becomes of an act that is not made absolute: nothing before the hold is lifted, and then it is made so for the next turn.
fn kept(turn: &Turn<'_>, key: &ReleaseKey, delivery: &Delivery) -> (Concluded, Keep) {
    let waits_for = || delivery.verdict.waits_for.clone().unwrap_or_else(|| "the history that counts".to_owned());
    held(turn, key, delivery)
        .unwrap_or_else(|| (Concluded::waits(Some(key.clone()), waits_for(), None), Keep::NextTurn))
}
