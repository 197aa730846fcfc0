//! A command that delivers the examined body so that it is believed.

use sha2::{Digest as _, Sha256};

use crate::names::DeliveryId;
use crate::webhook::signature::{Headers, Secret, sign_github, sign_mlflow, sign_standard};

use super::{Door, Exhibit};

/// The largest body in bytes that is written into the command; a longer one is read from a file.
const INLINE_BODY_BYTES_MAX: usize = 4 * 1024;

/// The file that a longer body is read from where nobody says which.
const BODY_FILE: &str = "body.json";

/// Writes the command: with the signature where the caller holds the secret, else with a few lines that make it from the secret's file.
pub(super) fn working(exhibit: &Exhibit, door: Door) -> String {
    let address = quoted(&format!("{}{}", exhibit.url.trim_end_matches('/'), door.path()));
    let body = inline(exhibit);
    let post = |headers: &str| {
        let data = body.as_deref().map_or_else(|| quoted(&format!("@{}", body_file(exhibit))), quoted);
        let event = event(exhibit, door);
        format!("curl -sS {address} -H 'Content-Type: application/json' {event}{headers} --data-binary {data}")
    };
    match exhibit.secrets.first().filter(|_| exhibit.may_sign).and_then(|secret| signed(exhibit, door, secret)) {
        Some(headers) => post(&headers),
        None => {
            let source = body.as_deref().map_or_else(
                || format!("cat {}", quoted(body_file(exhibit))),
                |body| format!("printf %s {}", quoted(body)),
            );
            scripted(door, &source, post)
        }
    }
}

/// The header that says which of GitHub's events it is; as a greeting where the examined delivery does not say.
fn event(exhibit: &Exhibit, door: Door) -> String {
    if door != Door::Github {
        return String::new();
    }
    let is_word = |text: &&str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let event = exhibit.headers.text("x-github-event").filter(is_word).unwrap_or("ping");
    format!("-H 'X-GitHub-Event: {event}' ")
}

fn body_file(exhibit: &Exhibit) -> &str {
    exhibit.body_file.as_deref().unwrap_or(BODY_FILE)
}

/// The body as text, where it is short enough and does not happen to contain a secret.
fn inline(exhibit: &Exhibit) -> Option<String> {
    let text = std::str::from_utf8(&exhibit.body)
        .ok()
        .filter(|text| text.len() <= INLINE_BODY_BYTES_MAX && !text.contains('\0'))?;
    // A body that begins with `@` would be taken for the name of a file.
    let fit = !text.starts_with('@') && !exhibit.secrets.iter().any(|secret| text.contains(secret.text()));
    fit.then(|| text.to_owned())
}

fn signed(exhibit: &Exhibit, door: Door, secret: &Secret) -> Option<String> {
    // A new id: that of the examined delivery may be known already, and another body of the same second is another delivery.
    let body = hex::encode(&Sha256::digest(&exhibit.body)[..4]);
    let id = DeliveryId::parse(&format!("doctor-{}-{body}", exhibit.present.as_second())).ok()?;
    let secret = door.parse_secret(secret.text()).ok()?;
    let pairs = match door {
        Door::Mlflow => sign_mlflow(&secret, &id, exhibit.present, &exhibit.body).to_vec(),
        Door::Standard => sign_standard(&secret, &id, exhibit.present, &exhibit.body).to_vec(),
        Door::Github => sign_github(&secret, &id, &exhibit.body).to_vec(),
    };
    let headers: Vec<String> = pairs.into_iter().map(|(name, value)| format!("-H '{name}: {value}'")).collect();
    Some(headers.join(" "))
}

/// Shell lines that sign with the secret in a file. Python does it, because an argument of `openssl` would show the key in the process list.
fn scripted(door: Door, source: &str, post: impl Fn(&str) -> String) -> String {
    let key = match door {
        Door::Mlflow | Door::Github => "open(sys.argv[1],'rb').read().strip()",
        Door::Standard => "base64.b64decode(open(sys.argv[1]).read().strip().removeprefix('whsec_'))",
    };
    let scheme = door.scheme();
    let (signature, before_body) = match door {
        Door::Mlflow | Door::Standard => ("'v1,'+base64.b64encode(h.digest()).decode()", "$id.$ts."),
        Door::Github => ("'sha256='+h.hexdigest()", ""),
    };
    let python = format!(
        "import base64,hmac,sys;k={key};m=sys.argv[2].encode()+sys.stdin.buffer.read();h=hmac.new(k,m,'sha256');print({signature})"
    );
    let time = scheme.timestamp.map(|name| format!("-H \"{name}: $ts\" ")).unwrap_or_default();
    let headers = format!("-H \"{}: $id\" {time}-H \"{}: $sig\"", scheme.id, scheme.signature);
    format!(
        "ts=$(date +%s); id=doctor-$ts\nsig=$({source} | python3 -c \"{python}\" SECRET_FILE \"{before_body}\")\n{}",
        post(&headers)
    )
}

/// A text in single quotes for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Headers {
    /// Reads headers as `curl -i` or a log shows them, one `Name: value` a line; other lines, such as the request line, are passed over.
    pub fn parse(text: &str) -> Self {
        Self::from_pairs(text.lines().filter_map(|line| {
            let (name, value) = line.trim_start_matches(['<', '>', ' ']).split_once(':')?;
            let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            token.then(|| (name, value.trim()))
        }))
    }
}
