//! The other commands.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::scene::Scene;

fn is_up(more: &[&str]) -> Scene {
    let scene = Scene::new();
    scene.up(more).succeeded();
    scene.calls();
    scene
}

#[test]
fn before_anything_is_there_each_command_says_what_to_do() {
    let scene = Scene::new();
    for command in ["status", "doctor", "credentials", "upgrade", "pin"] {
        scene.run(&[command]).failed(4, "there is no platform", "cargo bootstrap up");
    }
    scene.run(&["open", "grafana"]).failed(4, "there is no platform", "cargo bootstrap up");
}

#[test]
fn status_lists_every_part_and_fails_until_all_are_healthy() {
    let scene = is_up(&[]);
    let well = scene.run(&["status"]).succeeded();
    assert!(well.stdout.contains("14 of 14 are healthy"), "{well:#?}");
    scene.write("seen", "4");
    let waiting = scene.run(&["status"]).failed(6, "wave -20", "doctor");
    assert!(waiting.stdout.contains("not there  waits for wave -20"), "{waiting:#?}");
    scene.write("seen", "4");
    let programs = scene.run(&["status", "-o", "json"]);
    assert!(programs.code == Some(6) && programs.stdout.contains("\"not-there\""), "{programs:#?}");
    scene.write("seen", "0");
    let watched = scene.run(&["status", "--watch"]).succeeded();
    assert!(watched.stdout.contains("0 of 14") && watched.stdout.contains("14 of 14"), "{watched:#?}");
    let parts: serde_json::Value =
        serde_json::from_str(&scene.run(&["status", "-o", "json"]).succeeded().stdout).unwrap();
    assert_eq!((parts.as_array().unwrap().len(), &parts[0]["state"]), (14, &"healthy".into()));
}

#[test]
fn a_platform_that_is_well_has_nothing_for_the_doctor() {
    let found = is_up(&[]).run(&["doctor"]).succeeded();
    assert!(found.stdout.contains("Nothing was found"), "{found:#?}");
}

#[test]
fn a_part_that_is_not_healthy_is_told_by_the_doctor_also_where_nothing_explains_it() {
    let scene = is_up(&[]);
    scene.write("stuck", "mlflow");
    let words = "mlflow is progressing: its objects are there";
    let found = scene.run(&["doctor"]).failed(6, words, "cargo bootstrap status --watch");
    assert!(
        found.stdout.contains("part mlflow\n  is progressing: ") && !found.stdout.contains("Nothing"),
        "{found:#?}"
    );
    assert!(found.stdout.contains("kubectl --context k5w get pods --namespace mlflow"), "{found:#?}");
    assert!(found.stdout.contains("part monitoring\n  is not there: waits for wave 0"), "{found:#?}");
    let programs = scene.run(&["doctor", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&programs.stdout).unwrap();
    assert!(programs.code == Some(6) && told[0]["subject"] == "part mlflow", "{programs:#?}");
    // Of a part whose pod says why, that is told and no more.
    let image = json!({"name": "main", "image": "x/y:1", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}});
    let pod = json!({"kind": "Pod", "metadata": {"namespace": "mlflow", "name": "mlflow-0"}, "status": {"containerStatuses": [image]}});
    scene.write("objects-pods", &pod.to_string());
    let found = scene.run(&["doctor"]).failed(1, "1 thing(s) are wrong", "from the top");
    assert!(found.stdout.contains("there is no such image") && !found.stdout.contains("part mlflow"), "{found:#?}");
}

#[test]
fn passwords_are_printed_when_they_are_asked_for_and_only_then() {
    let scene = is_up(&[]);
    let password = scene.secret_values();
    let shown =
        |text: &str| password.iter().filter(|value| value.len() == 40).any(|value| text.contains(value.as_str()));
    let without = scene.run(&["credentials"]).succeeded();
    assert!(
        without.stdout.contains("monitoring/grafana-admin/admin-password") && !shown(&without.stdout),
        "{without:#?}"
    );
    assert!(shown(&scene.run(&["credentials", "--show"]).succeeded().stdout));
    let entries: serde_json::Value =
        serde_json::from_str(&scene.run(&["credentials", "-o", "json"]).succeeded().stdout).unwrap();
    let grafana = entries.as_array().unwrap().iter().find(|entry| entry["name"] == "grafana").unwrap();
    assert!(
        grafana["url"].as_str().unwrap().starts_with("http://grafana.k5w.localhost:") && grafana["password"].is_null(),
        "{grafana}"
    );
}

