//! The test bed: a real control plane with Argo CD and Envoy, which `tests/cluster/up` starts and all tests of a run share.
//!
//! Tests that use it run in its network namespace: `tests/cluster/enter cargo test --package tests --test e2e -- bed::`.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::environment::{run, signal, succeed};
use crate::http::{Request, Response};
use crate::load::Load;
use crate::server::Server;

/// Names the bed's folder; `tests/cluster/enter` sets it.
pub const PLACE: &str = "KMLFLOW_TEST_CLUSTER";

/// Everything on the bed takes seconds, on a busy machine too; this only ends a hanging test.
const WITHIN: Duration = Duration::from_secs(120);

/// Between two questions to Envoy: without a pause they take the processor from those who are waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a slow part stands still, and goes on, in turns: a disk that others write to does as much to a database.
const STANDS: Duration = Duration::from_millis(900);
const GOES: Duration = Duration::from_millis(300);

/// Where Envoy listens.
const ENVOY: ([u8; 4], u16) = ([127, 0, 0, 1], 28888);

/// The bed, until it is dropped.
pub struct Bed {
    folder: PathBuf,
    /// Locked as long as it is open.
    _turn: File,
}

impl Bed {
    /// The bed beside other tests: nothing that all of them need may be stopped.
    ///
    /// # Panics
    /// When there is none; the message says by which command there is.
    #[track_caller]
    pub fn shared() -> Self {
        Self::open(File::lock_shared)
    }

    /// The bed for one test alone, which may stop and kill its parts, and leaves them running.
    ///
    /// # Panics
    /// When there is none; the message says by which command there is.
    #[track_caller]
    pub fn alone() -> Self {
        Self::open(File::lock)
    }

    #[track_caller]
    fn open(lock: fn(&File) -> std::io::Result<()>) -> Self {
        let folder = std::env::var_os(PLACE).unwrap_or_else(|| {
            panic!("`{PLACE}` names no test bed: run `tests/cluster/up`, and the test by `tests/cluster/enter cargo test …`")
        });
        let folder = PathBuf::from(folder);
        let turn = File::options().create(true).append(true).open(folder.join("turn")).expect("the bed's folder");
        lock(&turn).expect("a lock");
        Self { folder, _turn: turn }
    }

