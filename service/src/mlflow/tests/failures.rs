//! A tracking server that is away, busy, someone else, or out of order.

use std::collections::BTreeSet;

use super::*;

const GET: &str = "GET model-versions/get name=fraud&version=1";
const SET: &str = r#"POST model-versions/set-tag {"name":"fraud","version":"1","key":"k","value":"v"}"#;

fn good() -> Reply {
    ok(json!({"model_version": {"name": "fraud", "version": "1"}}))
}

fn retry_after(status: u16, value: &str) -> Reply {
    with_head(status, &format!("Retry-After: {value}\r\n"), "")
}

/// Reads a version from a server that answers like this, in order of arrival.
async fn read(replies: impl IntoIterator<Item = Reply>) -> Result<bool, Error> {
    let script = Script::of(replies.into_iter().map(|reply| (GET, reply))).await;
    let found = script.client().version(&fraud(), &version(1)).await;
    script.done();
    found.map(|found| found.is_some())
}

/// A failure as a person sees it: one sentence, nothing of the machine, and whether it passes.
async fn check(reply: Reply, sentence: &str, is_temporary: bool, cure: &str) {
    let error = read([reply]).await.unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains(sentence), "{shown}");
    assert!(!shown.contains('\n') && !shown.ends_with('.') && shown.len() < 500, "{shown}");
    assert_eq!(error.is_temporary(), is_temporary, "{shown}");
    assert!(error.cure().unwrap_or_default().contains(cure), "{shown}: {:?}", error.cure());
}

#[tokio::test]
async fn every_failure_is_a_sentence_that_says_whether_it_passes_and_what_helps() {
    check(html(401, "Unauthorized"), "does not know who asks", false, "mlflow.username").await;
    check(refused(403, "PERMISSION_DENIED", "Permission denied"), "does not allow this", false, "EDIT").await;
    let host = with_head(403, "", "Invalid Host header - possible DNS rebinding attack detected");
    check(host, "does not answer to the name", false, "--allowed-hosts").await;
    check(retry_after(429, "3600"), "has too much to do", true, "").await;
    check(html(500, "Internal Server Error"), "failed with 500", true, "log").await;
    check(html(404, "Not Found"), "answered 404 and nothing that MLflow would", false, "mlflow.tracking_uri").await;
    check(html(200, "Log in"), "answered 200 and nothing that MLflow would", false, "mlflow.tracking_uri").await;
    let away = with_head(302, "Location: http://login.example/\r\n", "");
    check(away, "answered 302", false, "mlflow.tracking_uri").await;
    let hostile = refused(400, "INVALID\nPARAMETER", &format!("Line one\u{202e}\nline two {}", "x".repeat(5_000)));
    check(hostile, "refused with `INVALID PARAMETER`: Line one  line two xxx", false, "").await;
    check(refused(400, "REQUEST_LIMIT_EXCEEDED", "later"), "later", true, "").await;
}

#[tokio::test]
async fn answers_of_the_wrong_shape_are_no_answers_of_mlflow() {
    let deep = format!("{{\"model_version\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"model_version": null}"#,
        r#"{"model_version": {"name": "fraud"}}"#,
        r#"{"model_version": {"name": "fraud", "version": {"a": 1}}}"#,
        r#"{"model_version": {"name": "fraud", "version": "1", "tags": "none"}}"#,
        "\u{feff}{}",
        &deep,
    ] {
        let error = read([with_head(200, "", body)]).await.unwrap_err();
        assert!(matches!(error, Error::NotMlflow { status: 200, .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_temporary_is_asked_for_again_at_most_twice() {
    for status in [502, 503, 504] {
        assert!(read([html(status, "busy"), html(status, "busy"), good()]).await.unwrap());
        let error = read([html(status, "busy"), html(status, "busy"), html(status, "busy")]).await.unwrap_err();
        assert!(matches!(error, Error::Server { status: s, .. } if s == status), "{error}");
    }
    // A connection that is closed without an answer, and one that is closed in the middle of it.
    let cut = Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"model".to_vec());
    assert!(read([Reply::Bytes(Vec::new()), cut.clone(), good()]).await.unwrap());
    let error = read([cut.clone(), cut.clone(), cut]).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }) && error.is_temporary(), "{error}");
}

#[tokio::test]
async fn a_wait_that_a_server_asks_for_is_kept_or_handed_on() {
    assert!(read([retry_after(429, "0"), retry_after(503, "0"), good()]).await.unwrap());
    let error = read([retry_after(429, "6")]).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(6)));
    // What is no number of seconds is as good as nothing.
    for odd in ["99999999999999999999", "-1", "soon"] {
        assert!(read([retry_after(503, odd), good()]).await.unwrap());
    }
}

