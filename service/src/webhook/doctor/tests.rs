//! Every mistake is made once, and the doctor must name that one.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE};
use hmac::Mac as _;
use jiff::Timestamp;

use super::*;
use crate::webhook::signature::{
    MLFLOW_TIMESTAMP, STANDARD_TIMESTAMP, mac, verify_github, verify_mlflow, verify_standard,
};

const ID: &str = "0045f5fd-6d0d-487d-b7a9-72a24c382b58";
const NOW: i64 = 1_795_407_046;
const BODY: &str = r#"{"b": "größe", "a": [1, 2.5, null]}"#;
const SECRET: &str = "ZGVtby1zZWNyZXQtMDEyMzQ1Njc4OQ==";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The bytes of a signature over a message.
fn tag(key: &[u8], message: &str) -> Vec<u8> {
    mac(key, &[], message.as_bytes()).finalize().into_bytes().to_vec()
}

fn v1(key: &[u8], message: &str) -> String {
    format!("v1,{}", BASE64.encode(tag(key, message)))
}

fn message(body: &str) -> String {
    format!("{ID}.{NOW}.{body}")
}

fn exhibit(door: Door, secret: &str, headers: &[(&str, &str)]) -> Exhibit {
    Exhibit {
        door,
        headers: Headers::from_pairs(headers.iter().copied()),
        body: BODY.as_bytes().to_vec(),
        secrets: vec![Secret::parse(secret).unwrap()],
        now: Timestamp::from_second(NOW).unwrap(),
        present: Timestamp::from_second(NOW).unwrap(),
        body_file: None,
        url: "http://localhost:8080/".to_owned(),
        may_sign: true,
    }
}

fn mlflow(secret: &str, signature: &str) -> Exhibit {
    let time = NOW.to_string();
    exhibit(Door::Mlflow, secret, &[(MLFLOW.id, ID), (MLFLOW_TIMESTAMP, &time), (MLFLOW.signature, signature)])
}

fn standard(secret: &str, signature: &str) -> Exhibit {
    let time = NOW.to_string();
    exhibit(Door::Standard, secret, &[(STANDARD.id, ID), (STANDARD_TIMESTAMP, &time), (STANDARD.signature, signature)])
}

/// A signature as GitHub writes it.
fn sha256(key: &[u8], message: &str) -> String {
    format!("sha256={}", hex::encode(tag(key, message)))
}

/// An exhibit at GitHub's door with the headers that are always there, and these.
fn github_headers(more: &[(&str, &str)]) -> Exhibit {
    let always = [("X-GitHub-Event", "push"), ("X-GitHub-Delivery", ID), ("Content-Type", "application/json")];
    exhibit(Door::Github, SECRET, &[&always, more].concat())
}

fn github(secret: &str, signature: &str) -> Exhibit {
    let headers = github_headers(&[("X-Hub-Signature-256", signature), ("X-Hub-Signature", "sha1=ab")]).headers;
    Exhibit { headers, ..exhibit(Door::Github, secret, &[]) }
}

/// An exhibit with MLflow's headers, signed rightly for this timestamp.
fn timed(time: &str) -> Exhibit {
    let signature = v1(SECRET.as_bytes(), &format!("{ID}.{time}.{BODY}"));
    exhibit(Door::Mlflow, SECRET, &[(MLFLOW.id, ID), (MLFLOW_TIMESTAMP, time), (MLFLOW.signature, &signature)])
}

fn with_body(body: &str, signed: &str) -> Exhibit {
    Exhibit { body: body.as_bytes().to_vec(), ..mlflow(SECRET, &v1(SECRET.as_bytes(), &message(signed))) }
}

fn decoded(text: &str) -> Vec<u8> {
    BASE64.decode(text).unwrap()
}

