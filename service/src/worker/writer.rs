//! The loop around the conveyor: waits for work, has a turn done, tells the store, answers those who wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::collect::collect;
use super::conclusion::Conclusion;
use super::conveyor::{Conveyor, Done, Work, show};
use super::history;
use super::housekeeping::{PUSHES_PER_LOOK, keep_house, look_again_and_again};
use super::leading::Leading;
use super::observe::{follow_clusters, tell_doors, watched};
use super::past::{take_in, take_in_past};
use super::publish::note_remote_refusals;
use super::registry::{sweep_again_and_again, tell_refused, tell_versions, write_back, write_waiting};
use super::replica::{self, keep_up};
use super::rerender::ask_for_owed;
use super::retry::{Pause, TRIED_WITHIN, later, postpone, wait_after, wait_at_least};
use super::review::{follow_reviews, look_on_reviews};
use super::shared::{Shared, write};
use super::statuses::tell_statuses;
use super::storing::{Left, Storing};
use super::told::{announce, audit, conclude_all, outcome};
use super::turn::Harvest;
use crate::command::Git;
use crate::event::DeliveryState;
use crate::git::{GitError, PLACE_AFTER};
use crate::names::ReleaseKey;
use crate::registry::RegistryState;
use crate::store::Batch;

/// How long a remote is waited for once the service is told to stop; what is on its way then is looked up at the next start. With what requests
/// under way are given before, it makes less than ten seconds.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How long what could not be put in place is left alone.
const PLACE_RETRY: Duration = Duration::from_secs(1);

/// Says that its holder is the only writer: there is one per opened worker, and it is not handed out twice.
#[derive(Debug)]
pub(super) struct WriterLock(());

/// The part that does the work; it does nothing until it runs.
pub struct Worker {
    shared: Arc<Shared>,
    /// Nothing while another service leads.
    conveyor: Option<Conveyor>,
    lock: WriterLock,
    /// Says that no other service writes by this store.
    leading: Option<Leading>,
    /// What the last turns left to the store, while it is not durable yet.
    storing: Storing,
    git: Option<Git>,
    /// Turns done, most of which pushed.
    pushes: u32,
    /// How long there is nothing to do before what is owed to the repository is put in place.
    place_after: Duration,
}

/// What a step came to.
enum Step {
    /// A turn was done, and there may be more to do.
    Turn,
    /// There is nothing to do before this moment, or before something arrives.
    Idle(Option<Timestamp>),
}

/// Why the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was told to.
    Told,
    /// Another service may write by now.
    Replaced,
}

impl Worker {
    /// One that leads already, or that follows until it does.
    pub(super) fn new(shared: Arc<Shared>, leading: Option<(Conveyor, Leading)>) -> Self {
        let (conveyor, leading) = leading.unzip();
        Self {
            shared,
            conveyor,
            lock: WriterLock(()),
            leading,
            storing: Storing::default(),
            git: None,
            pushes: 0,
            place_after: PLACE_AFTER,
        }
    }

    /// Has the repository packed by this Git now and then.
    pub fn with_git(mut self, git: Git) -> Self {
        self.git = Some(git);
        self
    }

