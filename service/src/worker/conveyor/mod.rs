//! What the one writer knows between its turns: what it keeps of each turn, and when it is to look again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::agenda::Agenda;
use super::conclusion::{Conclusion, Keep};
use super::deliveries::DoneBefore;
use super::observe::watched;
use super::offers::Offers;
use super::pace::Pace;
use super::policies;
use super::registry::{Found, Which};
use super::replaced::{asks_for_a_state, replaced, replaces};
use super::restored::Speaker;
use super::retry::Pause;
use super::shared::{Shared, write};
use super::turn::Harvest;
use super::urgent::{Later, release_of};
use crate::event::Delivery;
use crate::names::{CommitId, EnvironmentName, ModelName, PolicyName, ReleaseKey};
use crate::plan::Findings;
use crate::release::Refusal;
use crate::rollout::Decision;

/// The storm guard counts within this.
const STORM_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// The most deliveries that are remembered as carried out by commits that others brought: another service on the branch brings some with every push, and
/// what is forgotten is planned again and found to be so.
const DONE_BEFORE_MAX: usize = 100_000;

/// What the one writer knows between its turns.
pub(super) struct Conveyor {
    /// The commit up to which everything is taken in.
    pub(super) known: CommitId,
    /// The service's own commits after that one: all that it found there at the start, and those whose push it did not see end.
    /// What else is there is a person's, whatever it says of itself.
    pub(super) ours: HashSet<CommitId>,
    /// The releases about whose requests something is being asked.
    asking: HashMap<ReleaseKey, Asking>,
    /// Deliveries that wait for their release, one each.
    pub(super) parked: HashMap<ReleaseKey, Delivery>,
    pub(super) agenda: Agenda,
    /// Releases whose time came while their environment was held.
    pub(super) held_ticks: BTreeSet<ReleaseKey>,
    /// Numbers of deliveries that stay in the store until a hold is lifted.
    pub(super) held: BTreeSet<i64>,
    /// The newest of those that asks for a state of its release, one each: at most as many as the inbox holds.
    held_newest: HashMap<ReleaseKey, Delivery>,
    /// Numbers of deliveries that stay in the store until the storm is over.
    pub(super) storm: BTreeSet<i64>,
    /// When events made new releases, by environment.
    pub(super) made: HashMap<EnvironmentName, VecDeque<Timestamp>>,
    /// Work that a turn was to do and that is for the next ones.
    pub(super) left_over: VecDeque<Work>,
    /// The head of a history that does not go on from what is known; a person has to say that it counts.
    pub(super) rewritten: Option<CommitId>,
    /// Deliveries that failed and when they are tried again.
    pub(super) retry: Later,
    pub(super) pace: Pace,
    pub(super) done_before: DoneBefore,
    /// The texts of policies that parsed.
    pub(super) remembered: Vec<(PolicyName, String)>,
    /// Set while the repository fails.
    pub(super) pause: Option<Pause>,
    /// How many turns have failed since the last one that did not; whatever failed before the start counts as one.
    pub(super) failures: u32,
    /// How the branches of reviews fare.
    pub(super) offers: Offers,
}

/// Requests of one release that are being looked into.
#[derive(Debug, Default)]
struct Asking {
    /// Their numbers.
    asked: Vec<i64>,
    /// The newest delivery that took their place meanwhile.
    newer: Option<Delivery>,
    /// What goes on from them.
    behind: Vec<Delivery>,
}

impl Asking {
    /// Whether one of them is older than a delivery.
    fn is_before(&self, delivery: &Delivery) -> bool {
        self.asked.iter().any(|number| *number < delivery.number)
    }
}

