//! Ended between Git and the store: what the store is told at the next start about deliveries whose commits Git has already.
//!
//! It is told together with the index, in one transaction. Were the index to come first, a second end at that moment would leave deliveries
//! of which nobody knows any more that they were carried out.

use std::collections::{HashMap, HashSet};

use super::claims::is_carried_out;
use super::conclusion::{Concluded, Conclusion, Keep};
use super::deliveries::DoneBefore;
use super::replaced::{replaced, replaces};
use super::shared::Shared;
use super::start::OpenError;
use crate::event::{Delivery, DeliveryState, Event};
use crate::names::{CommitId, ReleaseKey};
use crate::store::{PAGE_ROWS_MAX, Store, StoreError};

/// What a delivery waits for that led to commits for some of the releases it concerns, and maybe not yet for others.
const THE_REST: &str = "the service, which ended while it was carried out";

/// The outcomes that Git has and the store has not; what is done with leaves `done`.
///
/// # Errors
/// The store or the repository cannot be read.
pub(super) async fn conclusions(shared: &Shared, done: &mut DoneBefore) -> Result<Vec<Conclusion>, OpenError> {
    if done.is_empty() {
        return Ok(Vec::new());
    }
    let store = &shared.store;
    let mut found = Vec::new();
    each_waiting(store, |delivery| {
        let claim = done.get(delivery.id.as_str()).cloned();
        found.extend(claim.map(|(key, commit)| (delivery, key, commit)));
    })
    .await?;
    let mut out = Vec::new();
    let mut newest: HashMap<ReleaseKey, Delivery> = HashMap::new();
    for (delivery, key, commit) in found {
        if let Event::Requested(requested) = &delivery.event {
            if !is_carried_out(shared, requested, (&key, &commit))? {
                continue;
            }
            done.remove(delivery.id.as_str());
            let known = newest.entry(key.clone()).or_insert_with(|| delivery.clone());
            if known.number < delivery.number {
                *known = delivery.clone();
            }
        }
        out.push(carried_out(delivery, key, commit));
    }
    if newest.is_empty() {
        return Ok(out);
    }
    let told: HashSet<i64> = out.iter().map(|conclusion| conclusion.delivery.number).collect();
    each_waiting(store, |delivery| {
        let Event::Requested(requested) = &delivery.event else { return };
        let newer = newest.get(&requested.key).filter(|newer| newer.number > delivery.number);
        if let Some(newer) = newer
            && !told.contains(&delivery.number)
            && gives_way(&delivery, newer)
        {
            out.push(replaced(delivery, newer));
        }
    })
    .await?;
    Ok(out)
}

fn is_request(delivery: &Delivery) -> bool {
    matches!(delivery.event, Event::Requested(_))
}

/// A request is done with its commit. An event may concern more, so it is looked at once more and keeps the commit until then.
fn carried_out(delivery: Delivery, key: ReleaseKey, commit: CommitId) -> Conclusion {
    let concluded = if is_request(&delivery) {
        Concluded::applied(key, commit, false, None)
    } else {
        Concluded::waits(Some(key), THE_REST.to_owned(), Some(commit))
    };
    Conclusion { delivery, concluded, keep: Keep::No }
}

/// Whether an older request of a release must not be carried out any more, after a newer one was.
///
/// One that waited for something, and was told so, goes on waiting unless the newer one takes its place. Any other had been judged before
/// the newer one, and nobody was told the outcome.
fn gives_way(older: &Delivery, newer: &Delivery) -> bool {
    older.verdict.waits_for.is_none() || replaces(newer, DeliveryState::Applied)
}

/// Calls a function with every delivery that waits, in order of arrival.
pub(super) async fn each_waiting(store: &Store, mut f: impl FnMut(Delivery)) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = store.waiting(after, PAGE_ROWS_MAX).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        page.into_iter().for_each(&mut f);
    }
}
