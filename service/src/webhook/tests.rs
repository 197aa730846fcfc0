//! Proofs from the outside: recorded deliveries of a real MLflow, and everything that must not pass.

use jiff::{SignedDuration, Timestamp};

use super::signature::*;
use super::{mlflow, standard};
use crate::event::Event;
use crate::names::DeliveryId;

struct Recorded {
    event: String,
    headers: Headers,
    body: String,
    received_at: Timestamp,
    signed: bool,
}

fn recorded() -> (Secret, Vec<Recorded>) {
    let file: serde_json::Value = serde_json::from_str(include_str!("testdata/mlflow-deliveries.json")).unwrap();
    let mut all = Vec::new();
    for group in ["registry_events", "test_endpoint", "other"] {
        for one in file[group].as_array().unwrap() {
            let pairs = one["headers"].as_array().unwrap().iter();
            all.push(Recorded {
                event: one["event"].as_str().unwrap().to_owned(),
                headers: Headers::from_pairs(pairs.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))),
                body: one["body"].as_str().unwrap().to_owned(),
                received_at: Timestamp::from_second(one["received_at_unix"].as_f64().unwrap() as i64).unwrap(),
                signed: !one["secret"].is_null(),
            });
        }
    }
    (Secret::parse(file["secret"].as_str().unwrap()).unwrap(), all)
}

const BODY: &[u8] = br#"{"entity": "prompt"}"#;

fn now() -> Timestamp {
    Timestamp::from_second(1_795_407_046).unwrap()
}

fn secret() -> Secret {
    Secret::parse("demo-secret-0123456789\n").unwrap()
}

fn id() -> DeliveryId {
    DeliveryId::parse("0045f5fd-6d0d-487d-b7a9-72a24c382b58").unwrap()
}

