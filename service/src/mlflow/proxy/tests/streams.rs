//! Large bodies pass piece by piece, in step with who reads them.

use axum::body::Bytes;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;

use super::*;

const MIB: usize = 1024 * 1024;

/// The size of a body that nobody should hold in memory as a whole.
const BODY_MIB: usize = 64;

/// Longer than any of this takes: only a body that is held back reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("a body is held back")
}

#[tokio::test]
async fn an_upload_passes_while_it_is_sent() {
    let (listener, address) = listener().await;
    let (tell, mut arrived) = mpsc::channel(1);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = head(&mut stream).await.unwrap();
        let mut piece = vec![0; MIB];
        for _ in 0..BODY_MIB {
            stream.read_exact(&mut piece).await.unwrap();
            tell.send(piece[0]).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        asked
    });
    let (send, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = Body::from_stream(ReceiverStream::new(receive));
    let request = Request::builder().method(Method::PUT).uri("/mlflow/api/2.0/mlflow-artifacts/artifacts/x");
    let request = request.header(header::CONTENT_LENGTH, BODY_MIB * MIB).body(body).unwrap();
    let proxy = Proxy::new(&address, OWN).unwrap();
    let passing = tokio::spawn(async move { proxy.pass(request, &place()).await.unwrap().response.status() });
    for n in 0..BODY_MIB {
        // The next piece is there only once the server has this one.
        let mark = u8::try_from(n).unwrap();
        send.send(Ok(Bytes::from(vec![mark; MIB]))).await.unwrap();
        assert_eq!(within(arrived.recv()).await, Some(mark));
    }
    drop(send);
    assert_eq!(within(passing).await.unwrap(), StatusCode::CREATED);
    let asked = server.await.unwrap();
    assert!(asked.contains(&format!("content-length: {}\r\n", BODY_MIB * MIB)), "{asked}");
    assert!(!asked.contains("chunked"), "{asked}");
}

#[tokio::test]
async fn a_download_passes_while_it_is_read() {
    let (listener, address) = listener().await;
    let (more, mut wanted) = mpsc::channel::<()>(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_MIB * MIB);
        stream.write_all(head.as_bytes()).await.unwrap();
        while wanted.recv().await.is_some() {
            stream.write_all(&vec![7; MIB]).await.unwrap();
        }
    });
    let passed = within(Proxy::new(&address, OWN).unwrap().pass(get("/mlflow/x"), &place())).await.unwrap();
    assert_eq!(passed.response.headers()[header::CONTENT_LENGTH], (BODY_MIB * MIB).to_string().as_str());
    let mut body = passed.response.into_body().into_data_stream();
    let mut read = 0;
    for n in 1..=BODY_MIB {
        // The server sends this piece only now, so nothing was read ahead.
        more.send(()).await.unwrap();
        while read < n * MIB {
            read += within(body.next()).await.unwrap().unwrap().len();
        }
        assert_eq!(read, n * MIB);
    }
    assert!(within(body.next()).await.is_none());
}

#[tokio::test]
async fn events_arrive_one_by_one_without_their_trailers() {
    let (listener, address) = listener().await;
    let (more, mut wanted) = mpsc::channel::<&'static str>(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        while let Some(chunk) = wanted.recv().await {
            stream.write_all(chunk.as_bytes()).await.unwrap();
        }
    });
    let passed = within(Proxy::new(&address, OWN).unwrap().pass(get("/mlflow/x"), &place())).await.unwrap();
    assert!(!passed.response.headers().contains_key(header::TRAILER));
    let mut body = passed.response.into_body();
    for text in ["data: 1\n\n", "data: 2\n\n"] {
        more.send(format!("{:x}\r\n{text}\r\n", text.len()).leak()).await.unwrap();
        let frame = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text.as_bytes());
    }
    more.send("0\r\nx-sum: 1\r\n\r\n").await.unwrap();
    assert!(within(body.frame()).await.is_none());
}

#[tokio::test]
async fn a_caller_who_goes_takes_the_request_along() {
    let (listener, address) = listener().await;
    let (tell, asked) = oneshot::channel();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        tell.send(()).unwrap();
        // Only an end of the connection ends this.
        let waited = stream.read_u8().await;
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbeginning").await.unwrap();
        (waited.is_err(), stream.read_u8().await.is_err())
    });
    let proxy = Proxy::new(&address, OWN).unwrap();
    let here = place();
    let waiting = proxy.pass(get("/mlflow/x"), &here);
    tokio::select! {
        _ = waiting => panic!("there is no answer"),
        asked = asked => asked.unwrap(),
    }
    let passed = within(proxy.pass(get("/mlflow/x"), &here)).await.unwrap();
    drop(passed);
    assert_eq!(within(server).await.unwrap(), (true, true));
}

#[tokio::test]
async fn a_sender_who_falls_silent_ends_the_answer_with_an_error() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nbegin").await.unwrap();
        stream.read_u8().await.is_err()
    });
    let proxy = Proxy::with_idle_max(&address, OWN, Duration::from_millis(50)).unwrap();
    let passed = within(proxy.pass(get("/mlflow/x"), &place())).await.unwrap();
    assert!(within(passed.response.into_body().collect()).await.is_err());
    assert!(within(server).await.unwrap());
}
