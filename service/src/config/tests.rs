use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

/// A data directory with a configuration in it and an environment.
struct Scene {
    dir: TempDir,
    environment: Environment,
}

impl Scene {
    fn new(file: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kmlflow.yaml"), file).unwrap();
        Self { dir, environment: Environment::new() }
    }

    fn var(mut self, name: &str, text: &str) -> Self {
        self.environment.insert(name.to_owned(), text.to_owned());
        self
    }

    fn secret(self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let flags = Flags { data_dir: Some(self.dir.path().to_owned()), ..Flags::default() };
        Config::load(&flags, &self.environment)
    }

    fn sentence(&self) -> String {
        self.load().unwrap_err().sentence
    }
}

fn production(config: &Config) -> &EnvironmentConfig {
    &config.environments[&"production".parse().unwrap()]
}

#[test]
fn every_key_of_the_default_file_has_a_comment() {
    let lines: Vec<&str> = DEFAULT_FILE.lines().collect();
    for (n, line) in lines.iter().enumerate() {
        let is_group = line.ends_with(':');
        let is_inside = line.trim_start().starts_with('{') || n > 0 && lines[n - 1].ends_with(',');
        let is_key = !line.trim_start().starts_with('#') && line.contains(':') && !is_group && !is_inside;
        let above = lines[..n].iter().rev().find(|above| !above.trim().is_empty()).copied().unwrap_or_default();
        assert!(!is_key || above.trim_start().starts_with('#'), "line {}: {line}", n + 1);
    }
}

#[test]
fn the_default_file_has_every_key_and_nothing_else() {
    let config = Scene::new("").load().unwrap();
    let mut written = serde_yaml::to_value(&config).unwrap();
    written["data_dir"] = Value::Null;
    let mut defaults: Value = serde_yaml::from_str(DEFAULT_FILE).unwrap();
    // Serialising leaves out what is empty; the file shows it.
    defaults["links"] = Value::Mapping(serde_yaml::Mapping::new());
    defaults["monitoring"].as_mapping_mut().unwrap().remove("labels");
    assert_eq!(written, defaults);
    assert_eq!(production(&config).blind_delay, Period::from_minutes(5));
    assert_eq!(DEFAULT_URL, format!("http://{}", config.listen));
}

#[test]
fn the_file_overrides_the_defaults_and_the_environment_overrides_the_file() {
    let scene = Scene::new(
        "public_url: https://k.example\nenvironments: {production: {blind_delay: 1m, host_suffix: a.example}}",
    );
    let scene = scene
        .var("KMLFLOW__ENVIRONMENTS__PRODUCTION__BLIND_DELAY", "0s")
        .var("KMLFLOW__MONITORING__LABELS", "{release: prometheus}");
    let config = scene.load().unwrap();
    assert_eq!(config.public_url("127.0.0.1:1".parse().unwrap()), "https://k.example");
    assert_eq!(production(&config).blind_delay, Period::ZERO);
    assert_eq!(production(&config).host_suffix, "a.example");
    assert_eq!(config.monitoring.labels["release"], "prometheus");
}

#[test]
fn variables_are_read_as_what_the_key_wants() {
    let scene = Scene::new("")
        .var("KMLFLOW__ENVIRONMENTS__PRODUCTION__CLUSTER", "7")
        .var("KMLFLOW__ENVIRONMENTS__PRODUCTION__NAMESPACE_PREFIX", "");
    let scene =
        scene.var("KMLFLOW__WEBHOOKS__ALLOW_FROM", "10.0.0.0/8, 192.168.0.0/16").var("KMLFLOW__TEMPLATES_DIR", "7");
    let scene = scene.var("KMLFLOW__ENVIRONMENTS__PRE_PROD__NEW_RELEASES_PER_MINUTE", "5").var("UNRELATED", "x");
    let config = scene.load().unwrap();
    assert_eq!(production(&config).cluster, "7");
    assert_eq!(config.webhooks.allow_from.len(), 2);
    assert_eq!(config.templates_dir.as_deref(), Some(Path::new("7")));
    assert_eq!(config.environments[&"pre-prod".parse().unwrap()].new_releases_per_minute, 5);
}

