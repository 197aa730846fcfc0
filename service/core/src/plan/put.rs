//! A release that is there and shall be like this: every way from one state to another.

use super::acts::{other_versions, reject_all};
use super::arms::{self, Arm};
use super::artifact::check_callers;
use super::change::{change, update};
use super::create::origin_of;
use super::situation::Situation;
use super::strategy::rules;
use super::{timing, transition};
use crate::release::{
    Action, Deployed, Outcome, Phase, Refusal, Release, ReleasePlan, Role, Serving, Strategy, Variant, Violation,
    Wanted,
};

/// Plans the next commit towards what is wanted.
pub(super) fn put(wanted: &Wanted, deployed: &Deployed, situation: &Situation) -> Result<ReleasePlan, Refusal> {
    let release = &deployed.release;
    if release.spec.model != wanted.model {
        let reason = format!("the release serves the model `{}`, not `{}`", release.spec.model, wanted.model);
        return Err(Refusal::conflict(reason, "choose another release name, or retract this one first"));
    }
    if wanted.target.as_ref().is_some_and(|target| **target != release.spec.target) {
        return Err(Refusal::violations(vec![Violation {
            field: "spec.target".to_owned(),
            detail: "is worked out by the service and cannot be changed".to_owned(),
        }]));
    }
    let arms: Vec<Arm> =
        wanted.arms.iter().map(|arm| arms::resolve(arm, wanted, release, situation)).collect::<Result<_, _>>()?;
    check_protocol(release, wanted, &arms)?;
    if wanted.by_registry
        && let Some(arm) =
            arms.iter().find(|arm| release.rollout.rejected.iter().any(|rejected| rejected.version == arm.version))
    {
        return Ok(ReleasePlan::Nothing(format!(
            "version {} was rejected and its alias was not set anew",
            arm.version
        )));
    }
    if let Some(stable) = release.stable().filter(|_| !wanted.allow_breaking_signature) {
        let mut new = arms.iter().filter(|arm| arm.deployed_in(release).is_none());
        new.try_for_each(|arm| check_callers(&stable.version, &arm.version, situation))?;
    }
    let automatic = situation.requested_by.is_none();
    if let Some(paused) = release.rollout.paused.as_ref().filter(|_| automatic) {
        return Ok(ReleasePlan::Wait(format!("the release is paused by {}", paused.by)));
    }
    let context = Put { wanted, deployed, release, arms, situation };
    match release.rollout.phase {
        Phase::Settled => context.while_settled(),
        Phase::Leaving => Ok(context.while_leaving()),
        Phase::Entering | Phase::Running => context.while_running(),
    }
}

struct Put<'a> {
    wanted: &'a Wanted,
    deployed: &'a Deployed,
    release: &'a Release,
    arms: Vec<Arm>,
    situation: &'a Situation,
}

