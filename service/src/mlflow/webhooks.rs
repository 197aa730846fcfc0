//! Webhooks of a tracking server: listed, made, changed, removed, tested. The secret of one is never told.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Call, present};
use super::{Client, Error};

/// How long a test may take: MLflow posts four times before it gives up, at 0, 0, 3 and 8 s, and an unanswered post takes longer still.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The most webhooks of a page, and the most pages: nobody has a thousand webhooks, and three times nobody is no reason to go on.
const PAGE_ITEMS: &str = "1000";
const PAGES_MAX: usize = 3;

const WEBHOOKS: &str = "api/2.0/mlflow/webhooks";

/// An event that a webhook is told of, by MLflow's own words in upper case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub entity: String,
    pub action: String,
}

/// A webhook as a tracking server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Webhook {
    #[serde(rename = "webhook_id")]
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub url: String,
    #[serde(default)]
    pub events: Vec<Subscription>,
    #[serde(default)]
    pub status: String,
}

/// What became of a delivery that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Tested {
    #[serde(default)]
    pub success: bool,
    /// What the receiver answered, where it did.
    pub response_status: Option<u16>,
    /// Why it did not, in MLflow's words.
    pub error_message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    webhook: Webhook,
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    webhooks: Vec<Webhook>,
    next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TestAnswer {
    result: Tested,
}

#[derive(Debug, Deserialize)]
struct Done {}

impl Client {
    /// Every webhook.
    ///
    /// # Errors
    /// The server does not answer, or not as MLflow does; only an administrator may ask.
    pub(super) async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let mut found = Vec::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let call = Call::get(WEBHOOKS).query("max_results", PAGE_ITEMS);
            let call = match token {
                Some(token) => call.query("page_token", token),
                None => call,
            };
            let List { webhooks, next_page_token } = self.json(call).await?;
            found.extend(webhooks);
            token = next_page_token.filter(|token: &String| !token.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
        Err(Error::TooManyPages { address: self.address().to_owned(), pages_max: PAGES_MAX })
    }

    /// Makes one. Not repeated where the answer is lost: the next one who looks finds it.
    pub(super) async fn create_webhook(&self, fields: Value) -> Result<Webhook, Error> {
        let call = Call::write(Method::POST, WEBHOOKS, fields).once();
        self.json(call).await.map(|Answer { webhook }| webhook)
    }

    /// Changes some fields of one.
    pub(super) async fn change_webhook(&self, id: &str, fields: Value) -> Result<Webhook, Error> {
        self.json(Call::write(Method::PATCH, WEBHOOKS, fields).below(&[id])).await.map(|Answer { webhook }| webhook)
    }

    /// Removes one; one that is gone is removed already.
    pub(super) async fn delete_webhook(&self, id: &str) -> Result<(), Error> {
        let call = Call::write(Method::DELETE, WEBHOOKS, json!({})).below(&[id]);
        present(self.json(call).await).map(|_: Option<Done>| ())
    }

    /// Has an example of an event delivered, and says what came of it.
    pub(super) async fn test_webhook(&self, id: &str, event: &Subscription) -> Result<Tested, Error> {
        let call = Call::write(Method::POST, WEBHOOKS, json!({"event": event})).below(&[id, "test"]);
        self.json(call.within(TEST_TIMEOUT)).await.map(|TestAnswer { result }| result)
    }

    /// The version of the server, where it tells one.
    pub(super) async fn server_version(&self) -> Result<Option<String>, Error> {
        let bytes = self.bytes(Call::get("version").bytes_max(1024)).await?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Some(text).filter(|text| text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.')))
    }
}
