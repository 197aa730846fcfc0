//! `SeldonDeployment`s of the cluster as the releases that they would be.

use super::cluster::Scene;
use super::*;
use crate::worker::{ImportHints, ImportQuery, ImportView};

fn by_hand(name: &str, more: Value) -> Value {
    let container = json!({"name": "server", "image": "registry.example/wine:7", "ports": [{"name": "http", "containerPort": 9000}]});
    let mut object = json!({"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": name, "namespace": "models"},
        "spec": {"protocol": "v2", "predictors": [{"name": "default", "traffic": 100, "componentSpecs": [{"spec": {"containers": [container]}}]}]}});
    object["metadata"]["annotations"] = more;
    object
}

async fn import(scene: &Scene, names: &[&str]) -> Result<Vec<ImportView>, Fault> {
    let query = ImportQuery {
        environment: "production".parse().unwrap(),
        namespace: "models".parse().unwrap(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        objects: None,
        hints: ImportHints::default(),
    };
    scene.world.handle().import(query, |_, model| model.as_str() != "secret").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_release_made_is_shown_with_its_files_and_what_of_its_pods_changes() {
    let scene = Scene::with_seven().await;
    scene.server.edit("seldondeployments", |items| {
        let mut hidden = by_hand("hidden", json!({}));
        hidden["spec"]["predictors"][0]["componentSpecs"][0]["spec"]["containers"][0]["image"] =
            json!("registry.example/secret:1");
        items.extend([by_hand("wine", json!({})), hidden]);
    });
    let all = import(&scene, &[]).await.unwrap();
    assert_eq!(all.len(), 1, "neither the release's own nor what the caller may not release: {all:#?}");
    let wine = &all[0];
    assert_eq!((wine.release.as_deref(), wine.obstacles.as_slice()), (Some("production/models/wine"), [].as_slice()));
    assert!(wine.manifests["release.yaml"].contains("predictor: v7"), "{}", wine.manifests["release.yaml"]);
    let fields: Vec<&str> = wine.pods.iter().map(|pod| pod.field.as_str()).collect();
    assert!(
        fields.contains(&"containers[model].ports[grpc]") && fields.contains(&"containers[model].resources"),
        "{fields:?}"
    );
    assert!(!fields.contains(&"containers[model].image"), "{fields:?}");
    assert!(scene.world.handle().release(&key("wine")).await.is_err(), "nothing is changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_there_and_one_whose_name_is_taken_are_told() {
    let scene = Scene::with_seven().await;
    let refused = import(&scene, &["nothing"]).await.unwrap_err();
    assert!(format!("{refused:?}").contains("there is no SeldonDeployment `nothing`"), "{refused:?}");
    let own = import(&scene, &["fraud"]).await.unwrap();
    assert!(own[0].obstacles[0].detail.contains("belongs to the release `production/models/fraud`"), "{own:#?}");
    scene.server.edit("seldondeployments", |items| *items = vec![by_hand("fraud", json!({}))]);
    let taken = import(&scene, &["fraud"]).await.unwrap();
    assert!(taken[0].obstacles[0].detail.contains("is deployed already"), "{taken:#?}");
}
