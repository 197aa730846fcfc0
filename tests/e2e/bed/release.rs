use serde_json::Value;
use tests::TestEnvironment;
use tests::bed::Bed;

use crate::image;

#[test]
fn a_release_goes_from_a_request_to_answers_of_its_version_through_envoy() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let namespace = bed.namespace("release");
    let server = environment.server().start();
    let release = format!("production/{}/fraud", namespace.name);
    server.put(&release, &image("fraud", "7")).expect(201);
    namespace.follow(&server);

    let application = format!("production.{}.fraud", namespace.name);
    bed.until("the Application is synced and healthy", ("argocd", "application"), |object| {
        let status = &object["status"];
        (object["metadata"]["name"] == application.as_str()
            && status["sync"]["status"] == "Synced"
            && status["operationState"]["phase"] == "Succeeded"
            && status["health"]["status"] == "Healthy")
            .then_some(())
    });
    let pod = bed.until("its pod is ready", (&namespace.name, "pod"), |object| {
        condition(object, "Ready").then(|| object["metadata"]["name"].clone())
    });
    let host = format!("fraud-{}.k5w.localhost", namespace.name);
    let answer = bed.predict_until(&host, |answer| answer.status == 200).json();
    assert_eq!((&answer["predictor"], &answer["pod"]), (&"v7".into(), &pod));

    server.put(&release, &image("fraud", "8")).expect(200);
    namespace.refresh("fraud");
    let answer = bed.predict_until(&host, |answer| answer.status == 200 && answer.json()["predictor"] == "v8");
    assert_eq!(answer.json()["model_name"], "model");
}

/// Whether a condition of an object's status is true.
fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == kind && condition["status"] == "True")
}
