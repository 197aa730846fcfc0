//! The one writer: takes everything that is queued and writes it in one transaction, so one sync serves all who wait.
//!
//! Whoever hands in a request that is carried out meanwhile does not wait for that: it is written with the next that somebody waits for,
//! which mostly is its own outcome. So a request costs one transaction and not two.
//!
//! Callers get their answer after the commit. When a transaction fails, everybody in it is told so, nothing of it is kept, the
//! connection is dropped, and the next round opens a new one: a disk that works again is used again, and so is a server, which is left alone
//! for a moment after each attempt that failed. Where a server does not say how a commit ended, it is asked that first (`unheard`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc, oneshot};

use super::db::{self, Backoff, Begun, Connection, Numbers, Place, Readers};
use super::inbox::{self, Arrival};
use super::ledger::Ledger;
use super::presence::Presence;
use super::unheard::hear_of_end;
use super::{Accepted, Limits, StoreError};
use crate::event::{Delivery, NewDelivery};

/// Writes that may be queued; who comes later waits for a place in the queue.
const QUEUE_MAX: usize = 256;

/// Writes of one transaction.
const ROUND_WRITES_MAX: usize = 256;

/// Bodies of one transaction in bytes: a flood of the largest bodies must not be in memory twice.
const ROUND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a full inbox of a shared store counts as full without being asked again: another replica may have made room.
const FULL_BELIEVED: Duration = Duration::from_secs(1);

/// One write, made of a few statements. Its error fails the whole round, so a "no" that concerns only this write belongs into the answer.
pub(super) trait Write: Send + 'static {
    type Answer: Send + 'static;

    fn run(
        self,
        db: &mut Connection,
        ledger: &mut Ledger,
    ) -> impl Future<Output = Result<Self::Answer, sqlx::Error>> + Send;
}

/// How often the writer did what, since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterCounts {
    /// Transactions that were committed; each is one sync, besides checkpoints.
    pub transactions: u64,
    /// Writes that were answered out of them.
    pub writes: u64,
}

/// The way to the writer.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    /// Held by whoever has reserved the next place.
    turn: Arc<AsyncMutex<()>>,
    counts: Arc<Counts>,
    numbers: Arc<Numbers>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Counts {
    transactions: AtomicU64,
    writes: AtomicU64,
    /// Deliveries that waited when the last transaction was committed.
    waiting: AtomicU64,
    /// When that was, where other replicas change it too.
    counted_at: Option<Mutex<Instant>>,
}

