use tests::TestEnvironment;
use tests::bed::Bed;

use crate::image;

#[test]
fn a_release_reaches_its_callers_after_the_api_server_was_killed() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let namespace = bed.namespace("outage");
    let server = environment.server().start();
    let release = format!("production/{}/fraud", namespace.name);
    server.put(&release, &image("fraud", "7")).expect(201);
    namespace.follow(&server);
    let host = format!("fraud-{}.k5w.localhost", namespace.name);
    bed.predict_until(&host, |answer| answer.status == 200);

    bed.kill("kube-apiserver");
    server.put(&release, &image("fraud", "8")).expect(200);
    bed.wait_for_api_server();
    namespace.refresh("fraud");
    let answer = bed.predict_until(&host, |answer| answer.status == 200 && answer.json()["predictor"] == "v8");
    assert_eq!(answer.json()["model_name"], "model");
}