/// One case for each row: the code that must come out, and the delivery with that mistake.
fn header_cases() -> Vec<(&'static str, Exhibit)> {
    let good = v1(SECRET.as_bytes(), &message(BODY));
    let time = NOW.to_string();
    let full = [(MLFLOW.id, ID), (MLFLOW_TIMESTAMP, time.as_str()), (MLFLOW.signature, good.as_str())];
    let mlflow_door = |headers: &[(&str, &str)]| exhibit(Door::Mlflow, SECRET, headers);
    vec![
        ("fine", mlflow(SECRET, &good)),
        ("fine", standard(WHSEC, &format!("v1,AAAA v2,x {}", v1(&decoded(&WHSEC[6..]), &message(BODY))))),
        ("no-secret", Exhibit { secrets: Vec::new(), ..mlflow(SECRET, &good) }),
        ("header-missing", mlflow_door(&full[1..])),
        ("header-missing", mlflow_door(&[full[0], full[2]])),
        ("header-missing", mlflow_door(&[])),
        ("header-repeated", mlflow_door(&[full[0], full[1], full[2], full[2]])),
        ("header-unreadable", mlflow_door(&[full[0], full[1], (MLFLOW.signature, "größe")])),
        ("unsigned", mlflow_door(&full[..2])),
        ("github-scheme", mlflow_door(&[("X-Hub-Signature-256", "sha256=ab"), ("X-GitHub-Delivery", ID)])),
        ("standard-scheme", mlflow_door(&[(STANDARD.id, ID), (STANDARD.signature, &good)])),
        ("mlflow-scheme", exhibit(Door::Standard, WHSEC, &full)),
        ("timestamp-form", timed("2026-11-23T04:10:46Z")),
        ("timestamp-milliseconds", timed("1795407046123")),
        ("stale", timed(&(NOW - 3600).to_string())),
        ("future", timed(&(NOW + 301).to_string())),
    ]
}

fn signature_cases() -> Vec<(&'static str, Exhibit)> {
    let key = SECRET.as_bytes();
    // A message whose signature has signs that the two alphabets write differently.
    let bytes = tag(key, &message(BODY));
    let good = BASE64.encode(&bytes);
    let url_safe_body = (0..200)
        .map(|i| format!("{{\"n\":{i}}}"))
        .find(|b| URL_SAFE.encode(tag(key, &message(b))).contains(['-', '_']))
        .unwrap();
    let url_safe = format!("v1,{}", URL_SAFE.encode(tag(key, &message(&url_safe_body))));
    vec![
        ("signature-form", mlflow(SECRET, "v1,AAAA")),
        ("signature-form", mlflow(SECRET, "nonsense")),
        ("signature-hex", mlflow(SECRET, &format!("v1,{}", hex::encode(&bytes)))),
        ("signature-url-safe", Exhibit { body: url_safe_body.into_bytes(), ..mlflow(SECRET, &url_safe) }),
        ("signature-unpadded", mlflow(SECRET, &format!("v1,{}", good.trim_end_matches('=')))),
        ("signature-without-version", mlflow(SECRET, &good)),
        ("signature-sha256-prefix", mlflow(SECRET, &format!("sha256={}", hex::encode(tag(key, BODY))))),
    ]
}

fn key_cases() -> Vec<(&'static str, Exhibit)> {
    let signed = |key: &[u8]| v1(key, &message(BODY));
    let hex_secret = "00ff10ab";
    vec![
        ("key-decoded", mlflow(SECRET, &signed(&decoded(SECRET)))),
        ("key-whsec-decoded", mlflow(WHSEC, &signed(&decoded(&WHSEC[6..])))),
        ("key-whsec-stripped", mlflow(WHSEC, &signed(&WHSEC.as_bytes()[6..]))),
        ("key-whsec-added", mlflow(SECRET, &signed(format!("whsec_{SECRET}").as_bytes()))),
        ("key-hex", mlflow(hex_secret, &signed(&hex::decode(hex_secret).unwrap()))),
        ("key-raw", standard(WHSEC, &signed(WHSEC.as_bytes()))),
        ("key-raw-stripped", standard(WHSEC, &signed(&WHSEC.as_bytes()[6..]))),
        ("key-newline", mlflow(SECRET, &signed(format!("{SECRET}\n").as_bytes()))),
        ("key-newline", mlflow(SECRET, &signed(format!("{SECRET}\r\n").as_bytes()))),
        ("wrong-secret", mlflow(SECRET, &signed(b"another"))),
        ("wrong-secret", standard(WHSEC, &signed(b"another"))),
    ]
}

