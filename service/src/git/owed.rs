//! What the journal has made sure of and the repository does not show yet.
//!
//! To put a push in place takes three new files and two renames, a third of the time that it takes to be asked, plan and sync. So nobody who
//! waits for an answer waits for that: the pushes of a moment are put in place together, as one pack, with the branch going on once. That is
//! when the writer has nothing to do ([`PLACE_AFTER`]), when they get many, or when somebody reads the repository by its path through the
//! service. Until then the branch is locked, and the service itself reads what is owed from memory.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use git2::Oid;

use super::journal::{Journal, Record};
use super::objects::Object;
use super::pack::{self, Pack};
use super::publish::{Lock, Publish, checkpoint};
use super::repository::{BRANCH, Home, branch_tip, commit_id};
use super::{GitError, Repository};

/// How long the writer has nothing to do before it puts in place what is owed: longer than who asks one thing after another takes between two.
pub const PLACE_AFTER: Duration = Duration::from_millis(1);

/// From so many pushes on, or so long after the first of them, or from so many bytes on, it is done at the end of the turn that finds it so. A
/// turn is not interrupted for that, and one that nothing follows is followed by [`PLACE_AFTER`].
const PUSHES_MAX: usize = 8;
const TIME_MAX: Duration = Duration::from_millis(10);
const BYTES_MAX: usize = 256 << 10;

/// The disk may not take what is owed. Of so many bytes nothing further is pushed until it does: memory and journal have a bound.
const OWED_BYTES_MAX: usize = 4 << 20;

/// What goes with a branch that lives in this repository itself.
#[derive(Debug)]
pub(super) struct Embedded {
    pushes: Mutex<Pushes>,
    /// Where the branch is while the repository does not show it, so that a reader waits for nobody.
    tip: RwLock<Option<Oid>>,
    /// How many pushes of others are on their way, who want the branch's lock.
    visitors: Arc<AtomicUsize>,
}

#[derive(Debug)]
pub(super) struct Pushes {
    journal: Journal,
    owed: Option<Owed>,
}

impl Pushes {
    /// Whether nothing may be owed beside what is.
    fn is_full(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.bytes >= OWED_BYTES_MAX)
    }

    pub(super) fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}

/// What is to be put in place. The branch is locked until then.
#[derive(Debug)]
struct Owed {
    /// Where the repository shows the branch.
    shown: Oid,
    tip: Oid,
    /// The last pack, and how many there were.
    pack: Option<Pack>,
    packs: usize,
    /// The objects of all of them.
    objects: Vec<(Oid, Object)>,
    bytes: usize,
    pushes: usize,
    since: Instant,
    lock: Lock,
}

impl Owed {
    fn is_due(&self) -> bool {
        self.pushes >= PUSHES_MAX || self.bytes >= BYTES_MAX || self.since.elapsed() >= TIME_MAX
    }

    fn add(&mut self, tip: Oid, pack: Option<Pack>, line: &[(Oid, Object)]) {
        self.tip = tip;
        self.pushes += 1;
        if let Some(pack) = pack {
            self.bytes += pack.bytes.len();
            self.packs += 1;
            self.pack = Some(pack);
            self.objects.extend_from_slice(line);
        }
    }

    fn place(&mut self, repository: &Path, shown: impl FnOnce() -> Result<Oid, GitError>) -> Result<(), GitError> {
        if !self.lock.is_held(repository) {
            self.lock.forget();
            let again = Lock::take(repository, self.tip)?;
            if shown()? != self.shown {
                return Err(GitError::MovedByHand);
            }
            tracing::warn!("the lock of the branch was removed by hand while a push was under way; it is taken again");
            self.lock = again;
        }
        if self.packs > 1 {
            let mut seen = HashSet::new();
            self.objects.retain(|(id, _)| seen.insert(*id));
            self.pack = Some(pack::encode(&self.objects)?);
            self.packs = 1;
        }
        if let Some(pack) = &self.pack {
            pack.place(repository)?;
        }
        self.lock.set(self.tip)?;
        self.lock.become_branch()
    }
}

impl Embedded {
    pub(super) fn new(journal: Journal) -> Self {
        let pushes = Mutex::new(Pushes { journal, owed: None });
        Self { pushes, tip: RwLock::default(), visitors: Arc::default() }
    }

