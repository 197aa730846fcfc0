//! The service as a process of its own.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::delivery::{Delivery, Signing};
use crate::environment::{Run, TestEnvironment, run, signal};
use crate::events::Events;
use crate::git::Checkout;
use crate::http::{Request, Response};
use crate::ssh_server::free_port;

/// A debug build on a busy machine starts in well under a second; this only ends a hanging test.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// So much of what a service printed explains a failure.
const PRINTED_MAX: usize = 200;

/// How to start the service.
pub struct ServerBuilder<'a> {
    environment: &'a TestEnvironment,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    listen: String,
    ready_within: Duration,
}

impl<'a> ServerBuilder<'a> {
    pub(crate) fn new(environment: &'a TestEnvironment) -> Self {
        // Phases follow one another at once: nothing here watches a cluster.
        let blind = ("KMLFLOW__ENVIRONMENTS__PRODUCTION__BLIND_DELAY".to_owned(), "0s".to_owned());
        let listen = "127.0.0.1:0".to_owned();
        Self { environment, variables: vec![blind], arguments: Vec::new(), listen, ready_within: READY_WITHIN }
    }

    /// Sets a variable of its environment; a later one replaces an earlier one.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument after `serve`.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Listens elsewhere than on a free port of the loopback.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = address.to_owned();
        self
    }

    /// Gives it more time to be ready, where there is much to take in.
    #[must_use]
    pub fn ready_within(mut self, time: Duration) -> Self {
        self.ready_within = time;
        self
    }

    /// The command line.
    pub fn command(&self) -> Command {
        let mut command = self.environment.kmlflow(["serve", "--listen", &self.listen]);
        command.arg("--data-dir").arg(self.environment.data_dir()).args(&self.arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it where it is expected to end by itself.
    #[track_caller]
    pub fn run(&self) -> Run {
        run(&mut self.command())
    }

    /// Begins to start it on a free port, where it is expected to wait for something before it is ready: see [`Server::until_it_answers`].
    ///
    /// # Panics
    /// When it cannot be run.
    #[track_caller]
    pub fn begin(self) -> Server<'a> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let begin = self.listen(&address.to_string());
        let (child, printed, _) = begin.spawn();
        Server { environment: begin.environment, child, address, printed }
    }

    #[track_caller]
    fn spawn(&self) -> (Child, Arc<Mutex<String>>, mpsc::Receiver<SocketAddr>) {
        let mut command = self.command();
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let printed = Arc::new(Mutex::new(String::new()));
        let (ready, listens) = mpsc::channel();
        collect(child.stdout.take(), &printed, Some(ready));
        collect(child.stderr.take(), &printed, None);
        (child, printed, listens)
    }

    /// Starts it and waits until it says that it listens.
    ///
    /// # Panics
    /// When it ends or stays silent; the message has what it printed.
    #[track_caller]
    pub fn start(&self) -> Server<'a> {
        let (mut child, printed, listens) = self.spawn();
        let address = listens.recv_timeout(self.ready_within);
        let Ok(address) = address else {
            let ended = child.kill().and_then(|()| child.wait());
            panic!("the service is not ready ({ended:?}):\n{}", printed.lock().expect("the output"));
        };
        Server { environment: self.environment, child, address, printed }
    }
}

/// A running service; killed when it is dropped.
pub struct Server<'a> {
    environment: &'a TestEnvironment,
    child: Child,
    address: SocketAddr,
    printed: Arc<Mutex<String>>,
}

impl<'a> Server<'a> {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a client writes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far, on both streams.
    ///
    /// # Panics
    /// Never, unless a reader of its output did.
    pub fn printed(&self) -> String {
        self.printed.lock().expect("the output").clone()
    }

    /// The admin token that the first start made.
    #[track_caller]
    pub fn token(&self) -> String {
        secret(&self.environment.data_dir().join("admin-token"))
    }

    /// The live webhook secret of a source that the first start made.
    #[track_caller]
    pub fn secret(&self, signing: Signing) -> String {
        let name = match signing {
            Signing::Mlflow => "mlflow",
            Signing::Standard => "generic",
            Signing::Github => "github",
        };
        secret(&self.environment.data_dir().join("secrets").join(name))
    }

    /// Stops it as it is, as a machine that hangs does; `kill` ends it all the same.
    ///
    /// # Panics
    /// When it cannot be told to.
    pub fn freeze(&self) {
        signal("-STOP", &self.child.id().to_string());
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("the end of the process");
    }

