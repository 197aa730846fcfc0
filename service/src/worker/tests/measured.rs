//! What the tracking server measured for the versions of a change stands in its pull request.

use super::rounds::reviewed;
use super::*;
use crate::worker::review::rounds::Rounds;

#[tokio::test(flavor = "multi_thread")]
async fn the_pull_request_of_a_candidate_compares_it_with_what_serves() {
    let (mut far, forge, says) = reviewed().await;
    let registry = Registry::start().await;
    registry.register("fraud", 8);
    for (version, auc) in [(7, 0.91), (8, 0.93)] {
        registry.measure("fraud", version, "auc", auc);
    }
    registry.measure("fraud", 8, "loss", 0.1);
    far.world.registry = Some(registry);
    far.world.start().await;
    let asked = far.world.handle().request(put("fraud", canary("8")), Duration::from_millis(10)).await;
    assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    far.world.run().await;
    let shared = far.world.handle().shared;
    says.lock().unwrap().head = far.at_remote(&["rev-parse", "kmlflow/production/models/fraud"]);
    Rounds::of_who_leads(&shared, &forge).turn(&shared, &forge).await;
    let body = says.lock().unwrap().body.clone();
    let table = "### Measurements in MLflow\n\n| | version 7 | version 8 |\n| --- | ---: | ---: |\n| auc | 0.91 | 0.93 |\n| loss |  | 0.1 |\n";
    assert!(body.contains(table), "{body}");
}
