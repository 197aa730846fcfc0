//! The laws that hold whatever people ask for, in whatever order.

use kmlflow::names::PredictorName;
use kmlflow::plan;
use kmlflow::release::{
    Act, Action, Intent, MainRule, Period, Phase, RefusalKind, Rejected, Release, Role, Wanted, WeightsRequest,
};
use kmlflow::rollout::Decision;
use proptest::prelude::*;

use super::{Became, Repository, put};

/// Something a person or the registry does, or time that goes by.
#[derive(Debug, Clone)]
enum Move {
    Put(String),
    Act(Act),
    Time(i64),
}

fn moves() -> impl proptest::strategy::Strategy<Value = Vec<Move>> {
    let version = 1_u32..6;
    let strategies = prop::sample::select(vec![
        "strategy: single",
        "strategy: single, serving: {resources: {requests: {cpu: 200m}}}",
        "strategy: single, serving: {replicas: 2}",
        "strategy: single, serving: {engine: false, port: 9001}",
        "strategy: single, serving: {docsPath: /docs}",
        "strategy: canary",
        "strategy: canary, steps: [10, {weight: 60, pause: 5m}]",
        "strategy: canary, steps: [{weight: 5, pause: 1m}, {weight: 50, pause: 1m}]",
        "strategy: ab",
        "strategy: ab, weights: {a: 90, b: 10}, match: [{header: x-group, value: beta, variant: b}]",
        "strategy: ab, serving: {env: [{name: MODE, value: fast}]}",
        "strategy: blue-green",
        "strategy: blue-green, scaleDownDelay: 10m, autoPromoteAfter: 5m",
        "strategy: shadow, percent: 20",
    ]);
    let put = (version, strategies).prop_map(|(version, rest)| Move::Put(format!("version: {version}, {rest}")));
    let acts = prop::sample::select(vec![
        Act::Advance,
        Act::Promote { variant: None },
        Act::Promote { variant: Some(Role::B) },
        Act::Abort,
        Act::Rollback { to: None },
        Act::Pause,
        Act::Resume,
        Act::Weights(WeightsRequest {
            weights: Some([(Role::A, 20), (Role::B, 80)].into_iter().collect()),
            percent: None,
        }),
        Act::Weights(WeightsRequest { weights: None, percent: Some(50) }),
        Act::Retract,
    ]);
    let time = prop::sample::select(vec![0_i64, 30, 60, 301, 700, 4000]).prop_map(Move::Time);
    prop::collection::vec(prop_oneof![4 => put, 4 => acts.prop_map(Move::Act), 3 => time], 1..25)
}

fn play(repository: &mut Repository, step: &Move) -> Option<Became> {
    match step {
        Move::Put(request) => Some(repository.put(request)),
        Move::Act(act) => Some(repository.act(act)),
        Move::Time(seconds) => {
            repository.advance_clock(*seconds);
            repository.go_on();
            None
        }
    }
}

/// Every law that two commits in a row must keep.
fn check_commits(repository: &Repository) {
    let pairs = repository.commits.windows(2);
    for (_, _, release) in &repository.commits {
        let Some(release) = release else { continue };
        check_weights_sum(release);
    }
    for pair in pairs {
        let [(_, _, Some(before)), (_, action, Some(after))] = pair else { continue };
        check_routes_name_what_was_there(before, after, *action);
        check_pods_stay(repository, before, after);
    }
}

fn check_weights_sum(release: &Release) {
    let traffic = release.traffic().expect("a release has variants");
    if let MainRule::Split(split) = &traffic.main {
        assert_eq!(split.iter().map(|(_, weight)| u32::from(*weight)).sum::<u32>(), 100, "{split:?}");
    }
    let deployed: Vec<&PredictorName> = release.spec.variants.iter().map(|variant| &variant.predictor).collect();
    assert!(
        traffic.named().iter().all(|named| deployed.contains(named)),
        "a route names a predictor that is not there"
    );
    let leaving: Vec<&PredictorName> = release.leaving().map(|variant| &variant.predictor).collect();
    assert!(traffic.named().iter().all(|named| !leaving.contains(named)), "a route names a predictor that leaves");
}