#[test]
fn programs_are_told_secrets_and_commands_apart_and_commands_reach_their_cluster() {
    let scene = is_up(&["--cluster", "existing", "--context", "staging", "--profile", "standard"]);
    let asked = ["credentials", "--context", "staging"];
    let entries: serde_json::Value =
        serde_json::from_str(&scene.run(&[&asked[..], &["-o", "json"]].concat()).succeeded().stdout).unwrap();
    let of = |name: &str| entries.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap().clone();
    let (grafana, prometheus, headlamp) = (of("grafana"), of("prometheus"), of("headlamp"));
    assert_eq!((&grafana["user"], &grafana["command"]), (&"admin".into(), &json!(null)));
    assert_eq!(grafana["secret"], "monitoring/grafana-admin/admin-password");
    assert!(
        prometheus["user"].is_null() && prometheus["secret"].is_null() && prometheus["command"].is_null(),
        "{prometheus}"
    );
    let make = "kubectl --context staging create token headlamp --namespace headlamp --duration 24h";
    assert_eq!((&headlamp["secret"], &headlamp["command"]), (&json!(null), &make.into()));
    assert_eq!(of("kmlflow")["command"], "cargo bootstrap open kmlflow --context staging");
    let told = scene.run(&asked).succeeded().stdout;
    assert!(told.contains(&format!("`{make}`")) && told.contains("monitoring/grafana-admin/admin-password"), "{told}");
}

#[test]
fn open_prints_the_address_and_for_the_service_the_link_of_its_last_start() {
    let scene = is_up(&[]);
    // What its first start prints, and its log between.
    scene.write(
        "logs",
        "admin token    kmlflow_admin (shown this once, kept in /var/lib/kmlflow/data/admin-token)\n\
         repository     git clone http://k5w.localhost/git/gitops.git\n\
         sign in        http://k5w.localhost/#kmlflow_one\n\
         listening on http://0.0.0.0:8080\n\
         {\"message\":\"somebody may sign in  http://k5w.localhost/#kmlflow_other\"}\n",
    );
    let link = scene.run(&["open", "kmlflow", "--print"]).succeeded().stdout;
    let base = scene.run(&["open", "grafana", "--print"]).succeeded().stdout.trim().replace("grafana.", "");
    assert_eq!(link, format!("{base}/#kmlflow_one\n"));
    let by_address = scene.run(&["open", "argocd", "--print"]).succeeded();
    assert!(by_address.stdout.starts_with("http://argocd.k5w.localhost"), "{by_address:#?}");
    scene.run(&["open", "grafna"]).failed(4, "`grafna`", "grafana");
    // The log was begun anew: the first lines are gone.
    scene.write("logs", "{\"message\":\"a delivery came in\"}\n");
    scene.run(&["open", "kmlflow"]).failed(4, "no longer in its log", "kmlflow token create --role=admin");
}

#[test]
fn an_upgrade_is_shown_and_left_to_a_commit() {
    let scene = is_up(&[]);
    let shown = scene.run(&["upgrade", "--diff"]).succeeded();
    assert!(shown.stdout.contains("3.18.0") && shown.stdout.contains("git push origin main"), "{shown:#?}");
    scene.run(&["upgrade"]).failed(3, "an upgrade is a commit", "upgrade --diff");
    assert!(!scene.calls().iter().any(|call| call.contains("apply")));
}

