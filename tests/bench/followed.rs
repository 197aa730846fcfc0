//! From a commit to live on the test bed, with many Applications present. Outside of the bed there is nothing to measure.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::bed::{Bed, Namespace, PLACE};
use tests::refusing::Refusing;
use tests::{Server, TestEnvironment};

use crate::Bench;
use crate::machine::{median, pause, range};
use crate::report::Report;

/// Between two looks at the service.
const LOOK: Duration = Duration::from_millis(5);

/// Everything takes seconds; this only ends what hangs.
const WITHIN: Duration = Duration::from_secs(300);

/// Argo CD looks for new releases by itself as rarely as the platform has it do.
const OWN_LOOK_SECONDS: u32 = 180;

pub fn measure(bench: &Bench, report: &mut Report) {
    if std::env::var_os(PLACE).is_none() {
        eprintln!("  left out: there is no test bed here; `tests/bench/run cluster` brings one up");
        return;
    }
    let bed = Bed::alone();
    let environment = TestEnvironment::below(&bench.folder);
    let kubeconfig = bed.kubeconfig();
    let kubeconfig = kubeconfig.to_str().expect("a path");
    let server = environment.server().env("KMLFLOW__KUBERNETES__KUBECONFIG", kubeconfig).start();
    let namespace = bed.namespace("bench");
    let present = Present::begin(&bed, &server, &namespace, bench.sizes.applications);
    namespace.follow_looking_every(OWN_LOOK_SECONDS, &server);
    let measuring = Measuring { bed: &bed, server: &server, namespace: &namespace, present: bench.sizes.applications };
    let times = bench.sizes.followed;
    measuring.new_and_ready(report, times);
    measuring.existing(report, times);
    measuring.rollback(report);
    measuring.retract(report, times);
    report.beside("Argo CD's own look at an Application, where nobody tells it", "up to 180 s".to_owned());
    drop(present);
}

/// Applications of somebody else, until it is dropped.
struct Present<'a> {
    bed: &'a Bed,
    name: String,
}

impl<'a> Present<'a> {
    /// Has Argo CD keep so many Applications in step with a folder of the same repository.
    fn begin(bed: &'a Bed, server: &Server<'_>, namespace: &Namespace<'_>, applications: usize) -> Self {
        let checkout = server.clone_repository();
        checkout.write(
            "present/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [settings.yaml]\n",
        );
        checkout.write(
            "present/settings.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n",
        );
        checkout.commit("Applications of somebody else");
        let pushed = checkout.push(&server.token(), &["origin", "main"]);
        assert_eq!(pushed.code, 0, "{pushed:?}");
        let name = format!("present-{}", namespace.name);
        let elements: Vec<Value> = (0..applications).map(|number| json!({"number": number.to_string()})).collect();
        let template = json!({
            "metadata": {"name": format!("{name}-{{{{.number}}}}"), "annotations": {"argocd.argoproj.io/manifest-generate-paths": "."}},
            "spec": {
                "project": "default",
                "source": {"repoURL": format!("{}/git/gitops.git", server.url()), "targetRevision": "main", "path": "present",
                    "kustomize": {"nameSuffix": "-{{.number}}"}},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace.name},
                "syncPolicy": {"automated": {"selfHeal": true}, "syncOptions": ["ServerSideApply=true"]},
            },
        });
        let set = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": {"name": name, "namespace": "argocd"},
            "spec": {"goTemplate": true, "generators": [{"list": {"elements": elements}}], "template": template}});
        let began = Instant::now();
        bed.apply(&set.to_string());
        let synced = || {
            let is_synced = |it: &&Value| {
                let is_ours = it["metadata"]["name"].as_str().is_some_and(|text| text.starts_with(&name));
                is_ours && it["status"]["operationState"]["phase"] == "Succeeded"
            };
            bed.list("argocd", "application").iter().filter(is_synced).count()
        };
        while synced() < applications {
            assert!(began.elapsed() < WITHIN * 3, "{} of {applications} Applications are there", synced());
            pause(Duration::from_secs(1));
        }
        eprintln!("  {applications} Applications are there after {:.0} s", began.elapsed().as_secs_f64());
        Self { bed, name }
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.bed.ask(&["--namespace", "argocd", "delete", "applicationset", &self.name, "--ignore-not-found"]);
    }
}

struct Measuring<'a> {
    bed: &'a Bed,
    server: &'a Server<'a>,
    namespace: &'a Namespace<'a>,
    present: usize,
}

