use serde_json::{Value, json};

use super::{Hints, Import, Obstacle, import};
use crate::release::{StepRequest, Strategy};

fn container(image: &str) -> Value {
    json!({
        "name": "classifier", "image": image,
        "ports": [{"name": "metrics", "containerPort": 6000}, {"name": "http", "containerPort": 9001, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m"}}, "env": [{"name": "MODE", "value": "fast"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 7},
        "livenessProbe": {"tcpSocket": {"port": "http"}},
    })
}

fn predictor(name: &str, image: &str, traffic: u64) -> Value {
    json!({"name": name, "traffic": traffic, "replicas": 2, "annotations": {"seldon.io/no-engine": "true"},
           "graph": {"name": "classifier", "type": "MODEL"}, "componentSpecs": [{"spec": {"containers": [container(image)]}}]})
}

fn object(predictors: &[Value]) -> Value {
    json!({"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": "fraud", "namespace": "models"},
           "spec": {"name": "fraud", "protocol": "v2", "predictors": predictors}})
}

fn single() -> Value {
    object(&[predictor("default", "registry.example/fraud:7", 100)])
}

fn read(object: &Value) -> Result<Import, Vec<Obstacle>> {
    import(object, &Hints::default())
}

/// The fields that are in the way.
fn obstacles(object: &Value, hints: &Hints) -> Vec<String> {
    let obstacles = import(object, hints).unwrap_err();
    assert!(obstacles.iter().all(|it| !it.cure.is_empty() && !it.detail.is_empty()), "{obstacles:?}");
    obstacles.into_iter().map(|it| it.field).collect()
}

#[test]
fn one_predictor_becomes_one_request_that_is_valid_and_has_all_of_its_settings() {
    let Import { name, requests, changes, stable } = read(&single()).unwrap();
    assert_eq!((name.as_str(), stable.as_str()), ("fraud", "default"));
    let body = serde_json::to_value(&requests).unwrap();
    assert_eq!(
        body,
        json!([{
            "model": "fraud", "version": "7", "strategy": "single", "image": "registry.example/fraud:7",
            "serving": {"protocol": "v2", "engine": false, "port": 9001, "replicas": 2, "resources": {"requests": {"cpu": "100m"}},
                        "env": [{"name": "MODE", "value": "fast"}], "probe": {"path": "/ready", "period": "7s"}},
        }])
    );
    requests[0].clone().wanted().unwrap();
    let told: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
    for field in [
        "spec.name",
        "spec.predictors[default]",
        "spec.predictors[default].componentSpecs[0].spec.containers[0].name",
        "spec.predictors[default].componentSpecs[0].spec.containers[0].livenessProbe",
        "metadata.name",
    ] {
        assert!(told.contains(&field), "{field}: {changes:#?}");
    }
    let service = changes.iter().find(|change| change.field == "spec.predictors[default]").unwrap();
    assert!(service.detail.contains("its Service `fraud-default`"), "{service:?}");
}

#[test]
fn two_predictors_become_the_stable_one_and_the_run_that_their_traffic_says() {
    let of = |stable: u64, other: u64| {
        object(&[
            predictor("main", "registry.example/fraud:7", stable),
            predictor("other", "registry.example/fraud:8", other),
        ])
    };
    let shadow = {
        let mut object = of(100, 20);
        object["spec"]["predictors"][1]["shadow"] = json!(true);
        object
    };
    let second = |object: &Value| {
        let requests = read(object).unwrap().requests;
        assert_eq!((requests.len(), requests[0].strategy, requests[0].version.as_str()), (2, Strategy::Single, "7"));
        assert_eq!(requests[1].baseline.as_ref().map(|it| it.as_str()), Some("7"));
        requests[1].clone().wanted().unwrap();
        requests[1].clone()
    };
    let canary = second(&of(90, 10));
    let weights = [10, 25, 50].map(StepRequest::Weight).to_vec();
    assert_eq!((canary.strategy, canary.steps), (Strategy::Canary, Some(weights)));
    let ab = second(&of(50, 50));
    assert_eq!((ab.strategy, ab.weights.unwrap().into_values().collect::<Vec<_>>()), (Strategy::Ab, vec![50, 50]));
    assert_eq!(second(&of(100, 0)).strategy, Strategy::BlueGreen);
    let mirrored = second(&shadow);
    assert_eq!((mirrored.strategy, mirrored.percent), (Strategy::Shadow, Some(20)));
    let swapped =
        object(&[predictor("new", "registry.example/fraud:8", 30), predictor("main", "registry.example/fraud:7", 70)]);
    assert_eq!(second(&swapped).version.as_str(), "8", "the one with more traffic is the stable one");
    let wished = Hints { strategy: Some(Strategy::Ab), ..Hints::default() };
    assert_eq!(import(&of(90, 10), &wished).unwrap().requests[1].strategy, Strategy::Ab);
    let wrong = Hints { strategy: Some(Strategy::Shadow), ..Hints::default() };
    assert_eq!(obstacles(&of(90, 10), &wrong), ["spec.predictors[other]"]);
    assert_eq!(obstacles(&of(90, 30), &Hints::default()), ["spec.predictors"]);
}

#[test]
fn an_artifact_scaling_and_pod_settings_are_taken_over() {
    let mut object = single();
    let predictor = &mut object["spec"]["predictors"][0];
    predictor["graph"] = json!({"name": "m", "implementation": "MLFLOW_SERVER", "modelUri": "s3://models/1", "envSecretRefName": "store"});
    predictor["annotations"] = json!({"seldon.io/rest-timeout": "2500", "note": "x"});
    let component = &mut predictor["componentSpecs"][0];
    component["hpaSpec"] = json!({"minReplicas": 2, "maxReplicas": 5, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 70}}]});
    component["spec"]["nodeSelector"] = json!({"gpu": "yes"});
    component["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    component["spec"]["containers"][0].as_object_mut().unwrap().remove("image");
    let hints = Hints {
        model: Some("fraud".parse().unwrap()),
        versions: [("*".to_owned(), "3".parse().unwrap())].into(),
        ..Hints::default()
    };
    let request = import(&object, &hints).unwrap().requests.remove(0);
    assert_eq!((request.model_uri.as_deref(), request.image), (Some("s3://models/1"), None));
    let serving = serde_json::to_value(request.serving).unwrap();
    assert_eq!(serving["autoscaling"], json!({"min": 2, "max": 5, "cpu": 70}));
    assert_eq!(serving["pod"], json!({"nodeSelector": {"gpu": "yes"}, "imagePullSecrets": ["pull"]}));
    assert_eq!(
        (&serving["timeout"], &serving["engine"], &serving["storageSecret"]),
        (&json!("3s"), &json!(true), &json!("store"))
    );
    assert_eq!(serving.get("replicas"), None, "what scales has no fixed number");
}

