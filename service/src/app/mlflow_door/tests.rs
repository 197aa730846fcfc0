//! MLflow's door over real connections, before a server that tells what it was asked.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::super::tests::{config, converse, get, listener};
use super::super::{Service, StartError, start};

const INDEX: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></head>";

/// A service with a tracking server behind it, and what the latter was asked.
struct Scene {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<String>,
    stop: Option<oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<Result<(), StartError>>,
    _dir: tempfile::TempDir,
}

/// The head of a request, to the empty line or as far as it came.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

/// Whether the service asks by itself: it reads the registry of the same server.
fn is_of_the_service(head: &str) -> bool {
    head.is_empty() || head.contains("user-agent: kmlflow/")
}

impl Scene {
    async fn start(more: &[(&str, &str)]) -> Self {
        let upstream = listener().await;
        let uri = format!("http://{}", upstream.local_addr().unwrap());
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = upstream.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let asked = head(&mut stream).await;
                    stream.write_all(INDEX.as_bytes()).await.unwrap_or_default();
                    if !is_of_the_service(&asked) {
                        tell.send(asked).unwrap_or_default();
                    }
                });
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let more: Vec<(&str, &str)> =
            more.iter().copied().chain([("KMLFLOW__MLFLOW__TRACKING_URI", uri.as_str())]).collect();
        Self::run(start(config(dir.path(), &more), listener().await).await.unwrap(), asked, dir)
    }

    fn run(service: Service, asked: mpsc::UnboundedReceiver<String>, dir: tempfile::TempDir) -> Self {
        let address = service.announcement().address;
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(service.run_until(async move { stopped.await.unwrap_or(()) }));
        Self { address, asked, stop: Some(stop), running, _dir: dir }
    }

    async fn ask(&self, line: &str, headers: &str) -> String {
        converse(self.address, format!("{line} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n").as_bytes()).await
    }

    async fn end(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_mount_leads_to_the_tracking_server_and_the_rest_does_not() {
    let mut scene = Scene::start(&[]).await;
    let page = get(scene.address, "/mlflow/").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("_kmlflow/button.js"), "{page}");
    let asked = scene.asked.recv().await.unwrap();
    assert!(asked.starts_with("GET / HTTP/1.1\r\n"), "{asked}");
    assert!(!asked.contains(&format!("host: {}", scene.address)), "{asked}");
    let redirect = get(scene.address, "/mlflow").await;
    assert!(redirect.starts_with("HTTP/1.1 308") && redirect.contains("location: mlflow/\r\n"), "{redirect}");
    assert!(get(scene.address, "/mlflow/_kmlflow/nothing").await.starts_with("HTTP/1.1 404"));
    assert!(get(scene.address, "/mlflowx/").await.starts_with("HTTP/1.1 404"));
    assert!(get(scene.address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(scene.asked.try_recv().is_err());
    let metrics = get(scene.address, "/metrics").await;
    for line in [
        "kmlflow_mlflow_proxied_total{outcome=\"answered\"} 1",
        "kmlflow_mlflow_pages_total{outcome=\"with-button\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_host_name_that_is_not_ours_is_refused_before_anything_is_passed_on() {
    let mut scene = Scene::start(&[]).await;
    for (line, headers) in [
        ("GET /mlflow/", "host: evil.example\r\n"),
        ("POST /mlflow/ajax-api/2.0/mlflow/runs/create", "host: localhost.evil.example\r\n"),
        ("GET /mlflow/_kmlflow/button.js", "host: evil.example\r\n"),
        ("GET http://evil.example/mlflow/", "host: localhost\r\n"),
        ("GET /mlflow/", "host: localhost\r\nhost: evil.example\r\n"),
        ("GET /mlflow/", ""),
    ] {
        let answer = scene.ask(line, headers).await;
        assert!(answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 400"), "{line} {headers}: {answer}");
    }
    assert!(scene.asked.try_recv().is_err());
    scene.end().await;
}

#[tokio::test]
async fn the_servers_own_host_name_is_all_its() {
    let own = [("KMLFLOW__MLFLOW__PUBLIC_URL", "https://mlflow.example"), ("KMLFLOW__PUBLIC_URL", "https://k.example")];
    let mut scene = Scene::start(&own).await;
    let page = scene.ask("GET /", "host: mlflow.example\r\norigin: https://mlflow.example\r\n").await;
    assert!(page.contains("_kmlflow/button.js"), "{page}");
    let asked = scene.asked.recv().await.unwrap();
    assert!(asked.starts_with("GET / HTTP/1.1\r\n") && !asked.contains("origin:"), "{asked}");
    scene.ask("GET /api/v1/releases?a=b", "host: mlflow.example\r\norigin: https://evil.example\r\n").await;
    let asked = scene.asked.recv().await.unwrap();
    assert!(asked.starts_with("GET /api/v1/releases?a=b HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("origin: https://evil.example"), "{asked}");
    assert!(scene.ask("GET /_kmlflow/button.js", "host: mlflow.example\r\n").await.contains("text/javascript"));
    assert!(scene.ask("GET /healthz", "host: k.example\r\n").await.starts_with("HTTP/1.1 200"));
    assert!(scene.asked.try_recv().is_err());
    scene.end().await;
}

#[tokio::test]
async fn the_script_is_sent_only_where_it_is_another_one() {
    let scene = Scene::start(&[]).await;
    let path = "/mlflow/_kmlflow/button.js";
    let script = get(scene.address, path).await;
    assert!(script.starts_with("HTTP/1.1 200") && script.contains("text/javascript"), "{script}");
    let tag = script.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = scene.ask(&format!("GET {path}"), &format!("host: localhost\r\nif-none-match: {tag}\r\n")).await;
    assert!(again.starts_with("HTTP/1.1 304"), "{again}");
    scene.end().await;
}

#[tokio::test]
async fn a_tracking_server_that_is_not_there_is_a_page_for_people_and_a_problem_for_programs() {
    let closed = listener().await;
    let uri = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &[("KMLFLOW__MLFLOW__TRACKING_URI", &uri)]);
    let (_, asked) = mpsc::unbounded_channel();
    let without = Scene::run(start(config, listener().await).await.unwrap(), asked, dir);
    let page = without.ask("GET /mlflow/", "host: localhost\r\naccept: text/html,*/*\r\n").await;
    assert!(
        page.starts_with("HTTP/1.1 502") && page.contains("<p>the tracking server cannot be reached.</p>"),
        "{page}"
    );
    let problem = without.ask("GET /mlflow/api/2.0/mlflow/experiments/search", "host: localhost\r\n").await;
    assert!(problem.starts_with("HTTP/1.1 502") && problem.contains("application/problem+json"), "{problem}");
    assert!(!problem.contains(&uri) && !page.contains(&uri), "the inner address is told");
    without.end().await;
}

#[tokio::test]
async fn without_a_tracking_server_or_with_the_proxy_off_nothing_is_there() {
    for more in
        [&[][..], &[("KMLFLOW__MLFLOW__TRACKING_URI", "http://127.0.0.1:9"), ("KMLFLOW__MLFLOW__PROXY", "false")]]
    {
        let dir = tempfile::tempdir().unwrap();
        let (_, asked) = mpsc::unbounded_channel();
        let scene = Scene::run(start(config(dir.path(), more), listener().await).await.unwrap(), asked, dir);
        assert!(get(scene.address, "/mlflow/").await.starts_with("HTTP/1.1 404"));
        scene.end().await;
    }
}

/// The connection of the next request that is passed on; those of the service itself are closed.
async fn passed_on(upstream: &TcpListener) -> TcpStream {
    loop {
        let (mut stream, _) = upstream.accept().await.unwrap();
        if !is_of_the_service(&head(&mut stream).await) {
            return stream;
        }
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_takes_the_request_to_the_tracking_server_along() {
    let upstream = listener().await;
    let uri = format!("http://{}", upstream.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &[("KMLFLOW__MLFLOW__TRACKING_URI", &uri)]);
    let (_, asked) = mpsc::unbounded_channel();
    let scene = Scene::run(start(config, listener().await).await.unwrap(), asked, dir);
    for beginning in ["", "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbeginning"] {
        let mut caller = TcpStream::connect(scene.address).await.unwrap();
        caller.write_all(b"GET /mlflow/x HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut stream = passed_on(&upstream).await;
        let mut head = Vec::new();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        while !beginning.is_empty() && !head.ends_with(b"beginning") {
            head.push(caller.read_u8().await.unwrap());
        }
        drop(caller);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(30), stream.read_u8()).await;
        assert!(ended.expect("the request is still there").is_err(), "{beginning:?}");
    }
    scene.end().await;
}