    /// A kubeconfig for the tests, who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The log of a part, or the API server's `audit`.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn log(&self, part: &str) -> String {
        let path = self.folder.join("../artifacts/cluster").join(format!("{part}.log"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A command line of kubectl.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("bin/kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs kubectl and returns what it said.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> String {
        succeed(&mut self.kubectl(arguments))
    }

    /// Applies documents; returns what kubectl said, warnings of the API server among it, or what the API server has against them.
    ///
    /// # Errors
    /// What kubectl said.
    ///
    /// # Panics
    /// When kubectl does not start.
    pub fn try_apply(&self, documents: &str, options: &[&str]) -> Result<String, String> {
        let mut command = self.kubectl(&["apply", "--filename", "-"]);
        command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        child.stdin.take().expect("its input").write_all(documents.as_bytes()).expect("the documents are taken");
        let output = child.wait_with_output().expect("the end of kubectl");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // Warnings of what was taken are on the second stream.
        let warned = text(&output.stderr);
        if output.status.success() { Ok(text(&output.stdout) + &warned) } else { Err(warned) }
    }

    /// Applies documents that must be taken.
    ///
    /// # Panics
    /// When they are refused.
    #[track_caller]
    pub fn apply(&self, documents: &str) {
        self.try_apply(documents, &["--server-side", "--force-conflicts"]).unwrap_or_else(|error| panic!("{error}"));
    }

    /// An object, or none where there is no such object.
    #[track_caller]
    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let said = self.ask(&["--namespace", namespace, "get", kind, name, "--ignore-not-found", "--output", "json"]);
        (!said.trim().is_empty()).then(|| serde_json::from_str(&said).expect("an object"))
    }

    /// Every object of a kind in a namespace.
    ///
    /// # Panics
    /// When kubectl fails.
    #[track_caller]
    pub fn list(&self, namespace: &str, kind: &str) -> Vec<Value> {
        let said = self.ask(&["--namespace", namespace, "get", kind, "--output", "json"]);
        let list: Value = serde_json::from_str(&said).expect("a list");
        list["items"].as_array().expect("its items").clone()
    }

    /// Waits until an object that is being removed is gone.
    ///
    /// # Panics
    /// When it is there after all; the message has it.
    #[track_caller]
    pub fn until_gone(&self, namespace: &str, kind: &str, name: &str) {
        let (what, within) = (format!("{kind}/{name}"), format!("--timeout={}s", WITHIN.as_secs()));
        let run = run(&mut self.kubectl(&["--namespace", namespace, "wait", "--for=delete", &within, &what]));
        assert!(run.code == 0, "{what} stays: {run:?}; {:#?}", self.get(namespace, kind, name));
    }

    /// Watches a kind in a namespace, until an object as it is or becomes satisfies the condition.
    ///
    /// # Panics
    /// When none does in time; the message has the last object that was seen.
    #[track_caller]
    pub fn until<T>(
        &self,
        what: &str,
        (namespace, kind): (&str, &str),
        mut found: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + WITHIN;
        let mut watch = self.watch(namespace, kind);
        let mut last = Value::Null;
        loop {
            let Some(object) = watch.next_before(deadline) else {
                panic!("not within {WITHIN:?}: {what}; the last {kind} in {namespace}: {last:#}")
            };
            if let Some(found) = found(&object) {
                return found;
            }
            last = object;
        }
    }

    /// Every object of a kind in a namespace as it is, and as it becomes.
    ///
    /// # Panics
    /// When kubectl does not start.
    #[track_caller]
    pub fn watch(&self, namespace: &str, kind: &str) -> Watch {
        // In chunks of the usual 500 it would begin with lists in place of objects.
        let whole = "--chunk-size=0";
        let mut command = self.kubectl(&["--namespace", namespace, "get", kind, "--watch", whole, "--output", "json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let objects = serde_json::Deserializer::from_reader(BufReader::new(child.stdout.take().expect("its output")));
        let (seen, objects_of) = mpsc::channel();
        std::thread::spawn(move || {
            for object in objects.into_iter::<Value>().map_while(Result::ok) {
                if seen.send(object).is_err() {
                    return;
                }
            }
        });
        Watch { child, objects: objects_of }
    }

    /// A namespace of its own for a test; it and what Argo CD has for it go when it is dropped.
    #[track_caller]
    pub fn namespace(&self, name: &str) -> Namespace<'_> {
        let name = format!("{name}-{}", std::process::id());
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string());
        Namespace { bed: self, name }
    }

    /// Asks through Envoy, as somebody outside of the cluster does.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub fn predict(&self, host: &str) -> std::io::Result<Response> {
        let request = Request::new("POST", "/v2/models/model/infer").json(&json!({"inputs": []}));
        request.try_send_to(host, SocketAddr::from(ENVOY))
    }

    /// Callers of a release: so many requests a second through Envoy.
    pub fn load(&self, host: &str, per_second: u32) -> Load {
        Load::begin(host, SocketAddr::from(ENVOY), per_second)
    }

