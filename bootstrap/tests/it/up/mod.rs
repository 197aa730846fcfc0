//! `up`: from nothing, again, and after everything that can go wrong.

/// Where a platform is there already: its options, and the repository that it follows.
mod again;
/// On a cluster that is somebody's.
mod existing;
/// The programs that it starts.
mod programs;

use crate::scene::Scene;

/// The calls that change something.
fn changing(calls: &[String]) -> Vec<&str> {
    let is = |call: &&str| {
        let words = [
            "kubectl apply ",
            "kubectl create ",
            "kubectl delete ",
            "minikube start ",
            "minikube image build ",
            "docker run ",
            "docker rm ",
        ];
        words.iter().any(|word| call.starts_with(word))
    };
    calls.iter().map(String::as_str).filter(is).collect()
}

#[test]
fn from_nothing_everything_is_made_once_and_a_second_run_changes_nothing() {
    let scene = Scene::new();
    let first = scene.up(&[]).succeeded();
    assert!(
        first.stdout.contains("The platform is up") && first.stdout.contains("http://grafana.k5w.localhost"),
        "{first:#?}"
    );
    assert!(first.stdout.contains("Next:"), "{first:#?}");
    let calls = scene.calls();
    let made = changing(&calls);
    assert_eq!(made.iter().filter(|call| call.starts_with("minikube start")).count(), 1);
    assert_eq!(
        made.iter().filter(|call| call.starts_with("kubectl create")).count(),
        11,
        "ten Secrets and Argo CD's token: {made:#?}"
    );
    assert!(scene.read("contexts").lines().all(|context| context == "k5w"));

    let second = scene.up(&[]).succeeded();
    assert!(second.stdout.contains("nothing was changed"), "{second:#?}");
    let calls = scene.calls();
    assert_eq!(changing(&calls), [] as [&str; 0]);
    // What Argo CD is made of is fetched from its project, and a machine that has it may have no network.
    let is_fetched = |call: &String| call.starts_with("kubectl kustomize") && call.ends_with("platform/argo-cd");
    assert!(!calls.iter().any(is_fetched), "{calls:#?}");
}

#[test]
fn the_steps_come_in_their_order() {
    let scene = Scene::new();
    let ended = scene.up(&["-o", "json"]).succeeded();
    let events: Vec<serde_json::Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<&str> =
        events.iter().filter(|event| event["state"] == "done").map(|event| event["step"].as_str().unwrap()).collect();
    let expected = [
        "tools",
        "machine",
        "cluster",
        "namespaces",
        "record",
        "secrets",
        "image",
        "service",
        "argo-cd",
        "repository",
        "examples",
        "root",
        "waves",
        "webhook",
        "edge",
    ];
    assert_eq!(steps, expected);
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:#?}");
    assert_eq!((&answer["event"], answer["steps"].as_u64()), (&"done".into(), Some(15)));
}

#[test]
fn cut_off_after_each_change_it_goes_on_where_it_was_and_makes_no_secret_twice() {
    let scene = Scene::new().with("CUT", "after");
    let mut cuts = 0;
    let mut secrets: Vec<String> = Vec::new();
    let last = loop {
        let ended = scene.up(&[]);
        if ended.code == Some(0) {
            break ended;
        }
        assert_eq!(ended.code, None, "only ever killed: {ended:#?}");
        cuts += 1;
        assert!(cuts < 60, "it does not end");
        if scene.path("secrets").is_dir() {
            let now = scene.secret_values();
            assert!(secrets.iter().all(|value| now.contains(value)), "a secret was made anew");
            secrets = now;
        }
    };
    assert!(last.stdout.contains("http://k5w.localhost"), "{last:#?}");
    assert!(cuts >= 24, "{cuts} cuts: {}", scene.read("cuts"));
    scene.calls();
    scene.up(&[]).succeeded();
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
}