fn check_routes_name_what_was_there(before: &Release, after: &Release, action: Action) {
    let there: Vec<&PredictorName> = before.spec.variants.iter().map(|variant| &variant.predictor).collect();
    for named in after.traffic().unwrap().named() {
        assert!(there.contains(&named), "{action} names {named}, which the commit before did not have");
    }
}

/// A predictor that stays keeps its pods. Only a restored state may have other pods under a name that was used again since.
fn check_pods_stay(repository: &Repository, before: &Release, after: &Release) {
    let restored =
        repository.restorable(after.rollout.restores.as_ref()).filter(|_| after.rollout.phase == Phase::Settled);
    for (predictor, hash) in &after.rendered.pods {
        let as_restored = restored.as_ref().and_then(|state| state.release.rendered.pods.get(predictor));
        if let Some(was) = before.rendered.pods.get(predictor)
            && as_restored != Some(hash)
        {
            assert_eq!(hash, was, "{predictor} stays and would be restarted");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_keeps_weights_names_and_pods(moves in moves(), blind_minutes in prop::sample::select(vec![0_u64, 5])) {
        let mut repository = Repository::new(Period::from_minutes(blind_minutes));
        for step in &moves {
            play(&mut repository, step);
        }
        check_commits(&repository);
    }

    #[test]
    fn the_same_absolute_request_twice_changes_nothing(moves in moves(), blind_minutes in prop::sample::select(vec![0_u64, 5])) {
        let mut repository = Repository::new(Period::from_minutes(blind_minutes));
        for step in &moves {
            let intent = match (step, repository.deployed()) {
                (Move::Put(request), _) => Some(put(request)),
                (Move::Act(act), Some(deployed)) => plan::absolute(act, &deployed, &repository.history()).ok(),
                _ => None,
            };
            let became = play(&mut repository, step);
            if let (Some(intent), Some(Became::Committed(_))) = (intent, became) {
                let commits = repository.commits.len();
                let again = repository.intend(&intent);
                prop_assert!(!matches!(again, Became::Committed(_)), "{intent:?} again: {again:?}");
                prop_assert_eq!(repository.commits.len(), commits);
            }
        }
    }

    #[test]
    fn left_alone_it_settles_or_waits_for_a_person(moves in moves(), blind_minutes in prop::sample::select(vec![0_u64, 5])) {
        let mut repository = Repository::new(Period::from_minutes(blind_minutes));
        for step in &moves {
            play(&mut repository, step);
        }
        let mut decision = repository.go_on();
        for _ in 0..64 {
            match decision {
                Decision::Wait { until: Some(until), .. } => {
                    prop_assert!(until > repository.now, "it waits for a moment that has come");
                    repository.now = until;
                }
                _ if repository.pending.is_some() => repository.advance_clock(300),
                _ => break,
            }
            decision = repository.go_on();
        }
        if let Some(release) = &repository.release {
            let rollout = &release.rollout;
            let rests = rollout.paused.is_some() || matches!(rollout.phase, Phase::Settled | Phase::Running);
            prop_assert!(rests, "stuck in {:?}: {:?}", rollout.phase, decision);
            let waits_for_a_person = matches!(&decision, Decision::Done | Decision::Wait { until: None, .. });
            prop_assert!(waits_for_a_person, "{decision:?}");
        }
    }

    #[test]
    fn a_rollback_ends_in_a_settled_state_of_before(moves in moves()) {
        let mut repository = Repository::new(Period::ZERO);
        for step in &moves {
            play(&mut repository, step);
        }
        let settled_before = repository.history();
        if repository.act(&Act::Rollback { to: None }) == Became::Committed(Action::Rollback) {
            let release = repository.release.clone().unwrap();
            prop_assert_eq!(release.rollout.phase, Phase::Settled);
            let same = settled_before.iter().any(|state| state.release.spec == release.spec && state.release.rendered == release.rendered);
            prop_assert!(same, "no settled state of before looks like this: {}", release.to_yaml());
        }
    }
}

#[test]
fn a_rollback_to_a_name_that_was_used_again_brings_its_pods_back() {
    let mut repository = Repository::new(Period::ZERO);
    for request in ["version: 2", "version: 4", "version: 2, serving: {resources: {requests: {cpu: 200m}}}"] {
        assert!(matches!(repository.put(request), Became::Committed(_)));
    }
    let first = repository.commits[0].2.clone().unwrap();
    let last = repository.release.clone().unwrap();
    let predictor = &last.stable().unwrap().predictor;
    assert_eq!(predictor.to_string(), "v2", "of that version nothing was deployed any more");
    assert_ne!(last.rendered.pods[predictor], first.rendered.pods[predictor]);
    repository.put("version: 4, strategy: canary");
    repository.act(&Act::Abort);
    assert_eq!(repository.act(&Act::Rollback { to: None }), Became::Committed(Action::Rollback));
    assert_eq!(repository.release.unwrap().rendered, first.rendered);
}

#[test]
fn a_second_rollback_goes_one_further_back() {
    let mut repository = Repository::new(Period::ZERO);
    for version in 1..=3 {
        assert!(matches!(repository.put(&format!("version: {version}")), Became::Committed(_)));
    }
    let serves = |repository: &Repository| repository.release.as_ref().unwrap().stable().unwrap().version.to_string();
    let rollback = Act::Rollback { to: None };
    assert_eq!(repository.act(&rollback), Became::Committed(Action::Rollback));
    assert_eq!(serves(&repository), "2");
    assert_eq!(repository.act(&rollback), Became::Committed(Action::Rollback));
    assert_eq!(serves(&repository), "1");
    assert_eq!(repository.act(&rollback), Became::Refused(RefusalKind::Conflict));
    assert_eq!(repository.put("version: 4"), Became::Committed(Action::Update));
    assert_eq!(repository.act(&rollback), Became::Committed(Action::Rollback));
    assert_eq!(serves(&repository), "1");
}

#[test]
fn a_rejected_version_returns_for_a_person_and_not_for_the_registry() {
    let mut repository = Repository::new(Period::ZERO);
    repository.put("version: 1");
    repository.put("version: 2, strategy: canary");
    assert_eq!(repository.act(&Act::Abort), Became::Committed(Action::Abort));
    let Intent::Put(wanted) = put("version: 2, strategy: canary") else { unreachable!() };
    let by_registry = Intent::Put(Box::new(Wanted { by_registry: true, ..*wanted }));
    assert_eq!(repository.intend(&by_registry), Became::Nothing);
    assert_eq!(repository.put("version: 2, strategy: canary"), Became::Committed(Action::Enter));
    assert!(repository.release.unwrap().rollout.rejected.is_empty());
}

#[test]
fn a_replayed_step_is_one_step() {
    let mut repository = Repository::new(Period::ZERO);
    repository.put("version: 1");
    repository.put("version: 2, strategy: canary");
    let intent = plan::absolute(&Act::Advance, &repository.deployed().unwrap(), &[]).unwrap();
    assert_eq!(repository.intend(&intent), Became::Committed(Action::Step));
    assert_eq!(repository.intend(&intent), Became::Nothing);
    assert_eq!(repository.release.unwrap().rollout.step, Some(1));
}

#[test]
fn other_steps_keep_the_present_weight() {
    let mut repository = Repository::new(Period::ZERO);
    repository.put("version: 1");
    repository.put("version: 2, strategy: canary, steps: [5, 25, 50]");
    repository.act(&Act::Advance);
    assert_eq!(repository.put("version: 2, strategy: canary, steps: [10, 40, 80]"), Became::Committed(Action::Update));
    let weights = |repository: &Repository| -> Vec<u8> {
        repository.release.as_ref().unwrap().spec.canary.as_ref().unwrap().steps.iter().map(|s| s.weight).collect()
    };
    assert_eq!(weights(&repository), [5, 25, 40, 80]);
    assert_eq!(repository.put("version: 2, strategy: canary, steps: [10, 40, 80]"), Became::Nothing);
    repository.act(&Act::Advance);
    assert_eq!(repository.release.unwrap().rollout.step, Some(2));
}

#[test]
fn pauses_lead_a_canary_to_its_promotion() {
    let mut repository = Repository::new(Period::ZERO);
    repository.put("version: 1");
    repository.put("version: 2, strategy: canary, steps: [{weight: 5, pause: 10m}, {weight: 50, pause: 30m}]");
    repository.advance_clock(599);
    repository.go_on();
    assert_eq!(repository.release.as_ref().unwrap().rollout.step, Some(0));
    repository.advance_clock(1);
    repository.go_on();
    assert_eq!(repository.release.as_ref().unwrap().rollout.step, Some(1));
    repository.act(&Act::Pause);
    repository.advance_clock(100_000);
    repository.go_on();
    assert_eq!(repository.release.as_ref().unwrap().rollout.step, Some(1), "a pause stops the clock");
    repository.act(&Act::Resume);
    repository.advance_clock(1_799);
    repository.go_on();
    assert_eq!(repository.release.as_ref().unwrap().rollout.phase, Phase::Running);
    repository.advance_clock(1);
    repository.go_on();
    let release = repository.release.unwrap();
    assert_eq!((release.rollout.phase, release.stable().unwrap().version.as_str()), (Phase::Settled, "2"));
}

#[test]
fn a_flip_keeps_the_colour_left_behind_and_then_settles() {
    let mut repository = Repository::new(Period::ZERO);
    repository.put("version: 1");
    repository.put("version: 2, strategy: blue-green, scaleDownDelay: 30m");
    repository.advance_clock(1_000_000);
    repository.go_on();
    assert_eq!(
        repository.release.as_ref().unwrap().rollout.phase,
        Phase::Running,
        "before the first flip nothing is removed"
    );
    assert_eq!(repository.act(&Act::Advance), Became::Committed(Action::Flip));
    repository.advance_clock(1_799);
    repository.go_on();
    assert_eq!(repository.act(&Act::Advance), Became::Committed(Action::Flip), "back to blue");
    repository.advance_clock(1_799);
    repository.go_on();
    assert_eq!(repository.release.as_ref().unwrap().rollout.phase, Phase::Running, "a flip back restarts the delay");
    assert_eq!(repository.act(&Act::Advance), Became::Committed(Action::Flip));
    repository.advance_clock(1_800);
    repository.go_on();
    let release = repository.release.unwrap();
    assert_eq!((release.rollout.phase, release.stable().unwrap().version.as_str()), (Phase::Settled, "2"));
}

#[test]
fn the_same_version_with_other_pods_gets_a_name_of_its_own() {
    let mut repository = Repository::new(Period::ZERO);
    repository.put("version: 7");
    repository.put("version: 7, serving: {resources: {requests: {cpu: 200m}}}");
    let predictor =
        |repository: &Repository| repository.release.as_ref().unwrap().stable().unwrap().predictor.to_string();
    assert_eq!(predictor(&repository), "v7r2");
    repository.put("version: 7, serving: {resources: {requests: {cpu: 300m}}}");
    assert_eq!(predictor(&repository), "v7r3");
    repository.put("version: 8");
    repository.put("version: 7");
    assert_eq!(predictor(&repository), "v7");
}

/// What a whole document asks for after an edit of its YAML.
fn put_whole(repository: &mut Repository, edit: impl Fn(String) -> String) -> Became {
    let yaml = edit(serde_yaml::to_string(&repository.release.as_ref().unwrap().spec).unwrap());
    let spec: kmlflow::release::ReleaseSpec = serde_yaml::from_str(&yaml).unwrap();
    match spec.wanted() {
        Ok(wanted) => repository.intend(&Intent::Put(Box::new(wanted))),
        Err(refusal) => Became::Refused(refusal.kind),
    }
}

#[test]
fn a_whole_document_put_back_changes_nothing_and_its_edits_are_done_or_refused() {
    let mut repository = Repository::new(Period::ZERO);
    repository.put("version: 1, serving: {env: [{name: MODE, value: fast}]}");
    assert_eq!(put_whole(&mut repository, |yaml| yaml), Became::Nothing);
    let refused = Became::Refused(RefusalKind::Invalid);
    assert_eq!(put_whole(&mut repository, |yaml| yaml.replace("host: fraud-models", "host: evil")), refused);
    assert_eq!(put_whole(&mut repository, |yaml| yaml.replace("role: live", "role: candidate")), refused);
    let second = "- role: candidate\n  version: '2'\n  predictor: v2\n  image: registry.example/fraud:2\n";
    assert_eq!(put_whole(&mut repository, |yaml| yaml.replace("serving:", &format!("{second}serving:"))), refused);
    let without_env = |yaml: String| {
        let (before, rest) = yaml.split_once("  env:\n").unwrap();
        let rest: Vec<&str> =
            rest.lines().skip_while(|line| line.starts_with("  - ") || line.starts_with("    ")).collect();
        format!("{before}{}\n", rest.join("\n"))
    };
    assert_eq!(put_whole(&mut repository, without_env), Became::Committed(Action::Update));
    assert_eq!(repository.release.as_ref().unwrap().spec.serving.env, None);
    for strategy in ["canary", "ab", "blue-green", "shadow"] {
        repository.put(&format!("version: 2, strategy: {strategy}"));
        assert_eq!(put_whole(&mut repository, |yaml| yaml), Became::Nothing, "{strategy}");
        repository.act(&Act::Abort);
    }
}

#[test]
fn what_is_rejected_after_a_promotion_counts_among_the_newest_fifty_and_says_who_did_it() {
    let mut repository = Repository::new(Period::from_minutes(5));
    repository.put("version: 1");
    repository.advance_clock(300);
    repository.put("version: 2, strategy: canary");
    repository.advance_clock(300);
    repository.go_on();
    let one = |n: u32| Rejected {
        version: super::version(100 + n),
        commit: repository.commits[0].0.clone(),
        reason: "rolled back".to_owned(),
        at: repository.now,
    };
    repository.release.as_mut().unwrap().rollout.rejected = (0..50).map(one).collect();
    assert_eq!(repository.act(&Act::Promote { variant: None }), Became::Committed(Action::Promote));
    // The old pods go first, so that the version that was promoted serves on the way back.
    repository.advance_clock(300);
    repository.go_on();
    assert_eq!(repository.act(&Act::Rollback { to: None }), Became::Committed(Action::Rollback));
    let rejected = repository.release.unwrap().rollout.rejected;
    let last = rejected.last().unwrap();
    assert_eq!((rejected.len(), last.version.as_str(), last.reason.as_str()), (50, "2", "rolled back by ada"));
}

#[test]
fn a_rollback_waits_where_the_applied_route_may_name_what_it_removes_and_nowhere_else() {
    let rollback = Act::Rollback { to: None };
    let mut repository = Repository::new(Period::from_minutes(5));
    for version in 1..=3 {
        repository.put(&format!("version: {version}"));
    }
    // From one settled version to another the route goes on naming the own Service, also for a second rollback at once.
    assert_eq!(repository.act(&rollback), Became::Committed(Action::Rollback));
    assert_eq!(repository.act(&rollback), Became::Committed(Action::Rollback));
    repository.advance_clock(300);
    repository.put("version: 4, strategy: canary");
    for _ in 0..3 {
        repository.advance_clock(300);
        repository.go_on();
        repository.act(&Act::Promote { variant: None });
    }
    assert_eq!(repository.release.as_ref().unwrap().rollout.phase, Phase::Settled);
    // The commit that settled a run moves the route away from the predictor; until it is applied the predictor must stay.
    assert!(matches!(repository.act(&rollback), Became::Waits(_)));
    repository.advance_clock(300);
    repository.go_on();
    assert_eq!(repository.release.unwrap().stable().unwrap().version.as_str(), "1");
}

#[test]
fn what_a_run_waits_for_says_what_happens_then() {
    let reason = |put: &str, acts: &[Act]| {
        let mut repository = Repository::new(Period::ZERO);
        repository.put("version: 1");
        repository.put(put);
        for act in acts {
            repository.act(act);
        }
        match repository.go_on() {
            Decision::Wait { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    let canary = "version: 2, strategy: canary, steps: [{weight: 5, pause: 10m}, {weight: 50, pause: 20m}]";
    assert_eq!(reason(canary, &[]), "step 2 of 2 begins at 2026-11-23T10:10:00Z");
    assert_eq!(reason(canary, &[Act::Advance]), "v2 is promoted at 2026-11-23T10:20:00Z");
    let blue_green = "version: 2, strategy: blue-green, scaleDownDelay: 30m, autoPromoteAfter: 5m";
    assert_eq!(reason(blue_green, &[]), "green (v2) becomes active at 2026-11-23T10:05:00Z");
    let kept = "blue (v1) is kept for a flip back, and the run ends at 2026-11-23T10:30:00Z";
    assert_eq!(reason(blue_green, &[Act::Advance]), kept);
}
