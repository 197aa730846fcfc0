//! `down`: whose cluster it is, and how it ends.

use serde_json::Value;

use crate::scene::Scene;

/// That nothing was taken away.
#[track_caller]
fn nothing_goes(scene: &Scene) {
    let calls = scene.calls();
    let words = ["delete", "stop", "docker"];
    assert!(!calls.iter().any(|call| words.iter().any(|word| call.contains(word))), "{calls:#?}");
}

fn is_up() -> Scene {
    let scene = Scene::new();
    scene.up(&[]).succeeded();
    scene.calls();
    scene
}

#[test]
fn a_cluster_that_runs_without_our_record_is_somebody_s() {
    let scene = Scene::new();
    scene.write("cluster", "4 8192 ");
    for arguments in [&["down"][..], &["down", "--keep-data"], &["down", "--context", "k5w"]] {
        scene.run(arguments).failed(
            3,
            "`k5w` has nothing that says that `up` made it",
            "`minikube delete --profile k5w`",
        );
    }
    nothing_goes(&scene);
    let scene = is_up();
    scene.write("faults", "^kubectl get configmap\tfail 'net/http: TLS handshake timeout'\n");
    scene.run(&["down"]).failed(1, "TLS handshake timeout", "`minikube delete --profile k5w`");
    nothing_goes(&scene);
}

#[test]
fn a_cluster_that_is_stopped_goes_by_its_name_where_it_was_made_as_ours_are() {
    let scene = is_up();
    scene.run(&["down", "--keep-data"]).succeeded();
    scene.calls();
    let scene = scene.with("DRIVER", "kvm2");
    scene.run(&["down"]).failed(3, "`k5w` has nothing", "`minikube delete --profile k5w`");
    nothing_goes(&scene);
    let scene = scene.with("DRIVER", "docker");
    scene.run(&["down"]).succeeded();
    assert!(!scene.path("cluster").exists());
}

#[test]
fn a_minikube_that_does_not_answer_is_no_minikube_without_a_cluster() {
    let scene = is_up();
    scene.write("faults", "^minikube status\tfail 'permission denied'\n");
    scene.run(&["down"]).failed(1, "permission denied", "by hand");
    nothing_goes(&scene);
}

#[test]
fn a_context_of_another_minikube_is_not_the_one_of_this_machine() {
    let scene = is_up();
    scene.write("record-context", "other");
    scene.run(&["down", "--context", "other"]).failed(
        3,
        "the context `other` is one on minikube",
        "leave `--context` out",
    );
    nothing_goes(&scene);
    // A kubeconfig may have the name from another machine.
    let scene = is_up();
    scene.remove("cluster");
    scene.run(&["down", "--context", "k5w"]).failed(3, "not the cluster `k5w` of this machine", "where it was made");
    nothing_goes(&scene);
}

#[test]
fn a_platform_that_was_brought_into_a_minikube_of_that_name_goes_and_the_cluster_stays() {
    let scene = Scene::new();
    scene.write("cluster", "4 8192 ");
    scene.up(&["--cluster", "existing", "--context", "k5w"]).succeeded();
    scene.calls();
    scene.run(&["down"]).succeeded();
    let calls = scene.calls();
    assert!(calls.iter().any(|call| call.starts_with("kubectl delete namespace k5w")), "{calls:#?}");
    assert!(!calls.iter().any(|call| call.starts_with("minikube delete")), "{calls:#?}");
}

#[test]
fn a_second_one_has_nothing_to_do_and_says_so() {
    let scene = is_up();
    scene.run(&["down"]).succeeded();
    let second = scene.run(&["down"]).succeeded();
    assert_eq!(second.stdout, "Nothing is there to take away.\n");
    scene.run(&["down", "--context", "staging"]).failed(4, "there is no platform", "--context");
}

#[test]
fn for_programs_it_ends_as_up_does() {
    let done = |scene: &Scene, arguments: &[&str]| {
        let ended = scene.run(&[&["down", "-o", "json"], arguments].concat()).succeeded();
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(answer["event"], "done");
        let events: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (answer["state"].as_str().unwrap().to_owned(), events.len())
    };
    let scene = is_up();
    assert_eq!(done(&scene, &["--keep-data"]), ("stopped".to_owned(), 4));
    assert_eq!(done(&scene, &[]), ("gone".to_owned(), 4));
    assert_eq!(done(&scene, &[]), ("nothing".to_owned(), 0));
    let scene = Scene::new();
    scene.up(&["--cluster", "existing", "--context", "staging"]).succeeded();
    assert_eq!(done(&scene, &["--context", "staging", "--keep-data"]).0, "kept");
}
