//! The stand-in against what the real operator 1.17.1 was seen to make and to say.

use serde_json::{Value, json};

use super::children::{Children, children};
use super::pod::MODELS;
use super::status::status;

/// Predictors `v7` (2 replicas) and `v8` without the engine, each with one container that names its `http` port only.
fn wine() -> Value {
    let predictor = |name: &str, replicas: u64, traffic: u64| {
        let container = json!({"name": "model", "image": format!("example/wine:{name}"),
            "ports": [{"name": "http", "containerPort": 9000, "protocol": "TCP"}]});
        json!({"name": name, "replicas": replicas, "traffic": traffic, "graph": {"name": "model", "type": "MODEL"},
            "annotations": {"seldon.io/no-engine": "true", "kmlflow.dev/pod-hash": "sha256:1"},
            "componentSpecs": [{"spec": {"containers": [container]}}]})
    };
    json!({"metadata": {"name": "wine", "namespace": "models", "uid": "1"},
        "spec": {"protocol": "v2", "predictors": [predictor("v7", 2, 90), predictor("v8", 1, 10)]}})
}

fn names(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
}

/// A Deployment as the API server shows it.
fn deployment(name: &str, status: Value) -> Value {
    let mut deployment = json!({"metadata": {"name": name}});
    deployment["status"] = status;
    deployment
}

fn available(name: &str, replicas: u64) -> Value {
    let condition = json!({"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"});
    deployment(
        name,
        json!({"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas, "conditions": [condition]}),
    )
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == kind).unwrap()
}

#[test]
fn children_are_named_labelled_and_selected_as_the_operator_does_it() {
    let made = children(&wine());
    assert_eq!(names(&made.deployments), ["wine-v7-0-model", "wine-v8-0-model"]);
    assert_eq!(names(&made.services), ["wine-v7-model", "wine-v7", "wine-v8-model", "wine-v8"]);
    let deployment = &made.deployments[0];
    let selector =
        json!({"seldon-app": "wine-v7", "seldon-app-svc-model": "wine-v7-model", "seldon-deployment-id": "wine"});
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], selector);
    let labels = json!({"app": "wine-v7-0-model", "app.kubernetes.io/managed-by": "seldon-core", "fluentd": "true",
        "seldon-app": "wine-v7", "seldon-app-svc-model": "wine-v7-model", "seldon-deployment-id": "wine",
        "seldon.io/model": "true", "version": "v7"});
    assert_eq!(deployment["metadata"]["labels"], labels);
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": "25%"}));
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["spec"]["progressDeadlineSeconds"]),
        (&2.into(), &600.into())
    );
    let owner = &deployment["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["controller"]), (&json!("1"), &json!(true)));
}

#[test]
fn annotations_of_a_predictor_reach_its_deployment_and_its_pods() {
    let made = children(&wine());
    let deployment = &made.deployments[0];
    assert_eq!(deployment["metadata"]["annotations"]["kmlflow.dev/pod-hash"], "sha256:1");
    assert_eq!(deployment["spec"]["template"]["metadata"]["annotations"]["kmlflow.dev/pod-hash"], "sha256:1");
}