fn message_cases() -> Vec<(&'static str, Exhibit)> {
    let signed = |message: String| mlflow(SECRET, &v1(SECRET.as_bytes(), &message));
    let compact = r#"{"b":"größe","a":[1,2.5,null]}"#;
    let escaped = r#"{"b": "gr\u00f6\u00dfe", "a": [1, 2.5, null]}"#;
    let sorted = r#"{"a": [1, 2.5, null], "b": "größe"}"#;
    let pretty = "{\n  \"b\": \"größe\",\n  \"a\": [\n    1,\n    2.5,\n    null\n  ]\n}";
    vec![
        ("message-body-only", signed(BODY.to_owned())),
        ("message-without-id", signed(format!("{NOW}.{BODY}"))),
        ("message-without-timestamp", signed(format!("{ID}.{BODY}"))),
        ("message-order", signed(format!("{NOW}.{ID}.{BODY}"))),
        ("message-without-dots", signed(format!("{ID}{NOW}{BODY}"))),
        ("body-newline", with_body(BODY, &format!("{BODY}\n"))),
        ("body-newline", with_body(&format!("{BODY}\r\n"), BODY)),
        ("body-reserialised", with_body(compact, BODY)),
        ("body-reserialised", with_body(BODY, compact)),
        ("body-reserialised", with_body(compact, escaped)),
        ("body-reserialised", with_body(escaped, BODY)),
        ("body-reserialised", with_body(BODY, pretty)),
        ("body-sorted", with_body(compact, sorted)),
        ("body-sorted", with_body(BODY, &sorted.replace(": ", ":").replace(", ", ","))),
    ]
}

/// The mistakes of a sender that is GitHub, a server like it, or a script that wants to be.
fn github_cases() -> Vec<(&'static str, Exhibit)> {
    let key = SECRET.as_bytes();
    let good = sha256(key, BODY);
    let digits = good.trim_start_matches("sha256=");
    let re_spaced = r#"{"b":"größe","a":[1,2.5,null]}"#;
    let form = [("X-GitHub-Delivery", ID), ("X-Hub-Signature-256", good.as_str())];
    let form = [&form[..], &[("Content-Type", "application/x-www-form-urlencoded")]].concat();
    vec![
        ("fine", github(SECRET, &good)),
        ("unsigned", github(SECRET, "sha256=")),
        ("unsigned", github_headers(&[])),
        ("github-sha1", github_headers(&[("X-Hub-Signature", "sha1=0123")])),
        ("header-missing", exhibit(Door::Github, SECRET, &[("X-Hub-Signature-256", &good)])),
        ("standard-scheme", exhibit(Door::Github, WHSEC, &[(STANDARD.id, ID), (STANDARD.signature, "v1,AAAA")])),
        ("mlflow-scheme", exhibit(Door::Github, SECRET, &[(MLFLOW.id, ID), (MLFLOW.signature, "v1,AAAA")])),
        ("form-encoded", exhibit(Door::Github, SECRET, &form)),
        ("github-form", github(SECRET, "sha256=abc")),
        ("github-form", github(SECRET, "sha1=0123456789012345678901234567890123456789")),
        ("github-without-prefix", github(SECRET, digits)),
        ("github-base64", github(SECRET, &format!("sha256={}", BASE64.encode(tag(key, BODY))))),
        ("github-base64", github(SECRET, &v1(key, BODY))),
        ("wrong-secret", github(SECRET, &sha256(b"another", BODY))),
        ("key-newline", github(SECRET, &sha256(format!("{SECRET}\n").as_bytes(), BODY))),
        ("body-reserialised", github(SECRET, &sha256(key, re_spaced))),
        ("body-newline", github(SECRET, &sha256(key, &format!("{BODY}\n")))),
        ("message-timed", github(SECRET, &sha256(key, &format!("{ID}.{BODY}")))),
    ]
}

