//! Starting and stopping, over real connections.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::config::{Environment, Flags};

/// The configuration of a service in a directory of its own, with one more setting.
pub(super) fn config(dir: &Path, more: &[(&str, &str)]) -> Config {
    let flags = Flags { data_dir: Some(dir.to_owned()), ..Flags::default() };
    let environment: Environment = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Config::load(&flags, &environment).unwrap()
}

pub(super) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Sends bytes and reads until the other end closes.
pub(super) async fn converse(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) async fn get(address: SocketAddr, path: &str) -> String {
    converse(address, format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn a_second_start_keeps_the_token_and_its_secrets_and_tells_it_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(config(dir.path(), &[]), listener().await).await.unwrap();
    let token = first.announcement().new_admin_token.clone().unwrap();
    let shown = format!("{:?}", first.announcement());
    assert!(!shown.contains(&token) && !shown.contains('#'), "{shown}");
    let second = start(config(dir.path(), &[]), listener().await).await.err().unwrap();
    assert!(second.sentence.contains("another") && second.cure.is_some(), "{second:?}");
    drop(first);
    let again = start(config(dir.path(), &[]), listener().await).await.unwrap();
    assert_eq!(again.announcement().new_admin_token, None);
    assert_eq!(std::fs::read_to_string(dir.path().join("admin-token")).unwrap().trim(), token);
}

#[tokio::test]
async fn argo_cd_is_not_told_of_a_repository_that_it_cannot_know_by_this_name() {
    let dir = tempfile::tempdir().unwrap();
    let told = [
        ("KMLFLOW__ARGOCD__WEBHOOK__URLS", "http://argocd.example/api/webhook"),
        ("KMLFLOW__ARGOCD__WEBHOOK__SECRET", "of-the-door"),
    ];
    let refused = start(config(dir.path(), &told), listener().await).await.err().unwrap();
    assert!(refused.sentence.contains("`argocd.webhook` cannot be used"), "{refused:?}");
    assert!(
        refused.cure.as_deref().is_some_and(|cure| cure.contains("`argocd.webhook.repository_url`")),
        "{refused:?}"
    );
    // Either name helps: that of the repository, or that of the service.
    for known in [
        ("KMLFLOW__ARGOCD__WEBHOOK__REPOSITORY_URL", "http://kmlflow.k5w.svc.cluster.local/git/gitops.git"),
        ("KMLFLOW__PUBLIC_URL", "https://kmlflow.example"),
    ] {
        let service = start(config(dir.path(), &[told[0], told[1], known]), listener().await).await;
        assert!(service.is_ok(), "{known:?}: {:?}", service.err());
    }
}

#[tokio::test]
async fn it_serves_until_it_is_told_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let ready = move |announcement: &Started| tell.send(announcement.address).unwrap();
    let config = config(dir.path(), &[]);
    let listener = listener().await;
    let running = tokio::spawn(async move {
        let shutdown = async move { stopped.await.unwrap_or(()) };
        run(config, listener, ready, shutdown).await
    });
    let address = told.await.unwrap();
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/git/gitops.git/info/refs?service=git-upload-pack").await.contains("refs/heads/main"));
    // A connection that nothing is asked on does not hold the service back.
    let idle = TcpStream::connect(address).await.unwrap();
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    drop(idle);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn health_moves_to_its_own_address_where_one_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let free = listener().await.local_addr().unwrap().to_string();
    let service = start(config(dir.path(), &[("KMLFLOW__INTERNAL_LISTEN", &free)]), listener().await).await.unwrap();
    let address = service.announcement().address;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(service.run_until(async move { stopped.await.unwrap_or(()) }));
    let internal = free.parse().unwrap();
    assert!(get(internal, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(internal, "/api/v1/releases").await.starts_with("HTTP/1.1 404"));
    assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 404"));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_repository_page_that_is_none_is_404_and_a_push_needs_an_administrator() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(config(dir.path(), &[]), listener().await).await.unwrap();
    let address = service.announcement().address;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(service.run_until(async move { stopped.await.unwrap_or(()) }));
    assert!(get(address, "/git/gitops.git/config").await.starts_with("HTTP/1.1 404"));
    let push = get(address, "/git/gitops.git/info/refs?service=git-receive-pack").await;
    assert!(push.starts_with("HTTP/1.1 401") && push.contains("Basic realm="), "{push}");
    // A page of somebody else whose name leads to this machine is not this machine.
    let rebound = "GET /git/gitops.git/info/refs?service=git-upload-pack HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert!(converse(address, rebound.as_bytes()).await.starts_with("HTTP/1.1 401"));
    let forwarded = rebound.replace("evil.example", "localhost\r\nx-forwarded-for: 192.0.2.1");
    assert!(converse(address, forwarded.as_bytes()).await.starts_with("HTTP/1.1 401"));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[test]
fn a_release_links_to_its_page_without_any_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let link = |more: &[(&str, &str)], address: &str| {
        let settings = settings::of_worker(&config(dir.path(), more), dir.path(), address.parse().unwrap()).unwrap();
        settings.environments.into_values().next().unwrap().target.links
    };
    let links = link(&[], "127.0.0.1:4321");
    assert_eq!(links.release.as_deref(), Some("http://localhost:4321"));
    assert_eq!((links.grafana, links.mlflow), (None, None), "nobody said where they are");
    let links = link(&[("KMLFLOW__PUBLIC_URL", "https://k.example/")], "127.0.0.1:4321");
    assert_eq!(links.release.as_deref(), Some("https://k.example"));
}

#[tokio::test]
async fn a_start_without_the_database_server_says_so_and_can_be_ended() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &[("KMLFLOW__STORE__URL", "postgres://k:hunter2@127.0.0.1:1/kmlflow")]);
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let running = tokio::spawn(run(config, listener, |_| panic!("it is not ready"), async move {
        stopped.await.unwrap();
    }));
    let waits = get(address, "/readyz").await;
    assert!(waits.starts_with("HTTP/1.1 503") && waits.contains("waits for the database server"), "{waits}");
    assert!(!waits.contains("hunter2") && waits.contains("retry-after"), "{waits}");
    assert!(get(address, "/api/v1/releases").await.starts_with("HTTP/1.1 503"));
    assert!(get(address, "/healthz").await.ends_with("ok\n"));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