#[test]
fn a_named_environment_replaces_the_default_one_and_inherits_its_settings() {
    let config = Scene::new("environments: {staging: {cluster: eu}}").load().unwrap();
    let names: Vec<&str> = config.environments.keys().map(EnvironmentName::as_str).collect();
    assert_eq!(names, ["staging"]);
    assert_eq!(config.environments.values().next().unwrap().host_suffix, "k5w.localhost");
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    for (file, nearest) in [
        ("lisen: 127.0.0.1:1", "`listen`"),
        ("environments: {production: {blnd_delay: 1s}}", "`environments.production.blind_delay`"),
        ("environments: {eu: {host_sufix: x}}", "`environments.eu.host_suffix`"),
        ("blind_delay: 0s", "`environments.production.blind_delay`"),
        ("git: {pasword_file: x}", "`git.credentials.password_file`"),
        ("webhooks: {mlflow: {secretfiles: []}}", "`webhooks.mlflow.secret_files`"),
    ] {
        let sentence = Scene::new(file).sentence();
        assert!(sentence.contains("has no key") && sentence.contains(nearest), "{file}: {sentence}");
    }
    let sentence = Scene::new("").var("KMLFLOW__GIT__BRANCHES", "x").sentence();
    assert!(sentence.contains("`git.branches`") && sentence.contains("`git.branch`"), "{sentence}");
}

#[test]
fn a_value_that_does_not_fit_names_its_key() {
    for (file, key) in [
        ("listen: nowhere", "`listen`"),
        ("environments: {production: {blind_delay: soon}}", "`environments.production.blind_delay`"),
        (
            "environments: {production: {new_releases_per_minute: 0}}",
            "`environments.production.new_releases_per_minute`",
        ),
        ("environments: {production: {namespace_prefix: \"../\"}}", "`environments.production.namespace_prefix`"),
        ("environments: {Production: {}}", "`environments"),
        ("environments: {}", "`environments`"),
        ("webhooks: {allow_from: [everywhere]}", "`webhooks.allow_from"),
        ("public_url: kmlflow.example", "`public_url`"),
        ("git: embedded", "`git`"),
    ] {
        let sentence = Scene::new(file).sentence();
        assert!(sentence.contains(key), "{file}: {sentence}");
    }
    assert!(Scene::new("- a").sentence().contains("is not a mapping"));
    assert!(Scene::new("a: [").sentence().contains("is not YAML"));
}

#[test]
fn a_tracking_server_has_an_address_without_secrets() {
    let mut scene = Scene::new("mlflow: {tracking_uri: \"http://mlflow:5000/\", username: k5w, sweep_interval: 5s}");
    scene.environment.insert("KMLFLOW__MLFLOW__PASSWORD".to_owned(), "hunter2".to_owned());
    let mlflow = scene.load().unwrap().mlflow;
    assert_eq!(mlflow.tracking_uri.as_deref(), Some("http://mlflow:5000"));
    assert_eq!((mlflow.proxy, mlflow.write_back), (true, true));
    assert_eq!(mlflow.password.as_ref().map(SecretText::expose), Some("hunter2"));
    assert!(!format!("{mlflow:?}").contains("hunter2"));
    for (file, said) in [
        ("mlflow: {tracking_uri: \"http://a:b@mlflow:5000\"}", "must not have a user or a password"),
        ("mlflow: {tracking_uri: mlflow}", "must begin with http:// or https://"),
        ("mlflow: {public_url: mlflow.example}", "must begin with http:// or https://"),
        ("mlflow: {username: k5w}", "are needed together"),
        ("mlflow: {sweep_interval: 0s}", "must be at least 1s"),
        ("mlflow: {password: hunter2}", "is a secret"),
    ] {
        let sentence = Scene::new(file).sentence();
        assert!(sentence.contains(said), "{file}: {sentence}");
    }
}

