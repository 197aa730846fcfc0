//! What the page's tables show, prepared so that the templates only lay it out.

use jiff::Timestamp;
use serde::Serialize;

use crate::bounds::SHORT_COMMIT_DIGITS;
use crate::event::DeliveryState;
use crate::names::{CommitId, Version};
use crate::release::{Action, Phase, Rollout, Strategy};
use crate::worker::{DeliveryView, FileState, HistoryEntry, ReleaseView, ReviewView, Share};

/// A release on the page.
#[derive(Debug, Serialize)]
pub(super) struct ReleaseRow {
    pub key: String,
    name: String,
    place: String,
    model: String,
    strategy: Strategy,
    phase: Phase,
    /// `step 2 of 3`, `paused`, the outcome of the last run.
    progress: Vec<String>,
    shares: Vec<ShareBar>,
    commit: String,
    changed_at: Moment,
    status: &'static str,
    status_reason: String,
    status_cure: Option<String>,
    files: Vec<FileState>,
    notes: Vec<String>,
    waits_for: Option<String>,
    next_at: Option<Moment>,
    endpoint: String,
    review: Option<ReviewRow>,
}

/// The last change that waited for people at the forge.
#[derive(Debug, Serialize)]
struct ReviewRow {
    state: &'static str,
    summary: String,
    branch: String,
    number: Option<u64>,
    url: Option<String>,
    approved_by: String,
    changes_requested_by: String,
    merges_itself: bool,
    trouble: Option<String>,
}

/// One variant's part of the bar that shows the split.
#[derive(Debug, Serialize)]
struct ShareBar {
    label: String,
    /// Where its part begins, in percent.
    start: u32,
    weight: u8,
    mirror: u8,
    /// Which of the page's colours it has, from 1 to 8.
    colour: usize,
}

/// A delivery on the page.
#[derive(Debug, Serialize)]
pub(super) struct DeliveryRow {
    number: i64,
    id: String,
    source: &'static str,
    received_at: Moment,
    state: DeliveryState,
    release: Option<String>,
    commit: Option<String>,
    verdict: String,
    cure: Option<String>,
}

/// A commit on the page.
#[derive(Debug, Serialize)]
pub(super) struct CommitRow {
    commit: String,
    at: Moment,
    action: &'static str,
    summary: String,
    version: Version,
    phase: Option<Phase>,
    requested_by: Option<String>,
}

/// A point in time, for machines and for people.
#[derive(Debug, Serialize)]
struct Moment {
    exact: String,
    relative: String,
}

impl ReleaseRow {
    pub(super) fn of(view: ReleaseView, now: Timestamp) -> Self {
        let key = view.release.key();
        let progress = progress(&view, &view.release.rollout);
        Self {
            key: key.to_string(),
            name: key.name.to_string(),
            place: format!("{}/{}", key.environment, key.namespace),
            model: view.release.spec.model.to_string(),
            strategy: view.release.spec.strategy,
            phase: view.release.rollout.phase,
            progress,
            shares: bars(&view.split),
            commit: short(&view.commit),
            changed_at: Moment::of(view.changed_at, now),
            status: view.status.state.as_str(),
            status_reason: view.status.reason,
            status_cure: view.status.cure,
            files: view.files,
            notes: view.notes,
            waits_for: view.waits_for,
            next_at: view.next_at.map(|at| Moment::of(at, now)),
            endpoint: view.endpoint,
            review: view.review.map(ReviewRow::of),
        }
    }
}

impl ReviewRow {
    fn of(view: ReviewView) -> Self {
        Self {
            state: view.state.in_words(),
            summary: view.summary,
            branch: view.branch,
            number: view.number,
            url: view.url,
            approved_by: view.approved_by.join(", "),
            changes_requested_by: view.changes_requested_by.join(", "),
            merges_itself: view.merges_itself,
            trouble: view.trouble,
        }
    }
}

impl DeliveryRow {
    pub(super) fn of(view: DeliveryView, now: Timestamp) -> Self {
        let verdict = view.reason.or(view.waits_for.map(|what| format!("waits: {what}"))).unwrap_or_default();
        Self {
            number: view.number,
            id: view.id,
            source: view.source.as_str(),
            received_at: Moment::of(view.received_at, now),
            state: view.state,
            release: view.release,
            commit: view.commit.as_ref().map(short),
            verdict,
            cure: view.cure,
        }
    }
}

impl CommitRow {
    pub(super) fn of(entry: HistoryEntry, now: Timestamp) -> Self {
        let HistoryEntry {
            commit,
            at,
            action,
            summary,
            version,
            strategy: _,
            phase,
            release_id: _,
            requested_by,
            delivery_id: _,
            delivery_number: _,
        } = entry;
        let (commit, at, action) = (short(&commit), Moment::of(at, now), action.map_or("by hand", Action::as_str));
        Self { commit, at, action, summary, version, phase, requested_by }
    }
}

impl Moment {
    fn of(at: Timestamp, now: Timestamp) -> Self {
        let seconds = now.as_second() - at.as_second();
        let amount = match seconds.unsigned_abs() {
            seconds @ 0..60 => format!("{seconds} s"),
            seconds @ 60..3600 => format!("{} min", seconds / 60),
            seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
            seconds => format!("{} d", seconds / 86_400),
        };
        let relative = if seconds < 0 { format!("in {amount}") } else { format!("{amount} ago") };
        Self { exact: at.to_string(), relative }
    }
}

fn progress(view: &ReleaseView, rollout: &Rollout) -> Vec<String> {
    let mut progress = Vec::new();
    if let (Some(canary), Some(step), Phase::Running) = (&view.release.spec.canary, rollout.step, rollout.phase) {
        progress.push(format!("step {} of {}", step + 1, canary.steps.len()));
    }
    if let Some(paused) = &rollout.paused {
        progress.push(format!("paused by {}", paused.by));
    }
    if let (Some(outcome), Phase::Settled | Phase::Leaving) = (rollout.outcome, rollout.phase) {
        let word = serde_json::to_value(outcome).ok().and_then(|word| word.as_str().map(ToOwned::to_owned));
        progress.extend(word);
    }
    progress
}

fn bars(split: &[Share]) -> Vec<ShareBar> {
    let mut start = 0;
    let bar = |(index, share): (usize, &Share)| {
        let label = format!("{} v{}", share.role, share.version);
        let bar = ShareBar { label, start, weight: share.weight, mirror: share.mirror, colour: index % 8 + 1 };
        start += u32::from(share.weight);
        bar
    };
    split.iter().enumerate().map(bar).collect()
}

fn short(commit: &CommitId) -> String {
    commit.as_str().chars().take(SHORT_COMMIT_DIGITS).collect()
}
