//! A name that something else in the namespace has: a release is refused before it writes over it.

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::{Bed, Namespace};
use tests::delivery::Delivery;
use tests::server::Server;

use super::followed::{is_live_in, until, watching};
use super::operator::{seldon, until_state};
use crate::image;

/// Something of somebody's own with this name.
fn theirs(namespace: &Namespace<'_>, kind: &str, name: &str) -> Value {
    let metadata = json!({"name": name, "namespace": namespace.name});
    let (version, spec) = match kind {
        "Service" => ("v1", json!({"selector": {"app": "shop"}, "ports": [{"port": 80}]})),
        _ => ("gateway.networking.k8s.io/v1", json!({"hostnames": ["shop.example"]})),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

/// The refusal of a new release, as a request and as a look at it.
fn refused(server: &Server<'_>, release: &str) -> Value {
    let answer = server.put(release, &image("wine", "7"));
    let problem = answer.json();
    assert_eq!(answer.status, 409, "{problem:#}");
    let looked = server.put(&format!("{release}?dryRun=true"), &image("wine", "7"));
    assert_eq!((looked.status, &looked.json()["detail"]), (409, &problem["detail"]));
    problem
}

#[test]
fn a_new_release_is_refused_where_its_name_is_taken_and_what_has_it_stays_as_it_is() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("occupied");
    namespace.follow(&server);
    let name = namespace.name.as_str();
    bed.apply(&seldon(&namespace, &[("main", "wine:7")]).to_string());
    until_state(&bed, &namespace, "Available");
    for (kind, object) in [("Service", "shop"), ("HTTPRoute", "road"), ("GRPCRoute", "rail-grpc")] {
        bed.apply(&theirs(&namespace, kind, object).to_string());
    }
    server.until("the cluster is seen", || {
        let report = server.api("POST", "/sweep?dryRun=true", None).expect(200).json();
        report["drift"].as_array()?.iter().any(|it| it["place"] == format!("{name}/wine")).then_some(())
    });

    for (release, object) in [
        ("wine", "SeldonDeployment/wine"),
        ("shop", "Service/shop"),
        ("road", "HTTPRoute/road"),
        ("rail", "GRPCRoute/rail-grpc"),
    ] {
        let problem = refused(&server, &format!("production/{name}/{release}"));
        let detail = format!("`{object}` is in the namespace `{name}` already, and no release made it");
        assert_eq!(problem["detail"], detail, "{problem:#}");
        let cure = problem["cure"].as_str().unwrap();
        assert!(cure.starts_with("choose another name"), "{cure}");
        assert_eq!(
            cure.contains(&format!("`kmlflow import wine -n {name} -e production`")),
            release == "wine",
            "{cure}"
        );
    }
    // An event meets the same, later than a person does.
    let body = json!({"name": "wine", "namespace": name, "environment": "production", "model": "wine", "version": "7", "image": "registry.example/wine:7"});
    let delivery = server.deliver_and_settle(&Delivery::generic("occupied", &body));
    assert_eq!(delivery["state"], "refused", "{delivery:#}");
    assert!(delivery["reason"].as_str().unwrap().contains("`SeldonDeployment/wine`"), "{delivery:#}");
    assert_eq!(server.get("/releases")["items"], json!([]), "nothing is in Git");
    let object = bed.get(name, "seldondeployment", "wine").unwrap();
    assert_eq!((&object["metadata"]["generation"], &object["metadata"]["annotations"]), (&json!(1), &Value::Null));
    assert_eq!(bed.get(name, "service", "shop").unwrap()["spec"]["selector"], json!({"app": "shop"}));

    // What the cures say helps: another name, without the thing, or on purpose.
    server.put(&format!("production/{name}/other"), &image("wine", "7")).expect(201);
    bed.ask(&["--namespace", name, "delete", "service", "shop"]);
    server.put(&format!("production/{name}/shop"), &image("wine", "7")).expect(201);
    server.put(&format!("production/{name}/wine?adopt=true"), &image("wine", "7")).expect(201);
    for release in ["other", "shop", "wine"] {
        until(&server, &format!("production/{name}/{release}"), "it is live", is_live_in("settled"));
    }
}
