//! Policies from the outside: a file and a registry state go in, the release that should be and the reasons come out.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::event::{RegistryChange, RegistryFact};
use crate::names::{AliasName, ModelName, PolicyName, Version};
use crate::registry::RegistryState;
use crate::release::Role;

const HEAD: &str = "apiVersion: kmlflow.dev/v1\nkind: ReleasePolicy\nmetadata: {name: p}\n";

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn parse(text: &str) -> Result<ReleasePolicy, Problem> {
    let (policies, problems) = Policies::parse(&[(PolicyName::parse("p").unwrap(), text.to_owned())]);
    problems.into_iter().next().map_or_else(|| Ok(policies.iter().next().unwrap().clone()), Err)
}

/// A policy whose `spec` has these lines besides the place, which is always the same.
fn policy(spec: &str) -> ReleasePolicy {
    parse(&text(spec)).unwrap()
}

fn text(spec: &str) -> String {
    let models = if spec.contains("models:") { "" } else { "  models: ['*']\n" };
    format!(
        "{HEAD}spec:\n{models}  release: {{environment: production, namespace: models}}\n  {}\n",
        spec.replace('\n', "\n  ")
    )
}

fn default_policy() -> ReleasePolicy {
    let name = PolicyName::parse("default").unwrap();
    let (policies, problems) = Policies::parse(&[(name, seeded_default_policy())]);
    assert_eq!(problems, []);
    policies.iter().next().unwrap().clone()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_400_000 + second).unwrap()
}

fn alias_set(alias: &str, to: &str) -> RegistryFact {
    RegistryFact::AliasSet { alias: AliasName::parse(alias).unwrap(), version: version(to) }
}

fn alias_deleted(alias: &str) -> RegistryFact {
    RegistryFact::AliasDeleted { alias: AliasName::parse(alias).unwrap() }
}

fn tag_set(of: &str, key: &str, value: &str) -> RegistryFact {
    RegistryFact::TagSet { version: version(of), key: key.to_owned(), value: value.to_owned() }
}

/// The state after these facts, a second apart.
fn state(facts: &[RegistryFact]) -> RegistryState {
    let mut state = RegistryState::new(ModelName::parse("fraud").unwrap());
    for (second, fact) in facts.iter().enumerate() {
        state.apply(&RegistryChange { model: state.model.clone(), at: at(second as i64), fact: fact.clone() });
    }
    state
}

/// What a policy wants, in short: stable, second with its strategy and rule, request.
#[track_caller]
fn check(policy: &ReleasePolicy, facts: &[RegistryFact], expected: &str, because: &str) {
    let desired = desired(&state(facts), policy);
    let stable = desired.stable.as_ref().map_or("-", Version::as_str);
    let second =
        desired.second.as_ref().map_or("-".to_owned(), |s| format!("{} {} by {}", s.version, s.strategy, s.rule));
    let request = desired.request.as_ref().map_or("-".to_owned(), |wish| {
        format!("{} {}", wish.version, wish.strategy.as_ref().map_or("?", |strategy| strategy.as_str()))
    });
    let reasons = desired.because.join("\n");
    assert_eq!(format!("{stable} | {second} | {request}"), expected, "{reasons}");
    assert!(reasons.contains(because), "{reasons}");
}

#[test]
fn the_default_policy_makes_all_five_strategies_from_aliases() {
    let policy = default_policy();
    let champion = || alias_set("champion", "7");
    check(&policy, &[champion()], "7 | - | -", "version 7 is the stable one, because it has the alias `champion`");
    check(
        &policy,
        &[champion(), alias_set("challenger", "8")],
        "7 | 8 canary by 1 | -",
        "rule 1: version 8 runs as canary",
    );
    check(
        &policy,
        &[champion(), alias_set("shadow", "8")],
        "7 | 8 shadow by 2 | -",
        "rule 2: version 8 runs as shadow",
    );
    check(
        &policy,
        &[champion(), alias_set("green", "8")],
        "7 | 8 blue-green by 3 | -",
        "rule 3: version 8 runs as blue-green",
    );
    check(&policy, &[champion(), alias_set("variant-b", "8")], "7 | 8 ab by 4 | -", "rule 4: version 8 runs as ab");
    let facts = [champion(), alias_set("challenger", "8")];
    let second = desired(&state(&facts), &policy).second.unwrap();
    assert_eq!(second.steps.unwrap().iter().map(|step| step.weight).collect::<Vec<_>>(), [5, 25, 50]);
}