fn signed_at(at: Timestamp) -> [(&'static str, String); 3] {
    sign_mlflow(&secret(), &id(), at, BODY)
}

fn verify(pairs: &[(&'static str, String)], body: &[u8]) -> Result<Proof, ProofError> {
    verify_mlflow(&Headers::from_pairs(pairs.iter().map(|(n, v)| (n, v))), body, &[secret()], now())
}

/// The three headers with one of them changed.
fn with(index: usize, value: &str) -> Vec<(&'static str, String)> {
    let mut pairs = signed_at(now()).to_vec();
    pairs[index].1 = value.to_owned();
    pairs
}

#[test]
fn every_recorded_delivery_is_proven_and_read() {
    let (secret, all) = recorded();
    assert!(all.len() >= 22);
    for one in all {
        let proof = verify_mlflow(&one.headers, one.body.as_bytes(), std::slice::from_ref(&secret), one.received_at);
        assert_eq!(proof.is_ok(), one.signed, "{} {proof:?}", one.body);
        let event = mlflow::parse(one.body.as_bytes()).unwrap();
        let matters = !one.event.starts_with("prompt");
        assert_eq!(matches!(event, Event::RegistryChanged(_)), matters, "{event:?}");
    }
}

#[test]
fn a_recorded_signature_is_made_again_to_the_letter() {
    let (secret, all) = recorded();
    let one = &all[5];
    let proof =
        verify_mlflow(&one.headers, one.body.as_bytes(), std::slice::from_ref(&secret), one.received_at).unwrap();
    let [_, _, (name, signature)] =
        sign_mlflow(&secret, &proof.delivery_id, proof.signed_at.unwrap(), one.body.as_bytes());
    assert_eq!((name, signature.as_str()), ("x-mlflow-signature", "v1,e0+1UQadTnqU/1pFD0gBTneFfQsIiC5plP6mRldMQoI="));
}

#[test]
fn every_live_secret_is_good_and_no_other() {
    let headers = Headers::from_pairs(signed_at(now()));
    let other = || Secret::parse("another").unwrap();
    let check = |secrets: &[Secret]| verify_mlflow(&headers, BODY, secrets, now()).map(|proof| proof.delivery_id);
    assert_eq!(check(&[other(), secret()]), Ok(id()));
    assert_eq!(check(&[secret(), other()]), Ok(id()));
    assert_eq!(check(&[other(), other()]), Err(ProofError::Mismatch));
    assert_eq!(check(&[]), Err(ProofError::NoSecret));
}

#[test]
fn a_delivery_is_fresh_for_three_hundred_seconds_either_way() {
    let check = |age: i64| verify(&signed_at(now() - SignedDuration::from_secs(age)), BODY).map(|_| ());
    assert_eq!((check(0), check(300), check(-300)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(check(301), Err(ProofError::Stale(301)));
    assert_eq!(check(-301), Err(ProofError::Future(301)));
}

#[test]
fn every_changed_byte_breaks_the_proof() {
    let pairs = signed_at(now());
    assert_eq!(verify(&pairs, &BODY[..BODY.len() - 1]), Err(ProofError::Mismatch));
    for index in 0..BODY.len() {
        let mut body = BODY.to_vec();
        body[index] ^= 1;
        assert_eq!(verify(&pairs, &body), Err(ProofError::Mismatch), "{index}");
    }
    assert_eq!(verify(&with(0, "0045f5fd"), BODY), Err(ProofError::Mismatch));
    assert_eq!(verify(&with(1, "1795407047"), BODY), Err(ProofError::Mismatch));
}

#[test]
fn a_missing_or_repeated_header_is_no_proof() {
    for (index, (name, value)) in signed_at(now()).into_iter().enumerate() {
        let mut pairs = signed_at(now()).to_vec();
        pairs.push((name, value));
        assert_eq!(verify(&pairs, BODY), Err(ProofError::Repeated(name)));
        pairs.pop();
        pairs.remove(index);
        assert_eq!(verify(&pairs, BODY), Err(ProofError::Missing(name)));
    }
}

#[test]
fn a_malformed_header_is_no_proof() {
    for bad in ["", "two words", "a\"b", "größe", &"x".repeat(201)] {
        assert_eq!(verify(&with(0, bad), BODY), Err(ProofError::Malformed(MLFLOW.id)), "{bad}");
    }
    for bad in ["", "-1", "+1", "1e9", "1795407046.5", "01795407046", "1795407046123", "soon", "١"] {
        assert_eq!(verify(&with(1, bad), BODY), Err(ProofError::Malformed("x-mlflow-timestamp")), "{bad}");
    }
    let good = signed_at(now())[2].1.clone();
    let bare = good.trim_start_matches("v1,");
    for bad in
        [bare, &good[..20], &format!("v2,{bare}"), &format!("{good} {good}"), "v1,", "v1,AAAA", &good.replace('=', "")]
    {
        assert_eq!(verify(&with(2, bad), BODY), Err(ProofError::Malformed(MLFLOW.signature)), "{bad}");
    }
}

#[test]
fn the_body_is_proven_before_it_is_read_whatever_it_is() {
    for body in [b"\xff\xfe not json".as_slice(), b"", b"{{{{"] {
        let pairs = sign_mlflow(&secret(), &id(), now(), body);
        assert!(verify(&pairs, body).is_ok());
    }
}

#[test]
fn the_reference_example_of_standard_webhooks_is_proven() {
    // From the specification's own test suite.
    let secret = Secret::parse_standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let body = br#"{"test": 2432232314}"#;
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let at = Timestamp::from_second(1_614_265_330).unwrap();
    let check = |signature: &str, at| {
        let pairs = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("Webhook-Timestamp", "1614265330"),
            ("webhook-signature", signature),
        ];
        verify_standard(&Headers::from_pairs(pairs), body, std::slice::from_ref(&secret), at)
            .map(|proof| proof.delivery_id.to_string())
    };
    assert_eq!(check(signature, at).unwrap(), "msg_p5jXN8AQM9LWM0D4loKWxJek");
    let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(check(&format!("{wrong} v1a,xyz {signature}"), at).is_ok());
    assert!(check(&format!("v1,not-base64 {signature} v1,"), at).is_ok(), "one that is malformed spoils no list");
    assert_eq!(check(wrong, at), Err(ProofError::Mismatch));
    assert_eq!(check("v1a,xyz", at), Err(ProofError::Malformed(STANDARD.signature)));
    assert_eq!(check(&[wrong; 8].join(" "), at), Err(ProofError::Mismatch));
    assert_eq!(check(signature, at + SignedDuration::from_secs(301)), Err(ProofError::Stale(301)));
}

#[test]
fn a_standard_delivery_is_signed_proven_and_read() {
    let secret = Secret::parse_standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let body = br#"{"namespace":"models","environment":"production","model":"fraud","version":"7"}"#;
    let headers = Headers::from_pairs(sign_standard(&secret, &id(), now(), body));
    assert!(verify_standard(&headers, body, std::slice::from_ref(&secret), now()).is_ok());
    assert!(matches!(standard::parse(body), Ok(Event::Requested(_))));
}

/// The example of GitHub's documentation, under the headers of a delivery.
fn of_github(signature: &str) -> [(&'static str, String); 3] {
    [
        ("X-GitHub-Delivery", id().to_string()),
        ("X-GitHub-Event", "ping".to_owned()),
        ("X-Hub-Signature-256", signature.to_owned()),
    ]
}

/// Made by GitHub's documentation from the secret `It's a Secret to Everybody` and the body `Hello, World!`.
const OF_GITHUB: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn the_example_of_githubs_documentation_is_proven_and_nothing_beside_it() {
    let secrets = ["another", "It's a Secret to Everybody\n"].map(|text| Secret::parse(text).unwrap());
    let check =
        |signature: &str, body: &[u8]| verify_github(&Headers::from_pairs(of_github(signature)), body, &secrets);
    let body = b"Hello, World!";
    assert_eq!(check(OF_GITHUB, body), Ok(Proof { delivery_id: id(), signed_at: None }));
    assert_eq!(sign_github(&secrets[1], &id(), body).map(|(_, value)| value), [id().to_string(), OF_GITHUB.to_owned()]);
    for index in 0..body.len() {
        let mut changed = *body;
        changed[index] ^= 1;
        assert_eq!(check(OF_GITHUB, &changed), Err(ProofError::Mismatch), "{index}");
    }
    let digits = OF_GITHUB.trim_start_matches("sha256=");
    let upper = format!("sha256={}", digits.to_uppercase());
    assert!(check(&upper, body).is_ok());
    for bad in [digits, "sha256=", &OF_GITHUB[..70], &format!("{OF_GITHUB}0"), &format!("sha1={digits}"), "v1,AAAA"] {
        assert_eq!(check(bad, body), Err(ProofError::Malformed(GITHUB.signature)), "{bad}");
    }
    assert_eq!(check(&format!("sha256={}", "0".repeat(64)), body), Err(ProofError::Mismatch));
}

#[test]
fn a_delivery_of_github_needs_its_id_its_signature_and_a_live_secret() {
    let secret = [Secret::parse("It's a Secret to Everybody").unwrap()];
    let pairs = of_github(OF_GITHUB);
    let check = |pairs: &[(&'static str, String)], secrets: &[Secret]| {
        let headers = Headers::from_pairs(pairs.iter().map(|(name, value)| (name, value)));
        verify_github(&headers, b"Hello, World!", secrets).map(|_| ())
    };
    assert_eq!(check(&pairs, &[]), Err(ProofError::NoSecret));
    assert_eq!(check(&pairs[1..], &secret), Err(ProofError::Missing(GITHUB.id)));
    assert_eq!(check(&pairs[..2], &secret), Err(ProofError::Missing(GITHUB.signature)));
    let sha1 = [pairs[0].clone(), ("X-Hub-Signature", "sha1=0123".to_owned())];
    assert_eq!(check(&sha1, &secret), Err(ProofError::Missing(GITHUB.signature)));
    let twice = [&pairs[..], &pairs[2..]].concat();
    assert_eq!(check(&twice, &secret), Err(ProofError::Repeated(GITHUB.signature)));
}

#[test]
fn a_secret_is_trimmed_never_empty_and_never_shown() {
    assert_eq!(Secret::parse(" \n").unwrap_err(), SecretError::Empty);
    assert_eq!(Secret::parse_standard("whsec_").unwrap_err(), SecretError::Empty);
    assert_eq!(Secret::parse_standard("whsec_not base64").unwrap_err(), SecretError::NotStandard);
    assert_eq!(format!("{:?}", secret()), "Secret(…)");
    let headers = Headers::from_pairs([("Authorization", "Bearer abc")]);
    assert!(!format!("{headers:?}").contains("abc"));
}
