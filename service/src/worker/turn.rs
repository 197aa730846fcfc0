//! One turn of the conveyor: a row of commits on a draft, with the state that they lead to, seen by nobody until it is published.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::ahead::Ahead;
use super::apply::{Ground, Proposal, Write, propose, restorable};
use super::index::{Entry, Index};
use super::observe::{observed, watched};
use super::registry::{Found, Which};
use super::restored::Speaker;
use super::review::Proposed;
use super::shared::{PolicySet, Shared, read};
use super::task::Task;
use crate::event::{Delivery, Guard};
use crate::git::{Asker, Draft, GitError, Message};
use crate::names::{CommitId, EnvironmentName, ModelName, ReleaseKey};
use crate::plan::Findings;
use crate::registry::RegistryState;
use crate::release::{Action, Intent, Period, Phase, Refusal, Release, Target};
use crate::render::Manifests;
use crate::rollout::{self, Decision};
use crate::store::IndexedCommit;

/// One turn of the conveyor.
pub(super) struct Turn<'r> {
    pub(super) shared: &'r Shared,
    draft: Draft<'r>,
    now: Timestamp,
    policies: Arc<PolicySet>,
    fresh: Index,
    gone: HashSet<ReleaseKey>,
    pub(super) registry: HashMap<ModelName, Arc<RegistryState>>,
    /// The models that were read anew for this turn.
    pub(super) found: HashMap<ModelName, Found>,
    /// What was found out for deliveries, by their numbers.
    pub(super) findings: HashMap<i64, Arc<Findings>>,
    /// What acts take the place of that were asked for after it, by number.
    pub(super) replaced_by: HashMap<i64, Delivery>,
    /// Wishes that were answered: version, tag and its value.
    pub(super) answered: Vec<(Which, String, String)>,
    /// Versions that were refused, for which release and why.
    pub(super) refused: Vec<(Which, ReleaseKey, Refusal)>,
    /// The releases that this turn committed, with the phase they had before.
    touched: HashMap<ReleaseKey, Option<Phase>>,
    /// The releases whose time came.
    looked_at: HashSet<ReleaseKey>,
    pub(super) rows: Vec<IndexedCommit>,
    /// The last of the rows that were found on the branch, by release.
    last_rows: HashMap<ReleaseKey, usize>,
    /// Releases made by events in this turn.
    pub(super) made: Vec<ReleaseKey>,
    /// New releases that events may still make, by environment, as far as looked up.
    pub(super) room: RefCell<HashMap<EnvironmentName, usize>>,
    /// What was rendered ahead; each is taken once.
    ahead: RefCell<Ahead>,
    /// Releases of which nothing is committed here, because the branch does not take it.
    pub(super) by_review: BTreeSet<ReleaseKey>,
    /// What waits for a review, instead of being committed.
    pub(super) proposed: BTreeMap<ReleaseKey, Proposed>,
    /// What others changed is taken in as it lies there.
    pub(super) as_it_lies: bool,
    /// Which commits speak as the service, as far as that was looked up.
    pub(super) speakers: BTreeMap<Speaker, bool>,
    /// What follows from what others changed.
    pub(super) following: Following,
}

/// What follows from what others changed: their `release.yaml` is rendered, an older state put back is taken over.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Whether something of it is committed.
    pub(super) is_committed: bool,
    /// What is still to be rendered or taken over.
    pub(super) owed: BTreeMap<ReleaseKey, Owed>,
    /// What only the index of the history knows, and was not looked up yet.
    pub(super) unknown: BTreeSet<Speaker>,
}

/// What is to follow from a change by hand and is asked for by itself.
#[derive(Debug)]
pub(super) struct Owed {
    /// Who changed it.
    pub(super) by: String,
    /// How it is asked for.
    pub(super) guard: Guard,
}

/// What carrying out a task came to.
#[derive(Debug, PartialEq)]
pub(super) enum Carried {
    Changed {
        commit: CommitId,
        created: bool,
    },
    Unchanged(String),
    Refused(Refusal),
    /// It goes on later; `commit` is the part that is done.
    Waits {
        reason: String,
        commit: Option<CommitId>,
    },
    /// It belongs into the next turn, because two phases of a release are never published at once.
    NextTurn {
        commit: Option<CommitId>,
    },
    /// Too many new releases in a minute.
    Storm,
}

/// What of a task is done.
#[derive(Default)]
struct SoFar {
    /// The last commit.
    commit: Option<CommitId>,
    created: bool,
}

impl SoFar {
    /// The end: there is nothing more to do, for this reason where nothing was done at all.
    fn or_unchanged(self, reason: String) -> Carried {
        let Self { commit, created } = self;
        commit.map_or(Carried::Unchanged(reason), |commit| Carried::Changed { commit, created })
    }

