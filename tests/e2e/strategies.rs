//! The five strategies by plain HTTP, from the request to the commits that a clone shows.

use serde_json::{Value, json};
use tests::{Checkout, Server, TestEnvironment};

use super::{by, image};

const FRAUD: &str = "production/models/fraud";

struct Story<'a> {
    server: Server<'a>,
}

impl<'a> Story<'a> {
    /// A service with `fraud` settled on version 7.
    fn begin(environment: &'a TestEnvironment) -> Self {
        let server = environment.server().start();
        let answer = server.put(FRAUD, &image("fraud", "7")).expect(201).json();
        assert_eq!(answer["changed"], true, "{answer}");
        assert_eq!(answer["release"]["rollout"]["phase"], "settled", "{answer}");
        Self { server }
    }

    #[track_caller]
    fn put(&self, body: &Value) -> Value {
        self.server.put(FRAUD, body).expect(200).json()["release"].clone()
    }

    #[track_caller]
    fn act(&self, act: &str, body: Option<Value>) -> Value {
        self.server.act(FRAUD, act, body.as_ref()).expect(200).json()["release"].clone()
    }

    /// The `Action` trailers since the creation, oldest first.
    #[track_caller]
    fn actions(&self) -> Vec<String> {
        let log = self.server.clone_repository().log("releases/production/models/fraud");
        log.iter().rev().filter_map(|commit| commit.trailer("Action")).map(str::to_owned).collect()
    }
}

#[track_caller]
fn assert_split(release: &Value, expected: &[(&str, u64)]) {
    let split = release["split"].as_array().unwrap_or_else(|| panic!("no split: {release}"));
    let found: Vec<(&str, u64)> = split
        .iter()
        .map(|share| (share["predictor"].as_str().unwrap(), share["weight"].as_u64().unwrap()))
        .filter(|(_, weight)| *weight > 0)
        .collect();
    assert_eq!(found, expected, "{release}");
}

#[track_caller]
fn assert_settled(release: &Value, predictor: &str, outcome: &str) {
    assert_eq!(release["rollout"]["phase"], "settled", "{release}");
    assert_eq!(release["rollout"]["outcome"], outcome, "{release}");
    assert_eq!(release["spec"]["strategy"], "single", "{release}");
    assert_split(release, &[(predictor, 100)]);
}

#[test]
fn single_replaces_one_version_by_the_next_in_one_commit() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    let release = story.put(&image("fraud", "8"));
    assert_eq!(release["rollout"]["phase"], "settled");
    assert_split(&release, &[("v8", 100)]);
    assert_eq!(story.actions(), ["create", "update"]);
    let again = story.server.put(FRAUD, &image("fraud", "8")).expect(200).json();
    assert_eq!(again["changed"], false, "{again}");
    assert_eq!(story.actions(), ["create", "update"]);
}

#[test]
fn canary_goes_up_step_by_step_and_is_promoted() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    let release = story.put(&by("canary", "fraud", "8", json!({"steps": [5, 25, 50]})));
    assert_eq!((&release["rollout"]["phase"], &release["rollout"]["step"]), (&json!("running"), &json!(0)));
    assert_split(&release, &[("v7", 95), ("v8", 5)]);
    assert_split(&story.act("advance", None), &[("v7", 75), ("v8", 25)]);
    assert_split(&story.act("advance", None), &[("v7", 50), ("v8", 50)]);
    assert_settled(&story.act("promote", None), "v8", "promoted");
    let actions = story.actions();
    assert_eq!(actions[..5], ["create", "enter", "step", "step", "step"], "{actions:?}");
    assert_eq!(actions.last().map(String::as_str), Some("settle"), "{actions:?}");
    assert!(actions.contains(&"promote".to_owned()) && actions.contains(&"leave".to_owned()), "{actions:?}");
}

#[test]
fn canary_aborted_goes_back_to_the_stable_version_and_remembers_the_rejected_one() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    story.put(&by("canary", "fraud", "8", json!({})));
    let release = story.act("abort", None);
    assert_settled(&release, "v7", "aborted");
    assert_eq!(release["rollout"]["rejected"][0]["version"], "8", "{release}");
}

#[test]
fn canary_superseded_by_a_third_version_starts_anew_with_it() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    story.put(&by("canary", "fraud", "8", json!({"steps": [5, 25]})));
    story.act("advance", None);
    let release = story.put(&by("canary", "fraud", "9", json!({"steps": [5, 25]})));
    assert_eq!(release["rollout"]["step"], 0, "{release}");
    assert_split(&release, &[("v7", 95), ("v9", 5)]);
}

