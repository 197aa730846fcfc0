//! Other addresses than `http://*.k5w.localhost`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use kmlflow_bootstrap::catalogue::Catalogue;

use crate::scene::Scene;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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

/// Every file with its text.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(texts(&path)),
            false => found.push((path.clone(), fs::read_to_string(&path).unwrap())),
        }
    }
    found
}

#[test]
fn one_command_writes_the_suffix_and_https_everywhere() {
    let scene = Scene::apart();
    let folder = &scene.path("gitops-repo");
    let render = |more: &[&str]| scene.run(&[&["render"], more].concat());
    render(&["--host-suffix", "ml.example.com", "--tls"]).succeeded();
    assert_eq!(lines(folder, "k5w.localhost"), [] as [&str; 0]);
    let plain: Vec<String> = lines(folder, "http://")
        .into_iter()
        .filter(|line| line.contains("ml.example.com") && !line.contains("svc"))
        .collect();
    assert_eq!(plain, [] as [&str; 0]);
    let catalogue = Catalogue::read(folder).unwrap();
    let grafana = catalogue.component("grafana").unwrap();
    assert_eq!(catalogue.url(grafana).as_deref(), Some("https://grafana.ml.example.com"));
    render(&["--check"]).succeeded();
    assert!(scene.read("README.md").contains("| `grafana.ml.example.com` |"));
    // The same again changes nothing.
    let before = lines(folder, "");
    render(&["--host-suffix", "ml.example.com", "--tls"]).succeeded();
    assert_eq!(lines(folder, ""), before);
    for wrong in [["--host-suffix", "Not A Name"].as_slice(), &["--host-suffix", "k5w"], &["--check", "--tls"]] {
        assert_eq!(render(wrong).code, Some(2), "{wrong:?}");
    }

    let asked = ["--host-suffix", "ml.example.com", "--tls"];
    let plan = scene.run(&[&["plan"], &asked[..]].concat()).succeeded();
    assert!(plan.stdout.contains("--publish 127.0.0.1:443:10443"), "{plan:#?}");
    assert!(plan.stdout.contains("check that port 80 and 443 of 127.0.0.1"), "{plan:#?}");
}

#[test]
fn what_is_not_made_from_the_catalogue_stays_and_what_was_is_named() {
    let scene = Scene::apart();
    let profile = scene.path("gitops-repo/platform/profiles/core");
    let stale = fs::read_to_string(profile.join("mlflow.yaml")).unwrap();
    fs::write(profile.join("gone.yaml"), stale).unwrap();
    fs::write(profile.join("ours.yaml"), "kind: ConfigMap\n").unwrap();
    let outside = scene.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept.txt"), "kept").unwrap();
    std::os::unix::fs::symlink(&outside, profile.join("notes")).unwrap();
    let rendered = scene.run(&["render"]).succeeded();
    assert!(rendered.stdout.contains("removed ") && rendered.stdout.contains("core/gone.yaml"), "{rendered:#?}");
    assert!(rendered.stdout.contains("Commit this"), "{rendered:#?}");
    assert!(!profile.join("gone.yaml").exists() && profile.join("ours.yaml").exists());
    assert!(outside.join("kept.txt").exists());
    let again = scene.run(&["render", "-o", "json"]).succeeded();
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again, serde_json::json!({"written": [], "removed": []}));
}

#[test]
fn other_addresses_that_were_written_in_part_are_written_to_the_end() {
    let scene = Scene::apart();
    let platform = scene.path("gitops-repo/platform");
    let catalogue = fs::read_to_string(platform.join("catalogue.yaml")).unwrap();
    let options = ["render", "--host-suffix", "ml.example.com", "--port", "8080"];
    scene.run(&options).succeeded();
    let whole = texts(&platform);
    // As it was cut off before its last file, the catalogue.
    fs::write(platform.join("catalogue.yaml"), catalogue).unwrap();
    let route = platform.join("meilisearch/route.yaml");
    let text = fs::read_to_string(&route).unwrap().replace("ml.example.com", "k5w.localhost");
    fs::write(&route, text).unwrap();
    scene.run(&options).succeeded();
    assert_eq!(texts(&platform), whole);
}

#[test]
fn other_addresses_have_a_way_back() {
    let scene = Scene::apart();
    let folder = &scene.path("gitops-repo");
    let before = texts(folder);
    let render = |more: &[&str]| scene.run(&[&["render"], more].concat()).succeeded();
    render(&["--host-suffix", "ml.example.com", "--tls", "--port", "8080"]);
    assert!(texts(folder) != before);
    render(&["--no-tls"]);
    let origins = lines(folder, "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS");
    assert!(origins[0].contains("http://ml.example.com:8080,http://mlflow.ml.example.com:8080\""), "{origins:?}");
    render(&["--host-suffix", "k5w.localhost", "--port", "80"]);
    let changed: Vec<PathBuf> =
        texts(folder).into_iter().filter(|one| !before.contains(one)).map(|(path, _)| path).collect();
    assert_eq!(changed, [] as [PathBuf; 0]);
}

#[test]
fn releases_and_the_servers_of_the_same_domain_are_left_as_they_are() {
    let scene = Scene::apart();
    let render = |suffix: &str| scene.run(&["render", "--host-suffix", suffix]).succeeded();
    render("example.com");
    let release = "uri: http://mlflow.example.com/models";
    fs::create_dir_all(scene.path("gitops-repo/releases/production")).unwrap();
    scene.write("gitops-repo/releases/production/release.yaml", release);
    let repository = scene.read("gitops-repo/platform/repository/repository.yaml");
    let theirs = repository.replace("http://kmlflow.k5w.svc.cluster.local/git/", "https://git.example.com/ml/");
    assert_ne!(theirs, repository);
    scene.write("gitops-repo/platform/repository/repository.yaml", &theirs);
    render("corp.test");
    assert_eq!(scene.read("gitops-repo/releases/production/release.yaml"), release);
    assert_eq!(scene.read("gitops-repo/platform/repository/repository.yaml"), theirs);
    assert!(scene.read("gitops-repo/platform/kmlflow/kmlflow.yaml").contains("public_url: http://mlflow.corp.test"));
}

#[test]
fn addresses_that_the_manifests_do_not_have_are_refused_with_the_command() {
    let scene = Scene::new();
    let other = scene.up(&["--host-suffix", "ml.example.com"]);
    other.failed(5, "`http://*.k5w.localhost:", "cargo bootstrap render --host-suffix ml.example.com`");
    scene.up(&["--tls"]).failed(5, "`http://*.k5w.localhost:", "cargo bootstrap render --tls`");
    // Pages and programs are told the address with its port, so the port is one of the addresses.
    scene.up(&["--port", "8080"]).failed(5, "`http://*.k5w.localhost:", "cargo bootstrap render --port 8080`");
    let asks = |call: &String| {
        ["kubectl get ", "kubectl config ", "minikube status "].iter().any(|word| call.starts_with(word))
    };
    assert!(scene.calls().iter().all(asks), "nothing was begun");
    scene.up(&["--host-suffix", "k5w.localhost"]).succeeded();
}

#[test]
fn https_has_a_way_from_this_machine_and_its_authority_is_named() {
    // Port 443 may be somebody's here: the program is told that its own proxy has it.
    let scene = Scene::apart();
    scene.run(&["render", "--tls", "--port", &free_port().to_string()]).succeeded();
    scene.write("edge", "true {\"10443/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"443\"}]}");
    let first = scene.up(&["--tls"]).succeeded();
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
    scene.up(&[]).succeeded();
    assert!(!scene.calls().iter().any(|call| call.starts_with("docker run")), "it is there already");
}