impl Put<'_> {
    fn while_settled(&self) -> Result<ReleasePlan, Refusal> {
        let (Some(live), Some(first)) = (self.release.stable(), self.arms.first()) else { return Ok(nothing()) };
        let is_live = |arm: &Arm| arm.has_pods_of(self.release, live);
        if self.wanted.strategy == Strategy::Single && self.wanted.stable.is_some() {
            let reason = "a release by `single` has one version, and a second one was given";
            return Err(Refusal::invalid(reason, "leave the second variant out, or name the strategy that it is for"));
        }
        if self.wanted.strategy != Strategy::Single
            && self.wanted.stable.is_none()
            && is_live(first)
            && self.wanted.baseline.as_ref() == Some(&live.version)
        {
            return Err(compared_with_itself(first));
        }
        if self.arms.iter().all(is_live) {
            return Ok(self.retune_settled(first));
        }
        self.check_stable(live)?;
        if self.arms.iter().any(is_live) || has_doubles(&self.arms) {
            return Err(compared_with_itself(first));
        }
        if self.wanted.strategy == Strategy::Single { Ok(self.replace(live, first)) } else { Ok(self.start()) }
    }

    /// The same pods: only what restarts none may differ, such as the number of pods.
    fn retune_settled(&self, arm: &Arm) -> ReleasePlan {
        if self.wanted.strategy != Strategy::Single {
            return nothing();
        }
        let mut next = self.release.clone();
        next.spec.serving = arm.serving.clone();
        next.spec.deadline = self.wanted.deadline.unwrap_or(next.spec.deadline);
        if next.spec == self.release.spec {
            return nothing();
        }
        if next.spec.serving.docs_path.is_none() {
            next.rollout.docs = None;
        }
        next.rollout.restores = None;
        next.rollout.since = self.situation.now;
        next.origin = origin_of(self.situation);
        update(next, Action::Update, "other settings")
    }

    /// One version for another: in one commit where engine and port are the same, else by entering and leaving.
    fn replace(&self, live: &Variant, arm: &Arm) -> ReleasePlan {
        let before = self.release.serving_of(live);
        let same_ports = before.has_ports_of(&arm.serving);
        if !same_ports {
            return self.start();
        }
        if let Some(why) = timing::not_replaceable(self.release, self.situation) {
            return ReleasePlan::Wait(why);
        }
        let mut next = self.release.clone();
        next.spec.variants =
            vec![Variant { serving: None, ..arm.variant(Strategy::Single.stable_role(), self.release) }];
        next.spec.serving = arm.serving.clone();
        next.spec.deadline = self.wanted.deadline.unwrap_or(next.spec.deadline);
        next.origin = origin_of(self.situation);
        next.rollout.since = self.situation.now;
        next.rollout.outcome = None;
        next.rollout.restores = None;
        next.rollout.docs = None;
        self.forgive(&mut next);
        let summary = format!("version {} in place of {}", arm.version, live.version);
        update(next, Action::Update, summary)
    }

    /// A run starts only on a live stable variant.
    fn start(&self) -> ReleasePlan {
        if let Some(why) = timing::not_live(self.release, self.situation) {
            return ReleasePlan::Wait(why);
        }
        self.enter()
    }

    fn enter(&self) -> ReleasePlan {
        let strategy = self.wanted.strategy;
        let roles: Vec<Role> =
            if strategy == Strategy::Ab { Role::ARMS[1..].to_vec() } else { vec![strategy.new_role()] };
        let new: Vec<Variant> =
            self.arms.iter().zip(roles).map(|(arm, role)| arm.variant(role, self.release)).collect();
        let mut next = transition::enter(self.release, self.wanted, new, self.situation);
        self.forgive(&mut next);
        let versions: Vec<&str> = self.arms.iter().map(|arm| arm.version.as_str()).collect();
        let stable = self.release.stable().map_or("?", |variant| variant.version.as_str());
        update(next, Action::Enter, format!("{strategy}: add version {} beside {stable}", versions.join(", ")))
    }

    fn while_leaving(&self) -> ReleasePlan {
        let kept = self.release.stable();
        let goes_there = self.wanted.strategy == Strategy::Single
            && self.arms.iter().all(|arm| kept.is_some_and(|kept| arm.has_pods_of(self.release, kept)));
        if goes_there {
            return ReleasePlan::Nothing("it is on its way: what goes is leaving".to_owned());
        }
        let going: Vec<&str> = self.release.leaving().map(|variant| variant.predictor.as_str()).collect();
        let what = if going.is_empty() {
            "the release is settling".to_owned()
        } else {
            format!("{} is leaving", going.join(", "))
        };
        ReleasePlan::Wait(what)
    }

    fn while_running(&self) -> Result<ReleasePlan, Refusal> {
        let (Some(stable), Some(first)) = (self.release.stable(), self.arms.first()) else { return Ok(nothing()) };
        if self.wanted.strategy == Strategy::Single && self.wanted.stable.is_none() {
            return self.end_by_single(stable, first);
        }
        self.check_stable(stable)?;
        if self.arms.iter().any(|arm| arm.has_pods_of(self.release, stable)) || has_doubles(&self.arms) {
            return Err(compared_with_itself(first));
        }
        let running: Vec<&Variant> = self.release.staying().skip(1).collect();
        let same_arms = running.len() == self.arms.len()
            && self.arms.iter().zip(&running).all(|(arm, variant)| arm.has_pods_of(self.release, variant));
        if same_arms && self.release.spec.strategy == self.wanted.strategy {
            return Ok(self.retune_run());
        }
        let flipped = self.release.spec.blue_green.as_ref().is_some_and(|bg| bg.active == Role::Green);
        if flipped {
            return Err(Refusal::conflict(
                "green is active, so the stable variant is about to change",
                "end the run first: `promote` keeps green, `abort` goes back to blue",
            ));
        }
        Ok(if same_arms { self.change_strategy() } else { self.enter() })
    }

    /// The same variants by another strategy: they are there already, so nothing has to enter.
    fn change_strategy(&self) -> ReleasePlan {
        let phase = self.release.rollout.phase;
        let ReleasePlan::Update(mut entering) = self.enter() else { return nothing() };
        if phase == Phase::Running {
            let next = &mut entering.release;
            next.rollout.phase = Phase::Running;
            next.rollout.step = rules(self.wanted.strategy).first_step();
            let summary = rules(self.wanted.strategy).started(next);
            return update(entering.release, Action::Step, summary);
        }
        ReleasePlan::Update(entering)
    }

    /// `single` ends a run: with the candidate it is a promotion, with the stable version an abort, with a third one both after another.
    fn end_by_single(&self, stable: &Variant, arm: &Arm) -> Result<ReleasePlan, Refusal> {
        let release = self.release;
        if arm.has_pods_of(release, stable) {
            let mut next = self.ended(stable, Outcome::Aborted);
            let rejected = other_versions(&next, release.staying().skip(1));
            reject_all(&mut next, rejected, "aborted", &self.deployed.commit, self.situation);
            return Ok(self.ending(next, Action::Abort, format!("abort, keep version {}", stable.version), arm));
        }
        if let Some(winner) = release.staying().skip(1).find(|variant| arm.has_pods_of(release, variant)) {
            if release.rollout.phase == Phase::Entering {
                return Ok(ReleasePlan::Wait(format!("{} has not entered yet", winner.predictor)));
            }
            let next = self.ended(winner, Outcome::Promoted);
            return Ok(self.ending(next, Action::Promote, format!("promote version {}", winner.version), arm));
        }
        let next = self.ended(stable, Outcome::Superseded);
        Ok(self.ending(next, Action::Abort, format!("end the run for version {}", arm.version), arm))
    }

    /// The end of a run; what the request wants beyond it goes in once the release is settled.
    fn ending(&self, next: Release, action: Action, summary: String, arm: &Arm) -> ReleasePlan {
        let kept = next
            .stable()
            .filter(|kept| arm.has_pods_of(self.release, kept) && self.release.serving_of(kept) == arm.serving);
        let fulfilled = kept.is_some() && self.wanted.deadline.is_none_or(|deadline| deadline == next.spec.deadline);
        let mut change = change(next, action, summary);
        if !fulfilled {
            change.more = Some(format!("version {} goes in once the run has ended", arm.version));
        }
        ReleasePlan::Update(Box::new(change))
    }

    fn ended(&self, keep: &Variant, outcome: Outcome) -> Release {
        let mut next = transition::end_run(self.release, &keep.predictor, outcome, self.situation);
        next.origin = origin_of(self.situation);
        next
    }

    /// The same run with other settings.
    fn retune_run(&self) -> ReleasePlan {
        let mut next = self.release.clone();
        let base = next.spec.serving.over(&Serving::defaults());
        for arm in &self.arms {
            let same = |variant: &&mut Variant| {
                variant.version == arm.version && variant.artifact == arm.artifact && variant.role != Role::Leaving
            };
            if let Some(variant) = next.spec.variants.iter_mut().skip(1).find(same) {
                variant.serving = arm.serving.differing_from(&base);
            }
        }
        next.spec.deadline = self.wanted.deadline.unwrap_or(next.spec.deadline);
        let retuned = rules(self.wanted.strategy).retune(self.wanted, &mut next);
        if next.spec == self.release.spec {
            return nothing();
        }
        next.origin = origin_of(self.situation);
        let (action, summary) = retuned.unwrap_or((Action::Update, "other settings".to_owned()));
        update(next, action, summary)
    }

    /// The baseline, and a stable variant given whole, must be what is deployed.
    fn check_stable(&self, stable: &Variant) -> Result<(), Refusal> {
        if let Some(baseline) = self.wanted.baseline.as_ref().filter(|baseline| **baseline != stable.version) {
            let reason = format!("the stable version that is deployed is {}, not {baseline}", stable.version);
            return Err(Refusal::conflict(
                reason,
                format!("leave `baseline` out, or release version {baseline} first"),
            ));
        }
        if let Some(wanted) = &self.wanted.stable {
            let arm = arms::resolve(wanted, self.wanted, self.release, self.situation)?;
            if !arm.has_pods_of(self.release, stable) {
                let reason = "the stable variant cannot change while another one is added".to_owned();
                return Err(Refusal::conflict(reason, "release the changed stable variant first, by `single`"));
            }
        }
        Ok(())
    }

    /// A person's request starts anew: what was rejected of these versions is forgotten.
    fn forgive(&self, next: &mut Release) {
        next.rollout.rejected.retain(|rejected| self.arms.iter().all(|arm| arm.version != rejected.version));
    }
}

fn check_protocol(release: &Release, wanted: &Wanted, arms: &[Arm]) -> Result<(), Refusal> {
    let Some(stable) = release.stable() else { return Ok(()) };
    let before = release.serving_of(stable);
    let settled_single = release.rollout.phase == Phase::Settled && wanted.strategy == Strategy::Single;
    for arm in arms {
        let same_ports = before.has_ports_of(&arm.serving);
        if arm.serving.protocol() != before.protocol() && !(settled_single && same_ports) {
            return Err(Refusal::invalid(
                "one release has one protocol, and the new variant has another",
                "release it under another name, or change the protocol by `single` with the same port",
            ));
        }
    }
    Ok(())
}

fn has_doubles(arms: &[Arm]) -> bool {
    arms.iter().enumerate().any(|(i, arm)| arms[..i].contains(arm))
}

fn compared_with_itself(arm: &Arm) -> Refusal {
    Refusal::invalid(
        format!("version {} would be compared with itself", arm.version),
        "name another version, or other `serving` for the same one",
    )
}

fn nothing() -> ReleasePlan {
    ReleasePlan::Nothing("it is already so".to_owned())
}
