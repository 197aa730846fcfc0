//! How the service and the real Argo CD tell each other what happened: its notifications here, our word of a push there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::Bed;
use tests::environment::repository_root;
use tests::http::Request;
use tests::server::Server;

use super::followed::{is_live_in, until, watching};
use super::releases::Releases;
use crate::image;

/// So long after its last look Argo CD looks by itself: at the branch for releases, and at each Application.
const OWN_LOOK: Duration = Duration::from_secs(180);

/// The platform's settings of notifications, for a service of a test, until it is dropped.
struct Notifications<'a> {
    bed: &'a Bed,
}

impl<'a> Notifications<'a> {
    fn to(bed: &'a Bed, server: &Server<'_>, token: &str) -> Self {
        let file = repository_root().join("gitops-repo/platform/argo-cd/settings/notifications.yaml");
        let (text, there) = (fs::read_to_string(file).unwrap(), "http://kmlflow.k5w.svc.cluster.local/");
        assert_eq!(text.matches(there).count(), 1, "{text}");
        bed.apply(&text.replace(there, &format!("{}/", server.url())));
        bed.apply(&secret(json!({"kmlflow-token": token})));
        Self { bed }
    }
}

impl Drop for Notifications<'_> {
    fn drop(&mut self) {
        let name = "argocd-notifications-cm";
        let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd"});
        let metadata = json!({"name": name, "namespace": "argocd", "labels": labels});
        let none = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        for document in [none.to_string(), secret(json!({}))] {
            let gone = self.bed.try_apply(&document, &["--server-side", "--force-conflicts"]);
            assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
        }
    }
}

fn secret(data: Value) -> String {
    let name = "argocd-notifications-secret";
    let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd"});
    let metadata = json!({"name": name, "namespace": "argocd", "labels": labels});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}).to_string()
}

/// What Argo CD has told of an Application.
fn told(server: &Server<'_>, application: &str) -> Vec<Value> {
    let deliveries = server.get("/deliveries?source=argocd");
    let of = |delivery: &&Value| delivery["event"].to_string().contains(application);
    deliveries["items"].as_array().unwrap().iter().filter(of).cloned().collect()
}

#[test]
fn the_notifications_controller_tells_the_service_by_the_platforms_settings_and_by_its_token_alone() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let token = fs::read_to_string(environment.data_dir().join("secrets/argocd")).unwrap();
    let settings = Notifications::to(&bed, &server, token.trim());
    let releases = Releases::of(&bed, &format!("{}/git/gitops.git", server.url()));
    let name = format!("notified-{}", std::process::id());
    let (release, application) = (format!("production/{name}/fraud"), format!("production.{name}.fraud"));
    server.put(&release, &image("fraud", "7")).expect(201);
    until(&server, &release, "v7 is live", is_live_in("settled"));
    let first = server.until("Argo CD has told that the operation ended", || {
        told(&server, &application).into_iter().find(|delivery| delivery["state"] == "unchanged")
    });
    let reason = format!("the Application `{application}` is read anew");
    assert_eq!(first["reason"], reason.as_str(), "{first:#}");
    // Each operation that ends is told once.
    let before = told(&server, &application).len();
    server.put(&release, &image("fraud", "8")).expect(200);
    until(&server, &release, "v8 is live", |view| {
        is_live_in("settled")(view) && view["spec"]["variants"][0]["version"] == "8"
    });
    server.until("the next one is told too", || (told(&server, &application).len() > before).then_some(()));
    assert!(!bed.log("argocd-notifications").contains(token.trim()), "the token is in no log");

    // Another token is not let in, whatever it says.
    bed.apply(&secret(json!({"kmlflow-token": "another"})));
    let refused = Request::new("POST", "/webhooks/argocd").bearer("another").json(&json!({"application": application}));
    refused.send(server.address()).expect(401);
    drop(releases);
    drop(settings);
    bed.ask(&["delete", "namespace", &name, "--wait=false"]);
}

