//! What a turn is given: what waits and may be done now, asked about where somebody has to be asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::acts::make_absolute;
use super::conveyor::{Conveyor, Work};
use super::queue::Taken;
use super::registry::{Answered, Concern, Read, concern};
use super::replaced::replaced_by;
use super::retry::{has_come, later, postpone, wait};
use super::shared::Shared;
use super::urgent::{Due, Later, Portion, put_in_order, release_of, share_out, take_oldest, take_related};
use crate::event::{Delivery, Event};
use crate::names::ReleaseKey;
use crate::store::StoreError;

/// How many deliveries whose time has come are looked at for who goes first: a dozen large turns, so that a long backlog costs each turn little.
const LOOKED_AT_MAX: usize = 4_096;

/// How long a store is left alone that could not be read, before what was not kept in memory is asked for again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Gathers what can be done now, without what was taken back.
pub(super) async fn collect(shared: &Arc<Shared>, conveyor: &mut Conveyor) -> Option<Work> {
    let mut work = collect_all(shared, conveyor).await?;
    let numbers: Vec<i64> = conveyor.to_be_done(&work).collect();
    conveyor.forget(&mut work, &shared.inbox.taken_back(|it| it.among(numbers)));
    Some(work)
}

async fn collect_all(shared: &Arc<Shared>, conveyor: &mut Conveyor) -> Option<Work> {
    let now = shared.clock.now_exact();
    if conveyor.pause.as_ref().is_some_and(|pause| !pause.is_over(shared.inbox.has_news(), now)) {
        return None;
    }
    if let Some(work) = conveyor.left_over.pop_front() {
        return Some(work);
    }
    if conveyor.storm_ends().is_some_and(|moment| moment <= now) {
        shared.inbox.leave_out(std::mem::take(&mut conveyor.storm));
    }
    refill(shared, conveyor).await;
    let (due, taken) = gather(shared, conveyor, now);
    let mut work = Work { deliveries: due, ..Work::default() };
    if taken.holds_changed {
        conveyor.lift_holds(shared, now);
    }
    taken.reviewed.iter().chain(&taken.seen).for_each(|key| conveyor.agenda.at(now, key));
    work.deliveries = have_asked(shared, conveyor, work.deliveries);
    let mut taken_anew = have_asked(shared, conveyor, taken.deliveries);
    taken_anew.extend(take_answers(shared, conveyor, &mut work).await);
    let count = taken_anew.len();
    let at_once = conveyor.pace.keep_back(taken_anew);
    // More may wait behind those that were kept back.
    let kept_back = at_once.len() < count;
    work.deliveries.extend(at_once);
    work.deliveries.extend(conveyor.pace.take_due(now));
    make_absolute(shared, conveyor, &mut work).await;
    // Answers come when they come; what was asked of a release first is done first.
    put_in_order(&mut work.deliveries);
    work.replaced_by = replaced_by(&work.deliveries);
    let tells_of_a_push = |delivery: &Delivery| matches!(delivery.event, Event::Pushed { .. });
    work.look_at_repository |= taken.pushed || work.deliveries.iter().any(tells_of_a_push);
    work.ticks = conveyor.agenda.take_due(now, shared.limits.turn);
    let has_work =
        !work.deliveries.is_empty() || !work.concluded.is_empty() || !work.ticks.is_empty() || work.look_at_repository;
    (has_work || taken.holds_changed || kept_back).then_some(work)
}

/// Takes deliveries whose time has come and deliveries of the inbox, together at most as many as a turn has room for.
fn gather(shared: &Shared, conveyor: &mut Conveyor, now: Timestamp) -> (Vec<Delivery>, Taken) {
    let most = shared.limits.turn;
    let mut taken = shared.inbox.take(most);
    conveyor.try_now(&taken.wanted_now, now);
    let is_due = |retry: &Later| retry.first_key_value().is_some_and(|((at, _), _)| has_come(*at, now));
    let mut due: Vec<Due> = Vec::new();
    if conveyor.failures > 0 {
        // Whatever is first to find out that the remote is back, what has waited longest goes with it, and what was asked of the same releases.
        due = if is_due(&conveyor.retry) {
            take_oldest(&mut conveyor.retry, LOOKED_AT_MAX)
        } else {
            take_related(&mut conveyor.retry, &taken.deliveries)
        };
    } else if !conveyor.retry.is_empty() {
        // Nothing newer of a release goes before what was put off alone.
        due = take_related(&mut conveyor.retry, &taken.deliveries);
    }
    while due.len() < LOOKED_AT_MAX && is_due(&conveyor.retry) {
        let Some(((at, _), delivery)) = conveyor.retry.pop_first() else { break };
        due.push((at, delivery));
    }
    let Portion { due, taken: deliveries, due_later, taken_later } =
        share_out(due, std::mem::take(&mut taken.deliveries), most);
    conveyor.retry.extend(due_later.into_iter().map(|(at, delivery)| ((at, delivery.number), delivery)));
    taken_later.into_iter().rev().for_each(|delivery| shared.inbox.push_front(delivery));
    (due.into_iter().map(|(_, delivery)| delivery).collect(), Taken { deliveries, ..taken })
}