#[test]
fn the_default_policy_speaks_for_every_model_and_puts_it_into_production() {
    let desired = desired(&state(&[]), &default_policy());
    assert_eq!(desired.key.to_string(), "production/models/fraud");
    assert_eq!(
        image_for(&desired.defaults, &ModelName::parse("fraud").unwrap(), &version("7")).unwrap().unwrap(),
        "registry.example/fraud:7"
    );
    let name = PolicyName::parse("default").unwrap();
    let (policies, _) = Policies::parse(&[(name, seeded_default_policy())]);
    for model in ["fraud", "Größe Model v1.0 (x)", "[x]", ".hidden"] {
        assert!(policies.select(&ModelName::parse(model).unwrap()).is_some(), "{model}");
    }
}

#[test]
fn a_promotion_and_an_abort_are_just_other_states() {
    let policy = default_policy();
    let run = || vec![alias_set("champion", "7"), alias_set("challenger", "8")];
    let promoted = [run(), vec![alias_set("champion", "8")]].concat();
    check(
        &policy,
        &promoted,
        "8 | - | -",
        "rule 1: version 8 has the alias `challenger`, but it is the stable one already",
    );
    let aborted = [run(), vec![alias_deleted("challenger")]].concat();
    check(&policy, &aborted, "7 | - | -", "version 7 is the stable one");
}

#[test]
fn the_first_rule_that_holds_wins_and_the_rest_is_superseded() {
    let facts = [alias_set("champion", "7"), alias_set("shadow", "9"), alias_set("challenger", "8")];
    check(
        &default_policy(),
        &facts,
        "7 | 8 canary by 1 | -",
        "rule 2: version 9 has the alias `shadow`, but is superseded by rule 1",
    );
    let facts = [alias_set("champion", "7"), alias_set("shadow", "9"), alias_set("challenger", "7")];
    check(&default_policy(), &facts, "7 | 9 shadow by 2 | -", "it is the stable one already");
}

#[test]
fn without_the_stable_alias_what_is_released_stays() {
    let policy = default_policy();
    check(&policy, &[], "- | - | -", "no version has the alias `champion`, so what is released stays as it is");
    check(&policy, &[], "- | - | -", "policy `default` asks for nothing");
    let gone = [alias_set("champion", "7"), alias_deleted("champion")];
    assert!(desired(&state(&gone), &policy).stable_gone);
    let retracting = self::policy("stable: {alias: champion}\nwhenStableGoes: retract");
    check(&retracting, &gone, "- | - | -", "then the policy retracts the release");
    assert_eq!(desired(&state(&gone), &retracting).when_stable_goes, WhenStableGoes::Retract);
}

#[test]
fn an_unmet_requirement_holds_a_version_back_and_says_why() {
    let policy = policy(
        "stable: {alias: champion, requires: [{tag: ok, equals: 'yes'}]}\nsecond: [{alias: next, strategy: canary, requires: [{tag: ok, equals: 'yes'}]}]\nwhenStableGoes: retract",
    );
    let champion = || alias_set("champion", "7");
    check(&policy, &[champion()], "- | - | -", "its tag `ok` is not set and must be `yes`");
    check(&policy, &[champion(), tag_set("7", "ok", "no\n")], "- | - | -", "its tag `ok` is `no\\n` and must be `yes`");
    assert!(!desired(&state(&[champion()]), &policy).stable_gone);
    check(&policy, &[champion(), tag_set("7", "ok", "yes")], "7 | - | -", "version 7 is the stable one");
    check(&policy, &[champion(), tag_set("8", "ok", "yes")], "- | - | -", "is not set");
    let facts = [champion(), tag_set("7", "ok", "yes"), alias_set("next", "8")];
    check(&policy, &facts, "7 | - | -", "rule 1: version 8 has the alias `next`, but its tag `ok` is not set");
}

