//! Git's own `http-backend` behind a real web server with TLS and a login: Debian's `lighttpd`, as a process of its own.

use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::environment::{TestEnvironment, succeed, wait_until_it_says};
use crate::ssh_server::free_port;

/// Where it is looked for.
const PLACES: [&str; 2] = ["/usr/sbin/lighttpd", "/usr/local/sbin/lighttpd"];

/// Whom it lets in.
pub const LOGIN: (&str, &str) = ("ann", "correct-horse-battery");

/// The file with whom it lets in, which it reads with each request.
const USERS: &str = "site/users";

/// What it runs. It ends that with a client that is gone, but not what this runs: Git would leave the branch locked for ever, were it ended in the moment
/// in which it has made the lock and not yet taken note of it.
const BACKEND: &str = "#!/bin/sh\ntrap '' TERM\ngit http-backend\n";

/// A running web server for the repositories of one directory; killed when it is dropped.
pub struct GitSite {
    child: Child,
    port: u16,
    plain_port: u16,
    /// The authority that signed its certificate.
    pub ca_file: PathBuf,
}

impl GitSite {
    /// Starts one on the loopback for the repositories in the environment's directory.
    ///
    /// # Panics
    /// When it does not start; `lighttpd` with its module for OpenSSL, and `openssl`, must be installed.
    #[track_caller]
    pub fn start(environment: &TestEnvironment) -> Self {
        let program = PLACES.iter().find(|place| Path::new(place).is_file()).expect("lighttpd is installed");
        let (ca_file, pem) = certificate(environment);
        let backend = environment.write("site/backend", BACKEND);
        std::fs::set_permissions(&backend, Permissions::from_mode(0o700)).expect("it may be run");
        let users = environment.write(USERS, format!("{}:{}\n", LOGIN.0, LOGIN.1));
        let [port, plain_port] = [free_port(), free_port()];
        let config = format!(
            r#"server.modules = ("mod_openssl", "mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_cgi")
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "/dev/stderr"
server.stream-request-body = 0
ssl.engine = "enable"
ssl.pemfile = "{pem}"
$SERVER["socket"] == "127.0.0.1:{plain_port}" {{ ssl.engine = "disable" }}
auth.backend = "plain"
auth.backend.plain.userfile = "{users}"
auth.require = ("" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
alias.url = ("/git" => "{backend}")
$HTTP["url"] =~ "^/git" {{
    cgi.assign = ("" => "")
    setenv.set-environment = ("GIT_PROJECT_ROOT" => "{root}", "GIT_HTTP_EXPORT_ALL" => "1", "PATH" => "/usr/local/bin:/usr/bin:/bin", "HOME" => "{root}")
}}
"#,
            root = environment.path("").display(),
            pem = pem.display(),
            users = users.display(),
            backend = backend.display(),
        );
        let path = environment.write("site/config", config);
        let mut command = environment.command(program);
        command.args(["-D", "-f"]).arg(path).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("lighttpd starts");
        // It listens before it says so.
        wait_until_it_says(&mut child, "server started");
        Self { child, port, plain_port, ca_file }
    }

    /// Has another password let in, and the one before not any more.
    pub fn let_in(&self, environment: &TestEnvironment, password: &str) {
        environment.write(USERS, format!("{}:{password}\n", LOGIN.0));
    }

    /// The address of a repository in the environment's directory.
    pub fn url(&self, repository: &str) -> String {
        format!("https://localhost:{}/git/{repository}", self.port)
    }

    /// Where it listens without TLS.
    pub fn plain_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.plain_port))
    }

    /// The address of a repository without TLS, there or at the other end of something that passes on.
    pub fn plain_url(&self, repository: &str, entrance: Option<SocketAddr>) -> String {
        format!("http://{}/git/{repository}", entrance.unwrap_or_else(|| self.plain_address()))
    }
}

impl Drop for GitSite {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An authority, and a certificate for `localhost` with its key that it signed.
fn certificate(environment: &TestEnvironment) -> (PathBuf, PathBuf) {
    let openssl = |arguments: &str| {
        let mut command = environment.command("openssl");
        succeed(command.args(arguments.split(' ')).current_dir(environment.path("site")))
    };
    environment.write("site/names", "subjectAltName=DNS:localhost\n");
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {curve} -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem"));
    openssl(&format!("req {curve} -subj /CN=localhost -keyout site.key -out site.csr"));
    openssl("x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out site.crt");
    let read = |name: &str| std::fs::read_to_string(environment.path(name)).expect("what openssl wrote");
    let pem = environment.write("site/site.pem", read("site/site.key") + &read("site/site.crt"));
    (environment.path("site/ca.pem"), pem)
}