fn cases() -> Vec<(&'static str, Exhibit)> {
    [header_cases(), signature_cases(), key_cases(), message_cases(), github_cases()].concat()
}

#[test]
fn every_mistake_is_named() {
    for (code, exhibit) in cases() {
        let diagnosis = diagnose(&exhibit);
        assert_eq!(diagnosis.code, code, "{diagnosis:?}");
        assert!(!diagnosis.sentence.contains("{}") && !diagnosis.cure.is_empty());
    }
}

#[test]
fn no_row_of_the_table_is_without_its_case() {
    let made: BTreeSet<_> = cases().iter().map(|(code, _)| *code).collect();
    let rows: BTreeSet<_> = super::mistakes::ALL.iter().map(|row| row.code).collect();
    assert_eq!(made, rows);
    assert_eq!(super::mistakes::ALL.len(), rows.len());
}

#[test]
fn a_sentence_says_how_far_the_clock_is_off_and_which_header_is_missing() {
    assert!(diagnose(&timed(&(NOW - 3600).to_string())).sentence.contains("3600 seconds ago"));
    assert!(diagnose(&timed(&(NOW + 301).to_string())).sentence.contains("301 seconds in the future"));
    let missing = exhibit(Door::Mlflow, SECRET, &[(MLFLOW.signature, "v1,AAAA")]);
    let diagnosis = diagnose(&missing);
    assert!(
        diagnosis.sentence.contains("`x-mlflow-delivery-id`") && diagnosis.also[0].contains("`x-mlflow-timestamp`")
    );
}

#[test]
fn several_mistakes_together_are_all_said() {
    let old = NOW - 1000;
    let signature = format!("v1,{}", hex::encode(tag(format!("{SECRET}\n").as_bytes(), BODY)));
    let time = old.to_string();
    let headers = [(MLFLOW.id, ID), (MLFLOW_TIMESTAMP, time.as_str()), (MLFLOW.signature, signature.as_str())];
    let diagnosis = diagnose(&exhibit(Door::Mlflow, SECRET, &headers));
    assert_eq!(diagnosis.code, "signature-hex");
    let also = diagnosis.also.join("\n");
    assert!(also.contains("newline") && also.contains("only the body") && also.contains("1000 seconds ago"), "{also}");
}

#[test]
fn any_live_secret_that_fits_is_fine() {
    let mut exhibit = mlflow(SECRET, &v1(b"second", &message(BODY)));
    exhibit.secrets.push(Secret::parse("second").unwrap());
    assert_eq!(diagnose(&exhibit).code, "fine");
}

#[test]
fn the_door_is_guessed_from_the_headers() {
    let guessed = |exhibit: Exhibit| diagnose(&Exhibit { door: Door::guess(&exhibit.headers), ..exhibit });
    assert_eq!(guessed(mlflow(SECRET, &v1(SECRET.as_bytes(), &message(BODY)))).code, "fine");
    let standard = guessed(standard(WHSEC, &v1(&decoded(&WHSEC[6..]), &message(BODY))));
    assert_eq!(standard.code, "fine");
    assert!(standard.curl.contains("/webhooks/generic"));
    let github = guessed(github(SECRET, &sha256(SECRET.as_bytes(), BODY)));
    assert!(github.code == "fine" && github.curl.contains("/webhooks/github"), "{github:?}");
    assert_eq!(guessed(github_headers(&[("X-Hub-Signature", "sha1=ab")])).code, "github-sha1");
    assert_eq!(guessed(github_headers(&[])).code, "unsigned");
}