    /// Carries out what waits, until `stop` is there; then ends what it is at. Where another service leads, it waits until it does itself.
    ///
    /// Turns are done in place and block: to be run on a thread of its own, so that a request passes to one thread and back.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let shared = Arc::clone(&self.shared);
        let mut beside = vec![
            tokio::spawn(keep_house(Arc::clone(&shared), self.git.take())),
            tokio::spawn(take_in_past(Arc::clone(&shared))),
            tokio::spawn(follow_clusters(Arc::clone(&shared))),
        ];
        if shared.replica.is_one {
            beside.push(tokio::spawn(keep_up(Arc::clone(&shared))));
            beside.push(tokio::spawn(look_on_reviews(Arc::clone(&shared))));
        }
        let mut stop = std::pin::pin!(stop);
        loop {
            if self.conveyor.is_none() {
                let (conveyor, leading) = tokio::select! {
                    leading = replica::lead(&shared) => leading,
                    () = stop.as_mut() => break,
                };
                (self.conveyor, self.leading) = (Some(conveyor), Some(leading));
                // What is for the leader alone to do was not done of anything that was seen before.
                shared.observations.look_at_all();
            }
            let ended = self.lead(stop.as_mut()).await;
            self.storing.all().await;
            if ended == Ended::Told || !shared.replica.is_one {
                break;
            }
            if let Some(conveyor) = self.conveyor.take() {
                replica::step_down(&shared, conveyor.known).await;
            }
        }
        shared.state.stopping.cancel();
        beside.iter().for_each(JoinHandle::abort);
    }

    /// Works for as long as this service leads, and says why it does no more.
    async fn lead(&mut self, stop: Pin<&mut (impl Future<Output = ()> + Send)>) -> Ended {
        // Before any turn, which would change what there is to be told.
        self.shared.statuses.recall(&self.shared).await;
        let beside = [
            tokio::spawn(sweep_again_and_again(Arc::clone(&self.shared))),
            tokio::spawn(write_back(Arc::clone(&self.shared))),
            tokio::spawn(look_again_and_again(Arc::clone(&self.shared))),
            tokio::spawn(follow_reviews(Arc::clone(&self.shared))),
            tokio::spawn(tell_statuses(Arc::clone(&self.shared))),
            tokio::spawn(tell_doors(Arc::clone(&self.shared))),
        ];
        let (stopping, term) = (self.shared.state.stopping.clone(), self.shared.replica.term());
        let is_one = self.shared.replica.is_one;
        // Led as long as this lives: the next leader begins when it is dropped.
        let mut leading = self.leading.take();
        let ended = {
            let mut working = std::pin::pin!(self.work(&term));
            let ended = tokio::select! {
                () = &mut working => Ended::Replaced,
                why = lost(leading.as_mut()) => {
                    tracing::error!("{why}");
                    Ended::Replaced
                }
                () = stop => Ended::Told,
            };
            term.cancel();
            // Whoever was replaced leaves a push under way to the next one, which finds it or is found by it.
            if ended == Ended::Told || !is_one {
                stopping.cancel();
                if tokio::time::timeout(STOP_LIMIT, &mut working).await.is_err() {
                    tracing::warn!("A remote did not answer; the next start looks what became of the push");
                }
            }
            ended
        };
        beside.iter().for_each(JoinHandle::abort);
        if let Some(leading) = leading {
            leading.end().await;
        }
        ended
    }

    async fn work(&mut self, term: &CancellationToken) {
        let shared = Arc::clone(&self.shared);
        while !term.is_cancelled() && !shared.state.stopping.is_cancelled() {
            match self.step().await {
                Step::Turn => {}
                Step::Idle(next) => tokio::select! {
                    biased;
                    () = term.cancelled() => return,
                    () = shared.state.stopping.cancelled() => return,
                    () = shared.inbox.changed() => {}
                    () = until(&shared, next) => {}
                    () = tokio::time::sleep(self.place_after), if shared.repository.is_owing() => self.put_in_place(),
                },
            }
        }
    }

    /// Has whoever reads the repository by its path see the last pushes.
    fn put_in_place(&mut self) {
        let placed = self.shared.repository.put_in_place();
        self.place_after = if placed.is_ok() { PLACE_AFTER } else { PLACE_RETRY };
        if let Err(error) = placed {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "What is released is durable and cannot be read: {error}; it is tried again"
            );
        }
    }

    /// Does the next turn as soon as there is something to do, and takes no history in.
    #[cfg(test)]
    pub(super) async fn run_one_turn(&mut self) {
        while let Step::Idle(_) = self.step().await {
            self.shared.inbox.changed().await;
        }
        self.put_in_place();
        self.storing.all().await;
    }

    /// Does everything that can be done now, then returns.
    pub async fn run_until_idle(&mut self) {
        if let Err(error) = take_in(&self.shared).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "The older history is not taken in yet: {error}");
        }
        loop {
            match self.step().await {
                Step::Turn => {}
                Step::Idle(_) if self.shared.reader.is_busy() => self.shared.inbox.changed().await,
                Step::Idle(_) => break,
            }
        }
        self.put_in_place();
        self.storing.all().await;
        // What could not be written waits for the next time.
        let _pause = write_waiting(&self.shared).await;
    }

    async fn step(&mut self) -> Step {
        let Some(conveyor) = &mut self.conveyor else { return Step::Idle(None) };
        let Some(work) = collect(&self.shared, conveyor).await else {
            return Step::Idle(conveyor.next(self.shared.inbox.has_news()));
        };
        turn(&self.shared, conveyor, work, (&self.lock, &mut self.storing)).await;
        if self.shared.repository.is_placing_due() {
            self.put_in_place();
        }
        self.pushes = self.pushes.wrapping_add(1);
        if self.pushes.is_multiple_of(PUSHES_PER_LOOK) {
            self.shared.many_pushes.notify_one();
        }
        Step::Turn
    }
}