    fn and_waits(self, reason: String) -> Carried {
        Carried::Waits { reason, commit: self.commit }
    }
}

/// What a finished turn leaves behind.
pub(super) struct Harvest {
    pub(super) tip: CommitId,
    pub(super) fresh: Index,
    pub(super) gone: HashSet<ReleaseKey>,
    pub(super) registry: HashMap<ModelName, Arc<RegistryState>>,
    pub(super) rows: Vec<IndexedCommit>,
    pub(super) made: Vec<ReleaseKey>,
    /// Wishes that were answered: version, tag and its value.
    pub(super) answered: Vec<(Which, String, String)>,
    /// Versions that were refused, for which release and why.
    pub(super) refused: Vec<(Which, ReleaseKey, Refusal)>,
    /// What comes next by itself for each release that was committed.
    pub(super) decisions: Vec<(ReleaseKey, Option<Decision>)>,
    /// What waits for a review.
    pub(super) proposed: BTreeMap<ReleaseKey, Proposed>,
    pub(super) following: Following,
}

impl Ground for Turn<'_> {
    fn shared(&self) -> &Shared {
        self.shared
    }

    fn entry(&self, key: &ReleaseKey) -> Option<Entry> {
        match self.fresh.get(key) {
            Some(entry) => Some(entry),
            None if self.gone.contains(key) => None,
            None => self.shared.entry(key),
        }
    }

    fn registry_of(&self, model: &ModelName) -> Option<Arc<RegistryState>> {
        self.registry.get(model).cloned().or_else(|| self.shared.registry_of(model))
    }

    fn tip(&self) -> CommitId {
        Turn::tip(self).clone()
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn collision(&self, key: &ReleaseKey, target: &Target) -> Option<Refusal> {
        let fresh = self.fresh.collision(key, target, &HashSet::new());
        fresh.or_else(|| read(&self.shared.index).collision(key, target, &self.gone))
    }

    fn policies(&self) -> Arc<PolicySet> {
        Arc::clone(&self.policies)
    }

    fn rendered_ahead(&self, release: &Release) -> Option<Manifests> {
        let (document, manifests) = self.ahead.borrow_mut().remove(&release.key())?;
        (document == *release).then_some(manifests)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        self.draft.read(path)
    }
}

impl<'r> Turn<'r> {
    /// Begins a turn on a commit.
    pub(super) fn begin(shared: &'r Shared, base: &CommitId, policies: Arc<PolicySet>) -> Result<Self, GitError> {
        Ok(Self {
            shared,
            draft: shared.repository.draft(base)?,
            now: shared.clock.now(),
            policies,
            fresh: Index::default(),
            gone: HashSet::new(),
            registry: HashMap::new(),
            found: HashMap::new(),
            findings: HashMap::new(),
            replaced_by: HashMap::new(),
            answered: Vec::new(),
            refused: Vec::new(),
            touched: HashMap::new(),
            looked_at: HashSet::new(),
            rows: Vec::new(),
            last_rows: HashMap::new(),
            made: Vec::new(),
            room: RefCell::new(HashMap::new()),
            ahead: RefCell::new(Ahead::new()),
            by_review: BTreeSet::new(),
            proposed: BTreeMap::new(),
            as_it_lies: false,
            speakers: BTreeMap::new(),
            following: Following::default(),
        })
    }

    /// Begins with the rows of what is new on the branch.
    pub(super) fn found(&mut self, rows: Vec<IndexedCommit>) {
        self.last_rows = rows.iter().enumerate().map(|(place, row)| (row.key.clone(), place)).collect();
        self.rows = rows;
    }

    /// The commit that changed a release last, of those that are new on the branch, and when.
    pub(super) fn last_change(&self, key: &ReleaseKey) -> Option<(CommitId, Timestamp)> {
        let row = self.rows.get(*self.last_rows.get(key)?)?;
        Some((row.commit.clone(), row.at))
    }

    /// Takes renders that were made ahead.
    pub(super) fn prepare(&mut self, ahead: Ahead) {
        self.ahead = RefCell::new(ahead);
    }

    /// Ends the turn.
    pub(super) fn finish(self) -> Result<Harvest, GitError> {
        let mut touched: HashSet<ReleaseKey> = self.touched.keys().cloned().collect();
        touched.extend(self.looked_at.iter().cloned());
        let decide = |key: ReleaseKey| self.decide(&key).map(|decision| (key, decision));
        let decisions = touched.into_iter().map(decide).collect::<Result<_, _>>()?;
        let Self { draft, fresh, gone, registry, rows, made, answered, refused, proposed, following, .. } = self;
        let tip = draft.tip().clone();
        Ok(Harvest { tip, fresh, gone, registry, rows, made, answered, refused, decisions, proposed, following })
    }

