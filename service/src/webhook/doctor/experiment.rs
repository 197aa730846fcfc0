//! Making the signature again with every known mistake of form, key, message and body.
//!
//! The work is bounded: one mistake at a time, and two or three together only where the body is small.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::Mac as _;
use serde_json::Value;

use super::mistakes::{Mistake, *};
use super::{Door, Exhibit};
use crate::webhook::signature::{Form, Headers, MLFLOW, STANDARD, mac};

/// The most secrets tried; nobody rotates through more at once.
const SECRETS_MAX: usize = 4;

/// The most signatures of a list that are tried.
const SIGNATURES_MAX: usize = 8;

/// The largest body, in bytes, for which mistakes are combined: some 700 combinations for each secret, about 10 MB to hash.
const COMBINED_BODY_BYTES_MAX: usize = 16 * 1024;

/// What the experiments gave.
pub(super) enum Found {
    /// The signature is right but for these mistakes, none of which may be there.
    Mistakes(Vec<&'static Mistake>),
    /// No experiment gives the signature.
    Nothing,
}

/// Something that may be right or one mistake away from it.
struct Variant<T> {
    value: T,
    mistake: Option<&'static Mistake>,
}

fn right<T>(value: T) -> Variant<T> {
    Variant { value, mistake: None }
}

fn wrong<T>(mistake: &'static Mistake, value: T) -> Variant<T> {
    Variant { value, mistake: Some(mistake) }
}

/// Searches the mistakes that explain the signature, fewest first.
pub(super) fn search(exhibit: &Exhibit, door: Door) -> Found {
    let scheme = door.scheme();
    let text = |name| exhibit.headers.text(name).unwrap_or_default();
    let signatures = signatures(text(scheme.signature), scheme.form);
    if signatures.is_empty() {
        return Found::Mistakes(vec![if scheme.form == Form::Hex { &GITHUB_FORM } else { &SIGNATURE_FORM }]);
    }
    let messages = match scheme.timestamp {
        Some(timestamp) => messages(text(scheme.id), text(timestamp)),
        None => messages_of_github(&exhibit.headers, text(scheme.id)),
    };
    let bodies = bodies(&exhibit.body);
    let keys: Vec<_> = exhibit.secrets.iter().take(SECRETS_MAX).flat_map(|secret| keys(secret.text(), door)).collect();
    let together_max = if exhibit.body.len() <= COMBINED_BODY_BYTES_MAX { 3 } else { 1 };
    for together in 0..=together_max {
        for key in &keys {
            for message in &messages {
                for body in &bodies {
                    let mistakes: Vec<_> = [key.mistake, message.mistake, body.mistake].into_iter().flatten().collect();
                    if mistakes.len() != together {
                        continue;
                    }
                    let parts: Vec<&str> = message.value.iter().map(String::as_str).collect();
                    let mac = mac(&key.value, &parts, &body.value);
                    if let Some(fits) = signatures.iter().find(|s| mac.clone().verify_slice(&s.value).is_ok()) {
                        return Found::Mistakes(fits.mistake.into_iter().chain(mistakes).collect());
                    }
                }
            }
        }
    }
    Found::Nothing
}

/// The signatures in a header, however they are written.
fn signatures(text: &str, form: Form) -> Vec<Variant<Vec<u8>>> {
    match form {
        Form::One => signature(text).into_iter().collect(),
        Form::List => text.split(' ').take(SIGNATURES_MAX).filter_map(signature).collect(),
        Form::Hex => signature_of_github(text).into_iter().collect(),
    }
}

fn signature_of_github(text: &str) -> Option<Variant<Vec<u8>>> {
    let (rest, prefix) = match text.strip_prefix("sha256=") {
        Some(rest) => (rest, None),
        None => (text.strip_prefix("v1,").unwrap_or(text), Some(&GITHUB_NO_PREFIX)),
    };
    let forms = [(hex::decode(rest).ok(), None), (BASE64.decode(rest).ok(), Some(&GITHUB_BASE64))];
    let (bytes, form) = forms
        .into_iter()
        .find_map(|(bytes, form)| bytes.filter(|bytes| bytes.len() == 32).map(|bytes| (bytes, form)))?;
    Some(Variant { value: bytes, mistake: form.or(prefix) })
}

fn signature(text: &str) -> Option<Variant<Vec<u8>>> {
    let (rest, prefix) = match (text.strip_prefix("v1,"), text.strip_prefix("sha256=")) {
        (Some(rest), _) => (rest, None),
        (_, Some(rest)) => (rest, Some(&SIGNATURE_GITHUB)),
        _ => (text.strip_prefix("v1=").unwrap_or(text), Some(&SIGNATURE_NO_VERSION)),
    };
    let (bytes, form) = [
        (BASE64.decode(rest).ok(), None),
        (hex::decode(rest).ok(), Some(&SIGNATURE_HEX)),
        (STANDARD_NO_PAD.decode(rest).ok(), Some(&SIGNATURE_UNPADDED)),
        (URL_SAFE.decode(rest).ok(), Some(&SIGNATURE_URL_SAFE)),
        (URL_SAFE_NO_PAD.decode(rest).ok(), Some(&SIGNATURE_URL_SAFE)),
    ]
    .into_iter()
    .find_map(|(bytes, form)| bytes.filter(|bytes| bytes.len() == 32).map(|bytes| (bytes, form)))?;
    Some(Variant { value: bytes, mistake: prefix.or(form) })
}

/// The right key of a secret, and those that a misunderstanding gives.
fn keys(text: &str, door: Door) -> Vec<Variant<Vec<u8>>> {
    let raw = || text.as_bytes().to_vec();
    let stripped = text.strip_prefix("whsec_");
    let decoded = BASE64.decode(stripped.unwrap_or(text)).ok().filter(|key| !key.is_empty());
    let mut keys = Vec::new();
    match door {
        Door::Mlflow | Door::Github => {
            keys.push(right(raw()));
            let mistake = if stripped.is_some() { &KEY_PREFIX_DECODED } else { &KEY_DECODED };
            keys.extend(decoded.map(|key| wrong(mistake, key)));
            keys.extend(stripped.map(|text| wrong(&KEY_PREFIX_STRIPPED, text.as_bytes().to_vec())));
            keys.push(wrong(&KEY_PREFIX_ADDED, format!("whsec_{text}").into_bytes()));
        }
        Door::Standard => {
            keys.extend(decoded.map(right));
            keys.push(wrong(&KEY_RAW, raw()));
            keys.extend(stripped.map(|text| wrong(&KEY_RAW_STRIPPED, text.as_bytes().to_vec())));
        }
    }
    keys.extend(hex::decode(text).ok().filter(|key| !key.is_empty()).map(|key| wrong(&KEY_HEX, key)));
    keys.extend(["\n", "\r\n", " "].map(|end| wrong(&KEY_NEWLINE, format!("{text}{end}").into_bytes())));
    keys
}

/// What stands before the body in the signed message.
fn messages(id: &str, timestamp: &str) -> Vec<Variant<Vec<String>>> {
    vec![
        right(vec![format!("{id}.{timestamp}.")]),
        wrong(&MESSAGE_BODY_ONLY, Vec::new()),
        wrong(&MESSAGE_NO_ID, vec![format!("{timestamp}.")]),
        wrong(&MESSAGE_NO_TIMESTAMP, vec![format!("{id}.")]),
        wrong(&MESSAGE_ORDER, vec![format!("{timestamp}.{id}.")]),
        wrong(&MESSAGE_NO_DOTS, vec![format!("{id}{timestamp}")]),
    ]
}

/// GitHub signs nothing but the body.
fn messages_of_github(headers: &Headers, id: &str) -> Vec<Variant<Vec<String>>> {
    let mut messages = vec![right(Vec::new()), wrong(&MESSAGE_TIMED, vec![format!("{id}.")])];
    let times = [MLFLOW, STANDARD].into_iter().filter_map(|other| headers.text(other.timestamp?));
    messages.extend(times.map(|time| wrong(&MESSAGE_TIMED, vec![format!("{id}.{time}.")])));
    messages
}

/// The body, and how it may have looked when it was signed.
fn bodies(body: &[u8]) -> Vec<Variant<Vec<u8>>> {
    let mut bodies = vec![right(body.to_vec())];
    for end in ["\n", "\r\n"] {
        bodies.push(wrong(&BODY_NEWLINE, [body, end.as_bytes()].concat()));
        bodies.extend(body.strip_suffix(end.as_bytes()).map(|shorter| wrong(&BODY_NEWLINE, shorter.to_vec())));
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return bodies };
    for mistake in [&BODY_RESERIALISED, &BODY_SORTED] {
        for spaced in [false, true] {
            let text = json(&value, spaced);
            let escaped = escaped(&text);
            if escaped != text {
                bodies.push(wrong(mistake, escaped.into_bytes()));
            }
            bodies.push(wrong(mistake, text.into_bytes()));
        }
        bodies.extend(serde_json::to_vec_pretty(&value).ok().map(|pretty| wrong(mistake, pretty)));
        value.sort_all_objects();
    }
    // What comes out like the body itself is no mistake, and keeping it would find one where there is none.
    bodies.retain(|other| other.mistake.is_none() || other.value != body);
    bodies
}

/// JSON on one line, with or without the spaces that Python's `json.dumps` puts after `:` and `,`.
fn json(value: &Value, spaced: bool) -> String {
    let (colon, comma) = if spaced { (": ", ", ") } else { (":", ",") };
    let text = |text: &str| Value::from(text).to_string();
    match value {
        Value::Object(map) => {
            let entries: Vec<_> =
                map.iter().map(|(key, inner)| format!("{}{colon}{}", text(key), json(inner, spaced))).collect();
            format!("{{{}}}", entries.join(comma))
        }
        Value::Array(list) => {
            let entries: Vec<_> = list.iter().map(|inner| json(inner, spaced)).collect();
            format!("[{}]", entries.join(comma))
        }
        other => other.to_string(),
    }
}

/// JSON with everything beyond ASCII as `\uXXXX`, the way Python writes it unless told otherwise.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}
