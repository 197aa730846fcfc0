//! Signed deliveries, made from the senders' documentation alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::http::Request;

/// Who signs, and so how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// MLflow's registry webhooks.
    Mlflow,
    /// Standard Webhooks 1.0.
    Standard,
    /// GitHub, and servers that send as it does.
    Github,
}

/// One delivery before it is signed.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub signing: Signing,
    pub id: String,
    pub timestamp: i64,
    /// Which event it is, where a header says so.
    pub event: String,
    pub body: Vec<u8>,
}

impl Delivery {
    /// A delivery of MLflow with this body.
    pub fn mlflow(id: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { signing: Signing::Mlflow, id: id.into(), timestamp: now(), event: String::new(), body: body.into() }
    }

    /// A delivery of the generic door with this release request, `name`, `namespace` and `environment` in it.
    pub fn generic(id: &str, body: &Value) -> Self {
        let body = body.to_string().into();
        Self { signing: Signing::Standard, id: id.into(), timestamp: now(), event: String::new(), body }
    }

    /// An event of GitHub.
    pub fn github(id: &str, event: &str, body: &Value) -> Self {
        let body = body.to_string().into();
        Self { signing: Signing::Github, id: id.into(), timestamp: now(), event: event.into(), body }
    }

    /// A new version of a model.
    pub fn version_created(id: &str, model: &str, version: &str) -> Self {
        let source = format!("models:/m-{version:0>32}");
        let data = json!({"name": model, "version": version, "source": source, "run_id": null, "tags": {}, "description": null});
        Self::mlflow(id, envelope("model_version", "created", data))
    }

    /// An alias was pointed at a version.
    pub fn alias(id: &str, model: &str, alias: &str, version: &str) -> Self {
        let data = json!({"name": model, "alias": alias, "version": version});
        Self::mlflow(id, envelope("model_version_alias", "created", data))
    }

    /// An alias was taken away.
    pub fn alias_deleted(id: &str, model: &str, alias: &str) -> Self {
        Self::mlflow(id, envelope("model_version_alias", "deleted", json!({"name": model, "alias": alias})))
    }

    /// A tag of a version was set.
    pub fn tag(id: &str, model: &str, version: &str, key: &str, value: &str) -> Self {
        let data = json!({"name": model, "version": version, "key": key, "value": value});
        Self::mlflow(id, envelope("model_version_tag", "set", data))
    }

    /// Sent at another time than now, in seconds relative to now.
    #[must_use]
    pub fn sent(mut self, seconds: i64) -> Self {
        self.timestamp += seconds;
        self
    }

    /// The same event, said to have happened this many seconds from now.
    ///
    /// # Panics
    /// When the body is not an event of MLflow.
    #[must_use]
    pub fn happened(mut self, seconds: i64) -> Self {
        let mut body: Value = serde_json::from_slice(&self.body).expect("an event of MLflow");
        body["timestamp"] = timestamp(seconds).into();
        self.body = body.to_string().into();
        self
    }

    /// The path that takes it.
    pub fn path(&self) -> &'static str {
        match self.signing {
            Signing::Mlflow => "/webhooks/mlflow",
            Signing::Standard => "/webhooks/generic",
            Signing::Github => "/webhooks/github",
        }
    }

    /// The request with all its headers, signed with this secret as its file holds it.
    ///
    /// # Panics
    /// When a Standard Webhooks secret is not base64.
    pub fn sign(&self, secret: &str) -> Request {
        let request =
            Request::new("POST", self.path()).header("Content-Type", "application/json").body(self.body.clone());
        let timestamp = self.timestamp.to_string();
        let signed = [self.id.as_bytes(), b".", timestamp.as_bytes(), b".", &self.body].concat();
        match self.signing {
            Signing::Mlflow => request
                .header("X-MLflow-Delivery-Id", &self.id)
                .header("X-MLflow-Timestamp", &timestamp)
                .header("X-MLflow-Signature", format!("v1,{}", mac(secret.as_bytes(), &signed))),
            Signing::Standard => {
                let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).expect("a base64 secret");
                request
                    .header("webhook-id", &self.id)
                    .header("webhook-timestamp", &timestamp)
                    .header("webhook-signature", format!("v1,{}", mac(&key, &signed)))
            }
            Signing::Github => {
                let digits: String =
                    mac_bytes(secret.as_bytes(), &self.body).iter().map(|byte| format!("{byte:02x}")).collect();
                request
                    .header("X-GitHub-Delivery", &self.id)
                    .header("X-GitHub-Event", &self.event)
                    // By SHA-1, which nothing may believe; GitHub sends both.
                    .header("X-Hub-Signature", format!("sha1={}", &digits[..40]))
                    .header("X-Hub-Signature-256", format!("sha256={digits}"))
            }
        }
    }
}

/// HMAC-SHA256 in base64.
pub fn mac(key: &[u8], message: &[u8]) -> String {
    STANDARD.encode(mac_bytes(key, message))
}

fn mac_bytes(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn envelope(entity: &str, action: &str, data: Value) -> String {
    json!({"entity": entity, "action": action, "timestamp": timestamp(0), "data": data}).to_string()
}

/// A moment as MLflow writes it.
fn timestamp(seconds_from_now: i64) -> String {
    let moment = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds_from_now);
    moment.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