/// Has asked what has to be asked before a delivery is carried out; gives back the others.
fn have_asked(shared: &Arc<Shared>, conveyor: &mut Conveyor, deliveries: Vec<Delivery>) -> Vec<Delivery> {
    let mut at_once = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        match concern(shared, &delivery) {
            None => at_once.extend(conveyor.keep_behind(delivery)),
            Some(Concern::Model(model)) => shared.reader.ask(shared, &model.clone(), delivery),
            Some(Concern::Request(key, wanted)) => {
                conveyor.asks(key, delivery.number);
                shared.reader.look_into(shared, (key.clone(), wanted.clone()), delivery);
            }
        }
    }
    at_once
}

/// Takes the deliveries that waited for an answer; those for which there was none fail for now. Gives those that waited behind them, which go on in any case:
/// a registry that is down holds nobody up.
async fn take_answers(shared: &Shared, conveyor: &mut Conveyor, work: &mut Work) -> Vec<Delivery> {
    let mut behind = Vec::new();
    for Read { model, deliveries: asked, answer } in shared.reader.take() {
        let mut deliveries = Vec::with_capacity(asked.len());
        for delivery in asked {
            let (back, freed) = conveyor.has_asked(delivery, work);
            deliveries.extend(back);
            behind.extend(freed);
        }
        let answered = match answer {
            Ok(answered) => answered,
            Err(error) => {
                let attempt = deliveries.iter().map(|delivery| delivery.attempt).max().unwrap_or_default();
                let wait = wait(attempt.saturating_add(1), error.retry_after());
                let reason = format!("the registry could not be asked about `{model}`: {error}");
                tracing::warn!(model.name = %model, "{reason}; {} deliveries are tried again", deliveries.len());
                let at = later(shared.clock.now_exact(), wait);
                postpone(shared, conveyor, deliveries, (reason, error.cure().map(ToOwned::to_owned)), at).await;
                continue;
            }
        };
        let Answered { found, findings } = answered;
        work.found.extend(found.map(|found| (model, found)));
        work.findings.extend(deliveries.iter().map(|delivery| (delivery.number, Arc::clone(&findings))));
        work.deliveries.extend(deliveries);
    }
    behind
}

/// Reads from the store what was not kept in memory and wants a release back or stopped, with what was asked of the release before: it goes before what
/// is kept. Where that is more than may be kept, all of it goes in its order.
async fn read_wanted_back(shared: &Shared) {
    let Some((first, wanted)) = shared.inbox.take_wanted_back() else { return };
    let Some(last) = wanted.last_key_value().map(|(number, _)| *number) else { return };
    let until: HashMap<&ReleaseKey, i64> = wanted.iter().map(|(number, key)| (key, *number)).collect();
    let concerns = |delivery: &Delivery| {
        release_of(delivery).and_then(|key| until.get(key)).is_some_and(|until| delivery.number <= *until)
    };
    let (mut after, mut found) = (first - 1, Vec::new());
    while after < last {
        match shared.store.waiting(after, crate::store::PAGE_ROWS_MAX).await {
            Ok(page) => {
                let Some(end) = page.last().map(|delivery| delivery.number) else { break };
                after = end;
                found.extend(page.into_iter().filter(concerns));
            }
            Err(error) => {
                unread(&error).await;
                shared.inbox.leave_out_wanted_back(wanted);
                return;
            }
        }
        if found.len() > shared.inbox.queue_max() {
            return;
        }
    }
    shared.inbox.bring_forward(found);
}

/// Says why the store could not be read, and waits before that is tried again.
async fn unread(error: &StoreError) {
    tracing::error!(error = error as &dyn std::error::Error, "The inbox could not be read: {error}; it is tried again");
    tokio::time::sleep(READ_AGAIN).await;
}

/// Reads from the store what was not kept in memory.
async fn refill(shared: &Shared, conveyor: &Conveyor) {
    read_wanted_back(shared).await;
    let numbers = shared.inbox.take_left_out();
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return };
    let mut after = first - 1;
    let mut found: Vec<Delivery> = Vec::new();
    while after < *last {
        match shared.store.waiting(after, crate::store::PAGE_ROWS_MAX).await {
            Ok(page) => {
                let Some(end) = page.last().map(|delivery| delivery.number) else { break };
                after = end;
                let parked = |number: i64| conveyor.parked.values().any(|parked| parked.number == number);
                found
                    .extend(page.into_iter().filter(|delivery| {
                        numbers.binary_search(&delivery.number).is_ok() && !parked(delivery.number)
                    }));
            }
            Err(error) => {
                unread(&error).await;
                shared.inbox.leave_out(numbers);
                return;
            }
        }
    }
    shared.inbox.refill(found);
}
