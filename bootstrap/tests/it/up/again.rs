//! What a platform was brought up with, and which repository it follows, is never forgotten by a later call.

use std::fs;
use std::process::Command;

use super::changing;
use super::existing::repository_secret;
use crate::scene::Scene;

const STAGING: [&str; 4] = ["--cluster", "existing", "--context", "staging"];

#[test]
fn after_a_stop_the_options_are_those_of_before() {
    let scene = Scene::new();
    let set = "prometheus.prometheus.prometheusSpec.retention=7d";
    scene.up(&["--profile", "full", "--without", "harbor", "--set", set]).succeeded();
    let record = scene.read("configmaps/k5w.bootstrap");
    scene.run(&["down", "--keep-data"]).succeeded();
    scene.calls();
    let again = scene.up(&[]).succeeded();
    assert_eq!(scene.read("configmaps/k5w.bootstrap"), record);
    assert!(
        again.stderr.contains("Stopped cluster: started") && again.stdout.contains("The platform is up"),
        "{again:#?}"
    );
    let calls = scene.calls();
    let started: Vec<&String> = calls.iter().filter(|call| call.starts_with("minikube start")).collect();
    assert_eq!(started, ["minikube start --profile=k5w --keep-context --interactive=false --output=json"]);
}

#[test]
fn a_cluster_that_cannot_be_started_keeps_its_options() {
    let scene = Scene::new();
    scene.up(&["--profile", "full"]).succeeded();
    scene.run(&["down", "--keep-data"]).succeeded();
    scene.calls();
    scene.write("faults", "^minikube start\tfail 'Docker is not running'\n");
    let ended = scene.up(&[]).failed(1, "Docker is not running", "minikube logs");
    assert!(ended.stderr.contains("FAIL"), "{ended:#?}");
    scene.write("faults", "^minikube status\tfail 'permission denied'\n");
    scene.up(&[]).failed(1, "`minikube status --profile k5w --output json`", "by hand");
    assert!(!scene.calls().iter().any(|call| call.starts_with("kubectl")));
}

#[test]
fn an_answer_that_fails_ends_it_before_anything_is_changed() {
    for here in [&STAGING[..], &[]] {
        let scene = Scene::new();
        scene.up(&[here, &["--profile", "full"]].concat()).succeeded();
        scene.calls();
        scene.write("faults", "^kubectl get configmap bootstrap\tfail 'net/http: TLS handshake timeout'\n");
        scene.up(here).failed(1, "TLS handshake timeout", "run it again");
        scene.write("faults", "");
        let place = "configmaps/k5w.bootstrap";
        scene.write(place, &scene.read(place).replace("\\\"full\\\"", "\\\"whole\\\""));
        scene.up(here).failed(1, "`k5w/bootstrap` is not as this program writes it", "delete configmap bootstrap");
        assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    }
}

#[test]
fn of_a_context_that_is_not_there_the_steps_say_so() {
    let scene =
        Scene::new().fault("^kubectl (get|version --output)", "fail 'error: context \"staging\" does not exist'");
    let ended = scene.up(&STAGING).failed(1, "context \"staging\" does not exist", "get-contexts");
    assert!(ended.stderr.contains("Programs: kubectl"), "{ended:#?}");
}

#[test]
fn an_empty_name_is_no_name() {
    let scene = Scene::new();
    for command in ["status", "doctor", "credentials", "upgrade", "pin", "down", "up", "plan"] {
        assert_eq!(scene.run(&[command, "--context", ""]).code, Some(2), "{command}");
    }
    for option in ["--host-suffix", "--overlay", "--without"] {
        assert_eq!(scene.up(&[option, ""]).code, Some(2), "{option}");
    }
    assert_eq!(scene.calls(), [] as [&str; 0]);
}

