//! Rendering releases again with the present templates, on purpose, one commit each.

use std::time::Duration;

use super::apply::render;
use super::handle::Handle;
use super::index::Entry;
use super::shared::{Shared, read};
use super::{Answer, Fault, FileState, RerenderSelection, Rerendered};
use crate::event::{Guard, Requested};
use crate::names::{PredictorName, ReleaseKey};
use crate::release::Intent;
use std::sync::Arc;

/// How long one release may take; like any request.
const WAIT: Duration = Duration::from_secs(10);

/// Renders the selected releases again, or says what that would do.
pub(super) async fn rerender(
    handle: &Handle,
    shared: &Arc<Shared>,
    selection: RerenderSelection,
    dry_run: bool,
    by: &str,
) -> Result<Vec<Rerendered>, Fault> {
    let pause = selection.per_minute.filter(|_| !dry_run).map(|n| Duration::from_secs(60) / n.max(1));
    let mut report = Vec::new();
    for (key, entry) in selected(shared, &selection)? {
        if let (Some(pause), false) = (pause, report.is_empty()) {
            tokio::time::sleep(pause).await;
        }
        let restarts = {
            let release = Arc::clone(&entry.release);
            shared.blocking(move |shared| Ok(restarts(shared, &release))).await?
        };
        report.push(match restarts {
            Err(refusal) => line(&key, "refused", Vec::new(), Some(refusal.reason)),
            Ok(restarts) if dry_run => line(&key, "would-render", restarts, None),
            Ok(restarts) => carry_out(handle, &key, restarts, by).await,
        });
    }
    Ok(report)
}

fn selected(shared: &Shared, selection: &RerenderSelection) -> Result<Vec<(ReleaseKey, Entry)>, Fault> {
    let index = read(&shared.index);
    let digest = shared.settings.templates.digest();
    for name in &selection.names {
        if !index
            .iter()
            .any(|(key, _)| key.name == *name && selection.environment.as_ref().is_none_or(|e| *e == key.environment))
        {
            let reason = format!("no release called `{name}` is deployed");
            return Err(super::handle::not_found(reason, "`kmlflow list` shows what is").into());
        }
    }
    let wanted = |key: &ReleaseKey, entry: &Entry| {
        selection.environment.as_ref().is_none_or(|environment| *environment == key.environment)
            && (selection.names.contains(&key.name)
                || (selection.names.is_empty() && entry.files(digest).contains(&FileState::Outdated)))
    };
    Ok(index
        .iter()
        .filter(|(key, entry)| wanted(key, entry))
        .map(|(key, entry)| (key.clone(), entry.clone()))
        .collect())
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
    let request = Requested {
        key: key.clone(),
        intent: Intent::Rerender,
        guard: Guard::default(),
        requested_by: Some(by.to_owned()),
    };
    match handle.request(request, WAIT).await {
        Ok(Answer::Done(done)) if done.changed => {
            Rerendered { commit: done.commit, ..line(key, "rendered", restarts, None) }
        }
        Ok(Answer::Done(done)) => line(key, "unchanged", Vec::new(), done.reason),
        Ok(Answer::Queued { waits_for, .. }) => line(key, "queued", restarts, Some(waits_for)),
        Err(Fault::Refused(refusal)) => line(key, "refused", Vec::new(), Some(refusal.reason)),
        Err(other) => line(key, "refused", Vec::new(), Some(other.to_string())),
    }
}

fn line(key: &ReleaseKey, outcome: &str, restarts: Vec<PredictorName>, reason: Option<String>) -> Rerendered {
    Rerendered { release: key.to_string(), outcome: outcome.to_owned(), restarts, reason, commit: None }
}