#[test]
fn a_table_of_runtimes_replaces_the_built_in_one() {
    let built_in = Scene::new("").load().unwrap().runtimes;
    assert_eq!(built_in.default_image(), Some("docker.io/seldonio/mlserver:1.7.1-mlflow"));
    let file = "runtimes: {\"r.example/own:1\": {python: \"3.11\", flavours: [sklearn], packages: {scikit-learn: \"1.9.1\"}, default: true}, \"r.example/b:1\": {}}";
    let own = Scene::new(file).load().unwrap().runtimes;
    assert_eq!(own.0.len(), 2);
    assert_eq!(own.default_image(), Some("r.example/own:1"));
    assert_eq!(own.get("r.example/own:1").unwrap().packages["scikit-learn"], "1.9.1");
    assert_eq!(Scene::new("runtimes: {}").load().unwrap().runtimes.default_image(), None);
    for (file, said) in [
        ("runtimes: {\"r.example/own:1\": {python: 3.10}}", "`runtimes.r.example/own:1"),
        ("runtimes: {\"r.example/own:1\": {flavors: [a]}}", "unknown field `flavors`"),
        ("runtimes: {\"https://r.example/own\": {}}", "image reference without `https://`"),
        ("runtimes: {a: {default: true}, b: {default: true}}", "more than one default"),
    ] {
        let sentence = Scene::new(file).sentence();
        assert!(sentence.contains(said), "{file}: {sentence}");
    }
}

#[test]
fn tags_are_resolved_where_somebody_needs_digests() {
    for (file, expected) in [
        ("", false),
        ("mlflow: {tracking_uri: \"http://mlflow:5000\"}", true),
        ("environments: {production: {require_digest: true}}", true),
        ("images: {resolve: on}", true),
        ("images: {resolve: off}\nmlflow: {tracking_uri: \"http://mlflow:5000\"}", false),
    ] {
        assert_eq!(Scene::new(file).load().unwrap().resolves_images(), expected, "{file}");
    }
    for (file, said) in [
        ("images: {resolve: sometimes}", "`images.resolve`"),
        ("images: {insecure: [\"http://localhost:5000\"]}", "`images.insecure`"),
        ("images: {insecure: [\"\"]}", "`images.insecure`"),
        ("images: {resolve: off}\nenvironments: {eu: {require_digest: true}}", "`environments.eu.require_digest`"),
        ("images: {password: hunter2}", "is a secret"),
        ("images: {auth_file: /nowhere/config.json}", "there is no file"),
    ] {
        let sentence = Scene::new(file).sentence();
        assert!(sentence.contains(said) && !sentence.contains("hunter2"), "{file}: {sentence}");
    }
}

#[test]
fn credentials_of_registries_come_from_a_file_and_are_never_shown() {
    let scene = Scene::new("").secret("config.json", "{\"auths\": {\"r.example\": {\"auth\": \"aHVudGVy\"}}}", 0o600);
    let path = scene.dir.path().join("config.json").display().to_string();
    let config = scene
        .var("KMLFLOW__IMAGES__AUTH_FILE", &path)
        .var("KMLFLOW__IMAGES__INSECURE", "localhost:5000, [::1]:5000")
        .load();
    let config = config.unwrap();
    assert!(config.images.credentials.as_ref().unwrap().expose().contains("aHVudGVy"));
    assert!(!format!("{config:?}").contains("aHVudGVy"));
    assert_eq!(config.images.insecure, ["localhost:5000", "[::1]:5000"]);
}