#[test]
fn a_request_tag_is_a_wish_and_the_newest_wins() {
    let (policy, tag) = (default_policy(), "kmlflow.release");
    check(
        &policy,
        &[tag_set("8", tag, "canary")],
        "- | - | 8 canary",
        "tag `kmlflow.release` of version 8 asks for canary",
    );
    let two = [tag_set("9", tag, "shadow"), tag_set("8", tag, "canary")];
    check(
        &policy,
        &two,
        "- | - | 8 canary",
        "tag `kmlflow.release` of version 9 asks for shadow, but that of version 8 is newer",
    );
    check(&policy, &[tag_set("8", tag, "Kanary\n{{x}}")], "- | - | 8 ?", "strategy `Kanary\\n{{x}}` is not known");
    let deleted = RegistryFact::TagDeleted { version: version("8"), key: tag.to_owned() };
    check(&policy, &[tag_set("8", tag, "canary"), deleted], "- | - | -", "asks for nothing");
    check(&policy, &[tag_set("8", tag, &"x".repeat(100_000))], "- | - | 8 ?", "x…` is not known");
}

#[test]
fn the_view_holds_what_the_policy_reads_and_nothing_else() {
    let policy = policy("stable: {alias: champion, requires: [{tag: ok, equals: 'yes'}]}\nrequest: {tag: wish}");
    let facts = [
        alias_set("champion", "7"),
        alias_set("other", "9"),
        tag_set("7", "ok", "yes"),
        tag_set("7", "note", "x"),
        tag_set("8", "ok", "yes"),
        tag_set("7", "wish", "canary"),
    ];
    let view = desired(&state(&facts), &policy).view;
    assert_eq!(view.aliases.into_iter().collect::<Vec<_>>(), [("champion".to_owned(), version("7"))]);
    assert_eq!(view.tags.into_iter().collect::<Vec<_>>(), [("7.ok".to_owned(), "yes".to_owned())]);
    let long = desired(&state(&[alias_set("champion", "7"), tag_set("7", "ok", &"x".repeat(10_000))]), &policy).view;
    assert!(long.tags["7.ok"].starts_with("sha256:"));
}

#[test]
fn the_time_of_a_version_is_when_an_alias_was_last_pointed_at_it() {
    let facts =
        [alias_set("champion", "7"), alias_set("shadow", "8"), alias_set("challenger", "8"), alias_set("other", "7")];
    let set_at = desired(&state(&facts), &default_policy()).set_at;
    assert_eq!(set_at.into_iter().collect::<Vec<_>>(), [(version("7"), at(0)), (version("8"), at(2))]);
}

#[test]
fn a_second_rule_hands_on_its_settings() {
    let policy = policy(
        "stable: {alias: champion}\nsecond: [{alias: b, strategy: ab, weights: {a: 70, b: 30}}, {alias: s, strategy: shadow, percent: 10}]",
    );
    let ab = desired(&state(&[alias_set("b", "8")]), &policy).second.unwrap();
    assert_eq!((ab.strategy, ab.weights.unwrap()[&Role::B]), (crate::release::Strategy::Ab, 30));
    assert_eq!(desired(&state(&[alias_set("s", "8")]), &policy).second.unwrap().percent, Some(10));
}

