//! The hold of everything, which is one whoever set it: a person, or the service after the history of the branch was rewritten.

use jiff::Timestamp;

use super::shared::{Shared, read, write};
use crate::names::{CommitId, EnvironmentName};
use crate::store::{Hold, StoreError};

/// Who sets a hold when the history was rewritten.
const SERVICE: &str = "kmlflow";

/// How the service's reason begins.
const REWRITTEN: &str = "somebody rewrote the history of the branch: ";

/// Between a person's reason and the service's.
const AND: &str = "; and ";

/// Sets the hold that is made from those that are there, in one step whoever else sets or lifts one meanwhile, be it at another replica.
///
/// # Errors
/// The store fails, and nothing is changed.
pub(super) async fn set(
    shared: &Shared,
    make: impl FnOnce(&[Hold]) -> Hold + Send + 'static,
) -> Result<(), StoreError> {
    let _alone = shared.changing_holds.lock().await;
    shared.store.hold(make).await?;
    *write(&shared.holds) = shared.store.holds().await?;
    Ok(())
}

/// Lifts a hold. Says whether there was one.
///
/// # Errors
/// The store fails.
pub(super) async fn lift(shared: &Shared, environment: Option<&EnvironmentName>) -> Result<bool, StoreError> {
    let _alone = shared.changing_holds.lock().await;
    let was_held = shared.store.unhold(environment).await?;
    *write(&shared.holds) = shared.store.holds().await?;
    Ok(was_held)
}

/// Takes over what the store has. Says whether that is something else than before.
///
/// # Errors
/// The store fails.
pub(super) async fn read_anew(shared: &Shared) -> Result<bool, StoreError> {
    let _alone = shared.changing_holds.lock().await;
    let holds = shared.store.holds().await?;
    let is_new = *read(&shared.holds) != holds;
    *write(&shared.holds) = holds;
    Ok(is_new)
}

/// The hold of everything after the history of the branch was rewritten. One that a person has set stays that person's, with the service's
/// reason behind it: who lifts it is to know both.
pub(super) fn after_a_rewrite(holds: &[Hold], known: &CommitId, tip: &CommitId, now: Timestamp) -> Hold {
    let reason = format!(
        "{REWRITTEN}it is at {}, and {} is no longer in it; look at it, and lift this hold to go on from there",
        short(tip),
        short(known)
    );
    match of_everything(holds).filter(|hold| hold.by.as_deref() != Some(SERVICE)) {
        Some(hold) => Hold { reason: format!("{}{AND}{reason}", of_the_person(&hold.reason)), ..hold.clone() },
        None => Hold { environment: None, reason, by: Some(SERVICE.to_owned()), since: now },
    }
}

/// A person's new hold; where it is of everything, and so is one that is there, what the service has to say stays behind the new reason.
pub(super) fn by_a_person(holds: &[Hold], mut hold: Hold) -> Hold {
    let held = of_everything(holds).filter(|_| hold.environment.is_none());
    if let Some(at) = held.and_then(|held| held.reason.find(REWRITTEN).map(|at| &held.reason[at..])) {
        hold.reason = format!("{}{AND}{at}", hold.reason);
    }
    hold
}

/// The hold of everything that the history of the branch was rewritten under, as long as nobody has lifted it: whatever is known of releases is of a
/// history that may not count any more.
pub(super) fn of_a_rewrite(shared: &Shared) -> Option<Hold> {
    of_everything(&read(&shared.holds)).filter(|hold| hold.reason.contains(REWRITTEN)).cloned()
}

/// What whoever is kept waiting by a hold waits for.
pub(super) fn waits_for(hold: &Hold) -> String {
    format!("{} is held: {}; {} lifts it", held(hold), hold.reason, lifted_by(hold))
}

/// The command that lifts a hold.
pub(super) fn lifted_by(hold: &Hold) -> String {
    match &hold.environment {
        Some(name) => format!("`kmlflow unhold -e {name}`"),
        None => "`kmlflow unhold`".to_owned(),
    }
}

/// What a hold is of.
pub(super) fn held(hold: &Hold) -> String {
    hold.environment.as_ref().map_or_else(|| "everything".to_owned(), |name| format!("environment `{name}`"))
}

fn of_everything(holds: &[Hold]) -> Option<&Hold> {
    holds.iter().find(|hold| hold.environment.is_none())
}

fn of_the_person(reason: &str) -> &str {
    reason.find(&format!("{AND}{REWRITTEN}")).map_or(reason, |at| &reason[..at])
}

/// A commit as people write it.
fn short(commit: &CommitId) -> &str {
    commit.as_str().get(..12).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn hold(by: &str, reason: &str) -> Hold {
        Hold { environment: None, reason: reason.to_owned(), by: Some(by.to_owned()), since: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_persons_hold_and_the_services_do_not_take_each_others_place() {
        let id = |letter: &str| CommitId::parse(&letter.repeat(40)).unwrap();
        let at = Timestamp::from_second(60).unwrap();
        let alone = after_a_rewrite(&[], &id("a"), &id("b"), at);
        assert_eq!((alone.by.as_deref(), alone.since), (Some(SERVICE), at));
        assert!(
            alone.reason.starts_with("somebody rewrote the history of the branch: it is at bbbbbbbbbbbb, and aaaa")
        );
        assert_eq!(after_a_rewrite(from_ref(&alone), &id("a"), &id("b"), at), alone);

        let ours = hold("ada", "we move the database");
        let both = after_a_rewrite(from_ref(&ours), &id("a"), &id("b"), at);
        assert_eq!((both.by.as_deref(), both.since), (Some("ada"), Timestamp::UNIX_EPOCH));
        assert_eq!(both.reason, format!("we move the database; and {}", alone.reason));
        let again = after_a_rewrite(from_ref(&both), &id("a"), &id("c"), at);
        assert_eq!(again.reason, both.reason.replace("bbbbbbbbbbbb", "cccccccccccc"), "once, with the newest commit");

        assert_eq!(by_a_person(from_ref(&alone), hold("bob", "wait")).reason, format!("wait; and {}", alone.reason));
        assert_eq!(by_a_person(from_ref(&both), hold("bob", "wait")).reason, format!("wait; and {}", alone.reason));
        assert_eq!(by_a_person(from_ref(&ours), hold("bob", "wait")).reason, "wait");
    }
}
