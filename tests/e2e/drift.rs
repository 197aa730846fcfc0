//! Where Git and the cluster differ as far as that goes without a cluster.

use serde_json::json;
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