#[test]
fn ports_that_a_container_does_not_name_are_added_and_metrics_are_counted_up() {
    let made = children(&wine());
    let ports = |index: usize| {
        let ports = made.deployments[index]["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap();
        ports
            .iter()
            .map(|port| (port["name"].as_str().unwrap(), port["containerPort"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(ports(0), [("http", 9000), ("grpc", 9500), ("metrics", 6000)]);
    assert_eq!(ports(1), [("http", 9000), ("grpc", 9500), ("metrics", 6001)]);
    let service = &made.services[1];
    assert_eq!(service["spec"]["selector"], json!({"seldon-app": "wine-v7"}));
    let expected = json!([{"name": "http", "port": 9000, "targetPort": 9000, "protocol": "TCP"},
        {"name": "grpc", "port": 9500, "targetPort": 9500, "protocol": "TCP"}]);
    assert_eq!(service["spec"]["ports"], expected);
}

#[test]
fn the_engine_is_a_container_of_the_pod_and_the_predictors_service_leads_to_it() {
    let mut seldon = wine();
    seldon["spec"]["predictors"][0]["annotations"] = json!({});
    let made = children(&seldon);
    let containers = made.deployments[0]["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(names_of(containers), ["model", "seldon-container-engine"]);
    assert_eq!(names(&made.deployments)[0], "wine-v7-0-model", "it is no part of the name");
    let ports: Vec<&Value> = made.services[..2].iter().map(|service| &service["spec"]["ports"][0]["port"]).collect();
    assert_eq!(ports, [9000, 8000]);
    assert_eq!(made.url, "http://wine-v7.models.svc.cluster.local:8000/v2/models/model/infer");
}

fn names_of(containers: &[Value]) -> Vec<&str> {
    containers.iter().map(|container| container["name"].as_str().unwrap()).collect()
}

#[test]
fn traffic_and_replicas_alone_leave_the_pods_as_they_are() {
    let mut before = wine();
    before["spec"]["predictors"][1]["annotations"] = json!({});
    let mut after = before.clone();
    after["spec"]["predictors"][1]["traffic"] = 100.into();
    after["spec"]["predictors"][1]["replicas"] = 5.into();
    let pods = |seldon: &Value| children(seldon).deployments[1]["spec"]["template"].clone();
    assert_eq!(pods(&before), pods(&after));
    after["spec"]["predictors"][1]["graph"]["parameters"] = json!([{"name": "x", "value": "1", "type": "INT"}]);
    assert_ne!(pods(&before), pods(&after));
}

#[test]
fn a_model_that_is_fetched_has_an_init_container_that_knows_its_uri() {
    let mut seldon = wine();
    seldon["spec"]["predictors"][0]["graph"]["modelUri"] = "s3://models/1".into();
    let pod = children(&seldon).deployments[0]["spec"]["template"]["spec"].clone();
    assert_eq!(pod["initContainers"][0]["args"], json!(["s3://models/1", MODELS]));
    assert_eq!(pod["initContainers"][0]["envFrom"][0]["secretRef"]["name"], "kmlflow-storage");
    assert_eq!(pod["containers"][0]["volumeMounts"], pod["initContainers"][0]["volumeMounts"]);
}

/// What the first container of the first pod finds under a name.
fn variable(seldon: &Value, name: &str) -> Value {
    let container = &children(seldon).deployments[0]["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).map_or(Value::Null, |variable| variable["value"].clone())
}

#[test]
fn a_container_is_told_who_it_is_and_where_to_listen_after_what_its_manifest_says() {
    let mut seldon = wine();
    let container = &mut seldon["spec"]["predictors"][0]["componentSpecs"][0]["spec"]["containers"][0];
    container["env"] = json!([{"name": "OWN", "value": "1"}]);
    container["ports"] = json!([{"name": "http", "containerPort": 9001}]);
    for (name, value) in [
        ("OWN", "1"),
        ("MLSERVER_HTTP_PORT", "9001"),
        ("PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "9001"),
        ("MLSERVER_GRPC_PORT", "9500"),
        ("MLSERVER_METRICS_PORT", "6000"),
        ("MLSERVER_MODEL_NAME", "model"),
        ("PREDICTOR_ID", "v7"),
        ("SELDON_DEPLOYMENT_ID", "wine"),
    ] {
        assert_eq!(variable(&seldon, name), value, "{name}");
    }
    assert_eq!(variable(&seldon, "MLSERVER_MODEL_URI"), Value::Null, "nothing is fetched");
}

#[test]
fn a_model_of_mlflow_is_loaded_by_its_runtime_and_ready_once_that_says_so() {
    let mut seldon = wine();
    seldon["spec"]["predictors"][0]["graph"]["modelUri"] = "s3://models/1".into();
    seldon["spec"]["predictors"][0]["graph"]["implementation"] = "MLFLOW_SERVER".into();
    assert_eq!(variable(&seldon, "MLSERVER_MODEL_URI"), MODELS);
    assert_eq!(variable(&seldon, "MLSERVER_MODEL_IMPLEMENTATION"), "mlserver_mlflow.MLflowRuntime");
    let pod = children(&seldon).deployments[0]["spec"]["template"]["spec"].clone();
    let probe = &pod["containers"][0]["readinessProbe"];
    assert_eq!((&probe["httpGet"]["path"], &probe["initialDelaySeconds"]), (&"/v2/health/ready".into(), &20.into()));
    assert_eq!(pod["securityContext"]["runAsUser"], 8888);
}

#[test]
fn the_status_of_a_ready_release_is_the_recorded_one() {
    let made = children(&wine());
    let found = [available("wine-v7-0-model", 2), available("wine-v8-0-model", 1)];
    let recorded: Value = serde_json::from_str(include_str!("../../data/available.json")).unwrap();
    assert_eq!(status(&made, &found), recorded);
}

#[test]
fn a_bad_image_in_a_predictor_that_serves_is_creating_for_ever_and_its_deployment_says_true() {
    let made = children(&wine());
    let condition_of = |kind: &str| json!({"type": kind, "status": "True"});
    let updating = json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1,
        "conditions": [condition_of("Available"), condition_of("Progressing")]});
    let found = [available("wine-v7-0-model", 2), deployment("wine-v8-0-model", updating)];
    let said = status(&made, &found);
    assert_eq!(said["state"], "Creating");
    assert_eq!(condition(&said, "Ready")["status"], "False");
    assert_eq!(condition(&said, "DeploymentsReady")["status"], "True");
    assert_eq!(said["deploymentStatus"]["wine-v8-0-model"], json!({"replicas": 2, "availableReplicas": 1}));
}

/// Predictor `v9`, whose image cannot be pulled, in place of `v8`.
fn replaced() -> (Children, Vec<Value>) {
    let mut seldon = wine();
    seldon["spec"]["predictors"][1]["name"] = "v9".into();
    let unavailable = json!({"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability."});
    let bad =
        deployment("wine-v9-0-model", json!({"replicas": 1, "unavailableReplicas": 1, "conditions": [unavailable]}));
    (children(&seldon), vec![available("wine-v7-0-model", 2), available("wine-v8-0-model", 1), bad])
}

#[test]
fn a_new_predictor_that_does_not_start_is_told_of_beside_the_one_that_it_replaces() {
    let (made, found) = replaced();
    let said = status(&made, &found);
    assert_eq!(said["state"], "Creating");
    assert_eq!(condition(&said, "DeploymentsReady")["reason"], "MinimumReplicasUnavailable");
    let told: Vec<&String> = said["deploymentStatus"].as_object().unwrap().keys().collect();
    assert_eq!(told, ["wine-v7-0-model", "wine-v8-0-model", "wine-v9-0-model"]);
}

#[test]
fn one_that_makes_no_more_progress_and_serves_nothing_has_failed() {
    let (made, mut found) = replaced();
    let late = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
    found[2]["status"]["conditions"].as_array_mut().unwrap().push(late);
    assert_eq!(status(&made, &found)["state"], "Failed");
}

#[test]
fn numbers_of_an_older_generation_count_and_no_generation_is_written() {
    let made = children(&wine());
    let mut stale = available("wine-v8-0-model", 1);
    stale["metadata"]["generation"] = 2.into();
    stale["status"]["observedGeneration"] = 1.into();
    let said = status(&made, &[available("wine-v7-0-model", 2), stale]);
    assert_eq!(said["state"], "Available");
    assert_eq!(said.get("observedGeneration"), None);
}