#[test]
fn a_policy_that_cannot_work_is_a_problem_with_a_cure_and_leaves_the_others() {
    let check = |spec: &str, because: &str| {
        let problem = parse(&text(spec)).unwrap_err();
        assert!(problem.reason.contains(because) && !problem.reason.contains('\n'), "{}", problem.reason);
        assert!(problem.cure.is_some());
    };
    let stable = "stable: {alias: champion}";
    check("stable: {alias: champion", "line");
    check("stable: {alias: champion, colour: red}", "unknown field `colour`");
    check("stabel: {alias: champion}", "unknown field `stabel`");
    check("second: []", "missing field `stable`");
    check("stable: {alias: \"a\\nb\"}", "alias `a\\nb`");
    check(&format!("models: []\n{stable}"), "`models` must have 1 to 100");
    check(&format!("models: ['fraud-[']\n{stable}"), "`models[0]` is `fraud-[`, which is not a glob");
    check(&format!("models: ['a/b']\n{stable}"), "`models[0]` is empty or has a `/`");
    check(&format!("{stable}\nwhenStableGoes: explode"), "explode");
    check(
        &format!("{stable}\nrequest: {{tag: kmlflow.status.state}}"),
        "`request.tag` is `kmlflow.status.state`, which the service itself writes",
    );
    check(
        "stable: {alias: champion, requires: [{tag: kmlflow.status.state, equals: live}]}",
        "`stable.requires[0].tag`",
    );
    check(&format!("{stable}\nsecond: [{{alias: champion, strategy: canary}}]"), "`second[0].alias`");
    check(&format!("{stable}\nsecond: [{{alias: b, strategy: single}}]"), "`second[0].strategy`");
    check(
        &format!("{stable}\nsecond: [{{alias: b, strategy: canary, steps: [50, 25]}}]"),
        "`second[0].steps` must have rising weights",
    );
    check(&format!("{stable}\nsecond: [{{alias: b, strategy: canary, steps: [.nan]}}]"), "a step must be a weight");
    check(
        &format!("{stable}\nsecond: [{{alias: b, strategy: canary, percent: 5}}]"),
        "`second[0].percent` is for the strategy `shadow`",
    );
    check(
        &format!("{stable}\nsecond: [{{alias: b, strategy: shadow, percent: 0}}]"),
        "`second[0].percent` must be from 1 to 100",
    );
    check(&format!("{stable}\nsecond: [{{alias: b, strategy: ab, weights: {{a: 70, b: 40}}}}]"), "`second[0].weights`");
    check(
        &format!(
            "{stable}\nsecond: [{{alias: b, strategy: shadow, requires: [{{tag: kmlflow.status.x, equals: y}}]}}]"
        ),
        "`second[0].requires[0].tag`",
    );
    check(&format!("{stable}\ndefaults: {{image: 'r/{{{{ modell }}}}'}}"), "`defaults.image` is not a usable template");
    check(&format!("{stable}\ndefaults: {{serving: {{replicas: 0}}}}"), "`defaults.serving");
    check(&format!("{stable}\n# {}", "x".repeat(70_000)), "larger than 65536 bytes");

    let good = (PolicyName::parse("default").unwrap(), seeded_default_policy());
    let named_otherwise = (PolicyName::parse("x").unwrap(), seeded_default_policy());
    let (policies, problems) = Policies::parse(&[named_otherwise, good]);
    assert_eq!((policies.iter().count(), problems.len()), (1, 1));
    assert!(problems[0].reason.contains("must be `x`, the name of the file"), "{}", problems[0].reason);
}

fn any_fact() -> impl proptest::strategy::Strategy<Value = RegistryFact> {
    let alias = prop_oneof![Just("champion"), Just("challenger"), Just("shadow"), Just("other")];
    let of = prop_oneof![Just("7"), Just("8"), Just("9"), Just("10")];
    let key = prop_oneof![Just("kmlflow.release"), Just("ok")];
    let value = prop_oneof![Just("canary"), Just("shadow"), Just("yes"), Just("nonsense")];
    prop_oneof![
        4 => (alias.clone(), of.clone()).prop_map(|(alias, of)| alias_set(alias, of)),
        2 => alias.prop_map(alias_deleted),
        2 => (of.clone(), key.clone(), value.clone()).prop_map(|(of, key, value)| tag_set(of, key, value)),
        1 => (of.clone(), key.clone()).prop_map(|(of, key)| RegistryFact::TagDeleted { version: version(of), key: key.to_owned() }),
        1 => (of, key, value).prop_map(|(of, key, value)| RegistryFact::VersionCreated {
            version: version(of),
            source: None,
            tags: vec![(key.to_owned(), value.to_owned())],
        }),
    ]
}

proptest! {
    #[test]
    fn the_order_and_number_of_events_makes_no_difference(
        (changes, shuffled) in prop::collection::vec(any_fact(), 0..24).prop_flat_map(|facts| {
            let changes: Vec<_> = facts.into_iter().enumerate().map(|(i, fact)| (at(i as i64), fact)).collect();
            // Every change once or twice, in any order.
            let doubled: Vec<_> = changes.iter().chain(changes.iter().step_by(2)).cloned().collect();
            (Just(changes), Just(doubled).prop_shuffle())
        })
    ) {
        let state = |changes: &[(Timestamp, RegistryFact)]| {
            let mut state = RegistryState::new(ModelName::parse("fraud").unwrap());
            for (at, fact) in changes {
                state.apply(&RegistryChange { model: state.model.clone(), at: *at, fact: fact.clone() });
            }
            state
        };
        let guarded = policy("stable: {alias: champion, requires: [{tag: ok, equals: 'yes'}]}\nrequest: {tag: kmlflow.release}");
        for policy in [default_policy(), guarded] {
            prop_assert_eq!(desired(&state(&changes), &policy), desired(&state(&shuffled), &policy));
        }
    }
}
