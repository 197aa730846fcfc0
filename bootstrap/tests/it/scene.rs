//! A machine with stand-ins of kubectl, minikube and docker, whose state lies in a directory of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use kmlflow_bootstrap::catalogue::{Catalogue, Profile};
use tempfile::TempDir;

pub(crate) struct Scene {
    directory: TempDir,
    /// Where it is run.
    checkout: PathBuf,
    variables: Vec<(String, String)>,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn crate_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn gitops_repo() -> PathBuf {
    crate_directory().join("../gitops-repo").canonicalize().unwrap()
}

pub(crate) fn catalogue() -> Catalogue {
    Catalogue::read(&gitops_repo()).unwrap()
}

/// A checkout with a port of this machine that nobody listens on; what every test only reads.
fn with_free_port() -> &'static Path {
    static CHECKOUT: OnceLock<TempDir> = OnceLock::new();
    let made = CHECKOUT.get_or_init(|| {
        let into = tempfile::tempdir().unwrap();
        copy_checkout(into.path());
        open_port(into.path());
        into
    });
    made.path()
}

/// Gives a checkout a port that nobody listens on.
fn open_port(checkout: &Path) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = checkout.join("gitops-repo/platform/catalogue.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let with_port = text.replace("\nport: 80\n", &format!("\nport: {port}\n"));
    assert_ne!(with_port, text);
    fs::write(file, with_port).unwrap();
}

/// Of a checkout what the program reads.
pub(crate) fn copy_checkout(into: &Path) {
    fs::create_dir(into.join("service")).unwrap();
    fs::write(into.join("service/Cargo.toml"), "").unwrap();
    let root = gitops_repo().join("..");
    for name in ["README.md", "examples", "gitops-repo"] {
        assert!(Command::new("cp").arg("-r").arg(root.join(name)).arg(into).status().unwrap().success());
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::at(with_free_port().to_owned())
    }

    /// In the checkout that is tested.
    pub(crate) fn here() -> Self {
        Self::at(gitops_repo())
    }

    /// In a checkout of its own, to be written into.
    pub(crate) fn apart() -> Self {
        let scene = Self::at(PathBuf::new());
        copy_checkout(scene.directory.path());
        Self { checkout: scene.directory.path().to_owned(), ..scene }
    }

    /// With a port that nobody listens on.
    pub(crate) fn on_free_port(self) -> Self {
        open_port(&self.checkout);
        self
    }

    fn at(checkout: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let scene = Self { directory, checkout, variables: Vec::new() };
        let names: Vec<String> = catalogue().applications(Profile::Full).iter().map(|part| part.name.clone()).collect();
        scene.has_applications(&names);
        scene
    }

    /// The Applications that the cluster will have, and no others.
    pub(crate) fn has_applications(&self, names: &[String]) {
        self.write("parts", &(names.join("\n") + "\n"));
    }

    /// A setting of the stand-ins.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What a call does instead: an expression over the call, and what to run.
    pub(crate) fn fault(self, expression: &str, action: &str) -> Self {
        self.write("faults", &format!("{expression}\t{action}\n"));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes other words in the place of those of a file, which must have them.
    pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name}: {text}");
        self.write(name, &text.replace(from, to));
    }

    pub(crate) fn remove(&self, name: &str) {
        let _absent = fs::remove_file(self.path(name));
    }

    /// The calls since the last time, each program with its arguments.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = self.read("calls");
        self.remove("calls");
        text.lines().map(str::to_owned).collect()
    }

    /// Runs the program with only the stand-ins and a shell on the search path.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let stand_ins = crate_directory().join("tests/stand_ins");
        self.run_with_path(arguments, &format!("{}:/usr/bin:/bin", stand_ins.display()))
    }

    pub(crate) fn run_with_path(&self, arguments: &[&str], path: &str) -> Ended {
        let Output { status, stdout, stderr } = self.command(arguments, path).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Starts the program, to be ended by the test; its output is read by that.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let stand_ins = crate_directory().join("tests/stand_ins");
        let mut command = self.command(arguments, &format!("{}:/usr/bin:/bin", stand_ins.display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn command(&self, arguments: &[&str], path: &str) -> Command {
        let stand_ins = crate_directory().join("tests/stand_ins");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kmlflow-bootstrap"));
        command.args(arguments).args(["--poll", "1ms"]).current_dir(&self.checkout).env_clear();
        command.env("PATH", path).env("STATE", self.directory.path()).env("STAND_INS", &stand_ins);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    /// `up` with an end where something is never ready.
    pub(crate) fn up(&self, more: &[&str]) -> Ended {
        let limit = if more.contains(&"--timeout") { [].as_slice() } else { &["--timeout", "60s"] };
        self.run(&[&["up"], limit, more].concat())
    }

    /// A Secret that somebody made, with these keys.
    pub(crate) fn has_secret(&self, secret: &str, keys: &[&str]) {
        let data: Vec<String> = keys.iter().map(|key| format!(r#""{key}":"eA==""#)).collect();
        fs::create_dir_all(self.path("secrets")).unwrap();
        let text = format!(r#"{{"metadata":{{"labels":{{}}}},"data":{{{}}}}}"#, data.join(","));
        self.write(&format!("secrets/{}", secret.replace('/', ".")), &text);
    }

    /// Every value of a Secret that the cluster has.
    pub(crate) fn secret_values(&self) -> Vec<String> {
        use base64::Engine as _;
        let mut values = Vec::new();
        for entry in fs::read_dir(self.path("secrets")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let object: serde_json::Value = serde_json::from_str(&text).unwrap();
            for value in object["data"].as_object().unwrap().values() {
                let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
                values.push(String::from_utf8(bytes).unwrap());
            }
        }
        values
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Ended with this code, an error that has these words, and a hint that has those.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &str, hint: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let (_, error) = self.stderr.rsplit_once("Error: ").unwrap_or_else(|| panic!("{self:#?}"));
        let (error, told) = error.rsplit_once("Hint: ").unwrap_or_else(|| panic!("{self:#?}"));
        assert!(error.contains(words), "{words}: {self:#?}");
        assert!(told.contains(hint), "{hint}: {self:#?}");
        self
    }
}
