//! `plan`: offline, and the same on every machine. `UPDATE_GOLDEN=1` writes the files anew.

use crate::scene::{Scene, crate_directory};

#[track_caller]
fn check(name: &str, arguments: &[&str]) {
    let scene = Scene::here();
    let ended = scene.run(&[&["plan"], arguments].concat()).succeeded();
    assert_eq!(scene.calls(), [] as [&str; 0], "a plan starts nothing");
    let file = crate_directory().join("tests/plan").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &ended.stdout).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(ended.stdout == golden, "the plan is not `{}`:\n{}", file.display(), ended.stdout);
}

#[test]
fn core_on_a_new_cluster() {
    check("core", &[]);
}

#[test]
fn standard_on_three_nodes() {
    check("standard", &["--profile", "standard", "--nodes", "3"]);
}

#[test]
fn full_without_a_card() {
    check("full", &["--profile", "full", "--gpu", "off"]);
}

#[test]
fn core_on_a_cluster_that_is_there_with_its_argo_cd() {
    check("existing", &["--cluster", "existing", "--context", "staging", "--argo-cd", "present"]);
}

#[test]
fn an_overlay_says_its_profile_and_what_of_it_is_not_there() {
    check("production", &["--cluster", "existing", "--context", "production", "--overlay", "production"]);
    assert_eq!(Scene::here().run(&["plan", "--overlay", "production", "--profile", "core"]).code, Some(2));
}

#[test]
fn the_image_is_the_one_that_the_manifests_name() {
    let scene = Scene::apart();
    let file = "gitops-repo/platform/kmlflow/kustomization.yaml";
    let named = "newName: registry.example.com/ml/kmlflow, newTag: 0.2.0";
    scene.replace(file, "newName: kmlflow, newTag: 0.1.0", named);
    let here = ["--cluster", "existing", "--context", "staging"];
    let told = "the cluster pulls `registry.example.com/ml/kmlflow:0.2.0`";
    let plan = scene.run(&[&["plan"], &here[..]].concat()).succeeded();
    assert!(plan.stdout.contains(told), "{plan:#?}");
    let up = scene.up(&here).succeeded();
    assert!(up.stderr.contains(told), "{up:#?}");
    // What is built bears the name that the pods ask for, which has no digest.
    scene.replace(file, named, &format!("{named}@sha256:{}", "1".repeat(64)));
    let plan = scene.run(&["plan"]).succeeded();
    assert!(plan.stdout.contains("--tag=registry.example.com/ml/kmlflow:0.2.0 ."), "{plan:#?}");
}

#[test]
fn the_examples_are_the_checkouts_whatever_repository_is_followed() {
    let scene = Scene::apart();
    let outside = tempfile::tempdir().unwrap();
    let theirs = outside.path().join("gitops");
    std::fs::rename(scene.path("gitops-repo"), &theirs).unwrap();
    let here = ["plan", "--cluster", "existing", "--context", "staging", "--profile", "standard"];
    let asked = [&here[..], &["--gitops-repo", theirs.to_str().unwrap()]].concat();
    let none = scene.run(&asked).succeeded();
    assert!(none.stdout.contains("nothing: they lie in a checkout of Kmlflow"), "{none:#?}");
    let there = Scene::here().run(&asked).succeeded();
    assert!(there.stdout.contains("apply the files of examples/ as the ConfigMap jupyter/examples"), "{there:#?}");
    let without = Scene::here().run(&[&here[..], &["--without", "jupyterlab"]].concat()).succeeded();
    assert!(without.stdout.contains("nothing: JupyterLab is left out"), "{without:#?}");
}

#[test]
fn programs_read_it_as_json() {
    let plan: serde_json::Value =
        serde_json::from_str(&Scene::here().run(&["plan", "--profile", "full", "-o", "json"]).succeeded().stdout)
            .unwrap();
    assert_eq!((&plan["profile"], plan["steps"].as_array().unwrap().len()), (&"full".into(), 15));
    assert!(plan["steps"][12]["does"].as_array().unwrap().len() > 20, "{plan}");
}
