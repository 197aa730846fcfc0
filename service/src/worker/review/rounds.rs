//! When the forge is asked about which review: about one as soon as something is known to have become of it, by a turn or by a webhook; and about
//! all now and then, because webhooks get lost. So to open one more costs the same however many are open, and what is asked now and then costs no more
//! than a share of what the forge lets through.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::allowance::{Allowance, OF_WHO_FOLLOWS, OF_WHO_LEADS};
use super::branch::{branch_of, key_of_branch};
use super::comment;
use super::end::{GRACE, finish, look_again};
use super::follow::{Hitch, tell_and_ask};
use super::standing::standing;
use super::{Review, ReviewState};
use crate::forge::{Forge, ForgeError, Open, counted};
use crate::names::{DeliveryId, ReleaseKey};
use crate::worker::history::trailer;
use crate::worker::shared::{Shared, read};

/// How long what failed is left alone.
const RETRY: Duration = Duration::from_secs(10);

/// Between two looks at a pull request that is left alone for a while, before it is closed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The most reviews that a round asks about one by one: what people think of each is a request. Where forges count, that is earned in three minutes.
const ROUND_MAX: usize = 50;

/// From so many reviews on that are due at once, after a start, one list is asked for instead of each.
const LISTED_FROM: usize = 3;

/// What is open at the forge, by the release that it is of.
type Listed = BTreeMap<ReleaseKey, Open>;

/// What was asked when, and what is to be.
#[derive(Debug)]
pub(in crate::worker) struct Rounds {
    /// How often all of them are asked about.
    pub(in crate::worker) period: Duration,
    /// Before something is tried again that failed, unless the forge asks for more.
    pub(in crate::worker) retry: Duration,
    /// How long an open pull request that nobody waits for is left alone.
    pub(in crate::worker) grace: Duration,
    allowance: Allowance,
    /// When the next round begins, as far as the allowance lets it.
    next: Instant,
    /// Whom this round has yet to ask about, and what it saw of them.
    round: VecDeque<(ReleaseKey, Option<Open>)>,
    /// When what failed, or is left alone for a while, is looked at again.
    again: HashMap<ReleaseKey, Instant>,
    /// Open reviews by when they were last asked about, and by what the list then said of them.
    asked: HashMap<ReleaseKey, (Instant, Option<String>)>,
    /// Why the last round could not begin.
    trouble: Option<String>,
    /// What became of the last reviews before this service began is known.
    remembers: bool,
}

/// Follows reviews until it is dropped.
pub(in crate::worker) async fn follow_reviews(shared: Arc<Shared>) {
    let Some(forge) = shared.settings.forge().cloned() else { return };
    let mut rounds = Rounds::of_who_leads(&shared, &forge);
    loop {
        let until = rounds.turn(&shared, &forge).await;
        tokio::select! {
            () = shared.reviews.wake.notified() => {}
            () = tokio::time::sleep(until.saturating_duration_since(Instant::now())) => {}
        }
    }
}

/// Shows what the forge tells of reviews while another replica follows them, until it is dropped: what that one knows is in its memory alone.
pub(in crate::worker) async fn look_on_reviews(shared: Arc<Shared>) {
    let Some(forge) = shared.settings.forge().cloned() else { return };
    let mut rounds = Rounds::of_who_follows(&shared, &forge);
    loop {
        let since = shared.reviews.forgotten();
        if !shared.replica.leads()
            && let Err(error) = rounds.look_on(&shared, &forge, since).await
        {
            tracing::info!("What became of reviews is not seen here: {error}; it is tried again");
        }
        let next = rounds.allowance.next().max(Instant::now() + rounds.period);
        tokio::time::sleep_until(next.into()).await;
    }
}

impl Rounds {
    pub(in crate::worker) fn of_who_leads(shared: &Shared, forge: &Forge) -> Self {
        Self::new(period(shared), Allowance::of(forge, OF_WHO_LEADS))
    }

    pub(in crate::worker) fn of_who_follows(shared: &Shared, forge: &Forge) -> Self {
        Self::new(period(shared), Allowance::of(forge, OF_WHO_FOLLOWS))
    }

