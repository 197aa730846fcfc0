//! A real MLflow server as a process, and the few calls that make events in its registry without Python.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::environment::TestEnvironment;
use crate::http::{Request, Response};

/// Names the program `mlflow`; the tier `mlflow` installs one and sets it.
pub const PROGRAM: &str = "KMLFLOW_TEST_MLFLOW";

/// The administrator of a server with accounts, and the password.
pub const ADMIN: (&str, &str) = ("admin", "a-password-of-tests");

/// A server starts in ten seconds on an idle machine; this only ends a hanging test.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// How long its silence is listened to before it is asked whether it is there.
const MOMENT: Duration = Duration::from_millis(200);

/// So much of what a server printed explains a failure.
const PRINTED_MAX: usize = 60;

/// What a server needs so that a receiver on this machine gets its webhooks. It tries once: each test leaves a webhook to a service that
/// is gone, and ten threads that try each of them again for seconds would tell the others minutes late.
const WEBHOOKS: [(&str, &str); 5] = [
    // 32 bytes, as Fernet wants them. It encrypts what the tests make up.
    ("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "a21sZmxvdy10ZXN0cy1rbWxmbG93LXRlc3RzLWttbGY="),
    ("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https"),
    ("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true"),
    ("MLFLOW_WEBHOOK_CACHE_TTL", "0"),
    ("MLFLOW_WEBHOOK_REQUEST_MAX_RETRIES", "0"),
];

/// How to start a server.
pub struct MlflowBuilder {
    environment: TestEnvironment,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    has_accounts: bool,
}

impl MlflowBuilder {
    /// Sets a variable of its environment; a later one replaces an earlier one.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a variable out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// Keeps its files in a folder of one's choice: a disk, where the temporary directory may be memory.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Self {
        self.environment = TestEnvironment::below(folder);
        self
    }

    /// Leaves every setting of webhooks out: a server as it is installed.
    #[must_use]
    pub fn as_installed(self) -> Self {
        WEBHOOKS.iter().fold(self, |builder, (name, _)| builder.without(name))
    }

    /// Adds arguments after `mlflow server`.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Wants a name and a password of everybody; [`ADMIN`] is there.
    ///
    /// # Panics
    /// When its settings cannot be written.
    #[must_use]
    pub fn with_accounts(mut self) -> Self {
        let accounts = self.environment.path("accounts.db");
        let settings = format!(
            "[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{}\nadmin_username = {}\nadmin_password = {}\n\
             authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
            accounts.display(),
            ADMIN.0,
            ADMIN.1
        );
        let settings = self.environment.write("accounts.ini", settings).display().to_string();
        self.has_accounts = true;
        self.args(&["--app-name", "basic-auth"])
            .env("MLFLOW_AUTH_CONFIG_PATH", &settings)
            .env("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN.1)
            .env("MLFLOW_FLASK_SERVER_SECRET_KEY", "only-for-tests")
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// When it ends or stays silent; the message has what it printed.
    #[track_caller]
    pub fn start(self) -> MlflowServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let mut server = MlflowServer { how: self, address, child: None, printed: Arc::default() };
        server.launch();
        server
    }
}

/// A tracking server with a registry of its own; it and all that it started are killed when it is dropped, and when the test ends.
pub struct MlflowServer {
    how: MlflowBuilder,
    address: SocketAddr,
    child: Option<Child>,
    printed: Arc<Mutex<String>>,
}

impl MlflowServer {
    /// How to start one: set up for webhooks to this machine, without accounts, with one process that answers.
    pub fn builder() -> MlflowBuilder {
        let quiet = [("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"), ("MLFLOW_DISABLE_TELEMETRY", "true")];
        let variables = WEBHOOKS.iter().chain(&quiet).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        MlflowBuilder {
            environment: TestEnvironment::new(),
            variables: variables.collect(),
            arguments: Vec::new(),
            has_accounts: false,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a client writes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The program that started it, whose folder has Python's other programs too.
    ///
    /// # Panics
    /// When the environment does not name it.
    pub fn program() -> PathBuf {
        std::env::var_os(PROGRAM).map(PathBuf::from).unwrap_or_else(|| panic!("`tests/run mlflow` sets `{PROGRAM}`"))
    }

    /// What it has printed so far.
    ///
    /// # Panics
    /// Never, unless a reader of its output did.
    pub fn printed(&self) -> String {
        self.printed.lock().expect("the output").clone()
    }

    /// Ends it as a power cut would; what it has written stays.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let group = format!("-{}", child.id());
        // The group may be gone by itself.
        drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
        child.wait().expect("the end of the process");
    }

    /// Starts it again where it was, on what it has written, with other variables.
    ///
    /// # Panics
    /// When it ends or stays silent.
    #[track_caller]
    pub fn restart(&mut self, change: impl FnOnce(MlflowBuilder) -> MlflowBuilder) {
        self.kill();
        let how = std::mem::replace(&mut self.how, Self::builder());
        self.how = change(how);
        self.launch();
    }

    /// Asks the API; `path` begins after `/api/2.0/mlflow`. As the administrator, where it has accounts.
    #[track_caller]
    #[must_use = "assert what was answered"]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        self.api_as(self.how.has_accounts.then_some(ADMIN), method, path, body)
    }

    /// Asks the API as somebody.
    #[track_caller]
    #[must_use = "assert what was answered"]
    pub fn api_as(&self, who: Option<(&str, &str)>, method: &str, path: &str, body: Option<&Value>) -> Response {
        let mut request = Request::new(method, &format!("/api/2.0/mlflow{path}"));
        if let Some((name, password)) = who {
            request = request.header("Authorization", basic(name, password));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send(self.address)
    }

    /// Registers a model.
    #[track_caller]
    pub fn create_model(&self, name: &str) {
        drop(self.api("POST", "/registered-models/create", Some(&json!({"name": name}))).expect(200));
    }

    /// Registers a version and gives its number.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_version(&self, model: &str, source: &str, tags: &[(&str, &str)]) -> String {
        self.create_version_of(None, model, source, tags)
    }

    /// Registers a version that a run has made and gives its number.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_version_of(&self, run: Option<&str>, model: &str, source: &str, tags: &[(&str, &str)]) -> String {
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        let body = json!({"name": model, "source": source, "run_id": run, "tags": tags});
        let made = self.api("POST", "/model-versions/create", Some(&body)).expect(200).json();
        made["model_version"]["version"].as_str().expect("a version").to_owned()
    }

    /// Removes a version; nobody is told.
    #[track_caller]
    pub fn delete_version(&self, model: &str, version: &str) {
        let body = json!({"name": model, "version": version});
        drop(self.api("DELETE", "/model-versions/delete", Some(&body)).expect(200));
    }

    /// Points an alias at a version.
    #[track_caller]
    pub fn set_alias(&self, model: &str, alias: &str, version: &str) {
        let body = json!({"name": model, "alias": alias, "version": version});
        drop(self.api("POST", "/registered-models/alias", Some(&body)).expect(200));
    }

    /// Takes an alias away.
    #[track_caller]
    pub fn delete_alias(&self, model: &str, alias: &str) {
        drop(self.api("DELETE", "/registered-models/alias", Some(&json!({"name": model, "alias": alias}))).expect(200));
    }

    /// Sets a tag of a version.
    #[track_caller]
    pub fn set_tag(&self, model: &str, version: &str, key: &str, value: &str) {
        let body = json!({"name": model, "version": version, "key": key, "value": value});
        drop(self.api("POST", "/model-versions/set-tag", Some(&body)).expect(200));
    }

    /// Removes a tag of a version.
    #[track_caller]
    pub fn delete_tag(&self, model: &str, version: &str, key: &str) {
        let body = json!({"name": model, "version": version, "key": key});
        drop(self.api("DELETE", "/model-versions/delete-tag", Some(&body)).expect(200));
    }

    /// A version as the registry has it, with its aliases. None: there is none.
    #[track_caller]
    pub fn version(&self, model: &str, version: &str) -> Option<Value> {
        let path = format!("/model-versions/get?name={}&version={version}", encoded(model));
        let answer = self.api("GET", &path, None);
        (answer.status != 404).then(|| answer.expect(200).json()["model_version"].clone())
    }

    /// The value of a version's tag.
    #[track_caller]
    pub fn tag(&self, model: &str, version: &str, key: &str) -> Option<String> {
        let found = self.version(model, version)?;
        let tag = found["tags"].as_array()?.iter().find(|tag| tag["key"] == key)?;
        Some(tag["value"].as_str().unwrap_or_default().to_owned())
    }

    /// Makes a run with a tag and gives its id.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_run(&self, tag: (&str, &str)) -> String {
        let body = json!({"experiment_id": "0", "tags": [{"key": tag.0, "value": tag.1}]});
        let made = self.api("POST", "/runs/create", Some(&body)).expect(200).json();
        made["run"]["info"]["run_id"].as_str().expect("a run").to_owned()
    }

    /// Writes down what was measured in a run at a step.
    #[track_caller]
    pub fn log_metric(&self, run: &str, name: &str, value: f64, step: u32) {
        let body =
            json!({"run_id": run, "key": name, "value": value, "timestamp": 1_764_500_000_000_u64, "step": step});
        drop(self.api("POST", "/runs/log-metric", Some(&body)).expect(200));
    }

    /// What it holds as measured last in a run, by name.
    ///
    /// # Panics
    /// When there is no such run.
    #[track_caller]
    pub fn metrics(&self, run: &str) -> BTreeMap<String, f64> {
        let run = self.api("GET", &format!("/runs/get?run_id={run}"), None).expect(200).json();
        let metrics = run["run"]["data"]["metrics"].as_array().cloned().unwrap_or_default();
        let told = |metric: &Value| (metric["key"].as_str().expect("a name").to_owned(), metric["value"].as_f64());
        metrics.iter().map(told).map(|(name, value)| (name, value.expect("a number"))).collect()
    }

    /// Puts a file among those of a run and gives the directory that the run's files are in.
    #[track_caller]
    pub fn put_artifact(&self, run: &str, path: &str, content: &str) -> String {
        let directory = format!("0/{run}/artifacts");
        let file = format!("/api/2.0/mlflow-artifacts/artifacts/{directory}/{path}");
        drop(Request::new("PUT", &file).body(content).send(self.address).expect(200));
        format!("mlflow-artifacts:/{directory}")
    }

    /// Makes an account.
    #[track_caller]
    pub fn create_user(&self, name: &str, password: &str) {
        let user = json!({"username": name, "password": password});
        drop(self.api("POST", "/users/create", Some(&user)).expect(200));
    }

    /// Gives an account a permission on a model, in the place of the one before: `READ`, `USE`, `EDIT`, `MANAGE`.
    #[track_caller]
    pub fn grant(&self, user: &str, model: &str, permission: &str) {
        let body = json!({
            "username": user, "resource_type": "registered_model", "resource_id": model, "permission": permission,
        });
        let ask = |act: &str| {
            let request = Request::new("POST", &format!("/api/3.0/mlflow/users/permissions/{act}")).json(&body);
            request.header("Authorization", basic(ADMIN.0, ADMIN.1)).send(self.address)
        };
        // There may be none.
        drop(ask("revoke"));
        drop(ask("grant").expect(200));
    }

    /// The webhooks that post to an address.
    #[track_caller]
    pub fn webhooks_to(&self, url: &str) -> Vec<Value> {
        let list = self.api("GET", "/webhooks?max_results=1000", None).expect(200).json();
        let all = list["webhooks"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|webhook| webhook["url"] == url).collect()
    }

    #[track_caller]
    fn launch(&mut self) {
        let MlflowBuilder { environment, variables, arguments, .. } = &self.how;
        // The shell waits for the end of its input, which is the end of the test in whatever way it ends, and takes everything with it.
        let mut command = environment.command("sh");
        command.args(["-c", "\"$@\" & cat >/dev/null; kill -KILL 0", "mlflow"]).arg(Self::program());
        let port = self.address.port().to_string();
        command.args(["server", "--host", "127.0.0.1", "--port", &port, "--workers", "1"]);
        command.args(["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts"]);
        command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let (says, said) = mpsc::channel();
        collect(child.stdout.take(), &self.printed, &says);
        collect(child.stderr.take(), &self.printed, &says);
        // The readers alone keep the channel open: where they end, the server has ended.
        drop(says);
        self.child = Some(child);
        if !self.answers_within(&said) {
            self.kill();
            panic!("MLflow does not start:\n{}", self.printed());
        }
    }

    /// Whether it answers in time; looked at again after each line that it prints, and after each moment of silence.
    fn answers_within(&self, said: &mpsc::Receiver<()>) -> bool {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if said.recv_timeout(MOMENT) == Err(mpsc::RecvTimeoutError::Disconnected) {
                return false;
            }
            if Request::new("GET", "/health").try_send(self.address).is_ok_and(|answer| answer.status == 200) {
                return true;
            }
        }
        false
    }
}

impl Drop for MlflowServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let printed = self.printed();
            let skipped = printed.lines().count().saturating_sub(PRINTED_MAX);
            let last: Vec<&str> = printed.lines().skip(skipped).collect();
            eprintln!("--- what MLflow printed ({skipped} lines before)\n{}", last.join("\n"));
        }
    }
}

/// The header of HTTP's Basic scheme.
pub fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// A text as a value in an address.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Collects what a stream says, and tells of each line.
fn collect(stream: Option<impl Read + Send + 'static>, into: &Arc<Mutex<String>>, says: &mpsc::Sender<()>) {
    let stream = stream.expect("a piped stream");
    let (into, says) = (Arc::clone(into), says.clone());
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            into.lock().expect("the output").push_str(&line);
            // Nobody waits any more once it answers.
            let _ = says.send(());
            line.clear();
        }
    });
}