    /// Asks through Envoy until the answer satisfies the condition: a route takes a moment from the API server to Envoy.
    ///
    /// # Panics
    /// When none does in time; the message has the last answer.
    #[track_caller]
    pub fn predict_until(&self, host: &str, condition: impl Fn(&Response) -> bool) -> Response {
        let deadline = Instant::now() + WITHIN;
        loop {
            match self.predict(host) {
                Ok(answer) if condition(&answer) => return answer,
                answer => assert!(Instant::now() < deadline, "{host}: {answer:?}"),
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Stops a part as it is, without an end (`seldon-operator`); it goes on when what is returned is dropped.
    ///
    /// # Panics
    /// When there is no such part.
    #[track_caller]
    pub fn pause(&self, part: &str) -> Paused {
        let group = format!("-{}", self.keeper(part));
        signal("-STOP", &group);
        Paused { whom: vec![group] }
    }

    /// The same of the part alone: what it has started goes on.
    ///
    /// # Panics
    /// When there is no such part.
    #[track_caller]
    pub fn pause_alone(&self, part: &str) -> Paused {
        let whom = self.programs(part);
        whom.iter().for_each(|program| signal("-STOP", program));
        Paused { whom }
    }

    /// Makes a part slow: it stands still most of the time, and goes on in between, until what is returned is dropped.
    ///
    /// # Panics
    /// When there is no such part.
    #[track_caller]
    pub fn slow(&self, part: &str) -> Slow {
        let group = format!("-{}", self.keeper(part));
        let (end, ended) = mpsc::channel();
        let turns = std::thread::spawn(move || {
            for (mark, time) in [("-STOP", STANDS), ("-CONT", GOES)].into_iter().cycle() {
                signal(mark, &group);
                if ended.recv_timeout(time) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
            }
            signal("-CONT", &group);
        });
        Slow { end: Some(end), turns: Some(turns) }
    }

    /// Kills a part as a power cut would; it starts anew a second later.
    ///
    /// # Panics
    /// When there is no such part.
    #[track_caller]
    pub fn kill(&self, part: &str) {
        self.programs(part).iter().for_each(|program| signal("-KILL", program));
    }

    /// Waits until the API server answers again.
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn wait_for_api_server(&self) {
        let deadline = Instant::now() + WITHIN;
        while run(&mut self.kubectl(&["get", "--raw", "/readyz"])).code != 0 {
            assert!(Instant::now() < deadline, "the API server does not answer");
            std::thread::park_timeout(PAUSE);
        }
    }

    /// The processes of a part, without those that they have started.
    #[track_caller]
    fn programs(&self, part: &str) -> Vec<String> {
        let keeper = self.keeper(part);
        let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).expect("its children");
        children.split_whitespace().map(str::to_owned).collect()
    }

    /// The process that keeps a part running, and leads the group of its processes.
    #[track_caller]
    fn keeper(&self, part: &str) -> String {
        let told = std::fs::read_to_string(self.folder.join("run").join(part));
        let told = told.unwrap_or_else(|error| panic!("no part `{part}`: {error}"));
        told.split(' ').next().unwrap_or_default().to_owned()
    }
}

/// What becomes of the objects of a kind; ended when it is dropped.
pub struct Watch {
    child: Child,
    objects: mpsc::Receiver<Value>,
}

impl Watch {
    /// The next state of an object, or none when nothing changes until then.
    pub fn next_before(&mut self, deadline: Instant) -> Option<Value> {
        self.objects.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
    }
}

/// A part that does not move; it goes on when this is dropped.
pub struct Paused {
    whom: Vec<String>,
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.whom.iter().for_each(|whom| signal("-CONT", whom));
    }
}

/// A part that is slow; it is as before when this is dropped.
pub struct Slow {
    end: Option<mpsc::Sender<()>>,
    turns: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Slow {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.turns.take().map(std::thread::JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "it may stand still");
    }
}

/// A namespace of a test's own.
pub struct Namespace<'a> {
    bed: &'a Bed,
    pub name: String,
}

impl Namespace<'_> {
    /// Has Argo CD follow a service: an Application for each release of this namespace in its embedded repository.
    #[track_caller]
    pub fn follow(&self, server: &Server<'_>) {
        self.follow_looking_every(3, server);
    }

    /// The same, where Argo CD looks for new releases by itself as rarely as this, and else when it is told to.
    #[track_caller]
    pub fn follow_looking_every(&self, seconds: u32, server: &Server<'_>) {
        self.follow_repository(&format!("{}/git/gitops.git", server.url()), seconds);
    }

    /// The same of a repository elsewhere.
    #[track_caller]
    pub fn follow_repository(&self, repository: &str, seconds: u32) {
        let name = &self.name;
        let template = json!({
            "metadata": {"name": "{{index .path.segments 1}}.{{index .path.segments 2}}.{{.path.basename}}"},
            "spec": {
                "project": "default",
                "source": {"repoURL": repository, "targetRevision": "main", "path": "{{.path.path}}"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true}, "retry": {"limit": 5, "refresh": true},
                    "syncOptions": ["ServerSideApply=true"]},
            },
        });
        let directories = json!([{"path": format!("releases/*/{name}/*")}]);
        let generator = json!({"git": {"repoURL": repository, "revision": "main", "requeueAfterSeconds": seconds, "directories": directories}});
        let set = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": {"name": name, "namespace": "argocd"},
            "spec": {"goTemplate": true, "goTemplateOptions": ["missingkey=error"], "generators": [generator], "template": template}});
        self.bed.apply(&set.to_string());
    }

    /// Has Argo CD look at the repository of a release at once; by itself it looks every three minutes.
    #[track_caller]
    pub fn refresh(&self, release: &str) {
        let application = format!("production.{}.{release}", self.name);
        let annotate = ["annotate", "application", &application, "argocd.argoproj.io/refresh=normal", "--overwrite"];
        self.bed.ask(&[["--namespace", "argocd"].as_slice(), annotate.as_slice()].concat());
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let set =
            ["--namespace", "argocd", "delete", "applicationset", &self.name, "--ignore-not-found", "--wait=false"];
        let namespace = ["delete", "namespace", &self.name, "--wait=false"];
        for arguments in [set.as_slice(), namespace.as_slice()] {
            let run = run(&mut self.bed.kubectl(arguments));
            assert!(run.code == 0 || std::thread::panicking(), "{run:?}");
        }
    }
}
