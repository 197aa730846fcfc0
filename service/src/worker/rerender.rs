//! Rendering releases again with the present templates, one commit each: on purpose, or because what others changed could not be rendered with it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::apply::render;
use super::handle::Handle;
use super::index::{Entry, Kept};
use super::shared::{Shared, read};
use super::turn::Owed;
use super::{Answer, Fault, FileState, RerenderSelection, Rerendered};
use crate::event::{Guard, Requested};
use crate::names::{PredictorName, ReleaseKey};
use crate::release::Intent;

/// How long all of them may take; like any request. They share pushes, and what takes longer is carried out all the same.
const WAIT: Duration = Duration::from_secs(10);

/// Renders the selected releases again, or says what that would do. At a rate they are only accepted, each as a delivery of its own.
pub(super) async fn rerender(
    handle: &Handle,
    shared: &Arc<Shared>,
    selection: RerenderSelection,
    dry_run: bool,
    by: &str,
) -> Result<Vec<Rerendered>, Fault> {
    if let Some(name) = &selection.environment {
        shared.environment(name)?;
    }
    let releases = selected(shared, &selection)?;
    let checked = shared
        .blocking(move |shared| {
            let digest = shared.settings.templates.digest();
            let check = |(key, entry): (ReleaseKey, Entry)| {
                let is_as_rendered = entry.files(digest).is_empty();
                (key, is_as_rendered, restarts(shared, &entry.release))
            };
            Ok(releases.into_iter().map(check).collect::<Vec<_>>())
        })
        .await?;
    let per_minute = selection.per_minute;
    // What is known of them is not what they are judged by then.
    let is_judged = dry_run || !handle.awaits_a_decision();
    let lines = checked.into_iter().map(|(key, is_as_rendered, restarts)| async move {
        let restarts = match restarts {
            Ok(_) if is_as_rendered && is_judged => {
                return line(&key, "unchanged", Vec::new(), Some("the present templates rendered it".to_owned()));
            }
            Err(_) if !is_judged => Vec::new(),
            Err(refusal) => return line(&key, "refused", Vec::new(), Some(refusal.reason)),
            Ok(restarts) if dry_run => return line(&key, "would-render", restarts, None),
            Ok(restarts) => restarts,
        };
        match per_minute {
            Some(rate) => submit(handle, &key, restarts, by, rate).await,
            None => carry_out(handle, &key, restarts, by).await,
        }
    });
    Ok(join_all(lines).await)
}

fn selected(shared: &Shared, selection: &RerenderSelection) -> Result<Vec<(ReleaseKey, Entry)>, Fault> {
    let index = read(&shared.index);
    let digest = shared.settings.templates.digest();
    let is_there = |key: &ReleaseKey| {
        selection.environment.as_ref().is_none_or(|environment| *environment == key.environment)
            && selection.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    };
    for name in &selection.names {
        if !index.iter().any(|(key, _)| key.name == *name && is_there(key)) {
            let namespace = selection.namespace.as_ref();
            let place = namespace.map_or_else(String::new, |namespace| format!(" in namespace `{namespace}`"));
            let reason = format!("no release called `{name}` is deployed{place}");
            return Err(super::handle::not_found(reason, "`kmlflow list` shows what is").into());
        }
    }
    let wanted = |key: &ReleaseKey, kept: &Kept| {
        is_there(key)
            && (selection.names.contains(&key.name)
                || (selection.names.is_empty() && kept.files(digest).contains(&FileState::Outdated)))
    };
    Ok(index.iter().filter(|(key, kept)| wanted(key, kept)).map(|(key, kept)| (key.clone(), kept.entry())).collect())
}

/// The predictors whose pods restart.
fn restarts(shared: &Shared, release: &crate::release::Release) -> Result<Vec<PredictorName>, crate::release::Refusal> {
    let manifests = render(shared, release)?;
    let differs = |(predictor, digest): (&PredictorName, &crate::names::Digest)| {
        (release.rendered.pods.get(predictor) != Some(digest)).then(|| predictor.clone())
    };
    Ok(manifests.pods.iter().filter_map(differs).collect())
}

async fn carry_out(handle: &Handle, key: &ReleaseKey, restarts: Vec<PredictorName>, by: &str) -> Rerendered {
    match handle.request(request(key, by, None), WAIT).await {
        Ok(Answer::Done(done)) if done.changed => {
            Rerendered { commit: done.commit, ..line(key, "rendered", restarts, None) }
        }
        Ok(Answer::Done(done)) => line(key, "unchanged", Vec::new(), done.reason),
        Ok(Answer::Queued { waits_for, delivery }) => {
            Rerendered { delivery: Some(delivery), ..line(key, "queued", restarts, Some(waits_for)) }
        }
        Err(fault) => refused(key, &fault),
    }
}

/// Has a release rendered when its turn comes.
async fn submit(
    handle: &Handle,
    key: &ReleaseKey,
    restarts: Vec<PredictorName>,
    by: &str,
    rate: NonZeroU32,
) -> Rerendered {
    match handle.submit(request(key, by, Some(rate))).await {
        Ok(delivery) => {
            let waits_for = format!("its turn, of which there are {rate} a minute");
            Rerendered { delivery: Some(delivery), ..line(key, "queued", restarts, Some(waits_for)) }
        }
        Err(fault) => refused(key, &fault),
    }
}

fn request(key: &ReleaseKey, by: &str, per_minute: Option<NonZeroU32>) -> Requested {
    Requested {
        key: key.clone(),
        intent: Intent::Rerender,
        guard: Guard { per_minute, ..Guard::default() },
        requested_by: Some(by.to_owned()),
    }
}

/// Has what others changed rendered or taken over by requests of their own, in the name of who changed it.
pub(super) async fn ask_for_owed(shared: &Arc<Shared>, owed: BTreeMap<ReleaseKey, Owed>) {
    let handle = Handle::new(Arc::clone(shared));
    for (key, Owed { by, guard }) in owed {
        let (what, cure) = match guard.adopt {
            true => ("taken over", "a request with `--adopt`"),
            false => ("rendered", "`kmlflow rerender`"),
        };
        let requested = Requested { guard, ..request(&key, &by, None) };
        if let Err(fault) = handle.submit(requested).await {
            tracing::warn!(release.key = %key, "What was pushed of `{key}` is not {what}: {fault}; {cure} does that");
        }
    }
}

fn refused(key: &ReleaseKey, fault: &Fault) -> Rerendered {
    let reason = match fault {
        Fault::Refused(refusal) => refusal.reason.clone(),
        other => other.to_string(),
    };
    line(key, "refused", Vec::new(), Some(reason))
}

fn line(key: &ReleaseKey, outcome: &str, restarts: Vec<PredictorName>, reason: Option<String>) -> Rerendered {
    Rerendered { release: key.to_string(), outcome: outcome.to_owned(), restarts, reason, commit: None, delivery: None }
}