impl Counts {
    fn waits(&self, waiting: u64) {
        self.waiting.store(waiting, Ordering::Relaxed);
        if let Some(counted_at) = &self.counted_at {
            *counted_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// Deliveries that wait, as far as that is known.
    fn waiting(&self) -> u64 {
        let age = |at: &Mutex<Instant>| at.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        match self.counted_at.as_ref().map(age) {
            Some(age) if age > FULL_BELIEVED => 0,
            _ => self.waiting.load(Ordering::Relaxed),
        }
    }
}

/// Something that the writer has and that is not durable yet.
#[derive(Debug)]
#[must_use = "nothing is promised before it is durable"]
pub struct HandedOver<T> {
    answer: oneshot::Receiver<Result<T, StoreError>>,
    /// Where it would lie until something else is written.
    hurry: Option<mpsc::Sender<Message>>,
}

impl<T> HandedOver<T> {
    /// Waits until it is durable.
    pub async fn durable(self) -> Result<T, StoreError> {
        if let Some(queue) = self.hurry {
            // A writer that is gone says so by its answer.
            drop(queue.send(Message::Hurry).await);
        }
        self.answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// The next place in the queue: everybody else who asks the store for something from now on comes after what is handed over here.
#[derive(Debug)]
pub(super) struct Reserved {
    place: mpsc::OwnedPermit<Message>,
    _turn: OwnedMutexGuard<()>,
}

impl Reserved {
    /// Hands a write over.
    pub(super) fn hand_over<W: Write>(self, write: W) -> HandedOver<W::Answer> {
        let (message, handed_over) = Message::write(write);
        self.place.send(message);
        handed_over
    }
}

#[derive(Debug)]
enum Message {
    Accept(Box<Arrival>),
    /// To be kept with what comes next.
    AcceptLater(Box<Arrival>),
    /// Somebody waits for what lies there.
    Hurry,
    Write(Box<dyn Task>),
    /// Tells once everything before it is written, or failed.
    Mark(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

impl Message {
    fn write<W: Write>(write: W) -> (Self, HandedOver<W::Answer>) {
        let (reply, answer) = oneshot::channel();
        let message = Self::Write(Box::new(Queued { write: Some(write), answer: None, reply }));
        (message, HandedOver { answer, hurry: None })
    }
}

impl Writer {
    /// Starts the writer on a connection that is open already.
    pub(super) async fn spawn(
        place: Place,
        mut db: Connection,
        readers: &Readers,
        (limits, presence): (Limits, Presence),
    ) -> Result<Self, StoreError> {
        presence.announce(&mut db).await.map_err(|error| db.failed(error))?;
        let ledger = Ledger::recount(&mut db, limits).await.map_err(|error| db.failed(error))?;
        let numbers = Numbers::of(&mut db, readers).await.map_err(|error| db.failed(error))?;
        let counted_at = place.is_shared().then(|| Mutex::new(Instant::now()));
        let counts = Arc::new(Counts { counted_at, ..Counts::default() });
        counts.waits(ledger.waiting);
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let open = Some((db, ledger));
        let desk = Desk { place, limits, presence, open, backoff: Backoff::default(), counts: Arc::clone(&counts) };
        tokio::spawn(desk.consume_writes(messages));
        Ok(Self { queue, turn: Arc::default(), counts, numbers: Arc::new(numbers), limits })
    }

    /// Keeps a delivery, durably.
    pub(super) async fn accept(&self, delivery: NewDelivery) -> Result<Accepted, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Accept(Box::new(self.arrival(delivery, reply).await?))).await?;
        HandedOver { answer, hurry: None }.durable().await
    }

    /// Takes a delivery, to be kept with what comes next or once somebody waits for that, and gives it with its number at once. Whoever
    /// stops waiting for this itself has handed in nothing.
    pub(super) async fn hand_in(&self, delivery: NewDelivery) -> Result<(Delivery, HandedOver<Accepted>), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.come_after_reserved().await;
        let place = self.queue.reserve().await.map_err(|_| StoreError::Closed)?;
        let arrival = self.arrival(delivery, reply).await?;
        let delivery = arrival.delivery().clone();
        place.send(Message::AcceptLater(Box::new(arrival)));
        Ok((delivery, HandedOver { answer, hurry: Some(self.queue.clone()) }))
    }

    async fn arrival(
        &self,
        delivery: NewDelivery,
        reply: oneshot::Sender<Result<Accepted, StoreError>>,
    ) -> Result<Arrival, StoreError> {
        Arrival::new(delivery, self.numbers.next().await?, reply)
    }

    /// Whether as much waited as may, when the last write was done.
    pub(super) fn is_full(&self) -> bool {
        self.counts.waiting() >= self.limits.waiting_max
    }

    /// Reserves the next place, for somebody who tells others of a write before it is handed over.
    pub(super) async fn reserve(&self) -> Result<Reserved, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let place = self.queue.clone().reserve_owned().await.map_err(|_| StoreError::Closed)?;
        Ok(Reserved { place, _turn: turn })
    }

    async fn come_after_reserved(&self) {
        drop(self.turn.lock().await);
    }

    /// Carries out a write and returns its answer once it is durable.
    pub(super) async fn write<W: Write>(&self, write: W) -> Result<W::Answer, StoreError> {
        let (message, handed_over) = Message::write(write);
        self.send(message).await?;
        handed_over.durable().await
    }

    /// Waits until everything that was handed over before is written, so that whoever reads next sees it.
    pub(super) async fn caught_up(&self) {
        let (reply, told) = oneshot::channel();
        // A writer that has gone has nothing left to write.
        if self.send(Message::Mark(reply)).await.is_ok() {
            told.await.unwrap_or_default();
        }
    }

    /// Lets the writer finish what is queued, and closes its connection.
    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.send(Message::Close(reply)).await.is_ok() {
            // An error means that the writer is gone, which is what was wanted.
            closed.await.unwrap_or_default();
        }
    }

    pub(super) fn counts(&self) -> WriterCounts {
        let Counts { transactions, writes, waiting: _, counted_at: _ } = &*self.counts;
        WriterCounts { transactions: transactions.load(Ordering::Relaxed), writes: writes.load(Ordering::Relaxed) }
    }

    async fn send(&self, message: Message) -> Result<(), StoreError> {
        self.come_after_reserved().await;
        self.queue.send(message).await.map_err(|_| StoreError::Closed)
    }
}

/// Everything that goes into one transaction.
#[derive(Default)]
struct Round {
    arrivals: Vec<Arrival>,
    tasks: Vec<Box<dyn Task>>,
    body_bytes: usize,
    marks: Vec<oneshot::Sender<()>>,
    close: Option<oneshot::Sender<()>>,
    /// Whether somebody waits for something in it.
    is_awaited: bool,
}

impl Round {
    fn add(&mut self, message: Message) {
        self.is_awaited |= !matches!(message, Message::AcceptLater(_));
        match message {
            Message::Hurry => {}
            Message::Accept(arrival) | Message::AcceptLater(arrival) => {
                self.body_bytes += arrival.bytes();
                self.arrivals.push(*arrival);
            }
            Message::Write(task) => self.tasks.push(task),
            Message::Mark(reply) => self.marks.push(reply),
            Message::Close(reply) => self.close = Some(reply),
        }
    }