#[test]
fn a_token_that_was_made_and_not_written_down_is_revoked_before_another_is_made() {
    let scene = Scene::new().fault("^kubectl create .* ?", "[[ -e $STATE/tokens ]] && die");
    assert_eq!(scene.up(&[]).code, None);
    assert_eq!(scene.up(&[]).code, None);
    assert_eq!(scene.read("tokens"), "token-2\n", "the first is revoked");
    scene.remove("faults");
    scene.up(&[]).succeeded();
    assert_eq!(scene.read("tokens"), "token-3\n");
    assert!(scene.secret_values().contains(&"kml_secret_token_of_argocd_token-3".to_owned()));
    scene.up(&[]).succeeded();
    assert_eq!(scene.read("tokens"), "token-3\n");
}

#[test]
fn a_secret_that_lacks_a_key_is_named_with_the_key_and_never_changed() {
    let scene = Scene::new();
    scene.has_secret("mlflow/mlflow", &[]);
    let words = "`mlflow/mlflow` lacks `database-uri`, `webhook-encryption-key`";
    scene.up(&[]).failed(4, words, "kubectl --context k5w edit secret mlflow --namespace mlflow");
    assert!(scene.path("secrets/monitoring.grafana-admin").exists(), "what can be made is made");
    scene.up(&[]).failed(4, words, "`secrets` of gitops-repo/platform/catalogue.yaml");
    assert_eq!(scene.read("secrets/mlflow.mlflow"), r#"{"metadata":{"labels":{}},"data":{}}"#);

    // What another is made from.
    let scene = Scene::new();
    scene.has_secret("storage/postgres-users", &["kmlflow", "mlflow", "kubeflow", "harbor"]);
    scene.up(&["--profile", "standard"]).failed(4, "`storage/postgres-users` lacks `katib`", "edit secret");
    scene.has_secret("storage/postgres-users", &["kmlflow", "mlflow", "kubeflow", "harbor", "katib"]);
    scene.up(&["--profile", "standard"]).succeeded();
}

#[test]
fn no_secret_is_in_an_argument_a_log_or_the_answer() {
    let scene = Scene::new();
    let ended = scene.up(&["--profile", "full"]).succeeded();
    let again = scene.run(&["credentials"]).succeeded();
    let told = [ended.stdout, ended.stderr, again.stdout, again.stderr, scene.read("calls")].join("\n");
    let values = scene.secret_values();
    assert!(values.len() > 40, "{}", values.len());
    for value in values.iter().filter(|value| value.len() > 12 && !value.starts_with("http://")) {
        assert!(!told.contains(value.as_str()), "a secret was told");
    }
    assert!(!told.contains("kml_secret_token_of_argocd"), "the token was told");
}

#[test]
fn waiting_says_which_part_and_why_and_ends_at_its_time_with_the_reasons() {
    let scene = Scene::new();
    scene.write("stuck", "gateway-api");
    scene.write(
        "objects-pods",
        r#"{"kind":"Pod","metadata":{"namespace":"envoy-gateway-system","name":"certgen-1"},"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/1 nodes are available: 1 Insufficient memory."}]}}"#,
    );
    let ended = scene.up(&["--timeout", "1s"]);
    let ended = ended.failed(6, "1 Insufficient memory", "cargo bootstrap doctor");
    assert!(ended.stderr.contains("waiting: wave -30: gateway-api is progressing"), "{ended:#?}");
    let found = scene.run(&["doctor"]).failed(1, "thing(s) are wrong", "from the top");
    assert!(
        found.stdout.contains("pod envoy-gateway-system/certgen-1") && found.stdout.contains("Insufficient memory"),
        "{found:#?}"
    );
    // Each namespace is asked for its own: of a cluster that others use too nothing else is read.
    let calls = scene.calls();
    let everything = |call: &&String| call.contains("--all-namespaces") || call.contains("get pods ");
    assert_eq!(calls.iter().find(everything), None);
    scene.remove("stuck");
    scene.up(&[]).succeeded();
}

#[test]
fn several_nodes_share_the_machine_and_get_a_provisioner_that_can() {
    let scene = Scene::new();
    scene.up(&["--nodes", "3"]).succeeded();
    let calls = scene.calls();
    let start = calls.iter().find(|call| call.starts_with("minikube start")).unwrap();
    assert!(start.contains("--addons=storage-provisioner-rancher") && start.contains("--nodes=3"), "{start}");
    assert!(start.contains("--cpus=2") && start.contains("--memory=2731m"), "{start}");
    let off = |calls: &[String]| -> Vec<String> {
        let off = calls.iter().filter_map(|call| call.strip_prefix("minikube addons disable "));
        off.map(|rest| rest.replace(" --profile k5w", "")).collect()
    };
    // Each start with two provisioners would make the class of one of them the only default.
    assert_eq!(off(&calls), ["default-storageclass", "storage-provisioner"]);
    scene.up(&[]).succeeded();
    assert_eq!(off(&scene.calls()), [] as [&str; 0]);
    scene.write("addons", "storage-provisioner\n");
    scene.up(&[]).succeeded();
    assert_eq!(off(&scene.calls()), ["storage-provisioner"]);
    scene.write("nodes", "1");
    scene.up(&[]).failed(5, "has 1 nodes, not 3", "--nodes 1");
    let one = Scene::new();
    one.up(&[]).succeeded();
    assert_eq!(off(&one.calls()), [] as [&str; 0]);
}

#[test]
fn another_default_class_than_the_one_for_several_nodes_is_told() {
    let class = |name: &str, is_default: bool| {
        format!(
            r#"{{"metadata":{{"name":"{name}","annotations":{{"storageclass.kubernetes.io/is-default-class":"{is_default}"}}}}}}"#
        )
    };
    let items = |classes: &[String]| format!(r#"{{"items":[{}]}}"#, classes.join(","));
    let scene = Scene::new();
    scene.write("storageclasses", &items(&[class("standard", true), class("local-path", false)]));
    let ended = scene.up(&["--nodes", "2"]).succeeded();
    assert!(ended.stderr.contains("the default storage class is `standard`"), "{ended:#?}");
    for cure in [
        "standard storageclass.kubernetes.io/is-default-class=false",
        "local-path storageclass.kubernetes.io/is-default-class=true",
    ] {
        assert!(ended.stderr.contains(&format!("kubectl --context k5w annotate storageclass {cure}")), "{ended:#?}");
    }
    scene.write("storageclasses", &items(&[class("local-path", false)]));
    assert!(scene.up(&[]).succeeded().stderr.contains("the default storage class is none"));
    scene.write("storageclasses", &items(&[class("local-path", true)]));
    assert!(!scene.up(&[]).succeeded().stderr.contains("storage class"));
}

#[test]
fn other_options_than_those_of_the_cluster_are_refused_but_a_profile_may_change() {
    let scene = Scene::new();
    scene.up(&[]).succeeded();
    scene.up(&["--nodes", "2"]).failed(5, "the cluster has 1 nodes", "cargo bootstrap down");
    let scene = Scene::new();
    scene.up(&["--profile", "full"]).succeeded();
    scene.up(&["--profile", "standard"]).succeeded();
    let record = scene.read("record");
    assert!(record.contains("profiles/standard"), "{record}");
    assert!(scene.read("secrets/jupyter.jupyterlab").contains("token"));
}

#[test]
fn a_cluster_that_was_made_for_less_is_said_to_be_too_small_with_the_way_to_a_larger_one() {
    let scene = Scene::new();
    scene.up(&[]).succeeded();
    scene.calls();
    let ended = scene.up(&["--profile", "full"]);
    let ended = ended.failed(5, "made with 4 processors and 8Gi of memory", "cargo bootstrap up --profile full");
    assert!(ended.stderr.contains("needs 8 processors and 16Gi") && ended.stderr.contains("cargo bootstrap down"));
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    // What is left of the machine beside the cluster says nothing about the cluster.
    scene.with("CPUS", "1").up(&[]).succeeded();
}

#[test]
fn what_is_left_out_and_set_is_kept_told_and_can_be_taken_back() {
    let scene = Scene::new();
    let set = "prometheus.prometheus.prometheusSpec.retention=7d";
    scene.up(&["--without", "cert-manager", "--set", set]).succeeded();
    let more = scene.up(&["--without", "seldon-core"]).succeeded();
    assert!(more.stdout.contains("Left out: cert-manager, seldon-core."), "{more:#?}");
    assert!(scene.read("record").contains("retention"));
    let whole =
        scene.up(&["--without", "none", "--set", "prometheus.prometheus.prometheusSpec.retention="]).succeeded();
    assert!(!whole.stdout.contains("Left out"), "{whole:#?}");
    let record = scene.read("record");
    assert!(!record.contains("cert-manager") && !record.contains("retention"), "{record}");
    scene.up(&["--set", "harbor.a=b"]).failed(2, "`--set harbor.a=b` names no part of this profile", "--set harbor.a=");
}

#[test]
fn what_the_image_is_built_from_is_what_the_checkout_has() {
    let scene = Scene::apart().on_free_port();
    scene.up(&[]).succeeded();
    scene.calls();
    scene.up(&[]).succeeded();
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    scene.write("service/Cargo.toml", "# another one\n");
    let shown = scene.run(&["upgrade", "--diff"]).succeeded();
    assert!(shown.stdout.contains("0.1.0, of other sources: `cargo bootstrap up` builds it"), "{shown:#?}");
    scene.calls();
    scene.up(&[]).succeeded();
    let calls = scene.calls();
    let has = |words: &str| calls.iter().any(|call| call.starts_with(words));
    assert!(has("minikube image build") && has("kubectl rollout restart statefulset/kmlflow"), "{calls:#?}");
    let shown = scene.run(&["upgrade", "--diff"]).succeeded();
    assert!(!shown.stdout.contains("of other sources"), "{shown:#?}");
    assert!(shown.stdout.contains("\n  git diff origin/main\n"), "files may differ all the same: {shown:#?}");
}

#[test]
fn a_port_that_docker_may_not_open_is_told_before_anything_is_made() {
    let scene = Scene::here().with("SECURITY", r#"["name=seccomp,profile=builtin","name=rootless"]"#);
    // Where this machine gives every port to everybody there is nothing to tell.
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse::<u16>().is_ok_and(|first| first > 80) {
        scene.up(&[]).failed(3, "", "cargo bootstrap render --port 8080");
        assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    }
    // Docker may know better than its machine.
    let scene = Scene::new().fault("^docker run", "fail 'Error: cannot expose privileged port 80, you can add it'");
    scene.up(&[]).failed(3, "cannot open port", "sudo sysctl -w net.ipv4.ip_unprivileged_port_start");
}

#[test]
fn a_platform_elsewhere_is_not_forgotten_where_nobody_says_which_cluster() {
    let scene = Scene::new();
    scene.write("current-context", "staging");
    let first = scene.up(&["--cluster", "existing"]).succeeded();
    assert!(scene.read("record").contains(r#"\"context\":\"staging\""#), "{}", scene.read("record"));
    for command in ["open kmlflow", "credentials --show", "status"] {
        assert!(first.stdout.contains(&format!("cargo bootstrap {command} --context staging")), "{first:#?}");
    }
    scene.calls();
    scene.up(&[]).failed(5, "in the cluster of the context `staging`", "`--context staging`");
    assert!(!scene.calls().iter().any(|call| call.starts_with("minikube start")));
    scene.up(&["--context", "staging"]).succeeded();
    scene.write("seen", "0");
    let waits = scene.run(&["status", "--context", "staging"]);
    waits.failed(6, "gateway-api is not there", "`cargo bootstrap doctor --context staging`");
}

#[test]
fn an_overlay_that_is_not_there_is_refused_before_anything_is_done() {
    let scene = Scene::new();
    scene.up(&["--overlay", "mars"]).failed(4, "platform/overlays/mars", "--overlay");
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
}

#[test]
fn what_is_left_out_is_neither_made_nor_waited_for() {
    let scene = Scene::new();
    scene.up(&["--without", "prometheus", "--without", "cert-manager"]).succeeded();
    assert!(!scene.path("secrets/mlflow.none").exists() && scene.path("secrets/mlflow.mlflow").exists());
    let record = scene.read("record");
    assert!(record.contains("cert-manager"), "{record}");
    let status = scene.run(&["status"]).succeeded();
    assert!(!status.stdout.contains("prometheus ") && status.stdout.contains("12 of 12"), "{status:#?}");
    for (part, hint) in [("kmlflow", "`--without kmlflow`"), ("gateway", "overlay"), ("argo-cd", "--argo-cd present")] {
        scene.run(&["plan", "--without", part]).failed(2, &format!("`{part}` cannot be left out"), hint);
    }
    scene.up(&["--without", "promtheus"]).failed(4, "no part `promtheus`", "prometheus");
}

#[test]
fn a_webhook_that_cannot_be_made_is_a_warning_with_its_command() {
    let scene = Scene::new().fault("kmlflow mlflow connect", "fail 'Error: MLflow does not answer'");
    let ended = scene.up(&[]).succeeded();
    assert!(
        ended.stderr.contains("MLflow does not answer") && ended.stderr.contains("kmlflow mlflow connect"),
        "{ended:#?}"
    );
}

#[test]
fn an_overlay_is_waited_for_as_its_kustomization_says() {
    let scene = Scene::new();
    let absent = ["postgresql", "object-store", "object-store-browser"];
    let parts = crate::scene::catalogue();
    let parts = parts.applications(kmlflow_bootstrap::catalogue::Profile::Standard);
    let names: Vec<String> =
        parts.iter().map(|part| part.name.clone()).filter(|name| !absent.contains(&name.as_str())).collect();
    scene.has_applications(&names);
    let up = |more: &[&str]| scene.up(&[&["--cluster", "existing", "--context", "production"], more].concat());
    // The passwords of a database elsewhere are somebody's.
    up(&["--overlay", "production"]).failed(
        4,
        "`mlflow/mlflow` (database-uri, webhook-encryption-key)",
        "kubectl --context",
    );
    std::fs::create_dir_all(scene.path("secrets")).unwrap();
    for recipe in &crate::scene::catalogue().secrets {
        let keys: Vec<&str> = recipe.data.keys().map(String::as_str).collect();
        if [
            "mlflow/mlflow",
            "mlflow/object-store",
            "models/kmlflow-storage",
            "jupyter/object-store",
            "kubeflow/katib-database",
        ]
        .contains(&recipe.secret.as_str())
        {
            scene.has_secret(&recipe.secret, &keys);
        }
    }
    // The catalogue knows nothing of what replicas need.
    let words = "`k5w/kmlflow-store` (password, ca.crt), as the release service has replicas; `k5w/kmlflow-git`";
    up(&["--overlay", "production"]).failed(4, words, "docs/from-laptop-to-production.md");
    scene.has_secret("k5w/kmlflow-store", &["password", "ca.crt"]);
    scene.has_secret("k5w/kmlflow-git", &["password"]);
    up(&["--overlay", "production"]).succeeded();
    let calls = scene.calls();
    assert!(
        calls.iter().any(|call| call.starts_with("kubectl kustomize") && call.ends_with("platform/overlays/production/kmlflow")),
        "{calls:#?}"
    );
    assert!(!calls.iter().any(|call| call.ends_with("platform/kmlflow")), "{calls:#?}");
    assert!(
        scene.path("secrets/jupyter.jupyterlab").exists() && !scene.path("secrets/storage.postgres-admin").exists()
    );
    let status = scene.run(&["status", "--context", "production"]).succeeded();
    assert!(status.stdout.contains(&format!("{0} of {0} are healthy", names.len())), "{status:#?}");
    let record = scene.read("record");
    assert!(record.contains("overlays/production") && record.contains("standard"), "{record}");
    // The next call needs to say nothing again.
    let again = up(&[]).succeeded();
    let absent = "Not in `platform/overlays/production`: postgresql, object-store, object-store-browser.";
    assert!(again.stdout.contains(absent) && !again.stdout.contains("takes them back"), "{again:#?}");
}

#[test]
fn the_card_is_handed_over_where_docker_can_and_one_node_alone_offers_it() {
    let scene = Scene::new().with("RUNTIMES", r#"{"nvidia":{},"runc":{}}"#);
    scene.up(&["--nodes", "2"]).succeeded();
    let calls = scene.calls();
    let has = |words: &[&str]| calls.iter().any(|call| words.iter().all(|word| call.contains(word)));
    assert!(has(&["minikube start", "--gpus=all", "--container-runtime=docker"]), "{calls:#?}");
    assert!(
        has(&["minikube addons disable nvidia-device-plugin"]) && has(&["label node k5w nvidia.com/gpu.present=true"])
    );
    for (runtimes, option) in [(r#"{"nvidia":{}}"#, "off"), (r#"{"runc":{}}"#, "auto")] {
        let scene = Scene::new().with("RUNTIMES", runtimes);
        scene.up(&["--gpu", option]).succeeded();
        assert!(!scene.calls().iter().any(|call| call.contains("--gpus")), "{runtimes} {option}");
    }
}

#[test]
fn the_node_of_a_device_plugin_has_its_label_also_when_it_was_lost() {
    let scene = Scene::new().with("RUNTIMES", r#"{"nvidia":{},"runc":{}}"#);
    let labels = |calls: &[String]| calls.iter().filter(|call| call.contains("label node k5w")).count();
    scene.up(&["--profile", "full"]).succeeded();
    assert_eq!(labels(&scene.calls()), 1, "one node too");
    scene.up(&[]).succeeded();
    assert_eq!(labels(&scene.calls()), 0);
    scene.remove("node-labels");
    scene.up(&[]).succeeded();
    let calls = scene.calls();
    assert!(labels(&calls) == 1 && !calls.iter().any(|call| call.starts_with("minikube start")), "{calls:#?}");
}

#[test]
fn archives_of_images_are_loaded_before_anything_is_pulled() {
    let scene = Scene::new();
    let folder = scene.path("archives");
    std::fs::create_dir(&folder).unwrap();
    let archives = folder.to_str().unwrap();
    scene.up(&["--offline-images", archives]).failed(4, "no `*.tar` in it", "docker save");
    for name in ["b.tar", "a.tar", "notes.txt"] {
        std::fs::write(folder.join(name), "").unwrap();
    }
    scene.calls();
    scene.up(&["--offline-images", archives]).succeeded();
    assert_eq!(scene.read("loaded"), format!("{archives}/a.tar\n{archives}/b.tar\n"));
    let calls = scene.calls();
    let first = |word: &str| calls.iter().position(|call| call.contains(word)).unwrap();
    assert!(first("image load") < first("kubectl apply"), "{calls:#?}");
    scene.up(&["--offline-images", "/nowhere"]).failed(4, "`/nowhere` has no archives", "docker save");
}

#[test]
fn values_of_charts_go_into_the_root_and_nothing_else_takes_values() {
    let scene = Scene::new();
    let set = ["--set", "prometheus.prometheus.prometheusSpec.retention=7d"];
    scene.up(&set).succeeded();
    assert!(scene.read("record").contains("retention"));
    let applied: Vec<String> = std::fs::read_dir(scene.path("applied"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let is_root = |text: &&String| text.contains("AppProject") && text.contains("/spec/sources/1/helm/parameters");
    assert!(applied.iter().any(|text| is_root(&text) && text.contains("prometheus.prometheusSpec.retention")));
    for wrong in ["mlflow.image=x", "nobody.a=b"] {
        scene.up(&["--set", wrong]).failed(
            2,
            &format!("`--set {wrong}` names no part of this profile with a chart"),
            "prometheus",
        );
    }
    assert_eq!(scene.run(&["up", "--set", "prometheus"]).code, Some(2));
}
