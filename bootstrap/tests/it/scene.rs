//! A machine with stand-ins of kubectl, minikube and docker, whose state lies in a directory of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kmlflow_bootstrap::catalogue::{Catalogue, Profile};
use tempfile::TempDir;

pub(crate) struct Scene {
    directory: TempDir,
    /// A port that nobody listens on.
    port: u16,
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

impl Scene {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let names: Vec<String> = catalogue().applications(Profile::Full).iter().map(|part| part.name.clone()).collect();
        fs::write(directory.path().join("parts"), names.join("\n") + "\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { directory, port, variables: Vec::new() }
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
        let stand_ins = crate_directory().join("tests/stand_ins");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kmlflow-bootstrap"));
        command.args(arguments).args(["--poll", "1ms"]).current_dir(gitops_repo()).env_clear();
        command
            .env("PATH", path)
            .env("STATE", self.directory.path())
            .env("STAND_INS", &stand_ins)
            .env("PORT", self.port.to_string());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// `up` with a port that is free, and an end where something is never ready.
    pub(crate) fn up(&self, more: &[&str]) -> Ended {
        let port = self.port.to_string();
        let limit = if more.contains(&"--timeout") { [].as_slice() } else { &["--timeout", "60s"] };
        self.run(&[&["up", "--port", &port], limit, more].concat())
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