/// What a turn is to do.
#[derive(Debug, Default, Clone)]
pub(super) struct Work {
    pub(super) ticks: Vec<ReleaseKey>,
    pub(super) deliveries: Vec<Delivery>,
    /// The models that were read anew for them.
    pub(super) found: HashMap<ModelName, Found>,
    /// What was found out for them, by their numbers.
    pub(super) findings: HashMap<i64, Arc<Findings>>,
    /// What acts take the place of that were asked for after it, by number.
    pub(super) replaced_by: HashMap<i64, Delivery>,
    /// What is concluded already: something newer came while it was looked into, or the remote refused it.
    pub(super) concluded: Vec<Conclusion>,
    /// Versions that the remote refused, for which release and with what words.
    pub(super) refused: Vec<(Which, ReleaseKey, Refusal)>,
    pub(super) look_at_repository: bool,
    /// Releases whose changes the branch did not take, so that they go by a pull request whatever they are.
    pub(super) by_review: BTreeSet<ReleaseKey>,
    /// What others changed is taken in as it lies there: the branch did not take the work together with what follows from that.
    pub(super) as_it_lies: bool,
    /// Which commits speak as the service, as far as that was looked up.
    pub(super) speakers: BTreeMap<Speaker, bool>,
}

/// What a turn has done; the branch is moved, the store does not know yet.
pub(super) struct Done {
    pub(super) harvest: Harvest,
    pub(super) conclusions: Vec<Conclusion>,
    pub(super) base: CommitId,
    /// The branch has another history than the index has: so many rows, the first, are that history, and take the place of all that is there.
    pub(super) replaced: Option<usize>,
    /// Deliveries that commits of the service say they carried out, which it did not know of.
    pub(super) found_done: DoneBefore,
    /// Policies to be remembered and forgotten, where they changed.
    pub(super) policies: Option<policies::Read>,
    /// The releases that have something on the branch of their review.
    pub(super) offered: BTreeSet<ReleaseKey>,
    /// Whether it shows that the branch can be released to, so that whatever failed before may go on: what only tells or waits does not.
    pub(super) is_proof: bool,
}

impl Conveyor {
    /// A conveyor that has taken in everything up to a commit.
    pub(super) fn new(known: CommitId) -> Self {
        Self {
            known,
            ours: HashSet::new(),
            asking: HashMap::new(),
            parked: HashMap::new(),
            agenda: Agenda::default(),
            held_ticks: BTreeSet::new(),
            held: BTreeSet::new(),
            held_newest: HashMap::new(),
            storm: BTreeSet::new(),
            made: HashMap::new(),
            left_over: VecDeque::new(),
            rewritten: None,
            retry: BTreeMap::new(),
            pace: Pace::new(),
            done_before: DoneBefore::new(),
            remembered: Vec::new(),
            pause: None,
            failures: 0,
            offers: Offers::default(),
        }
    }

    /// Takes note of deliveries that commits say they carried out.
    fn remember_done(&mut self, found: DoneBefore) {
        if self.done_before.len() + found.len() > DONE_BEFORE_MAX {
            self.done_before.clear();
        }
        self.done_before.extend(found);
    }

    /// Counts what events made before this service led: a restart makes no room.
    pub(super) fn count_made(&mut self, made: Vec<(EnvironmentName, Timestamp)>) {
        for (environment, at) in made {
            self.made.entry(environment).or_default().push_back(at);
        }
    }

    /// Takes over what a turn has done and gives back every delivery whose outcome is new, replaced ones included.
    pub(super) fn take_over(
        &mut self,
        shared: &Shared,
        done: &mut Done,
        ticks: &[ReleaseKey],
        now: Timestamp,
    ) -> Vec<Conclusion> {
        self.known.clone_from(&done.harvest.tip);
        self.ours.clear();
        if done.replaced.is_some() {
            // That one was accepted; the next one is another.
            self.rewritten = None;
        }
        if done.is_proof {
            self.end_failures(now);
        }
        self.remember_done(std::mem::take(&mut done.found_done));
        if let Some(read) = &done.policies {
            self.remembered.retain(|(name, _)| !read.gone.contains(name));
            for (name, text) in &read.good {
                self.remembered.retain(|(known, _)| known != name);
                self.remembered.push((name.clone(), text.clone()));
            }
            *write(&shared.policies) = read.set.clone();
        }
        for key in &done.harvest.made {
            self.made.entry(key.environment.clone()).or_default().push_back(now);
        }
        for times in self.made.values_mut() {
            while times.front().is_some_and(|at| now.duration_since(*at) >= STORM_WINDOW) {
                times.pop_front();
            }
        }
        let conclusions = std::mem::take(&mut done.conclusions);
        let mut out = self.replace_failed(&conclusions);
        for conclusion in conclusions {
            self.keep(shared, conclusion, now, &mut out);
        }
        self.plan_ahead(shared, &done.harvest, ticks, now);
        self.keep_reviews(shared, done);
        out
    }

