//! The history index: which commits changed which release, extended from the repository, and the states a rollback can go to.

use std::collections::HashMap;

use super::apply::restorable;
use super::deliveries::DoneBefore;
use super::foreign::checked;
use super::shared::Shared;
use crate::git::{Author, GitError, LogEntry, Repository};
use crate::names::{CommitId, ReleaseKey};
use crate::plan::Settled;
use crate::release::{Action, Phase, RELEASE_FILE, Release};
use crate::store::IndexedCommit;

/// The most settled states that a rollback looks at; older ones can be named.
pub(super) const CANDIDATES_MAX: u32 = 200;

/// What a walk of the history found.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) rows: Vec<IndexedCommit>,
    /// The last commit of each delivery.
    pub(super) done: DoneBefore,
}

/// Whether a commit says that the service made it, as author and committer and by its intent. A cherry-pick has another committer.
///
/// This is for commits that nobody here remembers. While the service runs it knows its own by their ids, because anybody can write
/// this down.
pub(super) fn says_ours(entry: &LogEntry, author: &Author) -> bool {
    entry.author == *author && entry.committer == *author && trailer(entry, "Release-Id").is_some()
}

/// The value of a trailer.
pub(super) fn trailer<'a>(entry: &'a LogEntry, name: &str) -> Option<&'a str> {
    entry.trailers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The release of a directory.
pub(super) fn key_of(directory: &str) -> Option<ReleaseKey> {
    ReleaseKey::parse(directory.strip_prefix("releases/")?).ok()
}

/// What reading a release's document came to: its text, or why nobody reads it.
pub(super) type Text = Result<String, String>;

/// The text of a document that was read; a file that is too large is a matter of that release alone.
///
/// # Errors
/// The repository fails.
pub(super) fn text_of(read: Result<Option<Vec<u8>>, GitError>) -> Result<Option<Text>, GitError> {
    match read {
        Ok(bytes) => Ok(bytes.map(|bytes| Ok(String::from_utf8_lossy(&bytes).into_owned()))),
        Err(error @ GitError::TooLarge { .. }) => Ok(Some(Err(error.to_string()))),
        Err(error) => Err(error),
    }
}

/// Makes the index rows of some commits, oldest first; `is_ours` tells those of the service.
pub(super) fn walk(
    repository: &Repository,
    entries: &[LogEntry],
    is_ours: impl Fn(&LogEntry) -> bool,
) -> Result<Walked, GitError> {
    let mut walked = Walked::default();
    let mut last: HashMap<ReleaseKey, Release> = HashMap::new();
    for entry in entries {
        let keys: Vec<ReleaseKey> = entry.changed.iter().filter_map(|directory| key_of(directory)).collect();
        let directories: Vec<String> = keys.iter().map(ReleaseKey::directory).collect();
        let releases = repository.read_each(&entry.commit, &directories, RELEASE_FILE, |_, _, read| {
            Ok(text_of(read)?.and_then(|text| Release::parse(&text.ok()?).ok()))
        })?;
        for (key, release) in keys.into_iter().zip(releases) {
            let release = release.flatten();
            let phase = release.as_ref().map(|release| release.rollout.phase);
            let known = release.as_ref().or_else(|| last.get(&key));
            if let Some(row) = known.and_then(|known| row(entry, &key, known, phase, is_ours(entry))) {
                if let Some(id) = &row.delivery_id {
                    walked.done.insert(id.clone(), (key.clone(), entry.commit.clone()));
                }
                walked.rows.push(row);
            }
            if let Some(release) = release {
                last.insert(key, release);
            }
        }
    }
    Ok(walked)
}

/// The row of one commit. A commit of somebody else has no release id, which marks the release as one to be looked at.
fn row(
    entry: &LogEntry,
    key: &ReleaseKey,
    release: &Release,
    phase: Option<Phase>,
    ours: bool,
) -> Option<IndexedCommit> {
    let action = trailer(entry, "Action").filter(|_| ours).and_then(|text| serde_json::from_value(text.into()).ok());
    let subject = entry.message.lines().next().unwrap_or_default();
    Some(IndexedCommit {
        key: key.clone(),
        commit: entry.commit.clone(),
        action: action.unwrap_or(if phase.is_none() { Action::Retract } else { Action::Update }),
        version: release.staying().last().or_else(|| release.stable())?.version.clone(),
        strategy: release.spec.strategy,
        phase,
        at: entry.at,
        release_id: trailer(entry, "Release-Id").filter(|_| ours).unwrap_or_default().to_owned(),
        requested_by: if ours {
            trailer(entry, "Requested-By").map(str::to_owned)
        } else {
            Some(crate::names::shown(&entry.author.name))
        },
        delivery_id: trailer(entry, "Delivery-Id").filter(|_| ours).map(str::to_owned),
        subject: crate::names::shown(subject.split_once("): ").filter(|_| ours).map_or(subject, |(_, what)| what)),
    })
}

/// The commits of the service among some rows.
pub(super) fn ours(rows: &[IndexedCommit]) -> impl Iterator<Item = CommitId> {
    rows.iter().filter(|row| !row.release_id.is_empty()).map(|row| row.commit.clone())
}

/// Reads the settled states among some commits: those of the service, because in a person's the files may not be those of the document.
pub(super) fn settled(shared: &Shared, key: &ReleaseKey, rows: &[IndexedCommit]) -> Result<Vec<Settled>, GitError> {
    let mut states = Vec::new();
    for row in rows.iter().filter(|row| row.phase == Some(Phase::Settled) && !row.release_id.is_empty()) {
        if let Some(found) = restorable(shared, key, &row.commit)? {
            states.push(Settled { commit: found.commit, release: found.release });
        }
    }
    Ok(states)
}

/// The newest document of a release that could be read, where the one at the tip cannot.
pub(super) fn last_valid(
    repository: &Repository,
    key: &ReleaseKey,
    commits: &[CommitId],
) -> Result<Option<Release>, GitError> {
    let path = format!("{}/{RELEASE_FILE}", key.directory());
    for commit in commits {
        let text = match repository.read(commit, &path) {
            Err(GitError::UnknownCommit(_)) => None,
            other => text_of(other)?,
        };
        if let Some(release) = text.and_then(|text| checked(key, &text.ok()?).ok()) {
            return Ok(Some(release));
        }
    }
    Ok(None)
}
