//! The rules for headers, host names and origins.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine as _;

use super::super::headers::{from_upstream, to_upstream};
use super::*;

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) { (name.parse().unwrap(), value.parse().unwrap()) };
    let mut map = HeaderMap::new();
    for (name, value) in pairs.iter().map(pair) {
        map.append(name, value);
    }
    map
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_about_one_connection_ends_there_both_ways() {
    let given = [
        ("connection", "keep-alive, X-Hop"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("x-hop", "1"),
        ("x-end-to-end", "2"),
    ];
    let up = to_upstream(&map(&given), &place(), false, &OWN);
    assert_eq!(up, map(&[("x-end-to-end", "2")]));
    let mut down = map(&given);
    from_upstream(&mut down, "/mlflow", &Url::parse("http://mlflow:5000").unwrap(), &OWN);
    assert_eq!(down, map(&[("x-end-to-end", "2")]));
}

#[test]
fn host_and_own_origin_are_dropped_and_a_foreign_origin_is_left_for_the_server_to_refuse() {
    let given = map(&[("host", "kmlflow.example"), ("expect", "100-continue"), ("origin", "https://kmlflow.example")]);
    let own = Place { is_own_origin: true, peer: Some("192.0.2.7".parse().unwrap()), ..place() };
    assert_eq!(to_upstream(&given, &own, false, &OWN), map(&[("x-forwarded-for", "192.0.2.7")]));
    assert_eq!(to_upstream(&given, &place(), false, &OWN), map(&[("origin", "https://kmlflow.example")]));
}

#[test]
fn the_services_own_secrets_stay_and_the_servers_go_on() {
    let basic =
        |word: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("ada:{word}")));
    for (authorization, goes_on) in [
        ("Bearer kmlflow_abc".to_owned(), false),
        ("bearer  kmlflow_abc".to_owned(), false),
        (basic("kmlflow_abc"), false),
        (basic("kmlflow"), true),
        (basic("a:kmlflow_abc"), false),
        (format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("kmlflow_abc:")), false),
        ("Bearer\tkmlflow_abc".to_owned(), false),
        ("Token kmlflow_abc".to_owned(), false),
        ("kmlflow_abc".to_owned(), false),
        ("Bearer abc".to_owned(), true),
        ("Basic nonsense".to_owned(), true),
        ("nonsense".to_owned(), true),
    ] {
        let up = to_upstream(&map(&[("authorization", &authorization)]), &place(), false, &OWN);
        assert_eq!(up.contains_key(header::AUTHORIZATION), goes_on, "{authorization}");
    }
    let two = [("authorization", basic("abc")), ("authorization", "Bearer kmlflow_abc".to_owned())];
    let two: Vec<(&str, &str)> = two.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(!to_upstream(&map(&two), &place(), false, &OWN).contains_key(header::AUTHORIZATION));
    for (cookies, expected) in [
        (&["kmlflow_session=x"][..], &[][..]),
        (&["a=1; kmlflow_session=x; b=2", "kmlflow_session=y", "c=3"], &["a=1; b=2", "c=3"]),
        (&["a=1;b=2", "c=kmlflow_session=3"], &["a=1;b=2", "c=kmlflow_session=3"]),
        (&["kmlflow_session_of_mine=1"], &["kmlflow_session_of_mine=1"]),
    ] {
        let given: Vec<(&str, &str)> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
        assert_eq!(all(&to_upstream(&map(&given), &place(), false, &OWN), "cookie"), expected, "{cookies:?}");
    }
}