    /// Takes note that what was away is back: whatever waited for it goes at once, in the order in which it arrived.
    pub(super) fn end_failures(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.failures) > 0 {
            let waiting = std::mem::take(&mut self.retry).into_values();
            self.retry = waiting.map(|delivery| ((now, delivery.number), delivery)).collect();
        }
        self.pause = None;
    }

    /// The numbers of the deliveries that a turn is to carry out.
    pub(super) fn to_be_done<'w>(&'w self, work: &'w Work) -> impl Iterator<Item = i64> + 'w {
        work.deliveries
            .iter()
            .map(|delivery| delivery.number)
            .chain(self.awakened(&work.ticks).map(|parked| parked.number))
    }

    /// Drops deliveries that a turn was to carry out: whoever asked for them was told that they are not.
    pub(super) fn forget(&mut self, work: &mut Work, numbers: &BTreeSet<i64>) {
        if numbers.is_empty() {
            return;
        }
        let is_kept = |delivery: &Delivery| !numbers.contains(&delivery.number);
        work.deliveries.retain(is_kept);
        work.replaced_by.retain(|_, newer| is_kept(newer));
        self.parked.retain(|_, parked| is_kept(parked));
    }

    /// Takes out of what is tried later what conclusions take the place of, once through all of it however many there are.
    fn replace_failed(&mut self, conclusions: &[Conclusion]) -> Vec<Conclusion> {
        let mut newest: HashMap<&ReleaseKey, &Delivery> = HashMap::new();
        for Conclusion { delivery, concluded, .. } in conclusions {
            let key = concluded.verdict.release.as_ref().filter(|_| replaces(delivery, concluded.state));
            if let Some(key) = key
                && newest.get(key).is_none_or(|known| known.number < delivery.number)
            {
                newest.insert(key, delivery);
            }
        }
        if newest.is_empty() {
            return Vec::new();
        }
        let newer =
            |older: &Delivery| newest.get(release_of(older)?).copied().filter(|newer| newer.number > older.number);
        let failed = self.retry.extract_if(.., |_, older| newer(older).is_some()).map(|(_, older)| older);
        failed.filter_map(|older| newer(&older).map(|newer| replaced(older, newer))).collect()
    }

    /// Takes note of whose review is still waited for: who asked waits, or what follows by itself is as it was.
    fn keep_reviews(&self, shared: &Shared, done: &Done) {
        shared.reviews.keep(|key, review| match (&review.delivery, self.parked.get(key)) {
            _ if done.offered.contains(key) => true,
            (Some(asks), Some(parked)) => parked.id == *asks,
            (Some(_), None) => false,
            (None, _) => done.harvest.rows.iter().all(|row| row.key != *key),
        });
    }

    fn keep(&mut self, shared: &Shared, conclusion: Conclusion, now: Timestamp, out: &mut Vec<Conclusion>) {
        let Conclusion { delivery, concluded, .. } = &conclusion;
        let number = delivery.number;
        // What was found done after a crash is told once; given in again, it is a new wish.
        if !concluded.state.is_waiting() {
            self.done_before.remove(delivery.id.as_str());
        }
        self.held.remove(&number);
        self.storm.remove(&number);
        let was_parked = self.parked.extract_if(|_, parked| parked.number == number).last();
        let keep = match (&conclusion.keep, was_parked) {
            // What waits goes on to wait under a hold: its review stays open, and a merge is taken in as ever.
            (Keep::Held, Some((key, _))) => {
                self.held_ticks.insert(key.clone());
                Keep::Parked(key)
            }
            (keep, _) => keep.clone(),
        };
        if let Some(key) = &concluded.verdict.release
            && replaces(delivery, concluded.state)
        {
            if let Some(asking) = self.asking.get_mut(key)
                && asking.newer.as_ref().is_none_or(|newer| newer.number < number)
            {
                asking.newer = Some(delivery.clone());
            }
            // One that is given in again may be older than what waits.
            let is_older =
                |waiting: &HashMap<ReleaseKey, Delivery>| waiting.get(key).is_some_and(|it| it.number < number);
            let parked = if is_older(&self.parked) { self.parked.remove(key) } else { None };
            let held = if is_older(&self.held_newest) { self.held_newest.remove(key) } else { None };
            for older in parked.into_iter().chain(held) {
                self.held.remove(&older.number);
                out.push(replaced(older, delivery));
            }
        }
        let mut kept = delivery.clone();
        kept.state = concluded.state;
        kept.verdict = concluded.verdict.clone();
        match keep {
            Keep::No => {}
            Keep::Parked(key) => {
                if let Some(newer) = self.parked.get(&key).filter(|newer| newer.number > number) {
                    return out.push(replaced(kept, newer));
                }
                if let Some(older) = self.parked.insert(key.clone(), kept) {
                    out.push(replaced(older, delivery));
                }
                self.wake_parked(shared, &key, now);
            }
            Keep::Held => {
                self.held.insert(number);
                if let Some(key) = asks_for_a_state(delivery)
                    && let Some(older) = self.held_newest.insert(key.clone(), kept)
                    && older.number != number
                {
                    self.held.remove(&older.number);
                    out.push(replaced(older, delivery));
                }
            }
            Keep::Storm => {
                self.storm.insert(number);
            }
            Keep::NextTurn => shared.inbox.push_front(kept),
        }
        out.push(conclusion);
    }

    /// Notes that a request of a release, by its number, is looked into before it is carried out.
    pub(super) fn asks(&mut self, key: &ReleaseKey, number: i64) {
        self.asking.entry(key.clone()).or_default().asked.push(number);
    }

    /// Keeps what goes on from the state that an older request asks for, a pause or a step, until that was looked into; gives back any other. What asks for
    /// a state itself, a rollback for one, waits for no registry: it takes the place of what was asked for before it.
    pub(super) fn keep_behind(&mut self, delivery: Delivery) -> Option<Delivery> {
        let asking = release_of(&delivery).and_then(|key| self.asking.get_mut(key));
        let asking = asking.filter(|asking| asking.is_before(&delivery) && asks_for_a_state(&delivery).is_none());
        match asking {
            Some(asking) => asking.behind.push(delivery),
            None => return Some(delivery),
        }
        None
    }

    /// Takes up a request that was looked into, to go back to where it came from, and what waited behind it alone. Where something newer took the place of the
    /// request meanwhile, that is concluded.
    pub(super) fn has_asked(&mut self, delivery: Delivery, work: &mut Work) -> (Option<Delivery>, Vec<Delivery>) {
        let Some(key) = release_of(&delivery).cloned() else { return (Some(delivery), Vec::new()) };
        let Some(asking) = self.asking.get_mut(&key) else { return (Some(delivery), Vec::new()) };
        if let Some(place) = asking.asked.iter().position(|number| *number == delivery.number) {
            asking.asked.swap_remove(place);
        }
        let behind = std::mem::take(&mut asking.behind);
        let (behind, freed) = behind.into_iter().partition(|waiting| asking.is_before(waiting));
        asking.behind = behind;
        let newer = asking.newer.clone().filter(|newer| newer.number > delivery.number);
        if asking.asked.is_empty() {
            self.asking.remove(&key);
        }
        let Some(newer) = newer else { return (Some(delivery), freed) };
        work.concluded.push(replaced(delivery, &newer));
        (None, freed)
    }

    /// When a parked delivery is tried again by itself: once what is in Git counts as applied.
    fn wake_parked(&mut self, shared: &Shared, key: &ReleaseKey, now: Timestamp) {
        let (Some(entry), Ok(environment)) = (shared.entry(key), shared.environment(&key.environment)) else { return };
        if watched(shared, &key.environment).is_some() {
            // It is woken by what is seen.
            return;
        }
        let at = entry.release.rollout.counts_as_live_at(environment.blind_delay);
        if at > now {
            self.agenda.at(at, key);
        }
    }

    /// Ends what deliveries were put off for that somebody gave in again. What waits for anything else, in the queue or for the end of a hold, goes on
    /// waiting for that; what is done with by now stays so.
    pub(super) fn try_now(&mut self, numbers: &BTreeSet<i64>, now: Timestamp) {
        if numbers.is_empty() {
            return;
        }
        let put_off: Vec<_> = self.retry.extract_if(.., |(_, number), _| numbers.contains(number)).collect();
        self.retry.extend(put_off.into_iter().map(|((_, number), delivery)| ((now, number), delivery)));
        for key in self.parked.iter().filter(|(_, parked)| numbers.contains(&parked.number)).map(|(key, _)| key) {
            self.agenda.at(now, key);
        }
    }

    /// Writes down when what was changed is looked at again.
    fn plan_ahead(&mut self, shared: &Shared, harvest: &Harvest, ticks: &[ReleaseKey], now: Timestamp) {
        let mut waits = write(&shared.waits);
        for (key, decision) in &harvest.decisions {
            let reason = match decision {
                Some(Decision::Go(_)) => {
                    self.agenda.at(now, key);
                    None
                }
                Some(Decision::Wait { until, reason }) => {
                    if let Some(until) = until {
                        self.agenda.at(*until, key);
                    }
                    Some((reason.clone(), *until))
                }
                Some(Decision::Done) | None => None,
            };
            match reason {
                Some((reason, until)) => {
                    waits.insert(key.clone(), super::shared::Waits { reason: Some(reason), until })
                }
                None => waits.remove(key),
            };
        }
        drop(waits);
        // A commit of a release may be what its parked delivery waited for, unless the delivery itself led to it.
        let newest: HashMap<&ReleaseKey, &CommitId> = harvest.rows.iter().map(|row| (&row.key, &row.commit)).collect();
        for (key, commit) in newest {
            if self.parked.get(key).is_some_and(|parked| parked.verdict.commit.as_ref() != Some(commit)) {
                self.agenda.at(now, key);
            }
        }
        for key in ticks.iter().filter(|key| shared.hold_of(&key.environment).is_some()) {
            self.held_ticks.insert(key.clone());
        }
    }

    /// Brings back what was kept away by holds.
    pub(super) fn lift_holds(&mut self, shared: &Shared, now: Timestamp) {
        for key in std::mem::take(&mut self.held_ticks) {
            self.agenda.at(now, &key);
        }
        self.held_newest.clear();
        shared.inbox.leave_out(std::mem::take(&mut self.held));
    }

    /// When the storm guard lets the next release through, where something waits for that.
    pub(super) fn storm_ends(&self) -> Option<Timestamp> {
        if self.storm.is_empty() {
            return None;
        }
        let oldest = self.made.values().filter_map(VecDeque::front).min();
        Some(oldest.map_or(Timestamp::MIN, |at| at.saturating_add(STORM_WINDOW).unwrap_or(Timestamp::MAX)))
    }

    /// The next moment at which something is due; also something new, where that waits.
    pub(super) fn next(&self, has_news: bool) -> Option<Timestamp> {
        let retry = self.retry.first_key_value().map(|((at, _), _)| *at);
        let new = has_news.then(|| self.pause.as_ref().map(|pause| pause.at_least)).flatten();
        let next = [self.agenda.next(), retry, self.pace.next(), self.storm_ends(), new].into_iter().flatten().min()?;
        Some(self.pause.as_ref().map_or(next, |pause| next.max(pause.ends(has_news))))
    }
}

/// Since when the storm guard counts.
pub(super) fn storm_since(now: Timestamp) -> Timestamp {
    now.saturating_sub(STORM_WINDOW).unwrap_or(Timestamp::MIN)
}

/// Lets the readers see what a turn has done.
pub(super) fn show(shared: &Shared, harvest: &Harvest) {
    let Harvest { fresh, gone, registry, .. } = harvest;
    {
        let mut index = write(&shared.index);
        for key in gone.iter().filter(|key| !fresh.has(key)) {
            index.remove(key);
        }
        for (key, entry) in fresh.iter() {
            index.put(key.clone(), entry.entry());
        }
    }
    let mut known = write(&shared.registry);
    known.extend(registry.iter().map(|(model, state)| (model.clone(), Arc::clone(state))));
}

#[cfg(test)]
mod tests;