#[test]
fn argo_cd_s_tokens_come_from_files_and_the_environment_and_are_never_shown() {
    let scene = Scene::new("").secret("one", "first-token\n", 0o600).secret("two", "second-token", 0o600);
    let files = ["one", "two"].map(|name| scene.dir.path().join(name).display().to_string()).join(",");
    let scene = scene.var("KMLFLOW__WEBHOOKS__ARGOCD__TOKEN_FILES", &files);
    let config = scene.var("KMLFLOW__WEBHOOKS__ARGOCD__TOKEN", "third-token").load().unwrap();
    let tokens: Vec<&str> = config.webhooks.argocd.tokens.iter().map(SecretText::expose).collect();
    assert_eq!(tokens, ["first-token", "second-token", "third-token"]);
    assert!(!format!("{config:?}").contains("-token\""), "{config:?}");
    let inline = Scene::new("webhooks: {argocd: {token: hunter2}}").load().unwrap_err();
    assert!(inline.cure.contains("webhooks.argocd.token_files") && !inline.sentence.contains("hunter2"), "{inline:?}");
    let open = Scene::new("").secret("one", "x", 0o644);
    let file = open.dir.path().join("one").display().to_string();
    assert!(open.var("KMLFLOW__WEBHOOKS__ARGOCD__TOKEN_FILES", &file).sentence().contains("can be read by everybody"));
}

#[test]
fn argo_cd_s_doors_need_a_secret_and_addresses_without_a_user() {
    let told = "argocd: {webhook: {urls: [http://argocd.example/api/webhook]}}";
    assert!(Scene::new(told).sentence().contains("`argocd.webhook.secret_file` is needed"));
    let scene = Scene::new(told).secret("door", "of-the-door\n", 0o600);
    let file = scene.dir.path().join("door").display().to_string();
    let config = scene.var("KMLFLOW__ARGOCD__WEBHOOK__SECRET_FILE", &file).load().unwrap();
    assert_eq!(config.argocd.webhook.secret.as_ref().unwrap().expose(), "of-the-door");
    assert!(!format!("{config:?}").contains("of-the-door"));
    let by_variable = Scene::new(told).var("KMLFLOW__ARGOCD__WEBHOOK__SECRET", "x").load().unwrap();
    assert_eq!(by_variable.argocd.webhook.secret.unwrap().expose(), "x");
    for url in ["argocd.example", "https://me:hunter2@argocd.example/api/webhook"] {
        let sentence = Scene::new("").var("KMLFLOW__ARGOCD__WEBHOOK__URLS", url).sentence();
        assert!(sentence.contains("`argocd.webhook.urls` must begin") && !sentence.contains("hunter2"), "{sentence}");
    }
    let inline = Scene::new("argocd: {webhook: {secret: hunter2}}").load().unwrap_err();
    assert!(inline.cure.contains("argocd.webhook.secret_file") && !inline.sentence.contains("hunter2"), "{inline:?}");
}

#[test]
fn what_is_not_there_yet_is_refused_unless_it_is_switched_off() {
    for file in [
        "git: {branch: live}",
        "prometheus: {url: http://prometheus:9090}",
        "environments: {production: {approval: required}}",
        "environments: {production: {freeze: [{cron: x}]}}",
    ] {
        let sentence = Scene::new(file).sentence();
        assert!(sentence.contains("is not supported yet"), "{file}: {sentence}");
    }
    Scene::new(
        "kubernetes: {mode: off}\nenvironments: {production: {approval: none, freeze: [], auto_rollback: false}}\ngit: {url: embedded}",
    )
    .load()
    .unwrap();
}

