//! Server-sent events and the page.

use serde_json::json;
use tests::events::{Event, Events};
use tests::{Request, TestEnvironment};

use super::image;

#[test]
fn a_change_is_told_as_it_happens_and_a_reader_takes_up_where_it_left() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let mut events = server.events();
    server.put("production/models/fraud", &image("fraud", "7")).expect(201);
    let first = events.until("the release", |event| event.kind == "release");
    assert!(first.data.to_string().contains("fraud"), "{first:?}");
    drop(events);
    server.put("production/models/other", &image("other", "1")).expect(201);
    let mut events = Events::open(server.address(), &server.token(), first.id.as_deref());
    let missed = events
        .until("what happened meanwhile", |event| event.kind == "release" && event.data.to_string().contains("other"));
    assert!(number(&missed) > number(&first), "{missed:?} after {first:?}");
    // From before this process: nobody knows what was missed.
    let mut events = Events::open(server.address(), &server.token(), Some("999999999"));
    let reset = events.until("a reset", |event| event.kind == "reset");
    assert_eq!(reset.kind, "reset");
}

/// The number of an event: ids are counted up.
fn number(event: &Event) -> u64 {
    event.id.as_deref().expect("an id").parse().expect("a number")
}

#[test]
fn the_page_asks_to_sign_in_and_shows_the_releases_to_who_did() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put("production/models/fraud", &image("fraud", "7")).expect(201);
    let stranger = Request::new("GET", "/").send(server.address());
    assert!(!stranger.text().contains("fraud"), "{}", stranger.text());
    let code = sign_in_code(&server.printed()).expect("the start prints a link");
    let sign_in = |body: &serde_json::Value| Request::new("POST", "/session").json(body);
    drop(sign_in(&json!({"code": "nonsense"})).send(server.address()).expect_problem(401));
    let elsewhere = sign_in(&json!({"code": code})).header("Origin", "https://elsewhere.example");
    drop(elsewhere.send(server.address()).expect_problem(403));

    let signed_in = sign_in(&json!({"code": code})).send(server.address()).expect(204);
    let cookie = signed_in.header("Set-Cookie").expect("a session").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = Request::new("GET", "/").header("Cookie", cookie).send(server.address()).expect(200).text();
    assert!(page.contains("fraud") && page.contains("production"), "{page}");
    assert!(!page.contains(&server.token()) && !page.contains(&code), "a secret is in the page");
}

/// The code in the link that the start prints: it stands after `#`, so that it reaches no log.
fn sign_in_code(printed: &str) -> Option<String> {
    let link = printed.lines().find_map(|line| line.strip_prefix("sign in "))?;
    Some(link.split_once('#')?.1.trim().to_owned())
}