    fn new(period: Duration, allowance: Allowance) -> Self {
        Self {
            period,
            retry: RETRY,
            grace: GRACE,
            allowance,
            next: Instant::now(),
            round: VecDeque::new(),
            again: HashMap::new(),
            asked: HashMap::new(),
            trouble: None,
            remembers: false,
        }
    }

    /// Asks about what something is known to have become of; beside that, as far as the allowance lets it, about one of those whose time has come again
    /// and about the next of a round, so that neither waits for all of the others. Answers when there is more to do.
    pub(in crate::worker) async fn turn(&mut self, shared: &Shared, forge: &Forge) -> Instant {
        self.ask_at_once(shared, forge).await;
        if self.allowance.next() <= Instant::now() {
            if let Some(key) = self.first_again(Instant::now()) {
                let cost = self.ask(shared, forge, &key, None).await;
                self.spend(cost);
            }
            if let Some((key, open)) = self.round.pop_front() {
                let cost = self.ask(shared, forge, &key, open).await;
                self.spend(cost);
            } else if self.next <= Instant::now() {
                self.begin_round(shared, forge).await;
            }
        }
        let next = match self.round.is_empty() {
            true => self.again.values().copied().fold(self.next, Instant::min),
            false => Instant::now(),
        };
        next.max(self.allowance.next())
    }

    /// Asks about those that a turn or a webhook says something became of, however much was asked before.
    async fn ask_at_once(&mut self, shared: &Shared, forge: &Forge) {
        let due = std::mem::take(&mut *shared.reviews.due());
        let mut listed = Listed::new();
        if due.len() >= LISTED_FROM {
            // Each of them is asked for by itself where that fails, and says why.
            listed = list(shared, forge, &due).await.map(|(listed, _)| listed).unwrap_or_default();
        }
        for key in due {
            self.ask(shared, forge, &key, listed.remove(&key)).await;
        }
    }

