//! What a turn does on a draft: takes in what is new on the branch, then carries out what is due and what waits.

use std::collections::BTreeSet;

use super::ahead::{AHEAD_MAX, render_ahead};
use super::apply::Ground as _;
use super::conveyor::{Conveyor, Done, Work, storm_since};
use super::deliveries::{DoneBefore, Earlier, carry_out};
use super::foreign;
use super::history;
use super::policies::{self, POLICY_DIR};
use super::preview::Now;
use super::publish::Head;
use super::shared::Shared;
use super::task::Task;
use super::turn::Turn;
use crate::event::Delivery;
use crate::git::{GitError, LogEntry};
use crate::names::{CommitId, ReleaseKey};
use crate::rollout::Decision;

impl Conveyor {
    /// Commits everything on a draft on a head, after what is new there was taken in.
    pub(super) fn draft(&self, shared: &Shared, work: &Work, head: &Head) -> Result<Done, GitError> {
        let Head { base, since, is_anew } = head;
        let policies = self.policies(shared, base)?;
        let set = policies.as_ref().map_or_else(|| shared.policy_set(), |read| read.set.clone());
        let mut turn = Turn::begin(shared, base, set)?;
        turn.found.clone_from(&work.found);
        turn.findings.clone_from(&work.findings);
        turn.replaced_by.clone_from(&work.replaced_by);
        turn.by_review.clone_from(&work.by_review);
        turn.refused.clone_from(&work.refused);
        turn.as_it_lies = work.as_it_lies;
        turn.speakers.clone_from(&work.speakers);
        self.make_room(&turn);
        let mut found_done = DoneBefore::new();
        let mut replaced = None;
        if *is_anew {
            let says_ours = |entry: &LogEntry| history::says_ours(entry, &shared.settings.author);
            turn.found(history::walk(&shared.repository, since, says_ours)?.rows);
            replaced = Some(turn.rows.len());
            foreign::accept(&mut turn, &self.known)?;
        } else if !since.is_empty() {
            // At a remote another service may release as well, or this one before it was moved: what it made is taken as it is.
            let is_shared = shared.repository.address().is_some();
            let says_ours = |entry: &LogEntry| is_shared && history::says_ours(entry, &shared.settings.author);
            let is_ours = |entry: &LogEntry| self.ours.contains(&entry.commit) || says_ours(entry);
            let walked = history::walk(&shared.repository, since, is_ours)?;
            turn.found(walked.rows);
            // A push of which nobody heard what became of it.
            found_done = walked.done;
            shared.reviews.are_merged(&found_done);
            foreign::take_in(&mut turn, &foreign::changed_since(&self.known, since, is_ours))?;
        }
        for key in &work.ticks {
            Self::tick(&mut turn, key)?;
        }
        let done_before = Earlier { known: &self.done_before, found: &found_done };
        let now = Now { shared, tip: base.clone(), now: turn.now(), is_live: false, known: None };
        let mut conclusions = work.concluded.clone();
        for delivery in self.awakened(&work.ticks).chain(self.came_about(&work.ticks, &found_done)) {
            conclusions.push(carry_out(&mut turn, delivery.clone(), done_before)?);
        }
        for some in work.deliveries.chunks(AHEAD_MAX) {
            turn.prepare(render_ahead(shared, &now, some));
            for delivery in some {
                conclusions.push(carry_out(&mut turn, delivery.clone(), done_before)?);
            }
        }
        let (harvest, offered) = (turn.finish()?, BTreeSet::new());
        Ok(Done { harvest, conclusions, base: base.clone(), replaced, policies, found_done, offered, is_proof: false })
    }

    /// The deliveries that wait for releases whose time has come.
    pub(super) fn awakened<'a>(&'a self, ticks: &'a [ReleaseKey]) -> impl Iterator<Item = &'a Delivery> + 'a {
        ticks.iter().filter_map(|key| self.parked.get(key))
    }

    /// The other deliveries that wait for releases, and of which the branch was seen to have what they ask for: before anything newer takes their place.
    fn came_about<'a>(
        &'a self,
        ticks: &'a [ReleaseKey],
        found: &'a DoneBefore,
    ) -> impl Iterator<Item = &'a Delivery> + 'a {
        // What came about is nearly always nothing, and many may wait.
        let came_about = self.parked.iter().filter(|(_, parked)| found.contains_key(parked.id.as_str()));
        came_about.filter(|(key, _)| !ticks.contains(key)).map(|(_, parked)| parked)
    }

    fn policies(&self, shared: &Shared, base: &CommitId) -> Result<Option<policies::Read>, GitError> {
        if *base == self.known {
            return Ok(None);
        }
        let prefix = format!("{POLICY_DIR}/");
        let changed = shared.repository.changed(&self.known, base)?.iter().any(|path| path.starts_with(&prefix));
        if changed { policies::read(&shared.repository, base, &self.remembered).map(Some) } else { Ok(None) }
    }

    /// Does what comes next by itself for one release.
    fn tick(turn: &mut Turn<'_>, key: &ReleaseKey) -> Result<(), GitError> {
        if turn.shared.hold_of(&key.environment).is_some() {
            return Ok(());
        }
        if let Some(Decision::Go(intent)) = turn.decide(key)? {
            let task = Task::by_itself(key.clone(), intent.clone());
            turn.step(&task, intent)?;
        }
        turn.look_at(key);
        Ok(())
    }

    /// How many releases events may still make in each environment.
    fn make_room(&self, turn: &Turn<'_>) {
        let since = storm_since(turn.now());
        let mut room = turn.room.borrow_mut();
        for (name, environment) in &turn.shared.settings.environments {
            let made = self.made.get(name).map_or(0, |times| times.iter().filter(|at| **at > since).count());
            room.insert(name.clone(), (environment.new_releases_per_minute as usize).saturating_sub(made));
        }
    }
}
