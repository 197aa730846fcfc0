//! The history index: which commits changed which release, extended from the repository, and the states a rollback can go to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::apply::restorable;
use super::deliveries::DoneBefore;
use super::foreign::checked;
use super::review::proposal_id;
use super::shared::Shared;
use crate::git::{Asker, Author, GitError, LogEntry, Repository};
use crate::names::{CommitId, ReleaseKey, Version, line_of_a_person};
use crate::plan::Settled;
use crate::release::{Action, Phase, RELEASE_FILE, Release, Strategy};
use crate::store::{IndexedCommit, Store, StoreError};

/// The most settled states that a rollback looks at; older ones can be named.
pub(super) const CANDIDATES_MAX: u32 = 200;

/// The trailer of a proposal that took the place of another, which it names by its id.
pub(super) const SUPERSEDES: &str = "Supersedes";

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
pub(super) fn key_of_directory(directory: &str) -> Option<ReleaseKey> {
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

/// A commit that came to the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Came {
    /// As it counts: a merge of a proposal speaks as that.
    pub(super) entry: LogEntry,
    /// The commit that made the change: itself, or the one that a merge brought.
    pub(super) change: CommitId,
    /// The service's own commits that it brought, and that never were in force as they are.
    pub(super) brought: Vec<LogEntry>,
}

impl From<LogEntry> for Came {
    fn from(entry: LogEntry) -> Self {
        Self { change: entry.commit.clone(), entry, brought: Vec::new() }
    }
}

/// What one commit did to one release.
pub(super) struct Seen {
    key: ReleaseKey,
    /// Version and strategy that the document names, or the one that it was before where it is gone; nothing where it names none, or cannot be read.
    names: Option<(Version, Strategy)>,
    /// The phase that the document is in; nothing where there is no document that can be read.
    phase: Option<Phase>,
    commit: CommitId,
    at: Timestamp,
    action: Option<Action>,
    release_id: String,
    /// What it is named by as a proposal.
    proposal: Option<String>,
    requested_by: Option<String>,
    delivery_id: Option<String>,
    /// The proposal that it took the place of.
    supersedes: Option<String>,
    subject: String,
    /// It was on the branch; else a merge brought it along, and what it carried out is done by that.
    was_in_force: bool,
}

/// Looks what a commit did to releases; `ours` says that it is the service's own.
pub(super) fn seen(repository: &Repository, came: &Came, ours: bool) -> Result<Vec<Seen>, GitError> {
    let Came { entry, change, brought } = came;
    let keys: Vec<ReleaseKey> = entry.changed.iter().filter_map(|directory| key_of_directory(directory)).collect();
    let directories: Vec<String> = keys.iter().map(ReleaseKey::directory).collect();
    let releases = documents(repository, &entry.commit, &directories)?;
    let before = before(repository, entry, &directories, &releases)?;
    let seen = keys.into_iter().zip(releases);
    let seen = seen.map(|(key, release)| of((entry, change), key, release.as_ref(), ours));
    let seen = seen.zip(before).map(|(seen, before)| Seen { names: seen.names.or(before), ..seen });
    let brought = brought.iter().flat_map(|entry| {
        let keys = entry.changed.iter().filter_map(|directory| key_of_directory(directory));
        keys.map(move |key| Seen { was_in_force: false, ..of((entry, &entry.commit), key, None, true) })
    });
    Ok(seen.chain(brought).collect())
}

/// The documents that a commit has in some directories; nothing where there is none that can be read.
fn documents(repository: &Repository, at: &CommitId, paths: &[String]) -> Result<Vec<Option<Release>>, GitError> {
    let found = repository.read_each(at, paths, RELEASE_FILE, |_, _, read| {
        Ok(text_of(read)?.and_then(|text| Release::parse(&text.ok()?).ok()))
    })?;
    Ok(found.into_iter().map(Option::flatten).collect())
}

/// What the documents named that a commit took away: a walk that begins there has seen none of them.
fn before(
    repository: &Repository,
    entry: &LogEntry,
    directories: &[String],
    now: &[Option<Release>],
) -> Result<Vec<Option<(Version, Strategy)>>, GitError> {
    let before = entry.before.as_ref().filter(|_| now.iter().any(Option::is_none));
    match before.map(|before| documents(repository, before, directories)).transpose() {
        Ok(Some(found)) => Ok(found.iter().map(|release| release.as_ref().and_then(names)).collect()),
        // Nothing is gone, or what is before is not here: a history may not be whole.
        Ok(None) | Err(GitError::UnknownCommit(_) | GitError::NotFetched) => Ok(vec![None; directories.len()]),
        Err(error) => Err(error),
    }
}

/// Version and strategy that a document names.
fn names(release: &Release) -> Option<(Version, Strategy)> {
    let named = release.staying().last().or_else(|| release.stable())?;
    Some((named.version.clone(), release.spec.strategy))
}

/// What a commit says of a release. One of somebody else has no release id, which marks the release as one to be looked at.
fn of((entry, change): (&LogEntry, &CommitId), key: ReleaseKey, release: Option<&Release>, ours: bool) -> Seen {
    let said = |name: &str| trailer(entry, name).filter(|_| ours).map(str::to_owned);
    let subject = entry.message.lines().next().unwrap_or_default();
    let subject = subject.split_once("): ").filter(|_| ours).map_or(subject, |(_, what)| what);
    Seen {
        key,
        names: release.and_then(names),
        phase: release.map(|release| release.rollout.phase),
        commit: change.clone(),
        at: entry.at,
        action: said("Action").and_then(|text| serde_json::from_value(text.into()).ok()),
        release_id: said("Release-Id").unwrap_or_default(),
        proposal: proposal_id(entry).filter(|_| ours).map(str::to_owned),
        requested_by: match ours {
            true => said("Requested-By").and_then(|trailer| Asker::somebody_in(&trailer)),
            false => Some(line_of_a_person(&entry.author.name)),
        },
        delivery_id: said("Delivery-Id"),
        supersedes: said(SUPERSEDES),
        subject: line_of_a_person(subject),
        was_in_force: true,
    }
}