#[test]
fn ab_splits_by_weight_and_header_and_names_a_winner() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    let release = story.put(&by(
        "ab",
        "fraud",
        "8",
        json!({"weights": {"a": 70, "b": 30}, "match": [{"header": "x-group", "value": "beta", "variant": "b"}]}),
    ));
    assert_split(&release, &[("v7", 70), ("v8", 30)]);
    assert_split(&story.act("weights", Some(json!({"weights": {"a": 40, "b": 60}}))), &[("v7", 40), ("v8", 60)]);
    drop(story.server.act(FRAUD, "promote", None).expect_problem(422));
    assert_settled(&story.act("promote", Some(json!({"variant": "b"}))), "v8", "promoted");
}

#[test]
fn blue_green_flips_there_and_back_and_is_promoted() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    let release = story.put(&by("blue-green", "fraud", "8", json!({"scaleDownDelay": "1h"})));
    assert_eq!(release["spec"]["blueGreen"]["active"], "blue", "{release}");
    assert_split(&release, &[("v7", 100)]);
    let flipped = story.act("advance", None);
    assert_eq!(
        (&flipped["spec"]["blueGreen"]["active"], &flipped["rollout"]["phase"]),
        (&json!("green"), &json!("running"))
    );
    assert_split(&flipped, &[("v8", 100)]);
    assert_split(&story.act("advance", None), &[("v7", 100)]);
    assert_settled(&story.act("promote", None), "v8", "promoted");
    assert!(story.actions().contains(&"flip".to_owned()), "{:?}", story.actions());
}

#[test]
fn blue_green_goes_on_by_itself_when_the_delay_is_over() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    story.put(&by("blue-green", "fraud", "8", json!({"scaleDownDelay": "1s"})));
    story.act("advance", None);
    let release = story.server.until("settled on the active colour", || {
        let release = story.server.get(&format!("/releases/{FRAUD}"));
        (release["rollout"]["phase"] == "settled").then_some(release)
    });
    assert_settled(&release, "v8", "promoted");
}

#[test]
fn shadow_mirrors_and_is_promoted_or_removed() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    let release = story.put(&by("shadow", "fraud", "8", json!({"percent": 20})));
    assert_split(&release, &[("v7", 100)]);
    assert_eq!(release["split"][1]["mirror"], 20, "{release}");
    assert_eq!(story.act("weights", Some(json!({"percent": 50})))["split"][1]["mirror"], 50);
    drop(story.server.act(FRAUD, "advance", None).expect(409));
    assert_settled(&story.act("abort", None), "v7", "aborted");
    story.put(&by("shadow", "fraud", "8", json!({})));
    assert_settled(&story.act("promote", None), "v8", "promoted");
}

#[test]
fn a_hand_over_never_routes_to_a_predictor_the_commit_before_did_not_have() {
    let environment = TestEnvironment::new();
    let story = Story::begin(&environment);
    for (strategy, version) in [("canary", "8"), ("ab", "9"), ("blue-green", "10"), ("shadow", "11")] {
        story.put(&by(strategy, "fraud", version, json!({})));
        let body = (strategy == "ab").then(|| json!({"variant": "b"}));
        story.act("promote", body);
    }
    let checkout = story.server.clone_repository();
    let mut before: Option<String> = None;
    for commit in checkout.log("releases/production/models/fraud").iter().rev() {
        let seldon = read(&checkout, &commit.id, "seldon.yaml");
        for predictor in routed(&read(&checkout, &commit.id, "route.yaml")) {
            let had = before.as_ref().is_none_or(|before| holds(before, &predictor));
            assert!(had, "{}: routes to {predictor}, which the commit before did not have", commit.subject);
            assert!(holds(&seldon, &predictor), "{}: routes to {predictor}, which is not there", commit.subject);
        }
        before = Some(seldon);
    }
}

fn read(checkout: &Checkout<'_>, commit: &str, file: &str) -> String {
    checkout.read_at(commit, &format!("releases/production/models/fraud/{file}"))
}

/// Whether a SeldonDeployment has a predictor.
fn holds(seldon: &str, predictor: &str) -> bool {
    seldon.contains(&format!("- name: \"{predictor}\"\n"))
}

/// The predictors whose Services a route names.
fn routed(route: &str) -> Vec<String> {
    let names = route.split("fraud-v").skip(1);
    names
        .map(|rest| format!("v{}", rest.chars().take_while(|c| c.is_ascii_digit() || *c == 'r').collect::<String>()))
        .collect()
}