/// A service that sees no cluster, and tells Argo CD's doors with this secret.
fn telling<'a>(environment: &'a TestEnvironment, secret: &str) -> Server<'a> {
    let secret = environment.write("argocd-webhook", secret);
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let doors = ["http://127.0.0.1:28080/api/webhook", "http://127.0.0.1:7001/api/webhook"];
    // Argo CD reads it by the address of the test's server, whose port counts for nothing here.
    let repository = "http://127.0.0.1/git/gitops.git";
    let webhook = json!({"urls": doors, "secret_file": secret, "repository_url": repository});
    let file = json!({"kubernetes": {"mode": "off"}, "argocd": {"webhook": webhook}});
    let file = environment.write("kmlflow.yaml", file.to_string());
    environment.server().arg("--config").arg(file.to_str().unwrap()).start()
}

fn pushes_told(server: &Server<'_>, outcome: &str) -> u64 {
    let metrics = Request::new("GET", "/metrics").send(server.address()).expect(200).text();
    let line = format!("kmlflow_argocd_pushes_total{{outcome=\"{outcome}\"}} ");
    let number = metrics.lines().find_map(|it| it.strip_prefix(&line)?.trim().parse::<f64>().ok());
    number.unwrap_or_default() as u64
}

#[test]
fn argo_cds_doors_do_not_take_what_is_signed_with_another_secret_and_the_service_says_so() {
    let (_bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = telling(&environment, "another");
    server.put("production/unproven/fraud", &image("fraud", "7")).expect(201);
    server.until("it is told again", || (pushes_told(&server, "retried") > 0).then_some(()));
    assert_eq!(pushes_told(&server, "told"), 0);
    server.until("the log says which door refuses", || {
        server.printed().contains("`http://127.0.0.1:28080/api/webhook` answers 4").then_some(())
    });
}

/// Waits until the `ApplicationSet` was looked at, so that its next own look is three minutes away.
fn until_looked_at(bed: &Bed) {
    bed.until("the branch was looked at", ("argocd", "applicationset"), |object| {
        let conditions = object["status"]["conditions"].as_array();
        let is_done = |it: &Value| it["type"] == "ResourcesUpToDate" && it["status"] == "True";
        let is_ours = object["metadata"]["name"] == "releases-production";
        (is_ours && conditions.into_iter().flatten().any(is_done)).then_some(())
    });
}

#[test]
fn where_no_cluster_is_watched_argo_cds_own_doors_take_our_word_of_a_push_and_it_looks_at_once() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = telling(&environment, "of-tests");
    let looked = Instant::now();
    let releases = Releases::of(&bed, &format!("{}/git/gitops.git", server.url()));
    until_looked_at(&bed);
    let name = format!("told-{}", std::process::id());
    let (release, application) = (format!("production/{name}/fraud"), format!("production.{name}.fraud"));
    // Whatever takes less than Argo CD's own look comes of our word, on a busy machine too.
    let synced = |since: Instant, commit: &Value, what: &str| {
        releases.until(what, &application, |object| {
            let status = &object["status"];
            status["sync"]["status"] == "Synced"
                && (status["sync"]["revision"] == *commit)
                && status["operationState"]["phase"] == "Succeeded"
        });
        println!("{what}: {:.1} s", since.elapsed().as_secs_f64());
        assert!(since.elapsed() < OWN_LOOK, "{what}: {:?}, as if nobody had told it", since.elapsed());
    };
    // The ApplicationSet controller makes the Application, then the API server's door has it compared.
    let made = server.put(&release, &image("fraud", "7")).expect(201).json();
    synced(looked, &made["commit"], "a new release is applied");
    let compared = Instant::now();
    let changed = server.put(&release, &image("fraud", "8")).expect(200).json();
    synced(compared, &changed["commit"], "the next version is applied");
    server.until("both doors took both pushes", || (pushes_told(&server, "told") >= 4).then_some(()));
    assert_eq!(pushes_told(&server, "failed"), 0);
    let looked = Instant::now();
    server.api("DELETE", &format!("/releases/{release}"), None).expect(200);
    let application = format!("application/{application}");
    bed.ask(&["--namespace", "argocd", "wait", "--for=delete", &application, "--timeout=170s"]);
    println!("a retracted release is gone: {:.1} s", looked.elapsed().as_secs_f64());
    assert!(looked.elapsed() < OWN_LOOK, "{:?}", looked.elapsed());
    drop(releases);
    bed.ask(&["delete", "namespace", &name, "--ignore-not-found", "--wait=false"]);
}