impl Drop for Worker {
    /// However it ends, nothing is released any more.
    fn drop(&mut self) {
        self.shared.state.has_ended.store(true, Ordering::Relaxed);
    }
}

/// Waits until another service may write by the same store, and says why.
async fn lost(leading: Option<&mut Leading>) -> &'static str {
    match leading {
        Some(leading) => leading.lost().await,
        None => std::future::pending().await,
    }
}

/// Waits until a moment of the service's clock, but no longer than what failed is left alone: the clock may be set back. For ever where there is none.
async fn until(shared: &Shared, moment: Option<Timestamp>) {
    match moment {
        Some(moment) => drop(tokio::time::timeout(TRIED_WITHIN, shared.clock.sleep_until(moment)).await),
        None => std::future::pending().await,
    }
}

/// Does one turn and tells everybody.
async fn turn(
    shared: &Arc<Shared>,
    conveyor: &mut Conveyor,
    mut work: Work,
    (_lock, storing): (&WriterLock, &mut Storing),
) {
    let begun = &shared.state.looks_begun;
    let look = work.look_at_repository.then(|| begun.fetch_add(1, Ordering::SeqCst) + 1);
    let done = conveyor.turn(shared, &mut work).await;
    if done.as_ref().map_or(true, |done| done.is_proof) {
        note_trouble(shared, done.as_ref().err());
    }
    let mut proposals = None;
    match done {
        Ok(mut done) => {
            proposals = done.take_proposals();
            finish(shared, conveyor, done, (&work.ticks, &mut *storing)).await;
        }
        Err(error) => {
            storing.is_durable(shared).await;
            fail(shared, conveyor, work, &error).await;
        }
    }
    if let Some(look) = look
        && shared.state.looked.receiver_count() > 0
    {
        // Whoever waits for it reads the history in the store.
        storing.is_durable(shared).await;
        shared.state.looked.send_replace(look);
    }
    // Nobody who has to do with the push waits for these.
    if let Some(proposals) = proposals {
        let done = conveyor.offer(shared, proposals).await;
        finish(shared, conveyor, done, (&[], storing)).await;
    }
}

/// Takes note why the last turn failed that had to do with the branch; nothing where it did not.
fn note_trouble(shared: &Shared, error: Option<&GitError>) {
    // While a remote is away, everything is accepted and kept.
    let is_failing = error.is_some_and(|error| !error.is_of_the_remote());
    shared.state.is_repository_failing.store(is_failing, Ordering::Relaxed);
    *write(&shared.state.trouble) = error.map(GitError::for_callers_with_cure);
}

