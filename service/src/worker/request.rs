//! A request on its way: handed to the store and to whoever carries it out, and waited for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::conclusion::Concluded;
use super::handle::Handle;
use super::observe::asked_occupant;
use super::read;
use super::shared::{read as locked, store_fault};
use super::urgent::is_urgent;
use super::{Answer, Done, Fault};
use crate::bounds::RETRY_AFTER_SECONDS;
use crate::event::{DeliveryState, Event, NewDelivery, Requested, Source};
use crate::names::{DeliveryId, ReleaseKey};
use crate::plan;
use crate::store::{Accepted, HandedOver, PAGE_ROWS_MAX, StoreError};

/// What became of a request whose answer nobody heard.
#[derive(Debug)]
pub enum Became {
    /// There is no trace of it.
    Nothing,
    /// It was refused, so nothing was done.
    Refused,
    /// It was carried out, or will be.
    Answered(Answer),
}

/// A request that is with the writer.
struct HandedIn {
    number: i64,
    id: String,
    outcome: oneshot::Receiver<Concluded>,
    /// Nothing once it is durable.
    kept: Option<HandedOver<Accepted>>,
}

/// How long a caller is still let wait for an outcome once the service is to end: less than its doors stay open, so that the answer arrives.
const LAST_MOMENTS: Duration = Duration::from_secs(4);

/// How long the store is asked what another service knows of a request: its caller has waited long enough.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// What a request waits for of which nothing else is known.
const BEFORE_IT: &str = "the requests before it";

/// How long a caller should wait before it asks a full inbox again.
const INBOX_FULL_SECONDS: u32 = 10;

/// An id that nothing in the inbox has.
pub(super) fn fresh_id() -> Result<DeliveryId, Fault> {
    DeliveryId::parse(&uuid::Uuid::now_v7().to_string()).map_err(|_| Fault::Internal)
}

impl Handle {
    /// Carries out a request and waits at most `wait` for its end.
    ///
    /// It is carried out before the inbox writes it down: what is answered as done is durable in Git, and only what is to be done later
    /// must be durable in the inbox first. Where the service is to end meanwhile, it waits less.
    ///
    /// # Errors
    /// It is refused, or could not be stored.
    pub async fn request(&self, request: Requested, wait: Duration) -> Result<Answer, Fault> {
        let id = fresh_id()?;
        self.request_as(id, request, wait).await
    }

    /// The same under an id that nothing in the inbox has, unless another replica handed the same request in meanwhile; then that one counts.
    ///
    /// # Errors
    /// As of [`Self::request`].
    pub async fn request_as(&self, id: DeliveryId, request: Requested, wait: Duration) -> Result<Answer, Fault> {
        self.shared.environment(&request.key.environment)?;
        self.has_room(&request).await?;
        let key = request.key.clone();
        self.answered(id, key, Event::Requested(Box::new(request)), wait).await
    }

    /// Hands something in and waits at most `wait` for its end.
    pub(super) async fn answered(
        &self,
        id: DeliveryId,
        key: ReleaseKey,
        event: Event,
        wait: Duration,
    ) -> Result<Answer, Fault> {
        let since = tokio::time::Instant::now();
        let HandedIn { number, id, mut outcome, mut kept } = self.hand_in(id, event).await?;
        if self.shared.replica.is_one {
            // Whoever leads finds it in the store.
            let known = is_kept(durable(&mut kept).await);
            let known = known.inspect_err(|_| self.shared.inbox.stop_waiting(number))?;
            if known.is_some_and(|known| known != number) {
                self.shared.inbox.stop_waiting(number);
                let id = DeliveryId::parse(&id).map_err(|_| Fault::Internal)?;
                return Ok(match self.became(&key, &id).await? {
                    Became::Answered(answer) => answer,
                    Became::Nothing | Became::Refused => {
                        Answer::Queued { delivery: id.to_string(), waits_for: BEFORE_IT.to_owned() }
                    }
                });
            }
        }
        let concluded = tokio::select! {
            biased;
            concluded = &mut outcome => concluded.ok(),
            () = tokio::time::sleep_until(since + wait) => None,
            () = self.last_moments() => None,
        };
        let waits_for = match concluded {
            Some(concluded) => match self.answer(&key, concluded)? {
                Ok(done) => return Ok(done),
                Err(waits_for) => waits_for,
            },
            None => self.waits_for(&key, &id).await,
        };
        let kept = is_kept(durable(&mut kept).await).map_err(|fault| self.take_back(number, fault));
        // It may be done by now, which is more than that it is kept or not.
        let concluded = outcome.try_recv().ok();
        self.shared.inbox.stop_waiting(number);
        if let Some(concluded) = concluded
            && let Ok(done) = self.answer(&key, concluded)?
        {
            return Ok(done);
        }
        kept.map(|_| Answer::Queued { delivery: id, waits_for })
    }

