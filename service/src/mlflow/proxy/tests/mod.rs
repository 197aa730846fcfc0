//! The proxy against a server that answers what it is told to, byte by byte.

mod rules;
mod streams;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

const OWN: OwnSecrets = OwnSecrets { cookie: "kmlflow_session", token_prefix: "kmlflow_" };

/// A tracking server that gives one answer after the other, each on its connection as long as that lasts.
struct Scripted {
    address: String,
    /// The heads of the requests that came.
    heads: mpsc::UnboundedReceiver<String>,
}

impl Scripted {
    /// `answers` are sent as they are; an empty one closes the connection instead.
    async fn start(answers: &'static [&'static str]) -> Self {
        let (listener, address) = listener().await;
        let (tell, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut answers = answers.iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Some(head) = head(&mut stream).await {
                    tell.send(head).unwrap();
                    let answer = answers.next().copied().unwrap_or_default();
                    if answer.is_empty() {
                        break;
                    }
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { address, heads }
    }

    fn proxy(&self) -> Proxy {
        Proxy::new(&self.address, OWN).unwrap()
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// The head of the next request, to the empty line; none where the other end has closed.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

fn place() -> Place {
    Place { mount: "/mlflow", is_own_origin: false, peer: None }
}

fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

const INDEX: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\netag: \"1\"\r\nlast-modified: then\r\ncontent-length: 38\r\n\r\n<html><HEAD></HEAD><body></body></html";

#[tokio::test]
async fn the_index_page_gets_its_line_and_is_never_kept() {
    for path in ["/mlflow/", "/mlflow/index.html?x=1"] {
        let mut scripted = Scripted::start(&[INDEX]).await;
        let mut request = get(path);
        for (name, value) in [("if-none-match", "\"1\""), ("accept-encoding", "gzip"), ("range", "bytes=0-1")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let passed = scripted.proxy().pass(request, &place()).await.unwrap();
        assert_eq!(passed.page, Some(PageOutcome::WithButton));
        let headers = passed.response.headers().clone();
        let page = text(passed.response).await;
        assert_eq!(page, "<html><HEAD><script defer src=\"_kmlflow/button.js\"></script></HEAD><body></body></html");
        assert_eq!(headers[header::CONTENT_LENGTH], page.len().to_string().as_str());
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert!(!headers.contains_key(header::ETAG) && !headers.contains_key(header::LAST_MODIFIED), "{headers:?}");
        let asked = scripted.heads.recv().await.unwrap();
        for gone in ["if-none-match", "accept-encoding", "range"] {
            assert!(!asked.contains(gone), "{asked}");
        }
    }
}

#[tokio::test]
async fn a_page_that_is_not_what_is_expected_passes_as_it_is() {
    let check = async |answer: &'static str, outcome: PageOutcome| {
        let scripted = Scripted::start(Vec::leak(vec![answer])).await;
        let passed = scripted.proxy().pass(get("/mlflow/"), &place()).await.unwrap();
        assert_eq!(passed.page, Some(outcome), "{answer}");
        let (parts, body) = passed.response.into_parts();
        let (_, sent) = answer.split_once("\r\n\r\n").unwrap();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(body, sent.as_bytes(), "{answer}");
        let has_tag = answer.contains("etag");
        assert_eq!(parts.headers.contains_key(header::ETAG), has_tag, "{answer}");
    };
    let page = "content-type: text/html\r\n";
    let leak = |text: String| -> &'static str { text.leak() };
    check(
        leak(format!("HTTP/1.1 200 OK\r\n{page}etag: \"1\"\r\ncontent-length: 6\r\n\r\n<html>")),
        PageOutcome::WithoutHead,
    )
    .await;
    check(
        leak(format!("HTTP/1.1 200 OK\r\n{page}content-encoding: gzip\r\ncontent-length: 7\r\n\r\n</head>")),
        PageOutcome::Compressed,
    )
    .await;
    check(leak(format!("HTTP/1.1 401 Unauthorized\r\n{page}content-length: 7\r\n\r\n</head>")), PageOutcome::NoPage)
        .await;
    check("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 7\r\n\r\n</head>", PageOutcome::NoPage).await;
    check("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n", PageOutcome::NotModified).await;
    let long = format!("{}</head>", "x".repeat(2 * 1024 * 1024));
    check(
        leak(format!("HTTP/1.1 200 OK\r\n{page}content-length: {}\r\n\r\n{long}", long.len())),
        PageOutcome::TooLarge,
    )
    .await;
}

#[tokio::test]
async fn only_the_index_page_is_looked_into() {
    let mut scripted = Scripted::start(&[INDEX, INDEX, "HTTP/1.1 200 OK\r\ncontent-length: 38\r\n\r\n"]).await;
    let proxy = scripted.proxy();
    for path in ["/mlflow/static-files/x.html", "/mlflow//"] {
        let passed = proxy.pass(get(path), &place()).await.unwrap();
        assert_eq!(passed.page, None);
        assert!(passed.response.headers().contains_key(header::ETAG));
        assert!(!text(passed.response).await.contains("_kmlflow"));
    }
    let head = Request::builder().method(Method::HEAD).uri("/mlflow/").body(Body::empty()).unwrap();
    assert_eq!(proxy.pass(head, &place()).await.unwrap().page, None);
    let asked = [scripted.heads.recv().await, scripted.heads.recv().await, scripted.heads.recv().await];
    let lines: Vec<String> = asked.into_iter().map(|head| head.unwrap().lines().next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["GET /static-files/x.html HTTP/1.1", "GET // HTTP/1.1", "HEAD / HTTP/1.1"]);
}

#[tokio::test]
async fn a_path_keeps_its_form_and_leads_nowhere_else() {
    let mut scripted = Scripted::start(&["HTTP/1.1 204 No Content\r\n\r\n"; 3]).await;
    let proxy = Proxy::new(&format!("{}/base", scripted.address), OWN).unwrap();
    for (path, expected) in [
        ("/mlflow/a%2Fb/%25?filter=name%3D%27a%20b%27", "GET /base/a%2Fb/%25?filter=name%3D%27a%20b%27 HTTP/1.1"),
        ("/mlflow/a..b/.c", "GET /base/a..b/.c HTTP/1.1"),
    ] {
        proxy.pass(get(path), &place()).await.unwrap();
        assert_eq!(scripted.heads.recv().await.unwrap().lines().next().unwrap(), expected);
    }
    for path in [
        "/mlflow/../x",
        "/mlflow/a/%2e%2E/x",
        "/mlflow/.%2e/x",
        "/mlflow/./x",
        "/mlflow/..%2Fx",
        "/mlflow/a%5c..%5Cx",
        "/mlflowx",
        "/mlflow",
    ] {
        let error = proxy.pass(get(path), &place()).await.unwrap_err();
        assert!(matches!(error, ProxyError::Path), "{path}: {error:?}");
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    }
    let own_host = Place { mount: "", ..place() };
    proxy.pass(get("/x"), &own_host).await.unwrap();
    assert!(scripted.heads.recv().await.unwrap().starts_with("GET /base/x HTTP/1.1"));
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let scripted =
        Scripted::start(&["HTTP/1.1 307 Temporary Redirect\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n"]).await;
    let passed = scripted.proxy().pass(get("/mlflow/x"), &place()).await.unwrap();
    assert_eq!(passed.response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(passed.response.headers()[header::LOCATION], "/mlflow/login");
}

#[tokio::test]
async fn what_was_read_and_broke_off_is_read_once_more_and_what_was_sent_is_not() {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let mut scripted = Scripted::start(&[OK, "", OK, ""]).await;
    let proxy = scripted.proxy();
    for _ in 0..2 {
        let passed = proxy.pass(get("/mlflow/x"), &place()).await.unwrap();
        assert_eq!(text(passed.response).await, "ok");
    }
    let post = Request::builder().method(Method::POST).uri("/mlflow/x").body(Body::from("{}")).unwrap();
    let error = proxy.pass(post, &place()).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY, "{error:?}");
    let mut asked = 0;
    while scripted.heads.try_recv().is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 4);
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_is_told_apart() {
    let (closed, address) = listener().await;
    drop(closed);
    let proxy = Proxy::new(&address, OWN).unwrap();
    let error = proxy.pass(get("/mlflow/x"), &place()).await.unwrap_err();
    assert!(matches!(error, ProxyError::Unreachable(_)), "{error:?}");
    let port = address.rsplit(':').next().unwrap();
    assert!(!format!("{error:?}").contains(&format!(":{port}/")), "the address is in it: {error:?}");
    let (_silent, address) = listener().await;
    let proxy = Proxy::with_idle_max(&address, OWN, Duration::from_millis(50)).unwrap();
    let error = proxy.pass(get("/mlflow/x"), &place()).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT, "{error:?}");
}

#[tokio::test]
async fn what_somebody_has_logged_does_not_act_as_a_page_of_the_service() {
    const LOGGED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 7\r\n\r\n</head>";
    let scripted = Scripted::start(&[LOGGED; 5]).await;
    let proxy = scripted.proxy();
    for (path, is_confined) in [
        ("/mlflow/get-artifact?path=x.html&run_uuid=1", true),
        ("/mlflow/model-versions/get-artifact?path=x.html", true),
        ("/mlflow/get%2Dartifact?path=x.html&run_uuid=1", true),
        ("/mlflow/api/2.0/mlflow-artifacts/artifacts/1/x.html", true),
        ("/mlflow/signup", false),
    ] {
        let passed = proxy.pass(get(path), &place()).await.unwrap();
        let policy = passed.response.headers().get(header::CONTENT_SECURITY_POLICY);
        assert_eq!(policy.is_some_and(|policy| policy == "sandbox"), is_confined, "{path}");
        assert_eq!(text(passed.response).await, "</head>");
    }
}

#[tokio::test]
async fn more_than_can_be_on_their_way_are_turned_away_and_places_come_back() {
    let scripted = Scripted::start(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"; 2]).await;
    let proxy = scripted.proxy();
    let all_but_one =
        Arc::clone(&proxy.places).acquire_many_owned(u32::try_from(PASSED_MAX - 1).unwrap()).await.unwrap();
    let last = proxy.pass(get("/mlflow/x"), &place()).await.unwrap();
    let error = proxy.pass(get("/mlflow/x"), &place()).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE, "{error:?}");
    assert_eq!(text(last.response).await, "ok");
    assert_eq!(proxy.pass(get("/mlflow/x"), &place()).await.unwrap().response.status(), StatusCode::OK);
    drop(all_but_one);
    assert_eq!(proxy.places.available_permits(), PASSED_MAX);
}
