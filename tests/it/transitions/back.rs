//! A rollback over another engine or port, by what is seen of the cluster.

use std::collections::BTreeSet;

use kmlflow::names::PredictorName;
use kmlflow::release::{
    Act, Action, Deployed, Intent, Observed, Outcome, Period, Phase, Readiness, Release, Role, Seen,
};
use kmlflow::rollout::{self, Decision};

use super::{Became, Repository, put};

/// A cluster that has taken over what Git holds, whose stable predictor answers or does not.
fn seen(repository: &Repository, answers: bool) -> Observed {
    let release = repository.release.as_ref().unwrap();
    let ready = |predictor: &PredictorName| {
        let is_stable = release.stable().is_some_and(|stable| stable.predictor == *predictor);
        if answers || !is_stable { Readiness::Ready } else { Readiness::NotReady("it crashes".to_owned()) }
    };
    let predictors = release.spec.variants.iter().map(|variant| variant.predictor.clone());
    Observed::Seen(Seen {
        variants: predictors.map(|predictor| (predictor.clone(), ready(&predictor))).collect(),
        applied: true,
        routed: release.traffic().unwrap().named().into_iter().cloned().collect::<BTreeSet<_>>(),
        is_followed: true,
        live_since: answers.then_some(repository.now),
    })
}

/// Version 1, then each of these, settled.
fn settled(requests: &[&str]) -> Repository {
    let mut repository = Repository::new(Period::ZERO);
    for request in requests {
        repository.put(request);
        assert_eq!(repository.release.as_ref().unwrap().rollout.phase, Phase::Settled, "{request}");
    }
    repository
}

fn rollback(repository: &Repository) -> Intent {
    let Deployed { release, commit } = repository.deployed().unwrap();
    kmlflow::plan::absolute(&Act::Rollback { to: None }, &Deployed { release, commit }, &repository.history()).unwrap()
}

/// All that comes by itself, with a cluster that follows at once.
fn go_on(repository: &mut Repository) -> Vec<Action> {
    let begun = repository.commits.len();
    for _ in 0..16 {
        let release = repository.release.clone().unwrap();
        let restorable = repository.restorable(release.rollout.restores.as_ref());
        let observed = seen(repository, true);
        let Decision::Go(intent) = rollout::decide(&release, restorable.as_ref(), &observed, repository.now) else {
            return repository.commits[begun..].iter().map(|(_, action, _)| *action).collect();
        };
        let became = repository.plan_once(&intent, observed);
        assert!(matches!(became, Became::Committed(_)), "{intent:?}: {became:?}");
    }
    panic!("it never comes to rest");
}

fn roles(release: &Release) -> Vec<(Role, &str)> {
    release.spec.variants.iter().map(|variant| (variant.role, variant.predictor.as_str())).collect()
}

const OTHER: &str = "version: 2, serving: {engine: false, env: [{name: MODE, value: fast}]}";

#[test]
fn what_serves_well_goes_on_until_the_older_version_is_ready_and_the_older_files_are_back_at_the_end() {
    let mut repository = settled(&["version: 1, serving: {replicas: 2}", OTHER]);
    let first = repository.history().last().unwrap().release.clone();
    let back = rollback(&repository);
    let observed = seen(&repository, true);
    assert_eq!(repository.plan_once(&back, observed.clone()), Became::Committed(Action::Rollback));
    let entering = repository.release.clone().unwrap();
    assert_eq!(entering.rollout.phase, Phase::Entering);
    assert_eq!(roles(&entering), [(Role::Live, "v2"), (Role::Candidate, "v1")]);
    assert_eq!(entering.rollout.rejected[0].version.as_str(), "2", "it is the rollback already");
    let served = |release: &Release, place: usize| release.serving_of(&release.spec.variants[place]);
    assert_eq!(served(&entering, 1), served(&first, 0), "neither has what is the other's alone");
    assert!(served(&entering, 0).env.is_some());
    assert_eq!(repository.plan_once(&back, observed), Became::Nothing, "the same rollback again");
    assert_eq!(rollout::undo(&entering), None, "a way back is not taken back");

    assert_eq!(go_on(&mut repository), [Action::Rollback, Action::Leave, Action::Settle]);
    let release = repository.release.unwrap();
    assert_eq!((&release.spec, &release.rendered), (&first.spec, &first.rendered));
    assert_eq!((release.rollout.phase, release.rollout.outcome), (Phase::Settled, Some(Outcome::RolledBack)));
}

#[test]
fn where_nothing_answers_or_nobody_looks_it_is_one_commit() {
    let unseen = Observed::Blind { delay: Period::ZERO };
    for observed in [None, Some(unseen)] {
        let mut repository = settled(&["version: 1", OTHER]);
        let observed = observed.unwrap_or_else(|| seen(&repository, false));
        let back = rollback(&repository);
        assert_eq!(repository.plan_once(&back, observed), Became::Committed(Action::Rollback));
        let release = repository.release.unwrap();
        assert_eq!((release.rollout.phase, roles(&release)), (Phase::Settled, vec![(Role::Live, "v1")]));
    }
}

#[test]
fn to_other_pods_of_one_name_it_goes_by_a_name_of_their_own() {
    let mut repository = settled(&["version: 1", "version: 2", "version: 1, serving: {engine: false}"]);
    // Back past version 2, to the first state, whose pods have the name of those that serve.
    let first = repository.history().last().unwrap().clone();
    let back = Intent::Rollback { to: first.commit };
    let observed = seen(&repository, true);
    assert_eq!(repository.plan_once(&back, observed), Became::Committed(Action::Rollback));
    assert_eq!(roles(repository.release.as_ref().unwrap()), [(Role::Live, "v1"), (Role::Candidate, "v1r2")]);
    assert!(repository.release.as_ref().unwrap().rollout.rejected.is_empty(), "no other version was at fault");
    let actions = go_on(&mut repository);
    assert_eq!(actions, [Action::Rollback, Action::Leave, Action::Settle, Action::Rollback]);
    let release = repository.release.unwrap();
    assert_eq!((&release.spec, &release.rendered), (&first.release.spec, &first.release.rendered));
}

#[test]
fn a_request_ends_a_rollback_that_is_on_its_way() {
    let mut repository = settled(&["version: 1", OTHER]);
    let back = rollback(&repository);
    let observed = seen(&repository, true);
    repository.plan_once(&back, observed.clone());
    // The version that serves still does, and a person wants it after all.
    let stay = put(OTHER);
    assert_eq!(repository.plan_once(&stay, observed), Became::Committed(Action::Abort));
    go_on(&mut repository);
    let release = repository.release.unwrap();
    assert_eq!((release.rollout.phase, roles(&release)), (Phase::Settled, vec![(Role::Live, "v2")]));
}
