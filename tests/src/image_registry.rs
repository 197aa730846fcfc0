//! A real image registry (Debian's `docker-registry`) as a process of its own, and images pushed to it by its plain API.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::environment::TestEnvironment;
use crate::http::Request;

/// Whom a registry with a login lets in: `ada`.
pub const LOGIN: (&str, &str) = ("ada", "correct horse");

/// The password of [`LOGIN`] as `htpasswd -B` writes it.
const HTPASSWD: &str = "ada:$2b$04$VohF8EG6b5xddLGnZRMe6eGSaM/NLZ8/uSShdXfhMGwJ6TXyIB3lG\n";

/// `ada:correct horse` in base64.
const BASIC: &str = "Basic YWRhOmNvcnJlY3QgaG9yc2U=";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running registry; killed when it is dropped.
pub struct ImageRegistry {
    child: Child,
    address: SocketAddr,
    with_login: bool,
}

impl ImageRegistry {
    /// Starts an empty registry on a free port of the loopback, without TLS.
    ///
    /// # Panics
    /// When it does not start; the program `docker-registry` must be installed.
    #[track_caller]
    pub fn start(environment: &TestEnvironment, with_login: bool) -> Self {
        let images = environment.path("images");
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": images}},
            "http": {"addr": "127.0.0.1:0", "secret": "of a test"},
        });
        if with_login {
            let path = environment.write("htpasswd", HTPASSWD);
            config["auth"] = json!({"htpasswd": {"realm": "registry", "path": path}});
        }
        let path = environment.write("registry.yml", config.to_string());
        let mut command = environment.command("docker-registry");
        let spawned = command.arg("serve").arg(path).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("docker-registry does not start: {error}"));
        let stderr = child.stderr.take().expect("its output");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let listening = lines.find_map(|line| {
            let rest = line.split_once("listening on ")?.1;
            rest.split(['"', ' ', ',']).next()?.parse().ok()
        });
        let address = listening.expect("it says where it listens");
        // What else it prints must go somewhere, or it stops when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, with_login }
    }

    /// How images name it: host and port.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// Pushes a tiny image whose content is `text`, and returns its digest.
    ///
    /// # Panics
    /// When the registry refuses.
    #[track_caller]
    pub fn push(&self, repository: &str, tag: &str, text: &str) -> String {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "config": {"Labels": {"text": text}}});
        let config = config.to_string();
        self.push_blob(repository, config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": {"mediaType": CONFIG, "digest": digest_of(config.as_bytes()), "size": config.len()},
        });
        self.push_manifest(repository, tag, MANIFEST, &manifest)
    }

    /// Pushes an index that names one image for one platform, and returns the index's digest.
    ///
    /// # Panics
    /// When the registry refuses.
    #[track_caller]
    pub fn push_index(&self, repository: &str, tag: &str, text: &str) -> String {
        let image = self.push(repository, &format!("{tag}-amd64"), text);
        let size = self.request("GET", &format!("/v2/{repository}/manifests/{image}")).header("Accept", MANIFEST);
        let size = size.send(self.address).expect(200).text().len();
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{"mediaType": MANIFEST, "digest": image, "size": size, "platform": {"architecture": "amd64", "os": "linux"}}],
        });
        self.push_manifest(repository, tag, INDEX, &index)
    }

    #[track_caller]
    fn push_blob(&self, repository: &str, content: &[u8]) {
        let begun = self.request("POST", &format!("/v2/{repository}/blobs/uploads/")).send(self.address).expect(202);
        let location = begun.header("Location").expect("where to upload").to_owned();
        let path = location.split_once(&self.name()).map_or(location.as_str(), |(_, path)| path);
        let path = format!("{path}&digest={}", digest_of(content));
        let upload = self.request("PUT", &path).header("Content-Type", "application/octet-stream").body(content);
        upload.send(self.address).expect(201);
    }

    #[track_caller]
    fn push_manifest(&self, repository: &str, tag: &str, kind: &str, manifest: &Value) -> String {
        let body = manifest.to_string();
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.request("PUT", &path).header("Content-Type", kind).body(body.as_bytes()).send(self.address).expect(201);
        digest_of(body.as_bytes())
    }

    fn request(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, path);
        if self.with_login { request.header("Authorization", BASIC) } else { request }
    }
}

impl Drop for ImageRegistry {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
    }
}

fn digest_of(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
