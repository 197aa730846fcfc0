//! A connection that breaks while the server commits: whoever is told that nothing was kept can believe it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tests::cut::Line;
use tests::postgres_server::Held;
use tests::{Request, Response, Server};
use tokio::task::JoinHandle;

use super::migrate::URL;
use super::together::{FRAUD, Site, until_it_leads};
use super::*;
use crate::{by, image};

/// How often a store is asked again that will be back.
const AGAIN: Duration = Duration::from_millis(50);

/// The lock that [`slow_ends`] has commits wait for.
const GATE: u32 = 1;

/// The backend whose commit waits for it.
const ENDING: &str = "FROM pg_stat_activity WHERE wait_event = 'advisory'";

/// A line to a server.
fn line_to(server: &PostgresServer) -> Line {
    Line::to(SocketAddr::from(([127, 0, 0, 1], server.port())))
}

/// The address of the database over a line.
fn over(line: &Line, server: &PostgresServer) -> Address {
    let port = format!(":{}/", server.port());
    Address::new(&server.url("kmlflow").replace(&port, &format!(":{}/", line.address().port())), Some(OWNER.1))
}

/// Has each commit that adds to a table wait until what is given back is dropped.
fn slow_ends(server: &PostgresServer, table: &str) -> Held {
    let slow = format!(
        "CREATE FUNCTION end_slowly() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER end_slowly AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION end_slowly()"
    );
    server.psql("kmlflow", &slow);
    server.hold("kmlflow", GATE)
}

/// Waits until a commit is under way.
fn until_it_ends(server: &PostgresServer) {
    while server.psql("kmlflow", &format!("SELECT count(*) {ENDING}")) != "1" {}
}

/// What waits for the answer to a delivery.
type Accepting = JoinHandle<Result<Accepted, StoreError>>;

/// Begins to accept a delivery, and cuts the line while that is being committed, which ends when what is given back is dropped.
fn cut_off(store: &Store, server: &PostgresServer, line: &Line) -> (Accepting, Held) {
    let held = slow_ends(server, "deliveries");
    let store = store.clone();
    let accepting = tokio::spawn(async move { store.accept(arriving("a")).await });
    until_it_ends(server);
    line.cut();
    (accepting, held)
}

/// Accepts a delivery as soon as the store can.
async fn accept_again(store: &Store, id: &str) -> Accepted {
    let mut again = tokio::time::interval(AGAIN);
    loop {
        again.tick().await;
        match store.accept(arriving(id)).await {
            Ok(accepted) => return accepted,
            Err(error) => assert!(matches!(error, StoreError::ServerAway(_)), "{error:?}"),
        }
    }
}

/// What waits, as another replica sees it.
async fn there(server: &PostgresServer) -> Vec<String> {
    waiting_ids(&store(server, Limits::default()).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_answered_as_kept_although_the_connection_broke_before_the_server_said_so() {
    let server = PostgresServer::start();
    let line = line_to(&server);
    let store = Store::open(over(&line, &server), &std::env::temp_dir()).await.unwrap();
    let (accepting, held) = cut_off(&store, &server, &line);
    drop(held);
    line.mend();
    let accepted = accepting.await.unwrap();
    assert!(matches!(accepted, Ok(Accepted::New(_))), "{accepted:?}");
    assert_eq!(there(&server).await, ["a"]);
    assert_eq!(store.writer_counts().writes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_committed_is_answered_as_not_kept_and_never_is() {
    let server = PostgresServer::start();
    let line = line_to(&server);
    let store = Store::open(over(&line, &server), &std::env::temp_dir()).await.unwrap();
    let (accepting, held) = cut_off(&store, &server, &line);
    server.psql("kmlflow", &format!("SELECT pg_terminate_backend(pid) {ENDING}"));
    line.mend();
    let refused = accepting.await.unwrap();
    assert!(matches!(refused, Err(StoreError::ServerAway(_))), "{refused:?}");
    drop(held);
    assert!(matches!(accept_again(&store, "b").await, Accepted::New(_)));
    assert_eq!(there(&server).await, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_cannot_be_asked_nobody_is_told_that_nothing_was_kept() {
    let server = PostgresServer::start();
    let line = line_to(&server);
    let store = Store::open(over(&line, &server), &std::env::temp_dir()).await.unwrap();
    let (accepting, held) = cut_off(&store, &server, &line);
    let unsure = accepting.await.unwrap().unwrap_err();
    assert!(matches!(unsure, StoreError::Unsure(_)), "{unsure:?}");
    assert!(unsure.to_string().contains("it is not known whether it was"), "{unsure}");
    assert!(!everything(&unsure).contains(OWNER.1));
    drop(held);
    line.mend();
    // The same again is there already, once.
    assert!(matches!(accept_again(&store, "a").await, Accepted::Repeat { .. }));
    assert_eq!(there(&server).await, ["a"]);
}

/// Asks once more under its key, until somebody answers.
fn asked_again(server: &Server<'_>, request: &Request) -> Response {
    let _ = server.until_it_answers("/readyz", "ready");
    server.until("an answer", || {
        let answer = request.send(server.address());
        [200, 202].contains(&answer.status).then_some(answer)
    })
}

#[test]
fn a_request_of_which_nobody_knows_whether_it_was_kept_is_one_step_when_it_is_asked_again_under_its_key() {
    let site = Site::<1>::new();
    let line = line_to(&site.database);
    let port = |port: u16| format!(":{port}/");
    let store = site.database.url("kmlflow").replace(&port(site.database.port()), &port(line.address().port()));
    let server = site.replica(0).env(URL, &store.replace('@', &format!(":{}@", OWNER.1))).start();
    until_it_leads(&server);
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    server.put(FRAUD, &by("canary", "fraud", "8", json!({"steps": [5, 25, 50]}))).expect(200);
    // What the inbox may have kept, and the key alone.
    for (table, weight) in [("deliveries", 25), ("idempotency_keys", 50)] {
        let advance = Request::new("POST", &format!("/api/v1/releases/{FRAUD}/advance")).bearer(&server.token());
        let advance = advance.header("Idempotency-Key", table);
        let held = slow_ends(&site.database, table);
        let unsure = std::thread::scope(|scope| {
            let asked = scope.spawn(|| advance.send(server.address()));
            until_it_ends(&site.database);
            line.cut();
            asked.join().unwrap()
        });
        assert!(unsure.header("Retry-After").is_some(), "{}", unsure.text());
        let problem = unsure.expect_problem(503);
        assert!(problem["detail"].as_str().unwrap().contains("it is not known whether it was"), "{problem}");
        assert!(problem["cure"].as_str().unwrap().contains("under the same `Idempotency-Key`"), "{problem}");
        drop(held);
        site.database.psql("kmlflow", "DROP FUNCTION end_slowly CASCADE");
        line.mend();
        let answer = asked_again(&server, &advance);
        if answer.status == 202 {
            assert_eq!(server.settle(answer.json()["delivery"].as_str().unwrap())["state"], "applied");
        }
        let split = server.get(&format!("/releases/{FRAUD}"))["split"].clone();
        let candidate = split.as_array().unwrap().iter().find(|share| share["version"] == "8").unwrap();
        assert_eq!(candidate["weight"], weight, "{split}");
    }
    let history = server.get(&format!("/releases/{FRAUD}/history"));
    let steps = history["items"].as_array().unwrap().iter().filter(|item| item["action"] == "step").count();
    assert_eq!(steps, 3, "its first step and two more: {history}");
}