    /// The one that is to be looked at again and whose time came first.
    fn first_again(&self, now: Instant) -> Option<ReleaseKey> {
        let due = self.again.iter().filter(|(_, at)| **at <= now);
        due.min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())
    }

    fn spend(&mut self, requests: usize) {
        self.allowance.spend(requests, Instant::now());
    }

    /// Looks once what is open and what was closed of the releases that there are, and what people think of it; shows nothing of it where all was forgotten
    /// once more than so often, because this service leads by then.
    ///
    /// # Errors
    /// The forge does not answer; then what is shown is older.
    pub(in crate::worker) async fn look_on(
        &mut self,
        shared: &Shared,
        forge: &Forge,
        since: u64,
    ) -> Result<(), ForgeError> {
        let keys = reviewed(shared);
        if keys.is_empty() {
            return Ok(());
        }
        let (mut listed, pages) = list(shared, forge, &keys).await?;
        self.spend(pages);
        let closed = forge.recently_closed(shared.repository.branch()).await?.into_iter();
        self.spend(1);
        let closed: Vec<_> = closed
            .filter_map(|closed| Some((key_of_branch(&closed.branch).filter(|key| keys.contains(key))?, closed)))
            .collect();
        // It was asked for later.
        let is_closed = |open: &Open| closed.iter().any(|(_, closed)| closed.pull.number == open.pull.number);
        listed.retain(|_, open| !is_closed(open));
        shared.reviews.show(since, &listed, closed);
        self.asked.retain(|key, _| listed.contains_key(key));
        let open = listed.keys().cloned().collect();
        for key in self.order(open, |key| Some(listed.get(key)?.updated.as_str())) {
            let Some(Open { updated, pull, .. }) = listed.get(&key) else { continue };
            // One that fails has its turn again behind the others.
            self.asked.insert(key.clone(), (Instant::now(), Some(updated.clone())));
            let (opinions, requests) = counted(forge.opinions(pull)).await;
            self.spend(requests);
            let opinions = match opinions {
                Ok(opinions) => opinions,
                Err(error) => {
                    tracing::info!(release.key = %key, "What people think of the review of `{key}` is not seen here: {error}");
                    continue;
                }
            };
            if shared.reviews.forgotten() != since {
                break;
            }
            if let Some(commit) = &pull.head {
                shared.reviews.note(&key, commit, |review| review.opinions = opinions);
            }
        }
        Ok(())
    }

    /// Lists what is open, and notes whom to ask about: whoever has changed first, then whoever was not asked about for longest.
    async fn begin_round(&mut self, shared: &Shared, forge: &Forge) {
        self.next = Instant::now() + self.period;
        if !self.remembers {
            let (remembered, cost) = counted(remember(shared, forge)).await;
            self.spend(cost);
            match remembered {
                Ok(()) => {
                    self.remembers = true;
                    comment::recall(shared).await;
                }
                Err(error) => self.next = sooner(self.next, &error),
            }
        }
        let open = shared.reviews.open();
        self.asked.retain(|key, _| open.contains(key));
        if open.is_empty() {
            return;
        }
        let before = self.trouble.take();
        let listed = list(shared, forge, &open).await;
        self.trouble = listed.as_ref().err().map(ForgeError::with_cure);
        shared.reviews.note_trouble_of_all(before.as_deref(), self.trouble.as_deref());
        let mut listed = match listed {
            Ok((listed, pages)) => {
                self.spend(pages);
                listed
            }
            Err(error) => {
                self.spend(1);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "What became of reviews is not known: {error}"
                );
                self.next = sooner(self.next, &Hitch::from(error));
                return;
            }
        };
        let order = self.order(open, |key| Some(listed.get(key)?.updated.as_str()));
        self.round = order.into_iter().map(|key| (key.clone(), listed.remove(&key))).collect();
    }

    /// Whom to ask about, by what the list says of each.
    fn order<'l>(
        &self,
        open: BTreeSet<ReleaseKey>,
        updated: impl Fn(&ReleaseKey) -> Option<&'l str>,
    ) -> Vec<ReleaseKey> {
        let rank = |key: &ReleaseKey| {
            let Some((at, known)) = self.asked.get(key) else { return (false, None) };
            // What is not listed is open no more.
            let is_unchanged = updated(key).is_some_and(|updated| known.as_deref() == Some(updated));
            (is_unchanged, Some(*at))
        };
        let mut order: Vec<_> = open.into_iter().map(|key| (rank(&key), key)).collect();
        order.sort();
        order.into_iter().take(ROUND_MAX).map(|(_, key)| key).collect()
    }

    /// Tells and asks what there is of one review, and says how many requests that took: what merges itself may take some more each time.
    async fn ask(&mut self, shared: &Shared, forge: &Forge, key: &ReleaseKey, open: Option<Open>) -> usize {
        self.again.remove(key);
        let Some(review) = shared.reviews.open_one(key) else { return look_at_ended(shared, forge, key).await };
        let waits_for = shared.reviews.waits_for(key);
        let open = open.filter(|open| may_be_so(&review, open));
        let known = self.asked.remove(key).and_then(|(_, updated)| updated);
        let updated = open.as_ref().map(|open| open.updated.clone()).or(known);
        self.asked.insert(key.clone(), (Instant::now(), updated));
        let of = (key, &review);
        let seen = open.as_ref().map(|open| &open.pull);
        let (done, cost) = counted(async {
            match review.is_wanted {
                true => tell_and_ask(shared, forge, of, seen).await.map(|()| true),
                false => finish(shared, forge, of, self.grace).await,
            }
        })
        .await;
        if matches!(done, Ok(false)) {
            self.again.insert(key.clone(), Instant::now() + LOOK_AGAIN);
        }
        if let Err(error) = done {
            tracing::warn!(release.key = %key, error = &error as &dyn std::error::Error, "The review of `{key}` does not go on: {error}");
            let trouble = error.for_callers();
            shared.reviews.note(key, &review.commit, |review| review.trouble = Some(trouble));
            self.again.insert(key.clone(), Instant::now() + error.retry_after().unwrap_or(self.retry));
        }
        answer(shared, key);
        if review.is_wanted && shared.reviews.waits_for(key) != waits_for {
            // Whoever waits is told by a turn where it is by now, and what keeps it.
            shared.inbox.note_review(key);
        }
        cost
    }
}

/// Looks at a review that is over, of which a webhook told something; says how many requests that took.
async fn look_at_ended(shared: &Shared, forge: &Forge, key: &ReleaseKey) -> usize {
    let Some(review) = shared.reviews.one(key) else { return 0 };
    let (looked, cost) = counted(look_again(shared, forge, key, &review)).await;
    if let Err(error) = looked {
        tracing::info!(release.key = %key, "What became of the review of `{key}` after its end is not known: {error}");
    }
    cost
}