    /// What a request waits for of whose outcome nobody was told yet. Where another service leads, that is what it has written down.
    async fn waits_for(&self, key: &ReleaseKey, id: &str) -> String {
        let shared = &self.shared;
        let trouble = locked(&shared.state.trouble).clone();
        let review = || shared.reviews.is_waiting(key).then(|| shared.reviews.waits_for(key));
        let silence = || Some(format!("the remote, which has not answered for {} s", self.silence()?));
        let known = trouble.or_else(review).or_else(silence);
        let written = async {
            let delivery = shared.store.delivery(Some(Source::Api), id).await.ok().flatten();
            delivery.and_then(|delivery| delivery.verdict.waits_for)
        };
        let known = match known {
            None if shared.replica.is_one => tokio::time::timeout(WRITTEN_WITHIN, written).await.ok().flatten(),
            known => known,
        };
        known.unwrap_or_else(|| BEFORE_IT.to_owned())
    }

    /// Has a request not carried out that the inbox did not keep, and says what is to be said of it. What it may have kept is carried out, as it would be by
    /// the next start.
    fn take_back(&self, number: i64, fault: Fault) -> Fault {
        if matches!(fault, Fault::Unsure { .. }) || self.shared.inbox.take_back(number) {
            return fault;
        }
        let sentence =
            "the inbox did not keep the request, and it is being carried out at this moment, or a part of it was";
        let (sentence, retry_after_seconds) = (sentence.to_owned(), RETRY_AFTER_SECONDS);
        Fault::Unsure { sentence, cure: "look at the release before you ask for it again", retry_after_seconds }
    }

