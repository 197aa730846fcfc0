//! A delivery that somebody gives in again: what was carried out once is not carried out over what was asked of its release since.

use super::read;
use super::shared::{Shared, store_fault};
use super::{Fault, Waiting};
use crate::event::{Delivery, DeliveryState, Event, Verdict};
use crate::names::ReleaseKey;
use crate::store::IndexedCommit;

/// How many commits of a release are looked through, the newest first: a run makes a dozen by itself.
const COMMITS_MAX: u32 = 100;

/// A delivery as it stands where nothing is to be done once more, with the reason and what helps; nothing where it may be tried.
///
/// An event of the registry may always be: it is compared with what the registry says by then. So may what was refused: nothing came of it yet.
///
/// # Errors
/// The store fails.
pub(super) async fn overtaken(shared: &Shared, delivery: &Delivery) -> Result<Option<Delivery>, Fault> {
    let Event::Requested(requested) = &delivery.event else { return Ok(None) };
    if !matches!(delivery.state, DeliveryState::Applied | DeliveryState::Unchanged) {
        return Ok(None);
    }
    let since = match asked_since(shared, &requested.key, delivery).await? {
        Some(commit) => Some(made(&commit)),
        None => {
            read::waiting(shared, &requested.key).await.filter(|waiting| waiting.number > delivery.number).map(waits)
        }
    };
    Ok(since.map(|since| as_it_stands(delivery, &requested.key, &since)))
}

/// The newest commit of a release that somebody, or another delivery, asked for since this one was carried out.
async fn asked_since(shared: &Shared, key: &ReleaseKey, delivery: &Delivery) -> Result<Option<IndexedCommit>, Fault> {
    let commits = shared.store.history(key, None, COMMITS_MAX).await.map_err(store_fault)?;
    let is_since = |commit: &IndexedCommit| match &delivery.verdict.commit {
        Some(_) => commit.delivery_id.as_deref() != Some(delivery.id.as_str()),
        // It made no commit of its own; then its arrival says from when on.
        None => commit.at > delivery.received_at,
    };
    let was_asked = |commit: &IndexedCommit| commit.requested_by.is_some() || commit.delivery_id.is_some();
    Ok(commits.into_iter().take_while(is_since).find(was_asked))
}

fn made(commit: &IndexedCommit) -> String {
    let IndexedCommit { requested_by, subject, commit, at, .. } = commit;
    let who = requested_by.as_ref().map_or_else(|| "the registry".to_owned(), ToString::to_string);
    format!("{who} asked for something else: `{subject}`, commit {commit} of {at:.0}")
}

fn waits(waiting: Waiting) -> String {
    format!("delivery {} was accepted, which waits for: {}", waiting.delivery, waiting.waits_for)
}

fn as_it_stands(delivery: &Delivery, key: &ReleaseKey, since: &str) -> Delivery {
    let ReleaseKey { environment, namespace, name } = key;
    let verdict = Verdict {
        release: Some(key.clone()),
        commit: delivery.verdict.commit.clone(),
        reason: Some(format!("it was carried out once, and since then {since}")),
        cure: Some(format!(
            "where it is wanted all the same, ask for it anew: `kmlflow release {name} -n {namespace} -e {environment} …`, or the same act; `kmlflow deliveries show {}` says what it was",
            delivery.number
        )),
        waits_for: None,
    };
    Delivery { state: DeliveryState::Unchanged, verdict, ..delivery.clone() }
}