/// Whether what a list said of a review may be so: it may be older than what a turn, a webhook or a look at the pull request itself has brought since.
/// One that is known to be merged or closed is open again only where it says so itself.
fn may_be_so(review: &Review, listed: &Open) -> bool {
    review.state == ReviewState::AwaitingReview && review.is_seen_in(&listed.pull)
}

/// How often all of them are asked about, as far as the forge lets that.
fn period(shared: &Shared) -> Duration {
    shared.settings.remote.as_ref().map_or(RETRY, |remote| remote.poll_interval.as_duration())
}

/// When a round is tried again that failed.
fn sooner(next: Instant, error: &Hitch) -> Instant {
    next.min(Instant::now() + error.retry_after().unwrap_or(RETRY))
}

/// What is open of these, and how many requests that took.
async fn list(shared: &Shared, forge: &Forge, keys: &BTreeSet<ReleaseKey>) -> Result<(Listed, usize), ForgeError> {
    let (open, pages) = forge.open_from(keys.iter().map(branch_of).collect(), shared.repository.branch()).await?;
    Ok((open.into_iter().filter_map(|(branch, open)| Some((key_of_branch(&branch)?, open))).collect(), pages))
}

/// Takes from the forge what became of the last reviews before this service began, and what is open of which nobody here knows.
async fn remember(shared: &Shared, forge: &Forge) -> Result<(), Hitch> {
    if !shared.settings.environments.values().any(|environment| environment.is_reviewed) {
        return Ok(());
    }
    for closed in forge.recently_closed(shared.repository.branch()).await? {
        if let Some(key) = key_of_branch(&closed.branch).filter(|key| shared.is_reviewed(key)) {
            shared.reviews.remember(&key, closed);
        }
    }
    let (open, _) = list(shared, forge, &reviewed(shared)).await?;
    let target = shared.repository.tip()?;
    for (key, open) in open {
        let own = standing(shared, &target, &key)?.and_then(|standing| standing.own);
        let delivery = own.as_ref().and_then(|own| DeliveryId::parse(trailer(own, "Delivery-Id")?).ok());
        shared.reviews.remember_open(key, open, delivery);
    }
    Ok(())
}

/// The releases that there are whose changes people review.
fn reviewed(shared: &Shared) -> BTreeSet<ReleaseKey> {
    let index = read(&shared.index);
    index.iter().map(|(key, _)| key).filter(|key| shared.is_reviewed(key)).cloned().collect()
}

/// Answers those who asked for a release and wait to hear where it is reviewed, and has the writer take note of it.
fn answer(shared: &Shared, key: &ReleaseKey) {
    let waiting = shared.reviews.take_waiting(key);
    if waiting.is_empty() {
        return;
    }
    let waits_for = shared.reviews.waits_for(key);
    for (number, mut concluded) in waiting {
        concluded.verdict.waits_for = Some(waits_for.clone());
        shared.inbox.answer(number, concluded);
    }
    shared.inbox.note_review(key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_asks_first_about_what_changed_then_about_what_was_not_asked_about_for_longest_and_never_about_too_many()
    {
        let key = |number: usize| ReleaseKey::parse(&format!("production/models/m{number:03}")).unwrap();
        let mut rounds = Rounds::new(RETRY, Allowance::earning(Duration::ZERO));
        let begin = Instant::now();
        for number in 0..200 {
            // The later ones were asked about longer ago.
            let at = begin + Duration::from_secs(200 - number as u64);
            rounds.asked.insert(key(number), (at, Some("before".to_owned())));
        }
        rounds.asked.remove(&key(7));
        let updated = |of: &ReleaseKey| {
            if *of == key(3) {
                return None;
            }
            Some(if *of == key(5) { "now" } else { "before" })
        };
        let order = rounds.order((0..200).map(key).collect(), updated);
        assert_eq!(order.len(), ROUND_MAX);
        assert_eq!(order[..5], [key(7), key(5), key(3), key(199), key(198)], "new, changed, gone, then the longest");
    }
}
