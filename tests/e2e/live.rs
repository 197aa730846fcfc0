//! Server-sent events and the page.

use tests::events::Events;
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
    assert!(missed.id > first.id);
    // From before this process: nobody knows what was missed.
    let mut events = Events::open(server.address(), &server.token(), Some("999999999"));
    let reset = events.until("a reset", |event| event.kind == "reset");
    assert_eq!(reset.kind, "reset");
}

#[test]
fn the_page_asks_to_sign_in_and_shows_the_releases_to_who_did() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put("production/models/fraud", &image("fraud", "7")).expect(201);
    let stranger = Request::new("GET", "/").send(server.address());
    assert!(!stranger.text().contains("fraud"), "{}", stranger.text());
    let link = sign_in_link(&server.printed()).expect("the first start prints a link");
    let path = link.strip_prefix(&server.url()).unwrap();
    let signed_in = Request::new("GET", path).send(server.address());
    let cookie = signed_in.header("Set-Cookie").expect("a session").split(';').next().unwrap().to_owned();
    assert!(signed_in.header("Set-Cookie").unwrap().contains("HttpOnly"));
    let page = Request::new("GET", "/").header("Cookie", cookie).send(server.address()).expect(200).text();
    assert!(page.contains("fraud") && page.contains("production"), "{page}");
    assert!(!page.contains(&server.token()), "the token is in the page");
}

/// The link with the token in it that the first start prints.
fn sign_in_link(printed: &str) -> Option<String> {
    let words = printed.split_whitespace().filter(|word| word.starts_with("http://") && word.contains("token"));
    words.last().map(str::to_owned)
}