#[tokio::test]
async fn a_tag_is_written_again_after_a_broken_connection_because_that_is_one_effect() {
    let script = Script::of([(SET, Reply::Bytes(Vec::new())), (SET, ok(json!({})))]).await;
    script.client().set_tag(&fraud(), &version(1), "k", "v").await.unwrap();
    script.done();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_after_three_tries() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client_of(&format!("http://{free}")).version(&fraud(), &version(1)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no tracking server answers at `http://{free}`: connection refused"));
    assert!(error.is_temporary() && error.cure().unwrap().contains("mlflow.tracking_uri"));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_once() {
    let script = Script::of([(GET, Reply::Silence)]).await;
    let settings = Settings { tracking_uri: script.address.clone(), username: None, password: None };
    let client = Client::within(settings, Duration::from_millis(100)).unwrap();
    let error = client.version(&fraud(), &version(1)).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }) && error.is_temporary(), "{error}");
    script.done();
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_whether_or_not_it_says_its_length() {
    const FILE: &str = "GET model-versions/get-artifact name=fraud&version=1&path=MLmodel";
    let bytes = vec![b'x'; 1024 * 1024 + 1];
    let unsaid = Reply::Bytes([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", bytes.as_slice()].concat());
    for reply in [with_head(200, "", &bytes), unsaid] {
        let script = Script::of([(FILE, reply)]).await;
        let error = script.client().artifact_file(&fraud(), &version(1), "MLmodel").await.unwrap_err();
        assert!(error.to_string().contains("more than 1048576 bytes") && !error.is_temporary(), "{error}");
        script.done();
    }
}

#[tokio::test]
async fn a_registry_whose_pages_never_end_is_given_up() {
    let page = |number: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{{\"next_page_token\": \"{number:04}\"}}")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut number = 0;
                while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                    number += 1;
                    let _written = stream.write_all(page(number).as_bytes()).await;
                }
            });
        }
    });
    let error = client_of(&address).read_all(&[], &BTreeSet::new()).await.unwrap_err();
    assert!(error.to_string().contains("more than 1000 pages"), "{error}");
}

#[test]
fn settings_that_cannot_be_used_are_refused_and_never_shown() {
    let settings = |uri: &str, user: Option<&str>, password: Option<&str>| Settings {
        tracking_uri: uri.to_owned(),
        username: user.map(str::to_owned),
        password: password.map(|text| Password::new(text.to_owned())),
    };
    for (settings, rule) in [
        (settings("mlflow:5000", None, None), "begins with http://"),
        (settings("file:///tmp/x", None, None), "begins with http://"),
        (settings("http://", None, None), "begins with http://"),
        (settings("http://ann:hunter2@mlflow", None, None), "must not have a user"),
        (settings("http://mlflow", Some("ann"), None), "needed together"),
        (settings("http://mlflow", None, Some("hunter2")), "needed together"),
        (settings("http://mlflow", Some("a:b"), Some("hunter2")), "must not contain"),
    ] {
        let error = Client::new(settings.clone()).unwrap_err();
        let shown = format!("{error} {error:?} {settings:?}");
        assert!(shown.contains(rule) && !shown.contains("hunter2"), "{shown}");
    }
    let client = Client::new(settings("http://mlflow:5000/base/?a=b", Some("ann"), Some("hunter2"))).unwrap();
    assert_eq!(
        (client.address(), format!("{client:?}").as_str()),
        ("http://mlflow:5000/base", r#"Client("http://mlflow:5000/base")"#)
    );
}