    /// The commit that the turn has come to.
    pub(super) fn tip(&self) -> &CommitId {
        self.draft.tip()
    }

    /// Carries a task out as far as it goes now.
    pub(super) fn carry_out(&mut self, task: &Task) -> Result<Carried, GitError> {
        let immediate = self.immediate(&task.key);
        let mut task = task.clone();
        let mut done = SoFar::default();
        for _ in 0..self.shared.limits.following {
            let write = match propose(self, &task)? {
                Proposal::Write(write) => write,
                Proposal::Nothing(reason) => return Ok(done.or_unchanged(reason)),
                Proposal::Wait(reason) => return Ok(done.and_waits(reason)),
                Proposal::Refused(refusal) => return Ok(Carried::Refused(refusal)),
            };
            if self.is_storm(&task, &write) {
                return Ok(Carried::Storm);
            }
            if !immediate && self.would_skip(&task.key, &write) {
                return Ok(Carried::NextTurn { commit: done.commit });
            }
            if let Some(merges_itself) = self.wants_review(&task.key, write.action) {
                return match self.propose_for_review(&task, *write, merges_itself)? {
                    Ok(waits_for) => Ok(done.and_waits(waits_for)),
                    Err(refusal) => Ok(Carried::Refused(refusal)),
                };
            }
            done.created |= write.created;
            let more = write.more.clone();
            let Some(commit) = self.commit(*write, &task)? else { return Ok(done.or_unchanged(already_so())) };
            done.commit = Some(commit);
            if immediate && !self.follow(&task, &mut done)? {
                break;
            }
            // What a guard asked for is so from here on.
            task.guard = Guard::default();
            match more {
                None => return Ok(done.or_unchanged(already_so())),
                Some(reason) if !immediate => return Ok(done.and_waits(reason)),
                Some(_) => {}
            }
        }
        let most = self.shared.limits.following;
        tracing::warn!(release.key = %task.key, "A request for `{}` led to {most} commits and is not at its end; it waits", task.key);
        Ok(done.and_waits(format!("what follows the {most} commits of one turn")))
    }

    /// Does what comes next by itself, as long as something does. Answers whether it came to the end of that.
    fn follow(&mut self, cause: &Task, done: &mut SoFar) -> Result<bool, GitError> {
        for _ in 0..self.shared.limits.following {
            let Some(Decision::Go(intent)) = self.decide(&cause.key)? else { return Ok(true) };
            let Some(commit) = self.step(cause, intent)? else { return Ok(true) };
            done.commit = Some(commit);
        }
        Ok(!matches!(self.decide(&cause.key)?, Some(Decision::Go(_))))
    }

