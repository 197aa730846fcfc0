//! Our webhook at a tracking server: found by its address, made or changed, tested; and what stands in the way, said so that it can be set.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::webhooks::{Subscription, Tested, Webhook};
use super::{Client, Error};

/// What our webhook is called; others may be called the same, so it is found by its address.
const NAME: &str = "kmlflow";

/// What it is for, as MLflow's own list shows it.
const DESCRIPTION: &str = "Tells the release service what changed in the registry";

/// The events that a release can follow from: six of the registry, of the fifteen and more that there are.
const EVENTS: [(&str, &str); 6] = [
    ("REGISTERED_MODEL", "CREATED"),
    ("MODEL_VERSION", "CREATED"),
    ("MODEL_VERSION_TAG", "SET"),
    ("MODEL_VERSION_TAG", "DELETED"),
    ("MODEL_VERSION_ALIAS", "CREATED"),
    ("MODEL_VERSION_ALIAS", "DELETED"),
];

/// The status in which a webhook delivers.
const ACTIVE: &str = "ACTIVE";

/// The event that is tried: the one that most releases follow from.
const TRIED: (&str, &str) = ("MODEL_VERSION_ALIAS", "CREATED");

/// How often the webhooks are listed at once after one was made. Without a common key every process of the server (four by default) has
/// one of its own and fails with the others' webhooks; so many connections meet more than one process.
const LISTS_AT_ONCE: usize = 8;

/// The first version that has webhooks.
const WEBHOOKS_SINCE: (u32, u32) = (3, 3);

/// What there is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    pub id: String,
    pub name: String,
    pub outcome: Outcome,
    /// Webhooks with the same address that were removed: each had delivered everything once more.
    pub removed: Vec<String>,
    /// What our door answered to the test delivery.
    pub response_status: u16,
    pub server_version: Option<String>,
}

/// What had to be done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Created,
    /// What was changed, by the names of MLflow's fields.
    Changed(Vec<&'static str>),
    Unchanged,
}

/// Why there is no connection: one sentence, and what to set or do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Obstacle {
    pub sentence: String,
    pub cure: String,
    /// Whether the server refused, rather than failed.
    pub is_refusal: bool,
}

/// When the secret is given to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveSecret {
    /// With a new webhook, and where a test delivery is not believed.
    WhereNeeded,
    /// In any case.
    Always,
    /// Never: it must have been given before.
    Never,
}