/// Runs lines of a shell, which must succeed.
fn shell(folder: &Path, lines: &str) {
    let mut bash = Command::new("bash");
    for role in ["AUTHOR", "COMMITTER"] {
        bash.env(format!("GIT_{role}_NAME"), "T").env(format!("GIT_{role}_EMAIL"), "t@example.com");
    }
    let run = bash.args(["-euc", lines]).current_dir(folder).output().unwrap();
    assert!(run.status.success(), "{lines}: {run:#?}");
}

#[test]
fn the_commands_of_an_upgrade_keep_what_was_changed_in_the_repository() {
    let scene = Scene::apart().on_free_port();
    scene.up(&[]).succeeded();
    let folder = scene.path("");
    // The repository as it was begun, with an address and an environment of theirs since.
    shell(
        &folder,
        "git init -q --bare -b main theirs.git && git clone -q theirs.git theirs && cp -r gitops-repo/platform theirs/
        cd theirs && git add -A && git commit -qm begin && sed -i 's|name: mlflow, newName: [^,]*|name: mlflow, newName: mirror.example/mlflow|' platform/mlflow/kustomization.yaml
        echo 'kind: ConfigMap' >platform/releases/staging.yaml && git add -A && git commit -qm ours && git push -q origin main",
    );
    for version in ["first", "second"] {
        let file = scene.path("gitops-repo/platform/README.md");
        std::fs::write(&file, format!("{version}\n{}", std::fs::read_to_string(&file).unwrap())).unwrap();
        let shown = scene.run(&["upgrade", "--diff"]).succeeded().stdout;
        let commands: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert!(commands[0].starts_with("git clone http://"), "{shown}");
        let clone = commands[0].split_whitespace().nth(2).unwrap();
        shell(&folder, &commands.join("\n").replace(clone, "theirs.git"));
        shell(&folder, "rm -rf gitops theirs && git clone -q theirs.git theirs");
        assert!(scene.read("theirs/platform/README.md").starts_with(version));
        assert!(scene.read("theirs/platform/mlflow/kustomization.yaml").contains("mirror.example/mlflow"));
        assert!(scene.read("theirs/platform/releases/staging.yaml").contains("ConfigMap"));
    }
}

#[test]
fn what_the_cluster_pulled_is_written_behind_the_tags_and_the_second_time_nothing() {
    let scene = Scene::apart().on_free_port();
    scene.up(&[]).succeeded();
    let digest = "5".repeat(64);
    let pod = |image: &str, id: &str| {
        let (spec, status) = (json!([{"name": "c", "image": image}]), json!([{"name": "c", "imageID": id}]));
        json!({"spec": {"containers": spec}, "status": {"containerStatuses": status}}).to_string()
    };
    let (name, tag) = ("docker.io/library/postgres", "17.7");
    let pulled = pod(&format!("{name}:{tag}"), &format!("{name}@sha256:{digest}"));
    let of_a_chart = pod("quay.io/jetstack/cert-manager:v1", &format!("quay.io/jetstack/cert-manager@sha256:{digest}"));
    scene.write("objects-pods", &[pulled, pod("docker.io/chrislusf/seaweedfs:4.48", ""), of_a_chart].join(","));

    let written = scene.run(&["pin"]).succeeded();
    let rows = |text: &str, end: &str| text.lines().filter(|line| line.ends_with(end)).count();
    assert!(
        rows(&written.stdout, "written") == 1 && rows(&written.stdout, "no pod here pulled it from there") > 5,
        "{written:#?}"
    );
    assert!(written.stdout.contains("Commit `platform/`"), "{written:#?}");
    assert_eq!(rows(&written.stdout, "by a chart, or by files elsewhere"), 1, "{written:#?}");
    let path = "gitops-repo/platform/postgresql/kustomization.yaml";
    let text = scene.read(path);
    assert!(text.contains(&format!("newTag: \"{tag}@sha256:{digest}\"}}")), "{text}");

    let again = scene.run(&["pin", "-o", "json"]).succeeded();
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    let of = |state: &str| again.as_array().unwrap().iter().filter(|image| image["state"] == state).count();
    assert_eq!((of("written"), of("unchanged")), (0, 1), "{again:#}");
    assert_eq!(scene.read(path), text);
}