    fn writes(&self) -> usize {
        self.arrivals.len() + self.tasks.len()
    }

    fn is_full(&self) -> bool {
        self.close.is_some() || self.writes() >= ROUND_WRITES_MAX || self.body_bytes >= ROUND_BYTES_MAX
    }
}

/// The writer's own side.
struct Desk {
    place: Place,
    limits: Limits,
    presence: Presence,
    /// None after a failure, until the next round opens it again.
    open: Option<(Connection, Ledger)>,
    backoff: Backoff,
    counts: Arc<Counts>,
}

impl Desk {
    async fn consume_writes(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut is_open = true;
        while is_open {
            let mut round = Round::default();
            while is_open && !round.is_awaited && !round.is_full() {
                match messages.recv().await {
                    Some(message) => round.add(message),
                    None => is_open = false,
                }
            }
            // Callers that were answered a moment ago get to queue their next write, so that it is part of this round.
            tokio::task::yield_now().await;
            while !round.is_full() {
                let Ok(message) = messages.try_recv() else { break };
                round.add(message);
            }
            if let Some(reply) = self.take_round(round).await {
                messages.close();
                self.close().await;
                // Whoever closed the store may have gone.
                reply.send(()).unwrap_or_default();
            }
        }
        self.close().await;
    }

    /// Writes one round, answers everybody in it, and returns whom to tell that the store is closed, where somebody closed it.
    async fn take_round(&mut self, mut round: Round) -> Option<oneshot::Sender<()>> {
        if round.writes() > 0 {
            match self.transact(&mut round).await {
                Ok(()) => self.count(round.writes()),
                Err(error) => {
                    tracing::error!(error = %error, cause = ?error, "the store failed, {} writes are lost to their callers", round.writes());
                    round.arrivals.iter_mut().for_each(|arrival| arrival.fail(&error));
                    round.tasks.iter_mut().for_each(|task| task.fail(&error));
                }
            }
        }
        round.arrivals.into_iter().for_each(Arrival::settle);
        round.tasks.into_iter().for_each(Task::settle);
        // Whoever asked may have gone.
        round.marks.into_iter().for_each(|reply| reply.send(()).unwrap_or_default());
        round.close
    }

    async fn transact(&mut self, round: &mut Round) -> Result<(), StoreError> {
        let (mut db, known) = self.begin().await?;
        let mut is_ending = false;
        let error = match db::within(self.place.is_shared(), write(&mut db, known, round, &mut is_ending)).await {
            Ok(Ok(ledger)) => {
                self.counts.waits(ledger.waiting);
                self.open = Some((db, ledger));
                return Ok(());
            }
            Ok(Err(error)) => {
                let error = db.failed(error);
                close(db).await;
                error
            }
            Err(too_late) => too_late,
        };
        match (error, known.transaction) {
            (StoreError::ServerAway(cause), Some(transaction)) if is_ending => {
                hear_of_end(&self.place, self.limits, transaction, cause).await
            }
            (error, _) => Err(error),
        }
    }

