//! A replica that comes to lead looks at everything again: what it only saw happen, while another one led, is acted on then.

use std::time::Duration;

use serde_json::json;
use tests::bed::Bed;

use super::followed::{is_live_in, release, until};
use super::journey::{PER_SECOND, shares};
use crate::postgres::together::{Site, leads};
use crate::{by, image};

/// Only ends a hanging test.
const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_replica_that_takes_over_goes_on_with_what_was_ready_before_it_led() {
    let (bed, site) = (Bed::shared(), Site::<2>::new());
    let namespace = bed.namespace("taken-over");
    namespace.follow_repository(&site.url, 3);
    let kubeconfig = bed.kubeconfig();
    let replica =
        |at| site.replica(at).env("KMLFLOW__KUBERNETES__KUBECONFIG", kubeconfig.to_str().expect("a path")).start();
    let first = replica(0);
    first.until("leading", || leads(&first).then_some(()));
    let second = replica(1);
    let release = release(&namespace);
    second.put(&release, &image("fraud", "7")).expect(201);
    until(&second, &release, "version 7 is live", is_live_in("settled"));
    let host = format!("fraud-{}.k5w.localhost", namespace.name);
    bed.predict_until(&host, |answer| answer.status == 200);
    let load = bed.load(&host, PER_SECOND);

    let steps = json!([{"weight": 10, "pause": "1s"}, {"weight": 50, "pause": "1s"}]);
    let held = json!({"image": "registry.example/fraud:8-held", "steps": steps});
    second.put(&release, &by("canary", "fraud", "8", held)).expect(200);
    let pod = bed.until("the candidate's pod is there", (&namespace.name, "pod"), |pod| {
        let is_held = pod["metadata"]["labels"]["version"] == "v8" && pod["status"]["phase"] == "Pending";
        is_held.then(|| pod["metadata"]["name"].as_str().unwrap().to_owned())
    });

    // The one that leads hangs. The other one sees that the pods are ready, and may do nothing about it.
    first.freeze();
    bed.ask(&["--namespace", &namespace.name, "annotate", "pod", &pod, "bed/go=yes"]);
    until(&second, &release, "it sees that what Git has is live", is_live_in("entering"));
    assert!(!leads(&second));
    // Nothing more happens in the cluster that it could be told of.
    first.kill();
    second.until_within(WITHIN, "leading", || leads(&second).then_some(()));
    let ended = until(&second, &release, "version 8 is live", is_live_in("settled"));
    assert_eq!(shares(&ended), [("v8", 100)], "{ended:#}");
    let answers = load.end();
    assert_eq!(answers.failed, 0, "{answers}");
}