#[test]
fn down_without_a_context_takes_away_what_it_finds_and_nothing_else() {
    let scene = is_up(&["--cluster", "existing", "--context", "staging"]);
    scene.write("known-contexts", "other\nstaging\n");
    let down = scene.run(&["down"]);
    let down = down.failed(4, "there is one elsewhere: staging", "`--context staging`");
    assert!(!down.stderr.contains("gone"), "{down:#?}");
    scene.run(&["status"]).failed(4, "there is one elsewhere: staging", "`--context staging`");
    let calls = scene.calls();
    assert!(!calls.iter().any(|call| call.contains("delete") || call.starts_with("docker")), "{calls:#?}");
    let gone = Scene::new().fault("^kubectl get configmap", "fail 'error: context \"k5w\" does not exist'");
    gone.run(&["status"]).failed(4, "there is no platform", "cargo bootstrap up");
    let stopped = Scene::new().fault("^kubectl get configmap", "fail 'dial tcp: connection refused'");
    stopped.run(&["status"]).failed(1, "connection refused", "minikube status");
    // Where nobody answers nobody knows.
    let scene = Scene::new().fault("^kubectl get configmap", "fail 'dial tcp: i/o timeout'");
    scene.write("known-contexts", "other\n");
    scene.run(&["down"]).failed(4, "these do not answer: other", "--context");
}

#[test]
fn down_takes_the_cluster_away_or_stops_it() {
    let scene = is_up(&[]);
    scene.run(&["down", "--keep-data"]).succeeded();
    let calls = scene.calls();
    assert!(
        calls.contains(&"minikube stop --profile k5w".to_owned()) && !calls.iter().any(|call| call.contains("delete")),
        "{calls:#?}"
    );
    scene.run(&["down"]).succeeded();
    assert!(scene.calls().contains(&"minikube delete --profile k5w".to_owned()));
}

#[test]
fn down_on_a_cluster_that_is_there_takes_away_only_what_was_brought() {
    let here = ["--cluster", "existing", "--context", "staging"];
    let scene = is_up(&here);
    let kept = scene.run(&["down", "--context", "staging", "--keep-data"]).succeeded();
    assert!(kept.stderr.contains("kept with their data: k5w, storage, mlflow"), "{kept:#?}");
    let calls = scene.calls();
    let deleted: Vec<&String> = calls.iter().filter(|call| call.starts_with("kubectl delete namespace ")).collect();
    assert_eq!(deleted, ["kubectl delete namespace gateway --ignore-not-found --wait=false"]);
    assert!(calls.iter().all(|call| call.starts_with("kubectl ")), "{calls:#?}");
    scene.run(&["down", "--context", "staging"]).succeeded();
    let calls = scene.calls();
    let of = |name: &str| calls.iter().position(|call| call.starts_with(&format!("kubectl delete namespace {name} ")));
    assert!(of("storage").is_some() && of("storage") < of("k5w"), "what is remembered goes last: {calls:#?}");
    let left = "kubectl delete service stack-kubelet --namespace kube-system --ignore-not-found";
    assert!(calls.iter().any(|call| call == left), "{calls:#?}");
}

#[test]
fn what_is_kept_is_kept_with_the_secrets_without_which_it_cannot_be_read() {
    let here = ["--cluster", "existing", "--context", "staging"];
    let scene = is_up(&here);
    let key = scene.read("secrets/mlflow.mlflow");
    assert!(key.contains("webhook-encryption-key"), "{key}");
    scene.run(&["down", "--context", "staging", "--keep-data"]).succeeded();
    scene.up(&here).succeeded();
    assert_eq!(scene.read("secrets/mlflow.mlflow"), key);
    // A volume of somebody's keeps its namespace too.
    scene.write("claims", "gateway\n");
    let kept = scene.run(&["down", "--context", "staging", "--keep-data"]).succeeded();
    assert!(kept.stderr.contains("kept with their data: k5w, storage, mlflow, gateway"), "{kept:#?}");
    scene.run(&["down", "--context", "staging"]).succeeded();
    assert_eq!(scene.read("secrets/mlflow.mlflow"), "");
}

