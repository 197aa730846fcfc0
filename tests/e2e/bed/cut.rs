//! The line to the API server is cut, or goes silent: nothing is claimed until everything is seen again, and nothing is missed.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::TestEnvironment;
use tests::bed::{Bed, Namespace};
use tests::cut::Line;
use tests::server::Server;

use super::faults::{by, kubeconfig, until_live, until_said};
use super::followed::{release, view, with_seven};
use crate::image;

/// So long a watch is dropped: longer than every pause between two tries.
const A_MINUTE: Duration = Duration::from_secs(60);

/// A minute and a half without a word, and half of one for the next try.
const NOTICED_WITHIN: Duration = Duration::from_secs(150);

/// Between two looks meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// The bed's API server behind a line that can be cut, and a service that knows it so.
fn behind_a_line<'a>(bed: &Bed, environment: &'a TestEnvironment) -> (Line, Server<'a>) {
    let line = Line::to("127.0.0.1:6443".parse().unwrap());
    let address = format!("https://{}", line.address());
    let path = kubeconfig(bed, environment, |config| config["clusters"][0]["cluster"]["server"] = address.into());
    let server = by(environment, &path);
    (line, server)
}

#[test]
fn while_the_api_server_cannot_be_reached_nothing_is_claimed_and_then_everything_is_seen() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let (line, server) = behind_a_line(&bed, &environment);
    let namespace = with_seven(&bed, &server, "cut");
    let release = release(&namespace);
    line.cut();
    until_said(&server, &release, ("unknown", "does not answer", "`kubectl get --raw /readyz`"));
    // A request meanwhile is taken, and what happens in the cluster is seen afterwards.
    let asked = server.put(&release, &image("fraud", "8"));
    assert!(matches!(asked.status, 200 | 202), "{}", asked.text());
    bed.ask(&["--namespace", &namespace.name, "label", "seldondeployment", "fraud", "seen=later"]);
    line.mend();
    until_live(&server, &release, "8");
}

/// What becomes of two releases while the service cannot see it: the next version of one serves, the other one is gone.
fn happens(bed: &Bed, namespace: &Namespace<'_>, next: &str) {
    let kubectl = |arguments: &[&str]| bed.ask(&[&["--namespace", namespace.name.as_str()], arguments].concat());
    kubectl(&["annotate", "pod", next, "bed/go=yes"]);
    let look = "argocd.argoproj.io/application-set-refresh=true";
    bed.ask(&["--namespace", "argocd", "annotate", "applicationset", &namespace.name, look]);
    let host = format!("fraud-{}.k5w.localhost", namespace.name);
    bed.predict_until(&host, |answer| answer.status == 200 && answer.json()["predictor"] == "v8");
    kubectl(&["wait", "--for=delete", "seldondeployment/gone", "--timeout=120s"]);
}

#[test]
fn what_happens_in_a_minute_without_a_watch_is_known_after_it_and_nothing_is_made_up_meanwhile() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let (line, server) = behind_a_line(&bed, &environment);
    let namespace = with_seven(&bed, &server, "dropped");
    let [fraud, gone] = &["fraud", "gone"].map(|name| format!("production/{}/{name}", namespace.name));
    server.put(gone, &image("fraud", "7")).expect(201);
    until_live(&server, gone, "7");
    let held = json!({"model": "fraud", "version": "8", "image": "registry.example/fraud:8-held"});
    server.put(fraud, &held).expect(200);
    let next = bed.until("the next version's pod is there", (&namespace.name, "pod"), |pod| {
        let is_next = pod["metadata"]["labels"]["version"] == "v8" && pod["status"]["phase"] == "Pending";
        is_next.then(|| pod["metadata"]["name"].as_str().unwrap().to_owned())
    });
    line.cut();
    let cut = Instant::now();
    let unseen = |state| (state, "the cluster `in-cluster` does not answer", "`kubectl get --raw /readyz`");
    for release in [fraud, gone] {
        until_said(&server, release, unseen("unknown"));
    }
    server.api("DELETE", &format!("/releases/{gone}"), None).expect(200);
    std::thread::scope(|scope| {
        let meanwhile = scope.spawn(|| happens(&bed, &namespace, &next));
        while cut.elapsed() < A_MINUTE || !meanwhile.is_finished() {
            for (release, state) in [(fraud, "unknown"), (gone, "retracting")] {
                let status = &view(&server, release)["status"];
                let is_unseen = status["reason"].as_str().unwrap().ends_with(unseen(state).1);
                assert!(status["state"] == state && is_unseen, "{release} after {:?}: {status:#}", cut.elapsed());
            }
            std::thread::park_timeout(LOOK);
        }
    });
    line.mend();
    until_live(&server, fraud, "8");
    server.until("nothing is left of the one that went", || {
        (server.api("GET", &format!("/releases/{gone}"), None).status == 404).then_some(())
    });
}

#[test]
fn a_line_that_goes_silent_without_an_end_is_noticed_and_what_was_missed_is_seen() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let (line, server) = behind_a_line(&bed, &environment);
    let namespace = with_seven(&bed, &server, "silent");
    let release = release(&namespace);
    line.silence();
    bed.ask(&["--namespace", &namespace.name, "delete", "seldondeployment", "fraud", "--wait=false"]);
    server.until_within(NOTICED_WITHIN, "the silence is noticed", || {
        let status = &view(&server, &release)["status"];
        (status["state"] == "unknown" && status["reason"].as_str()?.contains("does not answer")).then_some(())
    });
    line.mend();
    until_live(&server, &release, "7");
}
