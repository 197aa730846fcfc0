//! A real forge as a process of its own: Gitea, which the tier `gitea` builds from its Go module.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::environment::{TestEnvironment, succeed};
use crate::http::{Request, Response};
use crate::mlflow::basic;
use crate::ssh_server::free_port;

/// Names the directory with the program and what it reads; the tier `gitea` makes one and sets it.
pub const PLACE: &str = "KMLFLOW_TEST_GITEA";

/// The administrator.
const OPERATOR: &str = "operator";

/// Everybody's password, and only here.
const PASSWORD: &str = "a-password-of-tests";

/// It starts in three seconds on an idle machine; this only ends a hanging test.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How long its silence is listened to before it is asked whether it is there.
const MOMENT: Duration = Duration::from_millis(100);

/// So much of what it printed explains a failure.
const PRINTED_MAX: usize = 60;

/// Somebody with an account.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    /// What stands where the password would, for Git and for the API.
    pub token: String,
}

/// A running forge without repositories; ended when it is dropped.
pub struct Gitea<'a> {
    environment: &'a TestEnvironment,
    address: SocketAddr,
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl<'a> Gitea<'a> {
    /// Starts one on the loopback, with its files in the environment's directory.
    ///
    /// # Panics
    /// When it ends or stays silent; the message has what it printed.
    #[track_caller]
    pub fn start(environment: &'a TestEnvironment) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        environment.write("gitea/app.ini", settings(&environment.path("gitea"), address.port()));
        succeed(gitea(environment).arg("migrate"));
        let operator = ["admin", "user", "create", "--admin", "--must-change-password=false", "--username", OPERATOR];
        succeed(gitea(environment).args(operator).args(["--password", PASSWORD, "--email", "operator@example.org"]));
        let mut command = gitea(environment);
        let mut child = command.arg("web").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("gitea starts");
        let printed = Arc::default();
        let said = collect(&mut child, &printed);
        let forge = Self { environment, address, child, printed };
        assert!(forge.answers_within(&said), "Gitea does not start");
        forge
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a repository, `team/gitops`, as `git clone` takes it.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}.git", self.address)
    }

    /// The same for somebody, with the token in it: for a person's clone in a test, and nowhere else.
    pub fn url_for(&self, who: &Account, repository: &str) -> String {
        format!("http://{}:{}@{}/{repository}.git", who.name, who.token, self.address)
    }

    /// Makes an account.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_account(&self, name: &str) -> Account {
        let login = |name: &str| basic(name, PASSWORD);
        let user = json!({"username": name, "email": format!("{name}@example.org"), "password": PASSWORD, "must_change_password": false});
        let ask = |who: &str, path: &str, body: &Value| {
            let request = Request::new("POST", &format!("/api/v1{path}")).header("Authorization", login(who));
            request.json(body).send(self.address).expect(201).json()
        };
        drop(ask(OPERATOR, "/admin/users", &user));
        let token = ask(name, &format!("/users/{name}/tokens"), &json!({"name": "tests", "scopes": ["all"]}));
        Account { name: name.to_owned(), token: token["sha1"].as_str().expect("a token").to_owned() }
    }

    /// Asks the API as somebody; `path` begins after `/api/v1`.
    #[track_caller]
    #[must_use = "assert what was answered"]
    pub fn api(&self, who: &Account, method: &str, path: &str, body: Option<&Value>) -> Response {
        let request = Request::new(method, &format!("/api/v1{path}"));
        let request = request.header("Authorization", format!("token {}", who.token));
        body.map_or_else(|| request.clone(), |body| request.clone().json(body)).send(self.address)
    }

    /// Its own list of the requests for Git that it has answered so far, one `METHOD /path` each.
    ///
    /// # Panics
    /// Never, unless the reader of its output did.
    pub fn git_requests(&self) -> Vec<String> {
        // `… router: completed POST /team/gitops.git/git-receive-pack for 127.0.0.1:40000, 200 OK in 41.2ms @ …`
        let printed = self.printed.lock().expect("the output").clone();
        let requests = printed.lines().filter_map(|line| line.split_once("router: completed ")?.1.split_once(" for "));
        requests.map(|(request, _)| request.to_owned()).filter(|request| request.contains(".git/")).collect()
    }

    /// Whether it answers in time; looked at again after each line that it prints, and after each moment of silence.
    fn answers_within(&self, said: &mpsc::Receiver<()>) -> bool {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if said.recv_timeout(MOMENT) == Err(mpsc::RecvTimeoutError::Disconnected) {
                return false;
            }
            let asked = Request::new("GET", "/api/v1/version").try_send(self.address);
            if asked.is_ok_and(|answer| answer.status == 200) {
                return true;
            }
        }
        false
    }

    /// The surroundings that it runs in.
    pub fn environment(&self) -> &'a TestEnvironment {
        self.environment
    }
}