    /// What became of a request that was handed in under an id before the service ended, or another replica did: in the inbox, or in Git alone.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn became(&self, key: &ReleaseKey, id: &DeliveryId) -> Result<Became, Fault> {
        let store = &self.shared.store;
        let concluded = match store.delivery(Some(Source::Api), id.as_str()).await.map_err(store_fault)? {
            Some(delivery) if delivery.state == DeliveryState::Refused => return Ok(Became::Refused),
            Some(delivery) => {
                Concluded { state: delivery.state, verdict: delivery.verdict, refusal: None, created: false }
            }
            None => {
                let commits = store.history(key, None, PAGE_ROWS_MAX).await.map_err(store_fault)?;
                let made = commits.into_iter().find(|row| row.delivery_id.as_deref() == Some(id.as_str()));
                let Some(made) = made else { return Ok(Became::Nothing) };
                Concluded::applied(key.clone(), made.commit, false, None)
            }
        };
        // The answer shows the release as whoever leads left it.
        self.catch_up_if_it_can().await;
        Ok(Became::Answered(self.answer(key, concluded)?.unwrap_or_else(|waits_for| {
            let waits_for = if waits_for.is_empty() { BEFORE_IT.to_owned() } else { waits_for };
            Answer::Queued { delivery: id.to_string(), waits_for }
        })))
    }

    /// Refuses a new release in whose place the cluster has something else.
    pub(super) async fn has_room(&self, request: &Requested) -> Result<(), Fault> {
        // Whether it is new is not known then; the turn looks at what is watched once it is.
        if self.awaits_a_decision() {
            return Ok(());
        }
        let Some(occupant) = asked_occupant(&self.shared, request).await else { return Ok(()) };
        let target = plan::target(&request.key, &self.shared.environment(&request.key.environment)?.target)?;
        Err(plan::occupied(&occupant, &request.key, &target).into())
    }

    /// Says that the service is to end: whoever waits for an outcome is answered soon, with what there is to say.
    pub fn close(&self) {
        self.shared.state.closing.cancel();
    }

    /// Over some moments after the service was told to end.
    async fn last_moments(&self) {
        self.shared.state.closing.cancelled().await;
        tokio::time::sleep(LAST_MOMENTS).await;
    }

    /// Stores a request durably and does not wait for its end. Answers the delivery's id.
    pub(super) async fn submit(&self, request: Requested) -> Result<String, Fault> {
        let id = fresh_id()?;
        let HandedIn { number, id, outcome: _, mut kept } =
            self.hand_in(id, Event::Requested(Box::new(request))).await?;
        self.shared.inbox.stop_waiting(number);
        is_kept(durable(&mut kept).await).map_err(|fault| self.take_back(number, fault))?;
        Ok(id)
    }

    /// Hands a request to the store and to the writer. There is nothing to wait for in between, so nothing is stored that the writer has
    /// not heard of, wherever a caller hangs up.
    async fn hand_in(&self, id: DeliveryId, event: Event) -> Result<HandedIn, Fault> {
        let shared = &self.shared;
        // A way back is carried out first and written down once the store can, as the next start would read it in Git.
        if shared.state.is_store_behind.load(Ordering::Relaxed) && !is_urgent(&event) {
            let sentence = "the store does not take what is done; look at its disk".to_owned();
            return Err(Fault::Unavailable { sentence, retry_after_seconds: RETRY_AFTER_SECONDS });
        }
        if shared.store.is_full() {
            return Err(inbox_full());
        }
        let body = match &event {
            Event::Requested(request) => serde_json::to_string(request),
            event => serde_json::to_string(event),
        };
        let (received_at, body) = (shared.clock.now_exact(), body.map_err(|_| Fault::Internal)?);
        let new = NewDelivery { source: Source::Api, id, received_at, body, event };
        let (delivery, kept) = shared.store.hand_in(new).await.map_err(store_fault)?;
        let (number, id) = (delivery.number, delivery.id.to_string());
        let outcome = shared.inbox.wait_for(number);
        shared.has_arrived(delivery);
        Ok(HandedIn { number, id, outcome, kept: Some(kept) })
    }

    /// The answer to what is done, or what it waits for.
    fn answer(&self, key: &ReleaseKey, concluded: Concluded) -> Result<Result<Answer, String>, Fault> {
        let Concluded { state, verdict, refusal, created } = concluded;
        match state {
            DeliveryState::Refused => Err(refusal.map_or(Fault::Internal, Fault::Refused)),
            DeliveryState::Accepted | DeliveryState::Failed => {
                let why = match (verdict.reason, verdict.cure) {
                    (Some(reason), Some(cure)) => Some(format!("{reason}; {cure}")),
                    (reason, _) => reason,
                };
                Ok(Err(verdict.waits_for.or(why).unwrap_or_default()))
            }
            DeliveryState::Applied | DeliveryState::Unchanged | DeliveryState::Ignored => {
                let release = read::view(&self.shared, key);
                let commit = verdict.commit.or_else(|| release.as_ref().map(|view| view.commit.clone()));
                let changed = state == DeliveryState::Applied;
                let (key, reason) = (key.clone(), verdict.reason);
                Ok(Ok(Answer::Done(Box::new(Done { release, key, commit, changed, created, reason }))))
            }
        }
    }
}

/// Waits until a request is durable, where it is not yet.
async fn durable(kept: &mut Option<HandedOver<Accepted>>) -> Result<Option<Accepted>, StoreError> {
    match kept.take() {
        Some(kept) => kept.durable().await.map(Some),
        None => Ok(None),
    }
}

/// Refuses where the inbox did not keep a request that is to be carried out later. Says by which number the inbox has it, where it was asked.
fn is_kept(accepted: Result<Option<Accepted>, StoreError>) -> Result<Option<i64>, Fault> {
    match accepted.map_err(store_fault)? {
        Some(Accepted::Full) => Err(inbox_full()),
        Some(Accepted::New(delivery) | Accepted::Again(delivery) | Accepted::Sooner(delivery)) => {
            Ok(Some(delivery.number))
        }
        Some(Accepted::Repeat { number, .. }) => Ok(Some(number)),
        None => Ok(None),
    }
}

pub(super) fn inbox_full() -> Fault {
    Fault::Unavailable {
        sentence: "the inbox is full; try again when fewer deliveries wait".to_owned(),
        retry_after_seconds: INBOX_FULL_SECONDS,
    }
}
