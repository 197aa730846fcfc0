use serde_json::Value;
use tests::bed::Bed;
use tests::environment::repository_root;

/// The label without which Katib takes no Experiment; the platform's namespace has it.
const LABEL: &str = "katib.kubeflow.org/metrics-collector-injection=enabled";

/// The Experiment that `examples/proposal.py` writes, for another namespace.
fn experiment(namespace: &str) -> Value {
    let text = std::fs::read_to_string(repository_root().join("tests/e2e/bed/experiment.yaml")).unwrap();
    let mut experiment: Value = serde_yaml::from_str(&text).unwrap();
    experiment["metadata"]["namespace"] = namespace.into();
    experiment
}

#[test]
fn katib_takes_the_search_of_the_examples_and_asks_for_its_first_trials() {
    let bed = Bed::shared();
    let namespace = bed.namespace("search");
    let place = namespace.name.as_str();
    let experiment = experiment(place);
    let refused = bed.try_apply(&experiment.to_string(), &[]).unwrap_err();
    assert!(refused.contains("the namespace lacks label"), "{refused}");
    bed.ask(&["label", "namespace", place, LABEL]);
    for (field, wrong, words) in [
        ("algorithm", serde_json::json!({"algorithmName": "nobody"}), "nobody"),
        ("maxTrialCount", serde_json::json!(0), "maxTrialCount"),
    ] {
        let mut other = experiment.clone();
        other["spec"][field] = wrong;
        let refused = bed.try_apply(&other.to_string(), &[]).unwrap_err();
        assert!(refused.contains("validator.experiment.katib.kubeflow.org") && refused.contains(words), "{refused}");
    }

    bed.try_apply(&experiment.to_string(), &[]).unwrap_or_else(|error| panic!("{error}"));
    let has = |object: &Value, kind: &str| {
        let conditions = object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == "True")
    };
    bed.until("the Experiment is taken up", (place, "experiment"), |object| has(object, "Created").then_some(()));
    let suggestion = bed.until("who suggests values runs", (place, "suggestion"), |object| {
        has(object, "DeploymentReady").then(|| object.clone())
    });
    // As many as it may run at once.
    assert_eq!(suggestion["spec"]["requests"], experiment["spec"]["parallelTrialCount"], "{suggestion:#}");
    assert_eq!(suggestion["spec"]["algorithm"]["algorithmName"], "random");
    let name = format!("{}-random", experiment["metadata"]["name"].as_str().unwrap());
    let deployment = bed.get(place, "deployment", &name).unwrap();
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "stand-in/suggestion-hyperopt:1");
    assert!(bed.get(place, "service", &name).is_some());
    // Its own controller takes its finalizer away.
    bed.ask(&["--namespace", place, "delete", "experiment", "--all", "--timeout=60s"]);
}
