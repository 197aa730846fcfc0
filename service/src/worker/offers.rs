//! Putting what waits for a review on its branches, once everybody else who has to do with the turn was told.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::conclusion::{Concluded, Conclusion, Keep};
use super::conveyor::{Conveyor, Done};
use super::deliveries::DoneBefore;
use super::index::Index;
use super::publish::refused;
use super::replaced::replaces;
use super::retry::{Pause, later, wait_after, wait_at_least};
use super::review::{Offer, Proposed, offer};
use super::shared::{Shared, about_the_request};
use super::turn::{Following, Harvest};
use crate::git::GitError;
use crate::git::remote::RemoteError;
use crate::names::{CommitId, ReleaseKey};
use crate::release::Refusal;

/// How long a branch for a review is left alone that could not be moved, and that is not the remote's fault.
const OFFER_RETRY: Duration = Duration::from_secs(5);

/// How long after its begin a turn takes up one more branch: a push to a slow remote may take minutes, and others wait for the next turn.
const OFFERS_WITHIN: Duration = Duration::from_secs(10);

/// What is to be reviewed of a turn, with the conclusions of whoever waits for it.
pub(super) struct Proposals {
    done: Done,
    /// The releases among them that the turn also committed.
    changed: HashMap<ReleaseKey, CommitId>,
}

/// How the branches of reviews fare at the remote.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// How many failed in a row.
    failures: u32,
    /// Set while none is tried, with the reason.
    pause: Option<(Pause, String)>,
}

impl Offers {
    /// Why and until when a branch is left alone; something new finds out earlier that all is well again.
    fn paused(&self, is_new: bool, now: Timestamp) -> Option<(String, Timestamp)> {
        let (pause, words) = self.pause.as_ref().filter(|(pause, _)| !pause.is_over(is_new, now))?;
        Some((words.clone(), pause.until))
    }

    /// Takes note of a failure; says why and until when the branch waits. Where it may be the remote's fault, all others wait too, and go first then:
    /// it may be that of this one.
    fn fail(&mut self, error: &GitError, now: Timestamp) -> (String, Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let (words, until) = (error.for_callers(), later(now, wait_after(error, self.failures)));
        if !concerns_all(error) {
            return (words, until);
        }
        let at_least = later(now, wait_at_least(error)).min(until);
        self.pause = Some((Pause { until, at_least }, words.clone()));
        (words, later(until, OFFER_RETRY))
    }
}

/// Whether what failed for one branch fails for each.
fn concerns_all(error: &GitError) -> bool {
    use RemoteError::{NotKept, NotMoved, Settings};
    matches!(error, GitError::Remote(error) if !matches!(error, NotKept { .. } | NotMoved { .. } | Settings { .. }))
}

impl Done {
    /// Takes out what is to be reviewed, so that the rest can be told before; nothing where there is nothing.
    pub(super) fn take_proposals(&mut self) -> Option<Proposals> {
        let mut proposed = std::mem::take(&mut self.harvest.proposed);
        proposed.retain(|key, _| !self.is_overtaken(key));
        if proposed.is_empty() {
            return None;
        }
        let waits = |made: &Conclusion| matches!(&made.keep, Keep::Parked(key) if proposed.contains_key(key));
        let (conclusions, rest) = std::mem::take(&mut self.conclusions).into_iter().partition(waits);
        self.conclusions = rest;
        let rows = self.harvest.rows.iter().filter(|row| proposed.contains_key(&row.key));
        let changed = rows.map(|row| (row.key.clone(), row.commit.clone())).collect();
        // What is there of them stays until then.
        self.offered.extend(proposed.keys().cloned());
        let tip = self.harvest.tip.clone();
        let harvest = Harvest {
            tip: tip.clone(),
            fresh: Index::default(),
            gone: Default::default(),
            registry: HashMap::new(),
            rows: Vec::new(),
            made: Vec::new(),
            answered: Vec::new(),
            refused: Vec::new(),
            decisions: Vec::new(),
            proposed,
            following: Following::default(),
        };
        let (found_done, offered, is_proof) = (DoneBefore::new(), BTreeSet::new(), false);
        let done =
            Self { harvest, conclusions, base: tip, replaced: None, found_done, policies: None, offered, is_proof };
        Some(Proposals { done, changed })
    }

    /// Whether something that was carried out in the same turn took the place of what asks for a review of a release.
    fn is_overtaken(&self, key: &ReleaseKey) -> bool {
        let asks = self.conclusions.iter().rfind(|made| matches!(&made.keep, Keep::Parked(of) if of == key));
        asks.is_some_and(|asks| {
            self.conclusions.iter().any(|made| {
                made.concluded.verdict.release.as_ref() == Some(key)
                    && made.delivery.number > asks.delivery.number
                    && replaces(&made.delivery, made.concluded.state)
            })
        })
    }
}