/// Makes the index rows of what was seen in some commits, oldest first.
pub(super) fn walked(seen: impl IntoIterator<Item = Seen>) -> Walked {
    let seen: Vec<Seen> = seen.into_iter().collect();
    let superseded = seen.iter().filter_map(|seen| seen.supersedes.clone()).collect();
    walked_on(&mut Behind::without(superseded), seen, |key| Arc::new(key.clone()))
}

/// What a walk in several parts knows of the whole, and of the parts behind it.
pub(super) struct Behind {
    /// The ids of all that another one took the place of. A merge brings them along, and they never were in force.
    superseded: HashSet<String>,
    /// What the last document of each release named.
    last: HashMap<Arc<ReleaseKey>, (Version, Strategy)>,
}

impl Behind {
    /// At the beginning of a walk.
    pub(super) fn without(superseded: HashSet<String>) -> Self {
        Self { superseded, last: HashMap::new() }
    }
}

/// Makes the index rows of the next part of a walk. `keep` gives the key of a release as it is to be kept for the parts that follow.
pub(super) fn walked_on(
    behind: &mut Behind,
    seen: impl IntoIterator<Item = Seen>,
    keep: impl Fn(&ReleaseKey) -> Arc<ReleaseKey>,
) -> Walked {
    let mut walked = Walked::default();
    let Behind { superseded, last } = behind;
    for seen in seen.into_iter().filter(|seen| seen.proposal.as_ref().is_none_or(|id| !superseded.contains(id))) {
        let was_in_force = seen.was_in_force;
        let Seen { key, names, phase, commit, at, action, release_id, requested_by, delivery_id, subject, .. } = seen;
        if !was_in_force {
            walked.done.extend(delivery_id.map(|id| (id, (key, commit))));
            continue;
        }
        // A document that is gone or cannot be read is still about what the one before named.
        let known = if phase.is_some() { names.as_ref() } else { last.get(&key).or(names.as_ref()) };
        let Some((version, strategy)) = known.cloned() else { continue };
        if let Some(id) = &delivery_id {
            walked.done.insert(id.clone(), (key.clone(), commit.clone()));
        }
        if let Some(names) = names {
            match last.get_mut(&key) {
                Some(last) => *last = names,
                None => drop(last.insert(keep(&key), names)),
            }
        }
        let action = action.unwrap_or(if phase.is_none() { Action::Retract } else { Action::Update });
        walked.rows.push(IndexedCommit {
            key,
            commit,
            action,
            version,
            strategy,
            phase,
            at,
            release_id,
            requested_by,
            delivery_id,
            subject,
        });
    }
    walked
}

/// Makes the index rows of some commits, oldest first; `is_ours` tells those of the service.
pub(super) fn walk(
    repository: &Repository,
    came: &[Came],
    is_ours: impl Fn(&LogEntry) -> bool,
) -> Result<Walked, GitError> {
    let found: Result<Vec<_>, _> = came.iter().map(|came| seen(repository, came, is_ours(&came.entry))).collect();
    Ok(walked(found?.into_iter().flatten()))
}

/// Has rows say what the index knows of their commits, where those say nothing of it themselves: a review that was merged as one commit, and whose branch
/// is long gone.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn recall(store: &Store, rows: &mut [IndexedCommit]) -> Result<(), StoreError> {
    let others: Vec<&mut IndexedCommit> = rows.iter_mut().filter(|row| row.release_id.is_empty()).collect();
    let commits: Vec<CommitId> = others.iter().map(|row| row.commit.clone()).collect();
    let known = store.ours_among(&commits).await?.into_iter();
    let mut known: HashMap<_, _> = known.map(|row| ((row.key.clone(), row.commit.clone()), row)).collect();
    for row in others {
        if let Some(known) = known.remove(&(row.key.clone(), row.commit.clone())) {
            *row = known;
        }
    }
    Ok(())
}

/// The commits of the service among some rows.
pub(super) fn ours(rows: &[IndexedCommit]) -> impl Iterator<Item = CommitId> {
    rows.iter().filter(|row| !row.release_id.is_empty()).map(|row| row.commit.clone())
}

/// Reads the settled states among some commits, newest first: those of the service, because in a person's the files may not be those of the
/// document. `live` are the commits that were seen live, where the cluster is watched: of what is older than all of them nobody knows.
pub(super) fn settled(
    shared: &Shared,
    key: &ReleaseKey,
    rows: &[IndexedCommit],
    live: Option<&HashSet<CommitId>>,
) -> Result<Vec<Settled>, GitError> {
    let oldest = live.and_then(|live| rows.iter().rposition(|row| live.contains(&row.commit)));
    let mut states = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if row.phase != Some(Phase::Settled) || row.release_id.is_empty() {
            continue;
        }
        if let Some(found) = restorable(shared, key, &row.commit)? {
            let is_known = oldest.is_some_and(|oldest| at <= oldest);
            let was_live = live.filter(|_| is_known).map(|live| live.contains(&found.commit));
            states.push(Settled { commit: found.commit, release: found.release, was_live });
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
