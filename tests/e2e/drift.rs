//! Where Git and the cluster differ, and what is there already, as far as that goes without a cluster.

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::environment::{run, succeed};

use super::image;

#[test]
fn without_a_cluster_diff_says_so_and_a_script_can_tell() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put("production/models/fraud", &image("fraud", "7")).expect(201);
    let diff = server.get("/releases/production/models/fraud/diff");
    assert_eq!((&diff["state"], &diff["differences"]), (&json!("unknown"), &json!([])), "{diff:#}");
    assert!(diff["reason"].as_str().unwrap().starts_with("no cluster configured; "), "{diff:#}");
    assert!(succeed(&mut server.client(&["diff", "fraud"])).contains("no cluster configured"));
    assert_eq!(run(&mut server.client(&["diff", "fraud", "--exit-code"])).code, 1);
    assert_eq!(run(&mut server.client(&["diff", "nothing"])).code, 4);
}

/// A SeldonDeployment that somebody wrote by hand.
fn by_hand() -> Value {
    let predictor = |name: &str, version: u8, traffic: u8| {
        let container = json!({"name": "classifier", "image": format!("registry.example/wine:{version}"),
            "ports": [{"name": "http", "containerPort": 9000, "protocol": "TCP"}]});
        json!({"name": name, "traffic": traffic, "replicas": 1, "graph": {"name": "classifier", "type": "MODEL"},
               "componentSpecs": [{"spec": {"containers": [container]}}]})
    };
    json!({"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": "wine", "namespace": "models"},
           "spec": {"protocol": "v2", "predictors": [predictor("main", 7, 90), predictor("next", 8, 10)]}})
}

#[test]
fn a_seldon_deployment_of_a_file_is_shown_as_the_release_that_it_would_be_and_becomes_it_on_demand() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let file = environment.write("wine.yaml", by_hand().to_string());
    let file = file.to_str().unwrap();
    let shown = succeed(&mut server.client(&["import", "-f", file]));
    for words in [
        "the release production/models/wine",
        "request 2:",
        "strategy: canary",
        "its Service `wine-main`",
        "ports[grpc]",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(server.get("/releases")["items"], json!([]), "nothing is changed by looking");
    succeed(&mut server.client(&["import", "-f", file, "--apply"]));
    let view = server.get("/releases/production/models/wine");
    assert_eq!(
        (&view["spec"]["strategy"], &view["rollout"]["phase"]),
        (&json!("canary"), &json!("running")),
        "{view:#}"
    );
    let split: Vec<&Value> = view["split"].as_array().unwrap().iter().map(|share| &share["weight"]).collect();
    assert_eq!(split, [&json!(90), &json!(10)], "as it was");
    let again = run(&mut server.client(&["import", "-f", file]));
    assert!(again.code == 3 && again.stdout.contains("is deployed already"), "{again:?}");
}

#[test]
fn what_cannot_be_a_release_is_refused_with_its_field_and_without_a_cluster_a_file_is_asked_for() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let mut object = by_hand();
    object["spec"]["predictors"][0]["explainer"] = json!({"type": "AnchorTabular"});
    let body = json!({"environment": "production", "namespace": "models", "objects": [object]});
    let answer = server.api("POST", "/import", Some(&body)).expect(200).json();
    let obstacles = &answer["items"][0]["obstacles"];
    assert_eq!(obstacles[0]["field"], "spec.predictors[main].explainer", "{answer:#}");
    assert_eq!((&answer["items"][0]["release"], &answer["items"][0]["requests"]), (&Value::Null, &json!([])));
    let all = run(&mut server.client(&["import", "--all"]));
    assert!(
        all.code == 5 && all.stderr.contains("no cluster configured") && all.stderr.contains("`--file FILE`"),
        "{all:?}"
    );
}