/// Tells the readers, hands over to the store, and answers those who wait.
///
/// What is in Git is done, so whoever waits for that hears of it at once. Everything else, a refusal too, is told once the store has it:
/// a request whose outcome an end of the service takes away is judged anew at the next start, and may then come to something else. The
/// store is one turn behind at most, or some where it refuses. Where there are replicas, everything is told once the store has it: what anybody was told of, any of them
/// can see.
async fn finish(
    shared: &Arc<Shared>,
    conveyor: &mut Conveyor,
    mut done: Done,
    (ticks, storing): (&[ReleaseKey], &mut Storing),
) {
    let now = shared.clock.now_exact();
    let is_new_tip = done.harvest.tip != done.base || conveyor.known != done.harvest.tip;
    let registry = done.harvest.registry.values().map(|state| RegistryState::clone(state)).collect();
    tell_versions(shared, &done.harvest);
    note_leaving(shared, &done.harvest, now);
    show(shared, &done.harvest);
    tell_refused(shared, &done.harvest);
    let owed = std::mem::take(&mut done.harvest.following.owed);
    let conclusions = conveyor.take_over(shared, &mut done, ticks, now);
    shared.statuses.note(shared, &done);
    note_remote_refusals(shared, &done.harvest);
    let mut rows = done.harvest.rows;
    if let Some(older) = done.replaced.and_then(|count| rows.get_mut(..count))
        && let Err(error) = history::recall(&shared.store, older).await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Which commits of the history are reviews that were merged is not known any more, so nothing goes back to those: {error}"
        );
    }
    shared.observations.committed(&rows, &conveyor.known, done.replaced.is_some());
    if done.replaced.is_none() {
        shared.untold.note(shared, &rows, &done.base, &conveyor.known);
    }
    // Before the store knows that what was pushed is taken in.
    ask_for_owed(shared, owed).await;
    let batch = Batch {
        outcomes: conclusions.iter().filter_map(|conclusion| outcome(shared, conclusion)).collect(),
        commits: rows.clone(),
        indexed_tip: is_new_tip.then_some(done.harvest.tip),
        registry,
        audit: conclusions.iter().filter_map(|conclusion| audit(conclusion, now)).collect(),
    };
    if done.replaced.is_some() {
        storing.all().await;
        forget_index(shared).await;
    }
    let is_one = shared.replica.is_one;
    let is_at_once = |conclusion: &Conclusion| !is_one && conclusion.concluded.state == DeliveryState::Applied;
    let (at_once, later) = conclusions.into_iter().partition(is_at_once);
    let told = || {
        conclude_all(shared, at_once, now);
        // What happened long ago is no news.
        announce(shared, rows.get(done.replaced.unwrap_or_default()..).unwrap_or_default());
    };
    storing.add(shared, Left { batch, later, policies: done.policies, now }, told).await;
}

/// From so many on, releases that one push removes are worth a line of their own: Argo CD takes their objects away within seconds.
const REMOVED_MANY: usize = 10;

/// Takes note of the releases that are retracted, by whomever, as long as they can be seen.
fn note_leaving(shared: &Shared, harvest: &Harvest, now: Timestamp) {
    let mut removed = 0;
    for key in harvest.gone.iter().filter(|key| !harvest.fresh.has(key)) {
        let Some(entry) = shared.entry(key) else { continue };
        shared.metrics.removed(&key.environment);
        removed += 1;
        if watched(shared, &key.environment).is_some() {
            shared.observations.leaves(key, entry, now);
        }
    }
    if removed >= REMOVED_MANY {
        tracing::warn!(
            releases = removed,
            "One push removes {removed} releases; `git revert` of its commits brings them back"
        );
    }
}

/// Forgets what the index says of another history. Should the service end before it is written anew, the next start does that.
async fn forget_index(shared: &Shared) {
    if let Err(error) = shared.store.forget_index().await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "The index of the history before could not be dropped: {error}"
        );
    }
}

/// Has everything of a failed turn tried again later.
async fn fail(shared: &Shared, conveyor: &mut Conveyor, mut work: Work, error: &GitError) {
    tracing::error!(error = error as &dyn std::error::Error, "A turn failed and is tried again: {}", error.with_cure());
    conveyor.failures = conveyor.failures.saturating_add(1);
    let now = shared.clock.now_exact();
    let at = later(now, wait_after(error, conveyor.failures));
    conveyor.pause = Some(Pause { until: at, at_least: later(now, wait_at_least(error)).min(at) });
    // What was divided is newer, and waits behind what failed.
    for rest in conveyor.left_over.drain(..) {
        work.add(rest);
    }
    let Work { concluded, refused, ticks, deliveries, look_at_repository, .. } = work;
    if !concluded.is_empty() || !refused.is_empty() {
        conveyor.left_over.push_front(Work { concluded, refused, ..Work::default() });
    }
    for key in &ticks {
        conveyor.agenda.at(at, key);
    }
    // Where nothing is tried again, a look finds out when all is well.
    if look_at_repository || (ticks.is_empty() && deliveries.is_empty()) {
        shared.inbox.look_again();
    }
    postpone(shared, conveyor, deliveries, (error.for_callers(), error.cure()), at).await;
    shared.metrics.pushed("failed", 0, Duration::ZERO);
}