#[test]
fn clusters_are_watched_where_they_are_configured_and_in_a_pod_by_themselves() {
    let watched = |scene: Scene| scene.load().unwrap().watched_clusters();
    let in_a_pod = |file: &str| Scene::new(file).var("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert!(watched(Scene::new("")).is_empty());
    assert_eq!(watched(in_a_pod("")), [(IN_CLUSTER.to_owned(), Reached::ByServiceAccount)].into());
    assert!(watched(in_a_pod("kubernetes: {mode: off}")).is_empty());
    let file = |path: &str, context: Option<&str>| Reached::ByKubeconfig {
        path: path.into(),
        context: context.map(ToOwned::to_owned),
    };
    let two = "kubernetes: {kubeconfig: /k, context: hub}\nclusters: {east: {kubeconfig: /e}}";
    let two = watched(Scene::new(two));
    assert_eq!(two, [("east".to_owned(), file("/e", None)), (IN_CLUSTER.to_owned(), file("/k", Some("hub")))].into());
    for (file, words) in [
        ("kubernetes: {mode: kubeconfig}", "`kubernetes.kubeconfig` names no file"),
        ("clusters: {in-cluster: {kubeconfig: /k}}", "`clusters.in-cluster` is the cluster"),
        ("clusters: {east: {kubeconfig: /k}}", "Argo CD's own, `in-cluster`, is not configured"),
        ("clusters: {east: {context: x}}", "`clusters.east"),
    ] {
        let sentence = Scene::new(file).sentence();
        assert!(sentence.contains(words), "{file}: {sentence}");
    }
}

#[test]
fn a_lease_needs_a_holder_and_a_cluster() {
    let file = "kubernetes: {kubeconfig: /k, lease: {name: kmlflow}}";
    let holder = "KMLFLOW__KUBERNETES__LEASE__HOLDER";
    let config = Scene::new(file).var(holder, "kmlflow-0").load().unwrap();
    assert_eq!(config.kubernetes.lease.holder.as_deref(), Some("kmlflow-0"));
    let in_a_pod = |mode: &str| {
        let file = format!("kubernetes: {{mode: {mode}, lease: {{name: kmlflow, holder: kmlflow-0}}}}");
        Scene::new(&file).var("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    };
    in_a_pod("auto").load().unwrap();
    for (scene, words) in [
        (Scene::new(file), "`kubernetes.lease.holder` does not say who takes it"),
        (Scene::new(file).var(holder, " "), "`kubernetes.lease.holder` does not say who takes it"),
        (in_a_pod("off"), "no cluster is configured"),
        (Scene::new("kubernetes: {lease: {name: kmlflow, holder: a}}"), "no cluster is configured"),
    ] {
        let sentence = scene.sentence();
        assert!(sentence.contains(words), "{sentence}");
    }
    for name in ["../pods", "Kmlflow", "-kmlflow", "kmlflow.", "a b"] {
        let named = Scene::new(file).var(holder, "kmlflow-0").var("KMLFLOW__KUBERNETES__LEASE__NAME", name);
        let sentence = named.sentence();
        assert!(sentence.contains("`kubernetes.lease.name` is no name of an object"), "{name}: {sentence}");
    }
}

#[test]
fn a_signing_key_is_read_from_a_file_of_its_owner_alone_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let scene = || Scene::new("").var("KMLFLOW__GIT__SIGNING_KEY_FILE", &file.display().to_string());
    assert!(scene().sentence().contains("there is no file"));
    fs::write(&file, "hunter2\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(scene().sentence().contains("can be read by everybody"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let config = scene().load().unwrap();
    assert_eq!(config.git.signing_key.as_ref().map(SecretText::expose), Some("hunter2"));
    assert!(!format!("{config:?}{}", serde_yaml::to_string(&config).unwrap()).contains("hunter2"));
    for (inline, words) in [
        (Scene::new("git: {signing_key: hunter2}"), "a secret never stands in the configuration"),
        (Scene::new("").var("KMLFLOW__GIT__SIGNING_KEY", "hunter2"), "the nearest is `git.signing_key_file`"),
    ] {
        let error = inline.load().unwrap_err();
        assert!(error.sentence.contains(words) && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    assert_eq!(Scene::new("").load().unwrap().git.signing_key, None);
}

#[test]
fn a_remote_needs_what_belongs_together_and_an_embedded_repository_nothing() {
    for (file, words) in [
        ("git: {url: https://git.example/x, credentials: {username: ann}}", "needs a password"),
        ("git: {url: git@git.example:x, credentials: {ssh_key_file: /key}}", "together"),
        ("git: {url: https://git.example/x, poll_interval: 0s}", "at least 1s"),
        ("git: {url: embedded, branch: live}", "`git.branch`"),
    ] {
        let sentence = Scene::new(file).sentence();
        assert!(sentence.contains(words), "{file}: {sentence}");
    }
    let both = "git: {url: https://git.example/x, credentials: {ssh_key_file: /key, known_hosts_file: /hosts}}";
    let both = Scene::new(both).var("KMLFLOW__GIT__CREDENTIALS__PASSWORD", "hunter2");
    assert!(both.sentence().contains("a password or a key, not both"));
    let scene = Scene::new("git: {url: https://git.example/x, branch: live, credentials: {username: ann}}");
    let scene = scene.var("KMLFLOW__GIT__CREDENTIALS__PASSWORD", "hunter2");
    let config = scene.load().unwrap();
    assert!(!config.git.is_embedded() && config.git.branch == "live");
    assert_eq!(config.git.credentials.password.as_ref().map(SecretText::expose), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(Scene::new("").load().unwrap().git.is_embedded());
}

#[test]
fn pull_requests_need_a_forge_with_a_repository_and_a_token() {
    let reviewed = "environments: {production: {mode: pull_request}}";
    assert!(Scene::new(reviewed).sentence().contains("needs a forge, and `git.forge.kind` names none"));
    assert!(Scene::new("git: {forge: {kind: gitea}}").sentence().contains("needs a repository at the forge"));
    let file = format!("git: {{url: https://git.example/a/b, forge: {{kind: gitea}}}}\n{reviewed}");
    assert!(Scene::new(&file).sentence().contains("`git.forge` needs a token"));
    let config = Scene::new(&file).var("KMLFLOW__GIT__FORGE__TOKEN", "hunter2").load().unwrap();
    assert_eq!(config.git.forge_token().map(SecretText::expose), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    let config = Scene::new(&file).var("KMLFLOW__GIT__CREDENTIALS__PASSWORD", "hunter3").load().unwrap();
    assert_eq!(config.git.forge_token().map(SecretText::expose), Some("hunter3"), "the password of pushes");
    assert!(Scene::new("git: {forge: {kind: svn}}").sentence().contains("`git.forge.kind`"));
    assert!(
        Scene::new("environments: {production: {mode: mail}}").sentence().contains("`environments.production.mode`")
    );
}

#[test]
fn a_refused_address_never_repeats_its_password() {
    let sentence = Scene::new("git: {url: \"https://me:hunter2@git.example/x\"}").sentence();
    assert!(!sentence.contains("hunter2"), "{sentence}");
}

#[test]
fn the_password_of_the_store_comes_from_a_file_or_the_environment_and_never_from_the_configuration() {
    let url = "postgres://kmlflow:hunter2@db.example/kmlflow";
    let error = Scene::new(&format!("store: {{url: \"{url}\"}}")).load().unwrap_err();
    assert!(
        error.sentence.contains("the password in `store.url` is a secret")
            && error.cure.contains("`store.password_file`")
    );
    assert!(!format!("{error:?}").contains("hunter2"));

    let config = Scene::new("").var("KMLFLOW__STORE__URL", url).load().unwrap();
    assert_eq!(config.store.url, "postgres://kmlflow@db.example/kmlflow");
    assert_eq!(config.store.password.as_ref().unwrap().expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));

    let scene = Scene::new("store: {url: \"postgres://kmlflow@db.example/kmlflow\"}").secret("p", "from a file", 0o600);
    let file = scene.dir.path().join("p").display().to_string();
    let scene = scene.var("KMLFLOW__STORE__PASSWORD_FILE", &file).var("KMLFLOW__STORE__PASSWORD", "other");
    assert_eq!(scene.load().unwrap().store.password.unwrap().expose(), "from a file");
    let scene = Scene::new("store: {password: x}");
    assert!(scene.sentence().contains("`store.password` is a secret"));
}

#[test]
fn a_store_is_a_file_or_a_postgresql_server() {
    for url in ["mysql://db/kmlflow", "kmlflow.db", ""] {
        let sentence = Scene::new(&format!("store: {{url: \"{url}\"}}")).sentence();
        assert!(sentence.contains("`store.url` begins with neither"), "{url}: {sentence}");
    }
    let sentence = Scene::new("").var("KMLFLOW__STORE__PASSWORD", "x").sentence();
    assert!(sentence.contains("names no server"), "{sentence}");
}

#[test]
fn secrets_come_from_files_and_the_environment_and_never_from_the_configuration() {
    let scene = Scene::new("").secret("a", "first\n", 0o600).secret("b", "second", 0o640);
    let files = format!("{0}/a,{0}/b", scene.dir.path().display());
    let scene =
        scene.var("KMLFLOW__WEBHOOKS__MLFLOW__SECRET_FILES", &files).var("KMLFLOW__WEBHOOKS__MLFLOW__SECRET", "third");
    let config = scene.load().unwrap();
    let texts: Vec<&str> = config.webhooks.mlflow.secrets.iter().map(SecretText::expose).collect();
    assert_eq!(texts, ["first", "second", "third"]);
    assert!(!format!("{config:?}").contains("third"));

    let scene = Scene::new("webhooks: {github: {secret_files: []}}").var("KMLFLOW__WEBHOOKS__GITHUB__SECRET", "third");
    let config = scene.load().unwrap();
    let texts: Vec<&str> = config.webhooks.github.secrets.iter().map(SecretText::expose).collect();
    assert_eq!(texts, ["third"]);
    let error = Scene::new("webhooks: {github: {secret: hunter2}}").load().unwrap_err();
    assert!(error.cure.contains("webhooks.github.secret_files"), "{error:?}");

    let error = Scene::new("webhooks: {mlflow: {secret: hunter2}}").load().unwrap_err();
    assert!(
        error.sentence.contains("never stands in the configuration") && !error.sentence.contains("hunter2"),
        "{error:?}"
    );
    assert!(error.cure.contains("webhooks.mlflow.secret_files"), "{error:?}");
}

#[test]
fn a_secret_file_that_everybody_can_read_is_refused_unless_kubernetes_projects_it() {
    let scene = Scene::new("").secret("a", "text", 0o644).secret("empty", " \n", 0o600);
    let error = read_secret_file(&scene.dir.path().join("a")).unwrap_err();
    assert!(error.sentence.contains("can be read by everybody") && error.cure.starts_with("chmod 600 "), "{error:?}");
    std::os::unix::fs::symlink("..2026", scene.dir.path().join("..data")).unwrap();
    assert_eq!(read_secret_file(&scene.dir.path().join("a")).unwrap().expose(), "text");
    assert!(read_secret_file(&scene.dir.path().join("empty")).is_err());
    assert!(read_secret_file(&scene.dir.path().join("absent")).is_err());
}

#[test]
fn beyond_this_machine_it_needs_secrets_and_says_which() {
    let scene = Scene::new("listen: 0.0.0.0:8080").var("KMLFLOW__WEBHOOKS__MLFLOW__SECRET", "x");
    let sentence = scene.sentence();
    assert!(
        sentence.contains("`webhooks.generic.secret_files`") && !sentence.contains("webhooks.mlflow"),
        "{sentence}"
    );
    // A door of a forge that nobody has is not asked for.
    assert!(!sentence.contains("github"), "{sentence}");
    scene.var("KMLFLOW__WEBHOOKS__GENERIC__SECRET", "y").load().unwrap();
}

#[test]
fn the_data_directory_is_the_flag_before_the_variable_before_the_users_own() {
    let environment: Environment =
        [("HOME", "/home/ada"), ("XDG_DATA_HOME", "/xdg")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(default_data_dir(&environment).unwrap(), Path::new("/xdg/kmlflow"));
    let mut set = environment.clone();
    set.insert("KMLFLOW__DATA_DIR".to_owned(), "/elsewhere".to_owned());
    assert_eq!(default_data_dir(&set).unwrap(), Path::new("/elsewhere"));
    let flags = Flags { data_dir: Some("/flag".into()), ..Flags::default() };
    assert_eq!(Config::load(&flags, &set).unwrap().data_dir(), Path::new("/flag"));
    assert_eq!(default_data_dir(&Environment::new()), None);
}

#[test]
fn the_flag_for_the_address_wins() {
    let scene = Scene::new("listen: 127.0.0.1:1");
    let flags = Flags {
        data_dir: Some(scene.dir.path().to_owned()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        config: None,
    };
    let config = Config::load(&flags, &Environment::new()).unwrap();
    assert_eq!(config.listen.port(), 0);
    assert_eq!(config.public_url("127.0.0.1:4321".parse().unwrap()), "http://localhost:4321");
}

#[test]
fn a_copy_of_the_templates_with_whatever_lies_beside_them_is_read_by_their_paths() {
    let dir = tempfile::tempdir().unwrap();
    let built_in = crate::render::unchecked::texts();
    for (name, text) in built_in.iter().chain([&("crd-fields.txt", "spec"), &("README.md", "x"), &("..data/x.j2", "x")])
    {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let files = read_templates(dir.path()).unwrap();
    assert!(files.iter().map(|(name, text)| (name.as_str(), text.as_str())).eq(built_in.iter().copied()));
    assert!(crate::render::Templates::with_overrides(files).is_ok());
    assert!(read_templates(&dir.path().join("absent")).unwrap_err().sentence.contains("cannot be read"));
}

#[test]
fn the_local_service_is_found_and_its_token_goes_to_nobody_else() {
    let scene = Scene::new("").secret(ADMIN_TOKEN_FILE, "kml_local\n", 0o600).secret(
        ADDRESS_FILE,
        "http://127.0.0.1:4321\n",
        0o600,
    );
    let here = scene.dir.path().display().to_string();
    let scene = scene.var("KMLFLOW__DATA_DIR", &here);
    let find = |url: Option<&str>| ClientSettings::find(url, None, &scene.environment).unwrap();
    let token = |url: Option<&str>| find(url).token.map(|token| token.expose().to_owned());
    assert_eq!(find(None).url, "http://127.0.0.1:4321");
    assert_eq!(token(None).as_deref(), Some("kml_local"));
    assert_eq!(token(Some("http://127.0.0.1:4321/")).as_deref(), Some("kml_local"));
    for name in ["http://localhost:4321", "http://[::1]:4321/"] {
        assert_eq!(token(Some(name)).as_deref(), Some("kml_local"), "{name}");
        assert_eq!(find(Some(name)).url, "http://127.0.0.1:4321", "the token goes to no other listener of the port");
    }
    for elsewhere in [
        "http://127.0.0.1:9",
        "http://localhost:9",
        "https://localhost:4321",
        "http://localhost:4321@evil.example",
        "http://localhost.example:4321",
        "https://kmlflow.example",
        "http://127.0.0.1:4321.example",
        "http://127.0.0.1:4321@evil.example",
    ] {
        assert_eq!(token(Some(elsewhere)), None, "{elsewhere}");
    }
    assert!(ClientSettings::find(Some("kmlflow.example"), None, &scene.environment).is_err());
}

#[test]
fn without_a_local_service_the_default_address_gets_no_token() {
    let scene = Scene::new("").secret(ADMIN_TOKEN_FILE, "kml_local\n", 0o600);
    let here = scene.dir.path().display().to_string();
    let scene = scene.var("KMLFLOW__DATA_DIR", &here);
    let ClientSettings { url, token } = ClientSettings::find(None, None, &scene.environment).unwrap();
    assert_eq!((url.as_str(), token), (DEFAULT_URL, None));
}

#[test]
fn colour_is_off_where_the_user_says_so() {
    let of = |name: &str, text: &str| color_allowed(&[(name.to_owned(), text.to_owned())].into());
    assert!(color_allowed(&Environment::new()) && of("NO_COLOR", ""));
    assert!(!of("NO_COLOR", "1") && !of("TERM", "dumb"));
}
