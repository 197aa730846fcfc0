//! A real PostgreSQL server (Debian's `postgresql`) as a process of its own, with a data directory and a port of its own.
//!
//! It refuses to run as root. So where the tests are root, it runs as the user that the package makes, and its directory is that user's.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use crate::environment::succeed;
use crate::ssh_server::free_port;

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The user that the package makes.
const USER: &str = "postgres";

/// The owner of the database `kmlflow`, and the password over TCP.
pub const OWNER: (&str, &str) = ("kmlflow", "a-password-of-tests");

/// A running server; ended when it is dropped.
pub struct PostgresServer {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl PostgresServer {
    /// Starts one on the loopback, with an empty database `kmlflow`.
    ///
    /// # Panics
    /// When it does not start; the programs of `postgresql` must be installed.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// Starts one with files in its data directory, and settings: `ssl=on`.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_with(files: &[(&str, &str)], settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("kmlflow-postgres-").tempdir().expect("a temporary directory");
        own(directory.path());
        let password = directory.path().join("password");
        std::fs::write(&password, OWNER.1).expect("a file");
        own(&password);
        let data = directory.path().join("data");
        let mut initdb = server_program("initdb");
        initdb.arg("-D").arg(&data).args([
            "-U",
            OWNER.0,
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--no-sync",
        ]);
        succeed(initdb.args(["-E", "UTF8", "--locale=C.UTF-8", "--no-instructions", "--pwfile"]).arg(&password));
        for (name, content) in files {
            let path = data.join(name);
            std::fs::write(&path, content).expect("a file");
            own(&path);
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
        }
        let mut server = Self { directory, port: free_port(), options: Vec::new(), child: None };
        server.options = settings.iter().map(|setting| (*setting).to_owned()).collect();
        server.start_again();
        server.psql("postgres", "CREATE DATABASE kmlflow");
        server
    }

    /// Starts it again after [`PostgresServer::stop`].
    ///
    /// # Panics
    /// When it does not start; the message has what it printed.
    #[track_caller]
    pub fn start_again(&mut self) {
        let mut command = server_program("postgres");
        command.arg("-D").arg(self.directory.path().join("data")).arg("-k").arg(self.directory.path());
        command.args(["-c", "listen_addresses=127.0.0.1", "-p", &self.port.to_string()]);
        for option in &self.options {
            command.args(["-c", option]);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("postgres starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its output")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let is_ready = lines.by_ref().any(|line| {
            said.push(line);
            said.last().is_some_and(|line| line.contains("ready to accept connections"))
        });
        assert!(is_ready, "postgres ended: {said:?}");
        // What else it prints must go somewhere, or it stops when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    /// Ends it at once, as a crash would; what it has promised is on its disk.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // All its processes end with it, which a killed one would leave behind for a moment.
        let asked = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
        let ended = asked.and_then(|_| child.wait());
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
    }

    /// The URL of a database, without a password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{database}", OWNER.0, self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements as an administrator would, and returns what they gave.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn psql(&self, database: &str, statements: &str) -> String {
        succeed(self.administrator(database).args(["-c", statements])).trim().to_owned()
    }

    /// Holds the advisory lock of a number in a database, as somebody with a session of their own.
    ///
    /// # Panics
    /// When there can be no session.
    #[track_caller]
    pub fn hold(&self, database: &str, number: u32) -> Held {
        let mut session = self.administrator(database);
        let mut child = session.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("psql starts");
        let mut words = child.stdin.take().expect("its input");
        writeln!(words, "SELECT pg_advisory_lock({number});").expect("it listens");
        let held = format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = {number} AND granted"
        );
        while self.psql(database, &held) != "1" {}
        Held { child, _words: words }
    }

    fn administrator(&self, database: &str) -> Command {
        let mut psql = program("psql");
        psql.env("PGHOST", self.directory.path()).env("PGPORT", self.port.to_string());
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", OWNER.0, "-d", database]);
        psql
    }
}

/// A lock that a session holds; free when it is dropped.
pub struct Held {
    child: Child,
    /// The session ends with its input.
    _words: ChildStdin,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program of the newest version that is installed.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir(VERSIONS).expect("postgresql is installed").filter_map(Result::ok);
    let number = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest: PathBuf = versions.map(|entry| entry.path()).max_by_key(|path| number(path)).expect("a version");
    let mut command = Command::new(newest.join("bin").join(name));
    command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null()).current_dir("/");
    command
}

/// The same as the server's user. It ends with this test, however that ends.
fn server_program(name: &str) -> Command {
    let inner = program(name);
    let mut command = Command::new("setpriv");
    command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null()).current_dir("/");
    if is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT", "--"]).arg(inner.get_program());
    command
}

/// Gives a file to the server's user.
fn own(path: &Path) {
    if is_root() {
        let id = |option| succeed(Command::new("id").args([option, USER])).trim().parse().expect("a number");
        chown(path, Some(id("-u")), Some(id("-g"))).expect("its owner");
    }
}

fn is_root() -> bool {
    succeed(Command::new("id").arg("-u")).trim() == "0"
}