impl Measuring<'_> {
    fn release(&self, name: &str) -> String {
        format!("production/{}/{name}", self.namespace.name)
    }

    fn application(&self, name: &str) -> String {
        format!("production.{}.{name}", self.namespace.name)
    }

    fn view(&self, name: &str) -> Value {
        self.server.get(&format!("/releases/{}", self.release(name)))
    }

    /// Asks for a version, and answers its commit.
    fn put(&self, name: &str, image: &str, version: usize) -> Value {
        let body = json!({"model": name, "version": version.to_string(), "image": format!("registry.example/{image}")});
        let answer = self.server.put(&self.release(name), &body);
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        answer.json()["commit"].clone()
    }

    /// Waits until something is so of what the service says, and answers how long that took.
    fn until(&self, what: &str, name: &str, is_so: impl Fn(&Value) -> bool) -> f64 {
        let began = Instant::now();
        loop {
            let view = self.view(name);
            if is_so(&view) {
                return began.elapsed().as_secs_f64();
            }
            assert!(began.elapsed() < WITHIN, "{what}: {view:#}");
            pause(LOOK);
        }
    }

    /// A new release: until Argo CD has an Application for it; then, with pods that are held until everything else is done, from the
    /// moment that they are ready until that is said.
    fn new_and_ready(&self, report: &mut Report, times: usize) {
        let (mut made, mut said) = (Vec::new(), Vec::new());
        for number in 0..times {
            let name = format!("m{number}");
            let application = self.application(&name);
            let commit = self.put(&name, &format!("{name}:7-held"), 7);
            let began = Instant::now();
            let is_it = |object: &Value| object["metadata"]["name"] == application.as_str();
            self.bed.until("the Application is there", ("argocd", "application"), |object| is_it(object).then_some(()));
            made.push(began.elapsed().as_secs_f64());
            self.bed.until("it is applied", ("argocd", "application"), |object| {
                let status = &object["status"];
                let is_applied =
                    status["sync"]["revision"] == commit && status["operationState"]["phase"] == "Succeeded";
                (is_it(object) && is_applied && status["sync"]["status"] == "Synced").then_some(())
            });
            said.push(self.ready_until_live(&name));
        }
        let of = self.present;
        let what = format!("a new release's Application is there, {of} present, p50 {}", range(&made));
        report.at_most(&what, median(&made), 4.0, " s");
        let what = format!("pods ready until `live` is said, p50 {}", range(&said));
        report.at_most(&what, median(&said) * 1000.0, 500.0, " ms");
    }

    fn ready_until_live(&self, name: &str) -> f64 {
        let namespace = self.namespace.name.as_str();
        let of_release = |object: &Value| object["metadata"]["labels"]["seldon-deployment-id"] == name;
        let pod = self.bed.until("its pod is there", (namespace, "pod"), |object| {
            of_release(object).then(|| object["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        });
        // It is asked for beforehand, so that the start of kubectl does not count.
        let mut deployments = self.bed.watch(namespace, "deployment");
        let go = self.bed.kubectl(&["--namespace", namespace, "annotate", "pod", &pod, "bed/go=yes"]).spawn();
        let mut go = go.expect("kubectl starts");
        let deadline = Instant::now() + WITHIN;
        loop {
            let object = deployments.next_before(deadline).expect("the Deployment is available");
            if of_release(&object) && object["status"]["availableReplicas"] == 1 {
                break;
            }
        }
        let took = self.until("it is live", name, |view| view["status"]["state"] == "live");
        assert!(go.wait().expect("the end of kubectl").success());
        took
    }

    /// The next version of a release: until its Application was compared with the commit.
    fn existing(&self, report: &mut Report, times: usize) {
        let application = self.application("m0");
        let mut compared = Vec::new();
        for number in 0..times {
            let mut applications = self.bed.watch("argocd", "application");
            let commit = self.put("m0", &format!("m0:{}", 8 + number), 8 + number);
            let (began, deadline) = (Instant::now(), Instant::now() + WITHIN);
            loop {
                let object = applications.next_before(deadline).expect("the Application is compared");
                let is_it = object["metadata"]["name"] == application.as_str();
                if is_it && object["status"]["sync"]["revision"] == commit {
                    break;
                }
            }
            compared.push(began.elapsed().as_secs_f64());
            self.until("it is live", "m0", |view| view["status"]["state"] == "live");
        }
        let what =
            format!("an existing Application is at our revision, {} present, p50 {}", self.present, range(&compared));
        report.at_most(&what, median(&compared), 1.5, " s");
    }

    /// What the API server refuses, taken back: until the version before is live.
    fn rollback(&self, report: &mut Report) {
        let refusing = Refusing::begin(self.bed, self.namespace, "forbidden");
        self.put("m0", "forbidden:1", 1_000);
        self.until("the refusal is said", "m0", |view| {
            view["status"]["reason"].as_str().is_some_and(|text| text.contains("are not allowed here"))
        });
        let began = Instant::now();
        self.server.act(&self.release("m0"), "rollback", Some(&json!({}))).expect(200);
        self.until("the version before is live", "m0", |view| view["status"]["state"] == "live");
        report.at_most("a rollback behind a refused sync is live", began.elapsed().as_secs_f64(), 15.0, " s");
        drop(refusing);
    }

    /// A retraction: until nothing of the release is left.
    fn retract(&self, report: &mut Report, times: usize) {
        let mut gone = Vec::new();
        for number in 0..times {
            let path = format!("/releases/{}", self.release(&format!("m{number}")));
            let began = Instant::now();
            self.server.api("DELETE", &path, None).expect(200);
            while self.server.api("GET", &path, None).status != 404 {
                assert!(began.elapsed() < WITHIN, "{path} is still there");
                pause(LOOK);
            }
            gone.push(began.elapsed().as_secs_f64());
        }
        let what = format!("a retraction is complete, p50 {}", range(&gone));
        report.at_most(&what, median(&gone), 10.0, " s");
    }
}