#[test]
fn what_a_release_cannot_say_is_named_with_its_field() {
    let container = "/spec/predictors/0/componentSpecs/0/spec/containers/0";
    let at_container = "spec.predictors[default].componentSpecs[0].spec.containers[0]";
    let cases = [
        ("/spec/protocol", json!("tensorflow"), "spec.protocol".to_owned()),
        ("/spec/serverType", json!("kafka"), "spec.serverType".to_owned()),
        (
            "/spec/predictors/0/explainer",
            json!({"type": "AnchorText"}),
            "spec.predictors[default].explainer".to_owned(),
        ),
        (
            "/spec/predictors/0/graph/children",
            json!([{"name": "x"}]),
            "spec.predictors[default].graph.children".to_owned(),
        ),
        ("/spec/predictors/0/graph/type", json!("ROUTER"), "spec.predictors[default].graph.type".to_owned()),
        (
            "/spec/predictors/0/graph/implementation",
            json!("TRITON_SERVER"),
            "spec.predictors[default].graph.implementation".to_owned(),
        ),
        ("/spec/predictors/0/newField", json!(1), "spec.predictors[default].newField".to_owned()),
        (
            "/spec/predictors/0/componentSpecs/0/kedaSpec",
            json!({"triggers": [1]}),
            "spec.predictors[default].componentSpecs[0].kedaSpec".to_owned(),
        ),
        (&format!("{container}/command"), json!(["sh"]), format!("{at_container}.command")),
        (&format!("{container}/volumeMounts"), json!([{"name": "x"}]), format!("{at_container}.volumeMounts")),
        (
            &format!("{container}/env"),
            json!([{"name": "A", "valueFrom": {"configMapKeyRef": {}}}]),
            format!("{at_container}.env"),
        ),
        (
            &format!("{container}/env"),
            json!([{"name": "API_TOKEN", "value": "hunter2"}]),
            "serving.env[0].value".to_owned(),
        ),
        (
            "/metadata/annotations",
            json!({"kmlflow.dev/release": "production/models/x"}),
            "metadata.annotations[kmlflow.dev/release]".to_owned(),
        ),
        (
            "/metadata/annotations",
            json!({"argocd.argoproj.io/tracking-id": "x"}),
            "metadata.annotations[argocd.argoproj.io/tracking-id]".to_owned(),
        ),
        ("/metadata/name", json!("n".repeat(50)), "metadata.name".to_owned()),
        ("/kind", json!("Deployment"), "kind".to_owned()),
    ];
    for (pointer, value, field) in cases {
        let mut object = single();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[name] = value;
        assert_eq!(obstacles(&object, &Hints::default()), [field], "{pointer}");
        assert!(!format!("{:?}", read(&object)).contains("hunter2"), "{pointer}");
    }
}

#[test]
fn what_the_object_does_not_say_is_asked_for_and_can_be_given() {
    let object = object(&[predictor("default", "registry.example/server@sha256:00", 100)]);
    let asked = import(&object, &Hints::default()).unwrap_err();
    let cures: Vec<&str> = asked.iter().map(|it| it.cure.as_str()).collect();
    let (model, version) =
        ("name it by `hints.model` (`--model M`)", "name it in `hints.versions` (`--version default=V`)");
    assert!(cures.contains(&model) && cures.contains(&version), "{asked:?}");
    for nothing in
        [json!({}), json!({"spec": 7}), json!({"kind": "SeldonDeployment", "spec": {"predictors": [1, {"graph": 2}]}})]
    {
        assert!(!obstacles(&nothing, &Hints::default()).is_empty());
    }
}

#[test]
fn under_another_name_the_old_object_stays_beside_it() {
    let mut object = single();
    object["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id": "x"});
    let hints = Hints { name: Some("fraud-two".parse().unwrap()), ..Hints::default() };
    let Import { name, changes, .. } = import(&object, &hints).unwrap();
    assert_eq!(name.as_str(), "fraud-two");
    assert!(changes.iter().any(|it| it.detail.contains("`kubectl delete seldondeployment fraud`")), "{changes:?}");
    assert!(changes.iter().all(|it| it.field != "spec.predictors[default]"), "its Service stays: {changes:?}");
}
