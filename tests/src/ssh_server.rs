//! A real `sshd` (Debian's `openssh-server`) as a process of its own, with a host key, a user's key and a port of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::environment::{TestEnvironment, succeed, wait_until_it_says};

/// Where it is looked for; it wants to be started by its whole path.
const PLACES: [&str; 2] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"];

/// A running `sshd` that lets one key in; killed when it is dropped.
pub struct SshServer {
    child: Child,
    port: u16,
    user: String,
    /// The private key that is let in.
    pub key: PathBuf,
    /// The public half of the host's key: kind and key.
    pub host_key: String,
}

impl SshServer {
    /// Starts one on the loopback.
    ///
    /// # Panics
    /// When it does not start; the program `sshd` must be installed.
    #[track_caller]
    pub fn start(environment: &TestEnvironment) -> Self {
        let program = PLACES.iter().find(|place| Path::new(place).is_file()).expect("sshd is installed");
        let host = make_key(environment, "host-key");
        let key = make_key(environment, "key");
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\n",
            host.display(),
            key.display()
        );
        let path = environment.write("sshd_config", config);
        let mut command = environment.command(program);
        command.args(["-D", "-e", "-f"]).arg(path).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("sshd starts");
        wait_until_it_says(&mut child, "Server listening");
        let user = succeed(environment.command("id").arg("-un")).trim().to_owned();
        Self { child, port, user, key, host_key: public_half(&host) }
    }

    /// The address of a repository below it.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, path.display())
    }

    /// The line of `known_hosts` that says that it has a key.
    pub fn known_as(&self, key: &str) -> String {
        format!("[127.0.0.1]:{} {key}\n", self.port)
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
    }
}

/// Makes a pair of keys without a passphrase, and returns the path of the private one.
///
/// # Panics
/// When `ssh-keygen` is not there.
#[track_caller]
pub fn make_key(environment: &TestEnvironment, name: &str) -> PathBuf {
    let path = environment.path(name);
    succeed(environment.command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path));
    path
}

/// The public half of a key, without the name at its end.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn public_half(key: &Path) -> String {
    let text = std::fs::read_to_string(key.with_extension("pub")).expect("a public key");
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A port that is free at this moment.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
