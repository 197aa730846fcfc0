//! What an Application says of a commit: whether it is the release's at all, and how far Argo CD is with it.

use super::address::is_ours;
use super::lock;
use super::tell::Noticed;
use crate::live::{Application, OperationPhase, foreign};
use crate::names::CommitId;
use crate::worker::index::Entry;
use crate::worker::shared::Shared;

/// What an Application says of a commit.
pub(super) struct Notice {
    pub(super) noticed: Noticed,
    /// The commit that Argo CD is at, where that is not known here and may be on the branch.
    pub(super) ahead: Option<Box<str>>,
    /// The commit that it was compared with last contains ours.
    pub(super) is_contained: bool,
    pub(super) reads_another: bool,
}

/// Reads from an Application how far Argo CD is, after whether it is the release's at all.
pub(super) fn notice(shared: &Shared, entry: &Entry, application: Option<&Application>) -> Notice {
    let Some(application) = application else {
        return Notice { noticed: Noticed::NoApplication, ahead: None, is_contained: false, reads_another: false };
    };
    let revision = application.revision.as_deref();
    let contained = revision.map(|revision| contains(shared, &entry.commit, revision));
    // Whoever is at a commit of ours reads our repository, by whatever address.
    let reads_another = contained.flatten().is_none() && !is_ours(shared, &application.repository);
    // What is not known in the embedded repository is nowhere on its branch.
    let is_elsewhere = shared.repository.address().is_some();
    let is_unknown = is_elsewhere && contained == Some(None) && revision.is_some_and(|it| CommitId::parse(it).is_ok());
    let is_foreign = foreign(&entry.release, application, reads_another && !is_unknown).is_some();
    let is_contained = contained.flatten() == Some(true);
    let noticed = match application {
        _ if is_foreign || reads_another => Noticed::Foreign,
        it if is_held(shared, &entry.commit, it) => Noticed::Held(it.version),
        _ if is_contained => Noticed::Yes,
        _ => Noticed::No,
    };
    let ahead = revision.filter(|_| is_unknown && !is_foreign).map(Into::into);
    Notice { noticed, ahead, is_contained, reads_another }
}

/// Whether an operation runs at a commit that is known to be older than the newest one of a release. One that is not known may be newer.
fn is_held(shared: &Shared, commit: &CommitId, application: &Application) -> bool {
    let running = application.operation.as_ref().filter(|it| it.phase == OperationPhase::Running);
    let revision = running.and_then(|it| CommitId::parse(it.revision.as_deref()?).ok());
    let is_older = |it: &CommitId| it != commit && contains(shared, it, commit.as_str()) == Some(true);
    revision.as_ref().is_some_and(is_older)
}

/// Whether a revision that Argo CD names contains a commit; nothing where one of them is not known here.
fn contains(shared: &Shared, commit: &CommitId, revision: &str) -> Option<bool> {
    if revision == commit.as_str() {
        return Some(true);
    }
    let revision = CommitId::parse(revision).ok()?;
    if let Some(known) = lock(&shared.observations.lineage).contains(commit, &revision) {
        return Some(known);
    }
    let is_contained = shared.repository.is_ancestor(commit, &revision).ok()?;
    lock(&shared.observations.lineage).remember(commit, &revision, is_contained);
    Some(is_contained)
}