impl Client {
    /// Makes sure that the server delivers to an address, signed with a secret; the same again changes nothing.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn connect(&self, url: &str, secret: &str, give: GiveSecret) -> Result<Connected, Obstacle> {
        let server_version = self.check_server().await?;
        let found = self.webhooks().await.map_err(|error| self.obstacle(error, url))?;
        let mut ours: Vec<Webhook> = found.into_iter().filter(|webhook| webhook.url == url).collect();
        // Of several the one that is right already.
        ours.sort_by_key(|webhook| !is_subscribed(webhook) || webhook.status != ACTIVE);
        let mut ours = ours.into_iter();
        let (webhook, mut outcome) = match ours.next() {
            Some(webhook) => self.adjust(webhook, url, secret, give).await?,
            None if give == GiveSecret::Never => return Err(never_connected(url)),
            None => {
                let webhook = self.create_webhook(fields(url, secret)).await;
                (webhook.map_err(|error| self.obstacle(error, url))?, Outcome::Created)
            }
        };
        let removed = self.remove(ours.collect(), url).await?;
        self.check_keys(url).await?;
        let mut tested = self.tried(&webhook.id, url).await?;
        if tested.response_status == Some(401) && outcome == Outcome::Unchanged && give == GiveSecret::WhereNeeded {
            // It signs with a secret that is not live here: nobody can read which, so ours is given.
            let changed = self.change_webhook(&webhook.id, json!({"secret": secret})).await;
            changed.map_err(|error| self.obstacle(error, url))?;
            outcome = Outcome::Changed(vec!["secret"]);
            tested = self.tried(&webhook.id, url).await?;
        }
        let response_status = answered(&tested, url)?;
        Ok(Connected { id: webhook.id, name: webhook.name, outcome, removed, response_status, server_version })
    }

    /// Whether it is MLflow, and new enough.
    async fn check_server(&self) -> Result<Option<String>, Obstacle> {
        let version = match self.server_version().await {
            Ok(version) => version,
            // Behind a login even this is not told; what follows says more.
            Err(Error::Unauthorized { .. } | Error::Forbidden { .. }) => return Ok(None),
            Err(error @ Error::Refused { .. }) => return Err(self.stranger_obstacle(&error)),
            Err(error) => return Err(self.obstacle(error, "")),
        };
        let Some(version) = version else { return Err(self.stranger_obstacle(&self.stranger(200))) };
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(u32::MAX));
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if (major, minor) < WEBHOOKS_SINCE {
            let sentence = format!("the tracking server is MLflow {version}, which has no webhooks");
            return Err(refusal(
                sentence,
                "use MLflow 3.3 or newer; without webhooks `mlflow.sweep_interval` finds changes",
            ));
        }
        Ok(Some(version))
    }

    /// Changes what is not as it should be.
    async fn adjust(
        &self,
        webhook: Webhook,
        url: &str,
        secret: &str,
        give: GiveSecret,
    ) -> Result<(Webhook, Outcome), Obstacle> {
        let mut changed = Vec::new();
        let mut change = json!({});
        if !is_subscribed(&webhook) {
            changed.push("events");
            change["events"] = subscriptions();
        }
        if webhook.status != ACTIVE {
            changed.push("status");
            change["status"] = ACTIVE.into();
        }
        if give == GiveSecret::Always {
            changed.push("secret");
            change["secret"] = secret.into();
        }
        if changed.is_empty() {
            return Ok((webhook, Outcome::Unchanged));
        }
        let webhook = self.change_webhook(&webhook.id, change).await.map_err(|error| self.obstacle(error, url))?;
        Ok((webhook, Outcome::Changed(changed)))
    }

    async fn remove(&self, doubles: Vec<Webhook>, url: &str) -> Result<Vec<String>, Obstacle> {
        let mut removed = Vec::new();
        for double in doubles {
            self.delete_webhook(&double.id).await.map_err(|error| self.obstacle(error, url))?;
            removed.push(double.id);
        }
        Ok(removed)
    }

    /// Whether every process of the server can read what another one wrote.
    async fn check_keys(&self, url: &str) -> Result<(), Obstacle> {
        let lists = join_all((0..LISTS_AT_ONCE).map(|_| self.webhooks())).await;
        lists.into_iter().try_for_each(|list| list.map(drop)).map_err(|error| self.obstacle(error, url))
    }

    async fn tried(&self, id: &str, url: &str) -> Result<Tested, Obstacle> {
        let event = Subscription { entity: TRIED.0.to_owned(), action: TRIED.1.to_owned() };
        match self.test_webhook(id, &event).await {
            Ok(tested) => Ok(tested),
            Err(Error::TimedOut { .. }) => Err(no_answer(url, "it got no answer in time")),
            Err(error) => Err(self.obstacle(error, url)),
        }
    }

    /// What an error means where webhooks are set up.
    fn obstacle(&self, error: Error, url: &str) -> Obstacle {
        match &error {
            Error::Refused { message, .. } => {
                by_words(message, url).unwrap_or_else(|| refusal(error.to_string(), "look into MLflow's own log"))
            }
            Error::Server { status: 500, .. } => unreadable_webhooks(self.address()),
            Error::Unauthorized { .. } => {
                refusal(error.to_string(), "name an administrator of MLflow with --username and --password-file")
            }
            Error::Forbidden { address } => refusal(
                format!("only an administrator of `{address}` may set up webhooks, and this account is none"),
                "name one with --username and --password-file, or have its `is_admin` set",
            ),
            Error::NotMlflow { .. } => self.stranger_obstacle(&error),
            _ => Obstacle {
                sentence: error.to_string(),
                cure: error.cure().unwrap_or("try again in a while").to_owned(),
                is_refusal: false,
            },
        }
    }

    fn stranger_obstacle(&self, error: &Error) -> Obstacle {
        let is_version_missing = matches!(error, Error::NotMlflow { status: 200, .. });
        let sentence = match error {
            Error::NotMlflow { .. } if !is_version_missing => error.to_string(),
            _ => format!(
                "what answers at `{}` is no tracking server: it does not tell a version of MLflow",
                self.address()
            ),
        };
        let cure = "write the address of MLflow itself after --tracking-uri, such as http://mlflow:5000";
        Obstacle { sentence, cure: cure.to_owned(), is_refusal: false }
    }
}