    /// What comes next by itself for a release; nothing where it is not there, or a person's change of its files comes first.
    pub(super) fn decide(&self, key: &ReleaseKey) -> Result<Option<Decision>, GitError> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        let Ok(environment) = self.shared.environment(&key.environment) else { return Ok(None) };
        if !entry.drifted.is_empty() || entry.invalid.is_some() {
            return Ok(None);
        }
        let restorable = match &entry.release.rollout.restores {
            Some(commit) => restorable(self.shared, key, commit)?,
            None => None,
        };
        let observed = observed(self.shared, (key, Some(&entry)), environment, self.now);
        Ok(Some(rollout::decide(&entry.release, restorable.as_ref(), &observed, self.now)))
    }

    /// Commits one automatic step; none where it comes to nothing.
    pub(super) fn step(&mut self, cause: &Task, intent: Intent) -> Result<Option<CommitId>, GitError> {
        let follows_from = Some(cause.asker());
        let (guard, cause) = (Guard::default(), cause.clone());
        let task = Task { intent, guard, origin: None, requested_by: None, follows_from, ..cause };
        match propose(self, &task)? {
            Proposal::Write(write) => {
                if let Some(merges_itself) = self.wants_review(&task.key, write.action) {
                    if let Err(refusal) = self.propose_for_review(&task, *write, merges_itself)? {
                        self.note(&task.key, format!("does not go on by itself: {refusal}"));
                    }
                    return Ok(None);
                }
                self.shared.metrics.decided(write.action);
                self.commit(*write, &task)
            }
            Proposal::Nothing(_) | Proposal::Wait(_) => Ok(None),
            Proposal::Refused(refusal) => {
                tracing::warn!(release.key = %task.key, "Release `{}` does not go on by itself: {refusal}", task.key);
                self.note(&task.key, format!("does not go on by itself: {refusal}"));
                Ok(None)
            }
        }
    }

    /// Makes the commit and takes its state over.
    pub(super) fn commit(&mut self, write: Write, task: &Task) -> Result<Option<CommitId>, GitError> {
        let Some(message) = message(&write, task) else { return Ok(None) };
        let Write { edits, after, subject, action, summary, body: _, created, more: _ } = write;
        let version = message.version.clone();
        let Some(commit) = self.draft.commit(edits, &message.to_text(), &self.shared.settings.author, self.now)? else {
            return Ok(None);
        };
        self.rows.push(IndexedCommit {
            key: task.key.clone(),
            commit: commit.clone(),
            action,
            version,
            strategy: subject.spec.strategy,
            phase: after.as_ref().map(|release| release.rollout.phase),
            at: self.now,
            release_id: task.id.to_string(),
            requested_by: match task.asker() {
                Asker::Somebody(who) => Some(who),
                Asker::Itself(_) => None,
            },
            delivery_id: task.delivery.as_ref().map(ToString::to_string),
            subject: summary,
        });
        let before = self.entry(&task.key).map(|entry| entry.release.rollout.phase);
        self.touched.entry(task.key.clone()).or_insert(before);
        match after {
            Some(release) => self.put(&task.key, release, &commit)?,
            None => self.remove(&task.key),
        }
        if created && task.by_event {
            self.made.push(task.key.clone());
            if let Some(room) = self.room.borrow_mut().get_mut(&task.key.environment) {
                *room = room.saturating_sub(1);
            }
        }
        Ok(Some(commit))
    }

    fn put(&mut self, key: &ReleaseKey, release: Release, commit: &CommitId) -> Result<(), GitError> {
        let tree = self.shared.repository.tree_id(commit, &key.directory())?;
        let Some(tree) = tree else { return Ok(()) };
        self.set_entry(
            key,
            Entry {
                release: Arc::new(release),
                commit: commit.clone(),
                tree,
                changed_at: self.now,
                is_undated: false,
                drifted: Vec::new(),
                invalid: None,
                notes: Vec::new(),
            },
        );
        Ok(())
    }

    /// Takes over what is known of a release.
    pub(super) fn set_entry(&mut self, key: &ReleaseKey, entry: Entry) {
        // What is fresh covers what was; both sides forget the name so that a collision is looked for once.
        self.gone.insert(key.clone());
        self.fresh.put(key.clone(), entry);
    }

    /// Forgets a release.
    pub(super) fn remove(&mut self, key: &ReleaseKey) {
        self.fresh.remove(key);
        self.gone.insert(key.clone());
    }

    /// Has it decided anew what comes next for a release.
    pub(super) fn look_at(&mut self, key: &ReleaseKey) {
        self.looked_at.insert(key.clone());
    }

    /// Notes that a version was refused, so that it is told.
    pub(super) fn note_refused(&mut self, which: Which, key: &ReleaseKey, refusal: &Refusal) {
        self.refused.push((which, key.clone(), refusal.clone()));
    }

    /// Notes something about a release, once.
    pub(super) fn note(&mut self, key: &ReleaseKey, note: String) {
        if let Some(mut entry) = self.entry(key)
            && !entry.notes.contains(&note)
        {
            entry.notes.push(note);
            self.set_entry(key, entry);
        }
    }

    fn immediate(&self, key: &ReleaseKey) -> bool {
        self.shared.environment(&key.environment).is_ok_and(|environment| {
            environment.blind_delay == Period::ZERO && watched(self.shared, &key.environment).is_none()
        })
    }

    /// Whether whoever reads the repository would miss a phase, because this turn committed another one of the release already.
    fn would_skip(&self, key: &ReleaseKey, write: &Write) -> bool {
        let Some(present) = self.touched.get(key).and_then(|_| self.entry(key)) else { return false };
        write.after.as_ref().is_some_and(|after| after.rollout.phase != present.release.rollout.phase)
    }

    fn is_storm(&self, task: &Task, write: &Write) -> bool {
        let room = self.room.borrow();
        task.by_event && write.created && room.get(&task.key.environment) == Some(&0)
    }
}

/// The message of a commit; none where the release has no version that serves.
pub(super) fn message(write: &Write, task: &Task) -> Option<Message> {
    let Write { subject, action, summary, body, .. } = write;
    let stable = subject.stable()?.version.clone();
    let version = match action {
        // What is retracted is what served, whatever ran beside it.
        Action::Retract => stable,
        _ => subject.staying().last().map_or(stable, |variant| variant.version.clone()),
    };
    Some(Message {
        key: task.key.clone(),
        subject_what: summary.clone(),
        body: body.clone(),
        release_id: task.id.clone(),
        delivery_id: task.delivery.clone(),
        requested_by: task.asker(),
        strategy: subject.spec.strategy,
        model: subject.spec.model.clone(),
        version,
        action: *action,
    })
}

fn already_so() -> String {
    "it is already so".to_owned()
}