    /// Begins a transaction: on a new connection where there is none, or where a server's has died unnoticed.
    async fn begin(&mut self) -> Result<(Connection, Ledger), StoreError> {
        if let Some((mut db, ledger)) = self.open.take() {
            match begin_on(&mut db, ledger).await {
                Ok(ledger) => return Ok((db, ledger)),
                Err(error) => {
                    close(db).await;
                    if !matches!(error, StoreError::ServerAway(_)) {
                        return Err(error);
                    }
                }
            }
        }
        if let Some(error) = self.backoff.pauses(Instant::now()) {
            return Err(error);
        }
        let begun = self.begin_anew().await;
        match (&begun, self.place.is_shared()) {
            (Ok(_), _) => self.backoff.succeeded(),
            (Err(error), true) => self.backoff.failed(Instant::now(), error),
            // A file is not less busy for being left alone.
            (Err(_), false) => {}
        }
        begun
    }

    async fn begin_anew(&self) -> Result<(Connection, Ledger), StoreError> {
        let mut db = self.place.connect(self.limits).await?;
        self.presence.announce(&mut db).await.map_err(|error| db.failed(error))?;
        let ledger = match self.place.is_shared() {
            true => Ledger { waiting: 0, term: 0, transaction: None, limits: self.limits },
            false => Ledger::read(&mut db, self.limits).await.map_err(|error| db.failed(error))?,
        };
        let ledger = begin_on(&mut db, ledger).await?;
        Ok((db, ledger))
    }

    fn count(&self, writes: usize) {
        self.counts.transactions.fetch_add(1, Ordering::Relaxed);
        self.counts.writes.fetch_add(writes as u64, Ordering::Relaxed);
    }

    async fn close(&mut self) {
        if let Some((db, _)) = self.open.take() {
            close(db).await;
        }
    }
}

/// Begins a transaction, and says what the writer knows then.
async fn begin_on(db: &mut Connection, known: Ledger) -> Result<Ledger, StoreError> {
    let begun = db::within(db.is_shared(), db.begin()).await?;
    let begun = begun.map_err(|error| db.failed(error))?;
    Ok(begun.map_or(known, |Begun { waiting, term, transaction }| Ledger {
        waiting,
        term,
        transaction: Some(transaction),
        ..known
    }))
}

/// Writes a round and commits it; from `is_ending` on a connection that breaks leaves open whether it did. Only a committed round may change what the
/// writer believes.
async fn write(
    db: &mut Connection,
    known: Ledger,
    round: &mut Round,
    is_ending: &mut bool,
) -> Result<Ledger, sqlx::Error> {
    let mut ledger = known;
    inbox::accept(db, &mut ledger, &mut round.arrivals).await?;
    for task in &mut round.tasks {
        task.run(db, &mut ledger).await?;
    }
    *is_ending = true;
    db.commit(Some(ledger.waiting).filter(|waiting| *waiting != known.waiting)).await?;
    Ok(ledger)
}

/// Closes a connection; an open transaction is rolled back by that.
async fn close(db: Connection) {
    if let Err(error) = db.close().await {
        tracing::warn!(error = %error, "the store's connection did not close cleanly");
    }
}

/// A write whose type is forgotten.
trait Task: Send {
    fn run<'a>(&'a mut self, db: &'a mut Connection, ledger: &'a mut Ledger) -> BoxFuture<'a, Result<(), sqlx::Error>>;
    fn fail(&mut self, error: &StoreError);
    fn settle(self: Box<Self>);
}

impl std::fmt::Debug for dyn Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Task")
    }
}

struct Queued<W: Write> {
    write: Option<W>,
    answer: Option<Result<W::Answer, StoreError>>,
    reply: oneshot::Sender<Result<W::Answer, StoreError>>,
}

impl<W: Write> Task for Queued<W> {
    fn run<'a>(&'a mut self, db: &'a mut Connection, ledger: &'a mut Ledger) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if let Some(write) = self.write.take() {
                self.answer = Some(Ok(write.run(db, ledger).await?));
            }
            Ok(())
        })
    }

    fn fail(&mut self, error: &StoreError) {
        self.answer = Some(Err(error.clone()));
    }

    fn settle(self: Box<Self>) {
        // Whoever asked may have gone; what they asked for is done all the same.
        drop(self.reply.send(self.answer.unwrap_or(Err(StoreError::Closed))));
    }
}