    pub(super) fn pushes(&self) -> MutexGuard<'_, Pushes> {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_tip(&self, tip: Option<Oid>) {
        *self.tip.write().unwrap_or_else(PoisonError::into_inner) = tip;
    }

    /// Where the branch is, while the repository does not show it.
    pub(super) fn owed_tip(&self) -> Option<Oid> {
        *self.tip.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a push durable, if the branch is where the push begins; `shown` says where the repository shows it.
    pub(super) fn append(
        &self,
        repository: &Path,
        record: Record,
        line: &[(Oid, Object)],
        shown: impl FnOnce() -> Result<Oid, GitError>,
    ) -> Result<Publish, GitError> {
        let pushes = &mut *self.pushes();
        let lock = match &pushes.owed {
            Some(owed) if owed.tip != record.base => return commit_id(owed.tip).map(Publish::Moved),
            Some(_) => None,
            None => {
                let lock = Lock::take(repository, record.tip)?;
                let now = shown()?;
                if now != record.base {
                    return commit_id(now).map(Publish::Moved);
                }
                Some(lock)
            }
        };
        pushes.journal.append(&record)?;
        let Record { tip, pack, base } = record;
        if let Some(lock) = lock {
            let (pack, objects, since) = (None, Vec::new(), Instant::now());
            pushes.owed = Some(Owed { shown: base, tip, pack, packs: 0, objects, bytes: 0, pushes: 0, since, lock });
        }
        if let Some(owed) = &mut pushes.owed {
            owed.add(tip, pack, line);
        }
        self.set_tip(Some(tip));
        Ok(Publish::Done)
    }
}

impl Repository {
    /// Whether pushes are still to be put in place.
    pub fn is_owing(&self) -> bool {
        matches!(self.home(), Home::Embedded(embedded) if embedded.owed_tip().is_some())
    }

    /// Puts in place what is owed, where nothing may be owed beside it.
    pub(super) fn make_room(&self, embedded: &Embedded) -> Result<(), GitError> {
        if self.is_owing() && embedded.pushes().is_full() { self.put_in_place() } else { Ok(()) }
    }

    /// Whether they are to be put in place before the next push, because they are many, or old, or somebody else wants to push.
    pub fn is_placing_due(&self) -> bool {
        let Home::Embedded(embedded) = self.home() else { return false };
        let due = |pushes: &Pushes| pushes.owed.as_ref().is_some_and(Owed::is_due);
        self.is_owing() && (embedded.visitors.load(Ordering::Acquire) > 0 || due(&embedded.pushes()))
    }

    /// Puts objects and branch of the last pushes in place, which the journal has made sure of: whoever reads the repository by its path
    /// sees them from then on.
    ///
    /// # Errors
    /// The disk fails; the pushes are done all the same, and the next call tries again.
    pub fn put_in_place(&self) -> Result<(), GitError> {
        let Home::Embedded(embedded) = self.home() else { return Ok(()) };
        if !self.is_owing() {
            return Ok(());
        }
        let mut pushes = embedded.pushes();
        self.place(embedded, &mut pushes)?;
        // The journal is then as long as it was, and the next push tries again.
        if pushes.journal.is_long()
            && let Err(error) = checkpoint(self.path(), &mut pushes.journal)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the journal of pushes could not begin anew");
        }
        Ok(())
    }

    /// Puts in place what is owed. Where that fails it stays owed, and the branch locked.
    pub(super) fn place(&self, embedded: &Embedded, pushes: &mut Pushes) -> Result<(), GitError> {
        if let Some(owed) = &mut pushes.owed {
            owed.place(self.path(), || self.handles_as_shown().call(|repository| branch_tip(repository, BRANCH)))?;
            pushes.owed = None;
            embedded.set_tip(None);
            self.made().placed();
        }
        Ok(())
    }

    /// Notes that somebody pushes to the embedded repository by its path, until what is given back is dropped: meanwhile the branch is
    /// locked no longer than each push of the service takes.
    pub fn expect_push(&self) -> Visit {
        let Home::Embedded(embedded) = self.home() else { return Visit(None) };
        embedded.visitors.fetch_add(1, Ordering::AcqRel);
        Visit(Some(Arc::clone(&embedded.visitors)))
    }
}

/// See [`Repository::expect_push`].
#[derive(Debug)]
#[must_use]
pub struct Visit(Option<Arc<AtomicUsize>>);

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(visitors) = &self.0 {
            visitors.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