/// A service that starts at a remote, with a branch that is not there; answers where it listens, and what ends it.
async fn starts_at(dir: &Path, url: &str) -> (SocketAddr, impl Future<Output = ()> + use<>) {
    let config = config(dir, &[("KMLFLOW__GIT__URL", url)]);
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let (tell, told) = oneshot::channel();
    let ready = move |_: &Started| tell.send(()).unwrap();
    let running = tokio::spawn(run(config, listener, ready, async move { stopped.await.unwrap_or(()) }));
    let end = async move {
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
        drop(told);
    };
    (address, end)
}

#[tokio::test]
async fn a_start_at_a_remote_that_takes_a_connection_and_never_answers_says_so_within_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let silent = listener().await;
    let url = format!("http://{}/team/gitops.git", silent.local_addr().unwrap());
    let begun = std::time::Instant::now();
    let (address, end) = starts_at(dir.path(), &url).await;
    let waits = get(address, "/readyz").await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(
        waits.starts_with("HTTP/1.1 503")
            && waits.contains("waits for the remote of its repository, which has not answered yet"),
        "{waits}"
    );
    assert!(get(address, "/healthz").await.ends_with("ok\n"));
    end.await;
    drop(silent);
}

#[tokio::test]
async fn a_start_without_a_clone_says_what_it_waits_for_and_goes_on_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let remote = dir.path().join("remote.git");
    let (address, end) = starts_at(&dir.path().join("data"), remote.to_str().unwrap()).await;
    let waits = get(address, "/readyz").await;
    assert!(
        waits.starts_with("HTTP/1.1 503") && waits.contains("there is no Git repository at its address"),
        "{waits}"
    );
    assert!(waits.contains("check the address") && !waits.contains("remote.git"), "{waits}");
    let git = crate::git::tests::git;
    drop(git(dir.path(), &["init", "-q", "--bare", "--initial-branch=main", "remote.git"]));
    let until = async |words: &str| {
        while !get(address, "/readyz").await.contains(words) {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, until("`kmlflow init`")).await.unwrap();
    let begin = ["commit-tree", "-m", "Begin", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"];
    drop(git(&remote, &["hash-object", "-t", "tree", "-w", "/dev/null"]));
    let commit = crate::git::tests::text(git(&remote, &begin));
    drop(git(&remote, &["update-ref", "refs/heads/main", commit.trim()]));
    tokio::time::timeout(limit, until("ready\n")).await.unwrap();
    end.await;
}