impl Conveyor {
    /// Puts what waits for a review on its branches. What cannot be put there stays for later, or is refused as any change is.
    pub(super) async fn offer(&mut self, shared: &Shared, proposals: Proposals) -> Done {
        let Proposals { mut done, changed } = proposals;
        let begin = Instant::now();
        for (key, proposed) in std::mem::take(&mut done.harvest.proposed) {
            let now = shared.clock.now_exact();
            let (words, at) = if let Some(paused) = self.offers.paused(self.is_new(&key, &proposed), now) {
                paused
            } else if begin.elapsed() >= OFFERS_WITHIN {
                ("others are put up for review first".to_owned(), now)
            } else {
                match put_up(shared, &done.harvest.tip, &key, &proposed).await {
                    Ok(Offer::There) => {
                        self.offers = Offers::default();
                        done.offered.insert(key);
                        continue;
                    }
                    Ok(Offer::Refused(words)) => {
                        self.refuse(shared, &mut done, &key, &words);
                        continue;
                    }
                    Ok(Offer::Theirs(refusal)) => {
                        self.leave_to_them(shared, &mut done, &key, &refusal);
                        continue;
                    }
                    Ok(Offer::Later(words)) => (words, later(now, OFFER_RETRY)),
                    Err(error) if error.is_about_the_request() => {
                        self.leave_to_them(shared, &mut done, &key, &about_the_request(&error));
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(release.key = %key, error = &error as &dyn std::error::Error, "The branch of the review of `{key}` could not be moved: {error}");
                        self.offers.fail(&error, shared.clock.now_exact())
                    }
                }
            };
            tracing::warn!(release.key = %key, "What is to be reviewed of `{key}` is not on its branch yet: {words}");
            self.agenda.at(at, &key);
            for made in parked(&mut done, &key) {
                made.concluded.verdict.waits_for = Some(format!("a branch for its review: {words}"));
            }
            // Until then nothing else takes its place.
            done.offered.insert(key);
        }
        self.look_at_changed(&done, &changed, shared.clock.now_exact());
        done
    }

    /// Whether somebody asks for it who did not wait before this turn.
    fn is_new(&self, key: &ReleaseKey, proposed: &Proposed) -> bool {
        let waits = self.parked.get(key).map(|parked| &parked.id);
        proposed.delivery.is_some() && waits != proposed.delivery.as_ref()
    }

    /// Has what was committed of a release after its review was planned taken into account by the next turn.
    fn look_at_changed(&mut self, done: &Done, changed: &HashMap<ReleaseKey, CommitId>, now: Timestamp) {
        for made in &done.conclusions {
            let Keep::Parked(key) = &made.keep else { continue };
            if changed.get(key).is_some_and(|commit| made.concluded.verdict.commit.as_ref() != Some(commit)) {
                self.agenda.at(now, key);
            }
        }
    }

    fn refuse(&mut self, shared: &Shared, done: &mut Done, key: &ReleaseKey, words: &str) {
        let mut was_asked = false;
        for made in parked(done, key) {
            *made = refused(made.delivery.clone(), std::slice::from_ref(made), words);
            was_asked = true;
        }
        if !was_asked {
            self.put_off(shared, key, words);
        }
    }

    /// Refuses what would write over what people added to the branch of a review. What follows by itself waits until they have decided.
    fn leave_to_them(&mut self, shared: &Shared, done: &mut Done, key: &ReleaseKey, refusal: &Refusal) {
        tracing::warn!(release.key = %key, "A change of `{key}` is not put up for review: {}", refusal.reason);
        let mut was_asked = false;
        for made in parked(done, key) {
            let release = made.concluded.verdict.release.clone();
            made.concluded = Concluded::refused(release, refusal.clone());
            made.keep = Keep::No;
            was_asked = true;
        }
        if !was_asked {
            self.leave_alone(shared, key, refusal.reason.clone());
        }
    }
}

/// What waits for the review of a release.
fn parked<'d>(done: &'d mut Done, key: &ReleaseKey) -> impl Iterator<Item = &'d mut Conclusion> {
    done.conclusions.iter_mut().filter(move |made| matches!(&made.keep, Keep::Parked(of) if of == key))
}

/// Puts a change on the branch of its review. Where that needs a commit that is not fetched yet, it waits for that.
async fn put_up(shared: &Shared, target: &CommitId, key: &ReleaseKey, proposed: &Proposed) -> Result<Offer, GitError> {
    match offer(shared, target, key, proposed).await {
        Err(GitError::NotFetched) => {
            shared.repository.complete().await?;
            offer(shared, target, key, proposed).await
        }
        offered => offered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_one_branch_by_the_remote_has_all_wait_as_long_as_that_asks_for() {
        let now = Timestamp::UNIX_EPOCH;
        let asked = Duration::from_secs(60);
        let address = || "/srv/git/x.git".to_owned();
        let busy = RemoteError::Busy { address: address(), status: 429, retry_after: Some(asked) };
        let mut offers = Offers::default();
        let (words, own) = offers.fail(&busy.into(), now);
        assert_eq!(words, "the remote takes no more requests for now (429)");
        let (told, others) = offers.paused(true, now).unwrap();
        assert!(told == words && others >= later(now, asked) && others < own, "{others} {own}");
        assert!(offers.paused(true, later(now, asked)).is_none(), "something new goes as soon as it may");
        assert!(offers.paused(false, own).is_none());

        let mut offers = Offers::default();
        let full = RemoteError::NotKept { address: address(), words: "no room".to_owned() };
        offers.fail(&full.into(), now);
        assert!(offers.paused(false, now).is_none(), "a smaller one may fit");
    }
}