/// A scene whose platform follows the repository of a clone, and the clone.
fn follows_a_clone(more: &[&str]) -> (Scene, String) {
    let scene = Scene::apart();
    let clone = scene.path("clone");
    assert!(Command::new("cp").arg("-r").arg(scene.path("gitops-repo")).arg(&clone).status().unwrap().success());
    let (ours, theirs) =
        ("http://kmlflow.k5w.svc.cluster.local/git/gitops.git", "https://git.example.com/ml/gitops.git");
    scene.replace("clone/platform/repository/repository.yaml", ours, theirs);
    let clone = clone.to_str().unwrap().to_owned();
    fs::create_dir_all(scene.path("secrets")).unwrap();
    let label = r#""argocd.argoproj.io/secret-type":"repository""#;
    scene.write("secrets/argocd.repository", &repository_secret("https://git.example.com/ml/gitops.git", label));
    let up = scene.up(&[&STAGING[..], &["--gitops-repo", &clone], more].concat()).succeeded();
    let next = format!("cargo bootstrap status --context staging --gitops-repo {clone}");
    assert!(up.stdout.contains(&next), "{up:#?}");
    scene.calls();
    (scene, clone)
}

#[test]
fn a_platform_is_moved_to_another_repository_only_where_that_is_said() {
    let (scene, clone) = follows_a_clone(&[]);
    let refused = scene.up(&STAGING);
    let refused = refused.failed(
        5,
        "the cluster follows `https://git.example.com/ml/gitops.git`, branch `main`",
        "`--gitops-repo DIR`",
    );
    assert!(refused.stderr.contains("name `http://kmlflow.k5w.svc") && refused.stderr.contains("`--move-repository`"));
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    let stays = scene.up(&[&STAGING[..], &["--gitops-repo", &clone]].concat()).succeeded();
    assert!(stays.stdout.contains("nothing was changed"), "{stays:#?}");
    let moved = [&STAGING[..], &["--move-repository"]].concat();
    scene.up(&moved).failed(5, "for another repository", "delete secret repository");
    scene.remove("secrets/argocd.repository");
    scene.up(&moved).succeeded();
    scene.up(&STAGING).succeeded();
    scene.up(&[&STAGING[..], &["--gitops-repo", &clone]].concat()).failed(
        5,
        "follows `http://kmlflow.k5w.svc",
        "kmlflow.k5w.svc",
    );
}

#[test]
fn other_addresses_are_taken_only_where_they_are_named() {
    let (scene, _) = follows_a_clone(&["--without", "harbor"]);
    scene.run(&["render", "--host-suffix", "ml.example.com"]).succeeded();
    scene.remove("secrets/argocd.repository");
    let moved = [&STAGING[..], &["--move-repository"]].concat();
    scene.up(&moved).failed(5, "end with `k5w.localhost`", "`--host-suffix ml.example.com`");
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    scene.up(&[&moved[..], &["--host-suffix", "ml.example.com"]].concat()).succeeded();
    scene.up(&STAGING).succeeded();
}

#[test]
fn a_record_that_names_no_repository_goes_on_as_before() {
    let (scene, _) = follows_a_clone(&["--without", "harbor"]);
    let place = "configmaps/k5w.bootstrap";
    let mut record: serde_json::Value = serde_json::from_str(&scene.read(place)).unwrap();
    record["data"].as_object_mut().unwrap().retain(|name, _| name == "options");
    scene.write(place, &record.to_string());
    scene.remove("secrets/argocd.repository");
    scene.up(&STAGING).succeeded();
    let record = scene.read(place);
    assert!(record.contains("kmlflow.k5w.svc") && record.contains("harbor"), "{record}");
}

#[test]
fn a_cure_names_the_manifests_that_were_named() {
    let (scene, clone) = follows_a_clone(&[]);
    scene.write("seen", "0");
    let cure = format!("`cargo bootstrap doctor --context staging --gitops-repo {clone}`");
    scene.run(&["status", "--context", "staging", "--gitops-repo", &clone]).failed(6, "not there", &cure);
}
