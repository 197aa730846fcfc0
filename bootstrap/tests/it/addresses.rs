//! Other addresses than `http://*.k5w.localhost`.

use std::fs;
use std::path::Path;
use std::process::Command;

use kmlflow_bootstrap::catalogue::Catalogue;

use crate::scene::{Scene, gitops_repo};

/// A checkout with a copy of the seed, to be written into.
fn copy(scene: &Scene) -> String {
    fs::create_dir(scene.path("service")).unwrap();
    scene.write("service/Cargo.toml", "");
    fs::copy(gitops_repo().join("../README.md"), scene.path("README.md")).unwrap();
    let into = scene.path("gitops-repo");
    assert!(Command::new("cp").arg("-r").arg(gitops_repo()).arg(&into).status().unwrap().success());
    into.to_str().unwrap().to_owned()
}

/// The lines of every file that have these words.
fn lines(folder: &Path, words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match fs::read_to_string(&path) {
            _ if path.is_dir() => found.extend(lines(&path, words)),
            Ok(text) => found.extend(
                text.lines().filter(|line| line.contains(words)).map(|line| format!("{}: {line}", path.display())),
            ),
            Err(_) => {}
        }
    }
    found
}

#[test]
fn one_command_writes_the_suffix_and_https_everywhere() {
    let scene = Scene::new();
    let seed = copy(&scene);
    let (folder, here) = (Path::new(&seed), ["--gitops-repo", seed.as_str()]);
    let render = |more: &[&str]| scene.run(&[&["render"], more, &here].concat());
    render(&["--host-suffix", "ml.example.com", "--tls"]).succeeded();
    assert_eq!(lines(folder, "k5w.localhost"), [] as [&str; 0]);
    let plain: Vec<String> = lines(folder, "http://")
        .into_iter()
        .filter(|line| line.contains("ml.example.com") && !line.contains("svc"))
        .collect();
    assert_eq!(plain, [] as [&str; 0]);
    let catalogue = Catalogue::read(folder).unwrap();
    let grafana = catalogue.component("grafana").unwrap();
    assert_eq!(catalogue.url(grafana, 8080).as_deref(), Some("https://grafana.ml.example.com"));
    render(&["--check"]).succeeded();
    assert!(scene.read("README.md").contains("| `grafana.ml.example.com` |"));
    // The same again changes nothing.
    let before = lines(folder, "");
    render(&["--host-suffix", "ml.example.com", "--tls"]).succeeded();
    assert_eq!(lines(folder, ""), before);
    for wrong in [["--host-suffix", "Not A Name"].as_slice(), &["--check", "--tls"]] {
        assert_eq!(render(wrong).code, Some(2), "{wrong:?}");
    }

    let asked = ["--host-suffix", "ml.example.com", "--tls"];
    let plan = scene.run(&[&["plan"], &asked[..], &here].concat()).succeeded();
    assert!(plan.stdout.contains("--publish 127.0.0.1:443:10443"), "{plan:#?}");
}

#[test]
fn addresses_that_the_manifests_do_not_have_are_refused_with_the_command() {
    let scene = Scene::new();
    let other = scene.up(&["--host-suffix", "ml.example.com"]);
    other.failed(5, "`http://*.k5w.localhost`", "cargo bootstrap render --host-suffix ml.example.com`");
    scene.up(&["--tls"]).failed(5, "`http://*.k5w.localhost`", "cargo bootstrap render --tls`");
    assert!(scene.calls().iter().all(|call| call.contains(" get ")), "nothing was begun");
    scene.up(&["--host-suffix", "k5w.localhost"]).succeeded();
}

#[test]
fn https_has_a_way_from_this_machine_and_its_authority_is_named() {
    let scene = Scene::new();
    let seed = copy(&scene);
    let here = ["--gitops-repo", seed.as_str()];
    scene.run(&[&["render", "--tls"], &here[..]].concat()).succeeded();
    let first = scene.up(&[&["--tls"], &here[..]].concat()).succeeded();
    assert!(
        first.stdout.contains("https://grafana.k5w.localhost") && first.stdout.contains("get secret authority"),
        "{first:#?}"
    );
    assert!(
        scene
            .calls()
            .iter()
            .any(|call| call.starts_with("docker run") && call.contains("--publish 127.0.0.1:443:10443"))
    );
    scene.up(&here).succeeded();
    assert!(!scene.calls().iter().any(|call| call.starts_with("docker run")), "it is there already");
}