/// What a new webhook is made of.
fn fields(url: &str, secret: &str) -> Value {
    json!({
        "name": NAME, "description": DESCRIPTION, "url": url, "secret": secret, "status": ACTIVE,
        "events": subscriptions(),
    })
}

fn subscriptions() -> Value {
    EVENTS.iter().map(|(entity, action)| json!({"entity": entity, "action": action})).collect()
}

/// Whether a webhook is told of our events and of no others; their order is the database's.
fn is_subscribed(webhook: &Webhook) -> bool {
    let mut told: Vec<(&str, &str)> =
        webhook.events.iter().map(|event| (event.entity.as_str(), event.action.as_str())).collect();
    let mut wanted = EVENTS;
    told.sort_unstable();
    wanted.sort_unstable();
    told == wanted
}

/// What our door answered, where it took the delivery.
fn answered(tested: &Tested, url: &str) -> Result<u16, Obstacle> {
    match (tested.success, tested.response_status) {
        (true, Some(status)) if (200..300).contains(&status) => Ok(status),
        (_, Some(401)) => Err(failure(
            format!("MLflow delivers to `{url}`, and what answers there does not know the secret"),
            "run this where the data directory of that service is, and let MLflow in by `webhooks.allow_from`; its log says more",
        )),
        (_, Some(status)) => Err(failure(
            format!("MLflow delivers to `{url}`, and what answers there says {status}"),
            "check that the address is that of the release service: name it with --url",
        )),
        (_, None) => {
            let message = tested.error_message.as_deref().unwrap_or_default();
            Err(by_words(message, url).unwrap_or_else(|| no_answer(url, "it could not")))
        }
    }
}

/// What MLflow's own words about an address mean.
fn by_words(message: &str, url: &str) -> Option<Obstacle> {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["Invalid webhook URL scheme"]) {
        return Some(missing(
            "http",
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https",
            &format!("MLflow takes no webhook with an address like `{url}`"),
        ));
    }
    if has(&["non-public IP address", "non-public IP"]) {
        return Some(missing(
            "private addresses",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true",
            &format!("MLflow delivers to no address of a private network, as `{url}` is"),
        ));
    }
    if has(&["Cannot resolve", "NameResolutionError", "Failed to resolve", "Name or service not known"]) {
        return Some(failure(
            format!("the name in `{url}` is not known where MLflow runs"),
            "name the service with --url by a name or address that MLflow's machine reaches",
        ));
    }
    if has(&["CERTIFICATE_VERIFY_FAILED", "SSLError"]) {
        return Some(failure(
            format!("MLflow does not trust the certificate of `{url}`"),
            "use a certificate of a public authority (MLflow reads no other), or http with MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https",
        ));
    }
    if has(&["Connection refused"]) {
        return Some(no_answer(url, "the connection is refused"));
    }
    has(&["timed out", "Timeout"]).then(|| no_answer(url, "it got no answer in time"))
}

fn missing(what: &str, line: &str, sentence: &str) -> Obstacle {
    refusal(
        format!("{sentence}: it is not set to allow {what}"),
        &format!("set `{line}` in the environment of the MLflow server and restart it"),
    )
}

fn unreadable_webhooks(address: &str) -> Obstacle {
    refusal(
        format!(
            "the tracking server at `{address}` fails with 500 on its webhooks: it cannot read the secrets of those that were made with \
             another key, as each of its processes has one where none is set"
        ),
        "set `MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=$(python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())')` \
         once and for all in the environment of the MLflow server and restart it; where a webhook made before stays unreadable, set back the key \
         that it was made with, or remove it in MLflow's database: `DELETE FROM webhooks WHERE url = '…'`",
    )
}

fn no_answer(url: &str, why: &str) -> Obstacle {
    failure(
        format!("MLflow cannot deliver to `{url}`: {why}"),
        "start the service with `kmlflow serve`, and name it with --url by an address that MLflow's machine reaches",
    )
}

fn never_connected(url: &str) -> Obstacle {
    failure(format!("MLflow has no webhook for `{url}`"), "make one with `kmlflow mlflow connect`")
}

fn refusal(sentence: String, cure: &str) -> Obstacle {
    Obstacle { sentence, cure: cure.to_owned(), is_refusal: true }
}

fn failure(sentence: String, cure: &str) -> Obstacle {
    Obstacle { sentence, cure: cure.to_owned(), is_refusal: false }
}