impl Drop for Gitea<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let printed = self.printed.lock().map(|printed| printed.clone()).unwrap_or_default();
            let skipped = printed.lines().count().saturating_sub(PRINTED_MAX);
            let last: Vec<&str> = printed.lines().skip(skipped).collect();
            eprintln!("--- what Gitea printed ({skipped} lines before)\n{}", last.join("\n"));
        }
    }
}

/// Where the tier put it.
fn place() -> PathBuf {
    std::env::var_os(PLACE).map(PathBuf::from).unwrap_or_else(|| panic!("`tests/run gitea` sets `{PLACE}`"))
}

/// The program with its settings. It ends with this test, however that ends.
fn gitea(environment: &TestEnvironment) -> Command {
    let mut command = environment.command("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(place().join("gitea"));
    command.arg("--config").arg(environment.path("gitea/app.ini"));
    // The tests may be root, in a container that is nobody else's.
    command.env("GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT", "true");
    command
}

/// As little of it as pull requests need: no pages of its own, no mail, no registration, nothing from elsewhere.
fn settings(directory: &Path, port: u16) -> String {
    let user = succeed(Command::new("id").arg("-un"));
    format!(
        r#"APP_NAME = tests
RUN_USER = {user}
RUN_MODE = prod
WORK_PATH = {directory}

[server]
PROTOCOL = http
DOMAIN = 127.0.0.1
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
STATIC_ROOT_PATH = {place}
DISABLE_SSH = true
OFFLINE_MODE = true
LFS_START_SERVER = false

[database]
DB_TYPE = sqlite3
PATH = {directory}/gitea.db

[security]
INSTALL_LOCK = true
SECRET_KEY = only-for-tests
INTERNAL_TOKEN = only-for-tests
PASSWORD_HASH_ALGO = pbkdf2_v1

[repository]
ROOT = {directory}/repositories
DEFAULT_BRANCH = main

[webhook]
ALLOWED_HOST_LIST = loopback

[queue]
TYPE = channel

[indexer]
ISSUE_INDEXER_TYPE = db

[session]
PROVIDER = memory

[service]
DISABLE_REGISTRATION = true

[oauth2]
ENABLED = false

[actions]
ENABLED = false

[packages]
ENABLED = false

[log]
MODE = console
LEVEL = info

[log.console]
STDERR = true
COLORIZE = false
"#,
        user = user.trim(),
        directory = directory.display(),
        place = place().display(),
    )
}

/// Collects what it says, and tells of each line; the channel ends with it.
fn collect(child: &mut Child, into: &Arc<Mutex<String>>) -> mpsc::Receiver<()> {
    let stream = child.stderr.take().expect("its output");
    let into = Arc::clone(into);
    let (says, said) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            into.lock().expect("the output").push_str(&format!("{line}\n"));
            // Nobody waits any more once it answers.
            let _ = says.send(());
        }
    });
    said
}