/// The headers and the body of a command that carries a signature.
fn delivered(curl: &str) -> (Headers, String) {
    let headers =
        curl.split("-H '").skip(1).map(|rest| rest.split('\'').next().unwrap()).collect::<Vec<_>>().join("\n");
    let body = curl.split("--data-binary '").nth(1).unwrap().strip_suffix('\'').unwrap().replace(r"'\''", "'");
    (Headers::parse(&headers), body)
}

#[test]
fn the_curl_is_believed_and_never_contains_the_secret() {
    for (_, mut exhibit) in cases().into_iter().filter(|(_, exhibit)| !exhibit.secrets.is_empty()) {
        let secret = exhibit.secrets[0].text().to_owned();
        let curl = diagnose(&exhibit).curl;
        assert!(!curl.contains(&secret) && curl.contains("'http://localhost:8080/webhooks/"), "{curl}");
        let (headers, body) = delivered(&curl);
        let proof = match exhibit.door {
            Door::Mlflow => verify_mlflow(&headers, body.as_bytes(), &exhibit.secrets, exhibit.now),
            Door::Standard => {
                let secrets = [Secret::parse_standard(&secret).unwrap()];
                verify_standard(&headers, body.as_bytes(), &secrets, exhibit.now)
            }
            Door::Github => verify_github(&headers, body.as_bytes(), &exhibit.secrets),
        };
        assert!(proof.is_ok(), "{curl}");
        assert_eq!(headers.has("x-github-event"), exhibit.door == Door::Github, "{curl}");
        exhibit.may_sign = false;
        let scripted = diagnose(&exhibit).curl;
        assert!(
            !scripted.contains("v1,A")
                && !scripted.contains("sha256=0")
                && scripted.contains("SECRET_FILE")
                && !scripted.contains(&secret),
            "{scripted}"
        );
    }
}

#[test]
fn a_body_that_no_command_line_should_carry_is_read_from_a_file() {
    for body in ["x".repeat(5_000), format!("{{\"leak\": \"{SECRET}\"}}"), "@/etc/passwd".to_owned(), "a\0b".to_owned()]
    {
        let curl = diagnose(&Exhibit { body: body.into_bytes(), ..mlflow(SECRET, "v1,AAAA") }).curl;
        assert!(curl.ends_with("--data-binary '@body.json'") && !curl.contains(SECRET), "{curl}");
    }
    let quote = diagnose(&Exhibit { body: b"it's".to_vec(), ..mlflow(SECRET, "v1,AAAA") }).curl;
    assert!(quote.ends_with(r"--data-binary 'it'\''s'"), "{quote}");
}

#[test]
fn a_large_or_broken_body_is_examined_too() {
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(100_000));
    let mut exhibit = with_body(&large, &format!("{large}\n"));
    assert_eq!(diagnose(&exhibit).code, "body-newline");
    exhibit.body = [b"\xff\xfe".as_slice(), &exhibit.body].concat();
    assert_eq!(diagnose(&exhibit).code, "wrong-secret");
    exhibit.body = "[".repeat(10_000).into_bytes();
    assert_eq!(diagnose(&exhibit).code, "wrong-secret");
}

#[test]
fn headers_are_read_from_what_curl_and_logs_show() {
    let text = "POST /webhooks/mlflow HTTP/1.1\r\nHost: a:1\r\n> X-MLflow-Delivery-Id:  abc \r\nX-MLflow-Signature: v1,a=\r\n\r\n";
    let headers = Headers::parse(text);
    assert_eq!(headers.text("x-mlflow-delivery-id"), Some("abc"));
    assert_eq!(headers.text("x-mlflow-signature"), Some("v1,a="));
    assert_eq!(headers.text("host"), Some("a:1"));
}

#[test]
fn a_body_of_the_largest_size_is_tried_with_single_mistakes_only() {
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(1024 * 1024 - 9));
    let double = with_body(&large, &format!("{large}\n"));
    let key = format!("{SECRET}\n");
    let signature = v1(key.as_bytes(), &message(&format!("{large}\n")));
    assert_eq!(diagnose(&Exhibit { body: double.body, ..mlflow(SECRET, &signature) }).code, "wrong-secret");
}
