use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::TryStreamExt as _;
use tokio::sync::mpsc;
use tokio_util::io::{ReaderStream, StreamReader};

use super::*;
use crate::command::Git;
use crate::git::serve::{Access, SmartRequest, SmartServer};

/// A fixture that is served on a port of its own, and a clone beside it.
struct Served {
    fixture: Arc<Fixture>,
    url: String,
    ended: mpsc::UnboundedReceiver<()>,
}

impl Served {
    async fn new() -> Self {
        let fixture = Arc::new(Fixture::new());
        let server = SmartServer::new(Git::find(None).await.unwrap(), fixture.repository.path().to_owned());
        let (sender, ended) = mpsc::unbounded_channel();
        let app = Router::new().fallback(answer).with_state((server, sender));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/git/gitops.git", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { fixture, url, ended }
    }

    async fn git(&self, directory: &Path, arguments: &[&str]) -> Output {
        let directory = directory.to_owned();
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let run = move || git(&directory, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// A clone with one commit of its own.
    async fn clone(&self, name: &str) -> PathBuf {
        let root = self.fixture.directory.path();
        text(self.git(root, &["clone", "-q", &self.url, name]).await);
        let clone = root.join(name);
        std::fs::write(clone.join(name), "by hand\n").unwrap();
        text(self.git(&clone, &["add", "."]).await);
        text(self.git(&clone, &["commit", "-q", "-m", "By hand"]).await);
        clone
    }

    /// What Git said when it was refused.
    async fn refusal(&self, clone: &Path, arguments: &[&str]) -> String {
        let output = self.git(clone, arguments).await;
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

async fn answer(State((server, ended)): State<(SmartServer, mpsc::UnboundedSender<()>)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let request = SmartRequest {
        method: parts.method.to_string(),
        path: parts.uri.path().trim_start_matches("/git/gitops.git").to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        git_protocol: header("git-protocol"),
        body: Box::new(StreamReader::new(body.into_data_stream().map_err(std::io::Error::other))),
    };
    let answer = server.serve(request).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    tokio::spawn(async move {
        let _resolved = answer.ended.await;
        let _listening = ended.send(());
    });
    response.body(Body::from_stream(ReaderStream::new(answer.body))).unwrap()
}

fn client() -> reqwest::Client {
    // An error means that another test has chosen it already.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[test]
fn only_the_smart_protocols_paths_are_known() {
    assert_eq!(SmartServer::access("GET", "/info/refs", "service=git-upload-pack"), Some(Access::Read));
    assert_eq!(SmartServer::access("GET", "/info/refs", "service=git-receive-pack"), Some(Access::Write));
    assert_eq!(SmartServer::access("POST", "/git-upload-pack", ""), Some(Access::Read));
    assert_eq!(SmartServer::access("POST", "/git-receive-pack", ""), Some(Access::Write));
    for (method, path, query) in [
        ("GET", "/info/refs", ""),
        ("GET", "/info/refs", "service=git-upload-archive"),
        ("GET", "/info/refs", "service=git-upload-pack%20x"),
        ("GET", "/HEAD", ""),
        ("GET", "/config", ""),
        ("GET", "/objects/info/packs", ""),
        ("GET", "/git-upload-pack", ""),
        ("POST", "/git-upload-archive", ""),
        ("POST", "/../git-upload-pack", ""),
        ("POST", "/info/refs", "service=git-upload-pack"),
    ] {
        assert_eq!(SmartServer::access(method, path, query), None, "{method} {path}?{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_fetches_and_pushes() {
    let served = Served::new().await;
    let commit = served.fixture.release("production/models/fraud", "a");
    let clone = served.clone("ann").await;
    assert!(clone.join("releases/production/models/fraud/release.yaml").exists());
    assert_eq!(text(served.git(&clone, &["rev-parse", "HEAD~1"]).await).trim(), commit.as_str());
    text(served.git(&clone, &["push", "-q", "origin", "main"]).await);
    let pushed = text(served.git(&clone, &["rev-parse", "HEAD"]).await);
    assert_eq!(served.fixture.repository.tip().unwrap().as_str(), pushed.trim());
    let next = served.fixture.release("production/models/fraud", "b");
    text(served.git(&clone, &["-c", "protocol.version=0", "fetch", "-q", "origin"]).await);
    assert_eq!(text(served.git(&clone, &["rev-parse", "origin/main"]).await).trim(), next.as_str());
    let root = served.fixture.directory.path();
    text(served.git(root, &["clone", "-q", "--depth=1", "--filter=blob:none", &served.url, "shallow"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_negotiation_that_the_client_compresses_is_understood() {
    let served = Served::new().await;
    let clone = served.clone("ann").await;
    for n in 0..60 {
        text(served.git(&clone, &["commit", "-q", "--allow-empty", "-m", &n.to_string()]).await);
    }
    let next = served.fixture.release("production/models/fraud", "a");
    // Git compresses a request of more than 1 kB: some twenty commits that it has.
    text(served.git(&clone, &["-c", "protocol.version=0", "fetch", "-q", "origin"]).await);
    assert_eq!(text(served.git(&clone, &["rev-parse", "origin/main"]).await).trim(), next.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_push_and_a_deletion_are_refused() {
    let served = Served::new().await;
    served.fixture.release("production/models/fraud", "a");
    let clone = served.clone("ann").await;
    text(served.git(&clone, &["push", "-q", "origin", "main"]).await);
    // Even where the file was edited: the serving side passes the settings once more.
    served.fixture.git(&["config", "receive.denyNonFastForwards", "false"]);
    served.fixture.git(&["config", "receive.denyDeletes", "false"]);
    let tip = served.fixture.repository.tip().unwrap();
    text(served.git(&clone, &["commit", "-q", "--amend", "-m", "Rewritten"]).await);
    let words = served.refusal(&clone, &["push", "--force", "origin", "main"]).await;
    assert!(words.contains("non-fast-forward"), "{words}");
    let words = served.refusal(&clone, &["push", "origin", ":main"]).await;
    assert!(words.contains("deletion prohibited"), "{words}");
    assert_eq!(served.fixture.repository.tip().unwrap(), tip);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_push_and_a_publish_from_the_same_commit_one_wins() {
    let mut served = Served::new().await;
    let clone = served.clone("ann").await;
    let repository = &served.fixture.repository;
    let base = repository.tip().unwrap();
    let mut draft = repository.draft(&base).unwrap();
    let ours = draft.commit(files("production/models/fraud", "a"), "x", &author(), now()).unwrap().unwrap();
    let theirs = text(served.git(&clone, &["rev-parse", "HEAD"]).await).trim().to_owned();
    let push = served.git(&clone, &["push", "-q", "origin", "main"]);
    let fixture = Arc::clone(&served.fixture);
    let (from, to) = (base.clone(), ours.clone());
    let publish = tokio::task::spawn_blocking(move || fixture.repository.push_now(&from, &to));
    let (pushed, published) = tokio::join!(push, publish);
    let tip = repository.tip().unwrap();
    match published.unwrap().unwrap() {
        Publish::Done => {
            assert!(!pushed.status.success());
            assert_eq!(tip, ours);
        }
        Publish::Moved(to) => {
            assert!(pushed.status.success());
            assert_eq!((to.as_str(), tip.as_str()), (theirs.as_str(), theirs.as_str()));
        }
        Publish::Refused(words) => panic!("nobody refuses: {words}"),
    }
    assert!(served.ended.recv().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_of_pushes_and_publishes_that_race_arrives_once() {
    let served = Served::new().await;
    let clone = served.clone("ann").await;
    let fixture = Arc::clone(&served.fixture);
    let writer = tokio::task::spawn_blocking(move || {
        let mut done = 0;
        while done < 20 {
            let base = fixture.repository.tip().unwrap();
            let mut draft = fixture.repository.draft(&base).unwrap();
            let key = format!("production/models/m{done}");
            let commit = draft.commit(files(&key, "a"), &key, &author(), now()).unwrap().unwrap();
            done += i32::from(fixture.repository.push_now(&base, &commit).unwrap() == Publish::Done);
        }
    });
    for n in 0..4 {
        text(served.git(&clone, &["commit", "-q", "--allow-empty", "-m", &format!("hand {n}")]).await);
        while !served.git(&clone, &["push", "-q", "origin", "main"]).await.status.success() {
            text(served.git(&clone, &["pull", "-q", "--rebase", "origin", "main"]).await);
        }
    }
    writer.await.unwrap();
    let subjects = served.fixture.git(&["log", "--format=%s", "main"]);
    assert_eq!(subjects.lines().filter(|line| line.starts_with("hand ")).count(), 4);
    assert_eq!(subjects.lines().filter(|line| line.starts_with("production/")).count(), 20);
    assert_eq!(served.fixture.repository.release_keys(&served.fixture.repository.tip().unwrap()).unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_gits_is_answered_with_a_sentence() {
    let served = Served::new().await;
    let client = client();
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(client.get(format!("{}/HEAD", served.url))).await, 404);
    assert_eq!(status(client.get(format!("{}/info/refs", served.url))).await, 404);
    let push = format!("{}/git-receive-pack", served.url);
    assert_eq!(status(client.post(&push).body("x")).await, 415);
    let typed = || client.post(&push).header("content-type", "application/x-git-receive-pack-request");
    assert_eq!(status(typed().header("content-encoding", "br").body("x")).await, 415);
    let broken = typed().body("00zz").send().await.unwrap();
    assert_eq!(broken.status().as_u16(), 200);
    assert_eq!(served.fixture.git(&["rev-list", "--count", "--all"]).trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_too_large_is_refused_in_gits_words() {
    let served = Served::new().await;
    let clone = served.clone("ann").await;
    let mut noise = vec![0; 65 << 20];
    getrandom::fill(&mut noise).unwrap();
    std::fs::write(clone.join("noise"), noise).unwrap();
    text(served.git(&clone, &["add", "."]).await);
    text(served.git(&clone, &["-c", "core.compression=0", "commit", "-q", "-m", "Large"]).await);
    let words = served.refusal(&clone, &["-c", "core.compression=0", "push", "origin", "main"]).await;
    assert!(words.contains("exceeds maximum allowed size"), "{words}");
    assert_eq!(served.fixture.git(&["rev-list", "--count", "--all"]).trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_another_branch_or_tag_is_refused_and_makes_none() {
    let served = Served::new().await;
    let clone = served.clone("ann").await;
    for to in ["HEAD:mian", "HEAD:refs/tags/v1", "HEAD:refs/notes/x"] {
        let words = served.refusal(&clone, &["push", "origin", to]).await;
        assert!(words.contains("hidden ref"), "{to}: {words}");
    }
    assert_eq!(served.fixture.git(&["for-each-ref", "--format=%(refname)"]).trim(), "refs/heads/main");
    text(served.git(&clone, &["push", "-q", "origin", "HEAD:main"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_that_never_say_what_they_want_keep_nobody_waiting() {
    let served = Served::new().await;
    let address = served.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let half = "POST /git/gitops.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\
                Content-Type: application/x-git-upload-pack-request\r\n\r\n";
    let mut silent = Vec::new();
    // More than there are turns.
    for _ in 0..40 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, half.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    served.clone("ann").await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_git_behind() {
    let mut served = Served::new().await;
    let client = client();
    let (sender, receiver) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let request = client
        .post(format!("{}/git-receive-pack", served.url))
        .header("content-type", "application/x-git-receive-pack-request")
        .body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    drop(answer);
    drop(sender);
    served.ended.recv().await.unwrap();
}
