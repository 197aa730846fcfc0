//! A tracking server beside replicas on PostgreSQL: its event comes to one that follows, and the one that leads releases.

use tests::environment::succeed;
use tests::mlflow::MlflowServer;

use super::registry::{becomes, is_told, model};
use crate::postgres::together::{Site, leads};

#[test]
fn an_event_at_a_replica_that_follows_is_released_by_the_one_that_leads() {
    let site = Site::<2>::new();
    let mlflow = MlflowServer::builder().start();
    let replica = |at: usize| {
        let begin = site.replica(at).env("KMLFLOW__MLFLOW__TRACKING_URI", &mlflow.url());
        begin.env("KMLFLOW__MLFLOW__SWEEP_INTERVAL", "1h").start()
    };
    let first = replica(0);
    first.until("leading", || leads(&first).then_some(()));
    first.until("a sweep", || (first.api("GET", "/sweep", None).status == 200).then_some(()));
    let second = replica(1);
    assert!(!leads(&second));
    assert_eq!(second.get("/sweep"), first.get("/sweep"), "it shows what the other one found");
    // The webhook comes to the one that follows: MLflow is told its address.
    let mut connect = site.environments[1].kmlflow(["mlflow", "connect", "--tracking-uri", &mlflow.url()]);
    drop(succeed(connect.arg("--data-dir").arg(site.environments[1].data_dir())));
    model(&mlflow, "journey", 2);
    mlflow.set_alias("journey", "champion", "1");
    for server in [&first, &second] {
        becomes(server, "journey", "single settled 1");
    }
    is_told((&first, &mlflow), "journey", "1", "serving");
    assert!(leads(&first) && !leads(&second));
    let deliveries = second.get("/deliveries?source=mlflow").to_string();
    assert!(deliveries.contains("applied"), "{deliveries}");
    // Whoever is left asks the registry as the other one did.
    first.kill();
    second.until("leading", || leads(&second).then_some(()));
    mlflow.set_alias("journey", "champion", "2");
    becomes(&second, "journey", "single settled 2");
    is_told((&second, &mlflow), "journey", "2", "serving");
}