#[test]
fn down_takes_kinds_away_that_it_brought_and_nobody_else_uses() {
    let here = ["--cluster", "existing", "--context", "staging"];
    let scene = Scene::new();
    let of_argo_cd = |name: &str| format!("{name}\targocd-controller kube-apiserver\t\n");
    // One was there before, although it looks as if it were ours.
    let before = of_argo_cd("certificates.cert-manager.io");
    scene.write("definitions", &before);
    scene.up(&[&here[..], &["--without", "cert-manager"]].concat()).succeeded();
    let ours = ["podmonitors.monitoring.coreos.com", "servicemonitors.monitoring.coreos.com"].map(of_argo_cd).concat();
    scene.write(
        "definitions",
        &format!("{before}applications.argoproj.io\tkubectl\tbootstrap\nissuers.cert-manager.io\thelm\t\n{ours}"),
    );
    scene.write("places-podmonitors.monitoring.coreos.com", "mlflow/ours\n");
    scene.write("places-servicemonitors.monitoring.coreos.com", "mlflow/ours\nshop/theirs\n");
    scene.calls();
    let down = scene.run(&["down", "--context", "staging"]).succeeded();
    let calls = scene.calls();
    let deleted: Vec<&String> = calls.iter().filter(|call| call.contains("delete customresourcedefinitions")).collect();
    let expected = "kubectl delete customresourcedefinitions applications.argoproj.io podmonitors.monitoring.coreos.com --ignore-not-found --wait=false";
    assert_eq!(deleted, [expected]);
    let told = "kept, as others use them: servicemonitors.monitoring.coreos.com (of shop/theirs)";
    assert!(down.stderr.contains(told), "{down:#?}");
    // Nothing is fetched to know what was applied.
    assert!(!calls.iter().any(|call| call.contains("kustomize")), "{calls:#?}");
}

#[test]
fn down_says_what_keeps_a_namespace_and_gives_up_in_time() {
    let here = ["--cluster", "existing", "--context", "staging"];
    let scene = is_up(&here);
    let why = "Some content in the namespace has finalizers remaining: gateway-exists in 1 resource instances";
    scene.write("held-mlflow", why);
    let down = ["down", "--context", "staging", "--timeout", "1s"];
    let ended = scene.run(&down).failed(6, &format!("`mlflow` ({why})"), "run this again");
    assert!(ended.stderr.contains("waiting: they end: `mlflow`") && !ended.stderr.contains("`storage`"), "{ended:#?}");
    assert!(!scene.calls().iter().any(|call| call.starts_with("kubectl delete namespace k5w")));
    scene.remove("held-mlflow");
    scene.run(&["down", "--context", "staging"]).succeeded();
    assert!(scene.calls().iter().any(|call| call.starts_with("kubectl delete namespace k5w")));
}

#[test]
fn outside_of_a_checkout_the_cure_is_told() {
    let empty = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    scene.run(&["plan", "--gitops-repo", empty.path().to_str().unwrap()]).failed(4, "catalogue.yaml", "--gitops-repo");
}

#[test]
fn down_takes_from_an_argo_cd_that_stays_what_bootstrap_put_there() {
    let scene = Scene::new();
    scene.write("argocd-cm", r#"{"data":{"resource.customizations.health.argoproj.io_Application":"x"}}"#);
    scene.up(&["--cluster", "existing", "--context", "staging", "--argo-cd", "present"]).succeeded();
    scene.run(&["down", "--context", "staging"]).succeeded();
    let calls = scene.calls();
    let of_secrets =
        "kubectl delete secrets,roles,rolebindings --namespace argocd --selector kmlflow.dev/made-by=bootstrap";
    assert!(calls.iter().any(|call| call == of_secrets), "{calls:#?}");
    assert!(!calls.iter().any(|call| call.starts_with("kubectl delete --ignore-not-found")), "{calls:#?}");
}