    /// Asks it to end, waits, and returns its exit code.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn stop(mut self) -> Option<i32> {
        signal("-TERM", &self.child.id().to_string());
        self.child.wait().expect("the end of the process").code()
    }

    /// Asks the API as the administrator; `path` begins after `/api/v1`.
    #[track_caller]
    #[must_use = "assert what was answered"]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let request = Request::new(method, &format!("/api/v1{path}")).bearer(&self.token());
        body.map_or_else(|| request.clone(), |body| request.clone().json(body)).send(self.address)
    }

    /// Reads from the API.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.api("GET", path, None).expect(200).json()
    }

    /// Creates or changes a release: `production/models/fraud`.
    #[track_caller]
    #[must_use = "assert what was answered"]
    pub fn put(&self, release: &str, body: &Value) -> Response {
        self.api("PUT", &format!("/releases/{release}"), Some(body))
    }

    /// Acts on a release: `production/models/fraud`, `promote`.
    #[track_caller]
    #[must_use = "assert what was answered"]
    pub fn act(&self, release: &str, act: &str, body: Option<&Value>) -> Response {
        self.api("POST", &format!("/releases/{release}/{act}"), body)
    }

    /// Signs a delivery with the live secret and posts it.
    #[track_caller]
    #[must_use = "assert what was answered"]
    pub fn deliver(&self, delivery: &Delivery) -> Response {
        delivery.sign(&self.secret(delivery.signing)).send(self.address)
    }

    /// Posts a delivery that must be taken, and waits until it is carried out.
    #[track_caller]
    pub fn deliver_and_settle(&self, delivery: &Delivery) -> Value {
        let mut events = self.events();
        let answer = self.deliver(delivery).expect(202);
        assert_eq!(answer.json()["delivery"], delivery.id.as_str());
        self.settled_delivery(&mut events, &delivery.id)
    }

    /// Waits until a delivery is no longer `accepted` and returns it.
    #[track_caller]
    pub fn settle(&self, id: &str) -> Value {
        self.settled_delivery(&mut self.events(), id)
    }

    /// Waits until whoever asks for something is answered with these words, and gives the answer.
    ///
    /// # Panics
    /// When that does not happen within a minute.
    #[track_caller]
    pub fn until_it_answers(&self, path: &str, words: &str) -> Response {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            let answer = Request::new("GET", path).try_send(self.address);
            if let Ok(answer) = answer.map(|answer| answer.text().contains(words).then_some(answer))
                && let Some(answer) = answer
            {
                return answer;
            }
            std::thread::yield_now();
        }
        panic!("`{words}` was not answered:\n{}", self.printed());
    }

    /// Opens the event stream.
    #[track_caller]
    pub fn events(&self) -> Events {
        Events::open(self.address, &self.token(), None)
    }

    /// Waits until a condition on the service holds: looked at again after each event, and after each moment of silence.
    ///
    /// # Panics
    /// When it does not hold within a minute.
    #[track_caller]
    pub fn until<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        self.until_within(READY_WITHIN, what, condition)
    }

    /// The same, where it may take longer.
    ///
    /// # Panics
    /// When it does not hold in time.
    #[track_caller]
    pub fn until_within<T>(&self, within: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let mut events = self.events();
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(found) = condition() {
                return found;
            }
            drop(events.next_within_silence());
        }
        panic!("not within {within:?}: {what}");
    }

    /// Clones the embedded repository.
    #[track_caller]
    pub fn clone_repository(&self) -> Checkout<'a> {
        Checkout::of(self.environment, &format!("{}/git/gitops.git", self.url()))
    }

    /// The command line as a client of this service.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = self.environment.kmlflow(arguments);
        command.env("KMLFLOW_URL", self.url()).env("KMLFLOW_TOKEN", self.token());
        command
    }

    #[track_caller]
    fn settled_delivery(&self, events: &mut Events, id: &str) -> Value {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            let answer = self.api("GET", &format!("/deliveries/{id}"), None);
            if answer.status == 200 && answer.json()["state"] != "accepted" {
                return answer.json();
            }
            drop(events.next_within_silence());
        }
        panic!("delivery `{id}` is still waiting: {}", self.api("GET", &format!("/deliveries/{id}"), None).text());
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let printed = self.printed();
            let skipped = printed.lines().count().saturating_sub(PRINTED_MAX);
            let last: Vec<&str> = printed.lines().skip(skipped).collect();
            eprintln!("--- what the service printed ({skipped} lines before)\n{}", last.join("\n"));
        }
    }
}

#[track_caller]
fn secret(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Where a secret is being rotated, the newest is the first line.
    text.trim().lines().next().unwrap_or_default().to_owned()
}

/// Collects what a stream says; announces the address once it says that the service listens.
fn collect(
    stream: Option<impl Read + Send + 'static>,
    into: &Arc<Mutex<String>>,
    ready: Option<mpsc::Sender<SocketAddr>>,
) {
    let stream = stream.expect("a piped stream");
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            into.lock().expect("the output").push_str(&line);
            let address = line.trim().strip_prefix("listening on http://").and_then(|text| text.parse().ok());
            if let (Some(ready), Some(address)) = (&ready, address) {
                // Nobody waits any more when the test gave up.
                let _ = ready.send(address);
            }
            line.clear();
        }
    });
}