#[test]
fn redirects_and_cookies_fit_the_mount() {
    let check = |upstream: &str, mount: &str, name: &str, given: &str, expected: Option<&str>| {
        let mut headers = map(&[(name, given)]);
        from_upstream(&mut headers, mount, &Url::parse(upstream).unwrap(), &OWN);
        assert_eq!(all(&headers, name).first().map(String::as_str), expected, "{given}");
    };
    let (plain, base) = ("http://mlflow:5000", "http://mlflow:5000/base");
    for (upstream, mount, given, expected) in [
        (plain, "/mlflow", "/login?next=/", "/mlflow/login?next=/"),
        (plain, "/mlflow", "http://mlflow:5000/a/?b#c", "/mlflow/a/?b#c"),
        (plain, "", "http://mlflow:5000/a/", "/a/"),
        (plain, "/mlflow", "https://elsewhere.example/a", "https://elsewhere.example/a"),
        (plain, "/mlflow", "//elsewhere.example/a", "//elsewhere.example/a"),
        (plain, "/mlflow", "a/b", "a/b"),
        (base, "/mlflow", "/base/a", "/mlflow/a"),
        (base, "/mlflow", "/based", "/based"),
    ] {
        check(upstream, mount, "location", given, Some(expected));
    }
    for (mount, given, expected) in [
        ("/mlflow", "session=x; HttpOnly; Path=/", Some("session=x; HttpOnly; Path=/mlflow/")),
        ("/mlflow", "session=x; Domain=mlflow; path=/a; Secure", Some("session=x; Path=/mlflow/a; Secure")),
        ("", "session=x; Path=/", Some("session=x; Path=/")),
        ("/mlflow", "session=x", Some("session=x")),
        ("/mlflow", "kmlflow_session=x; Path=/", None),
    ] {
        check(plain, mount, "set-cookie", given, expected);
    }
}

#[test]
fn a_host_name_that_is_not_ours_is_not_known_whatever_its_port() {
    let loopback = Hosts::new("127.0.0.1".parse().unwrap(), "http://localhost:8080", None);
    let public =
        Hosts::new("0.0.0.0".parse().unwrap(), "https://Kmlflow.example/", Some("https://mlflow.example:8443"));
    for (host, on_loopback, in_public) in [
        ("localhost:8080", true, true),
        ("LOCALHOST", true, true),
        ("127.0.0.1:1234", true, true),
        ("[::1]:8080", true, true),
        ("10.1.2.3:8080", false, true),
        ("[2001:db8::1]:80", false, true),
        ("kmlflow.example", false, true),
        ("KMLFLOW.example.:443", false, true),
        ("mlflow.example", false, true),
        ("evil.example", false, false),
        ("localhost.evil.example", false, false),
        ("127.0.0.1.evil.example:8080", false, false),
        ("", false, false),
        ("evil.example:127.0.0.1", false, false),
    ] {
        assert_eq!(loopback.knows(host), on_loopback, "{host}");
        assert_eq!(public.knows(host), in_public, "{host}");
    }
    assert!(public.is_own_name("mlflow.example:8443") && !public.is_own_name("kmlflow.example"));
    assert!(!loopback.is_own_name("localhost"));
    let bound = Hosts::new("10.1.2.3".parse().unwrap(), "http://localhost:80", None);
    assert!(bound.knows("10.1.2.3:80") && !bound.knows("10.1.2.4:80"));
}

#[test]
fn an_origin_is_ours_with_its_scheme_and_port_only() {
    let hosts =
        Hosts::new("0.0.0.0".parse().unwrap(), "https://kmlflow.example:443/", Some("http://mlflow.example:8443"));
    for (origin, is_own) in [
        ("https://kmlflow.example", true),
        ("http://kmlflow.example", false),
        ("https://kmlflow.example:8443", false),
        ("http://mlflow.example:8443", true),
        ("https://evil.example", false),
        ("null", false),
        ("", false),
    ] {
        assert_eq!(hosts.is_own_origin(origin), is_own, "{origin}");
    }
}

#[test]
fn an_answer_changes_nothing_of_the_whole_host() {
    let mut headers = map(&[("clear-site-data", "\"*\""), ("service-worker-allowed", "/"), ("x-mine", "1")]);
    from_upstream(&mut headers, "/mlflow", &Url::parse("http://mlflow:5000").unwrap(), &OWN);
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mine"]);
}
