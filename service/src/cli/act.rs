//! Acts on a release: advance, promote, rollback, pause, resume, abort, weights, retract.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::args::{ByHand, Place, Waiting, arm, pair, percent};
use super::change::{change_unless, is_unchanged};
use super::client::Call;
use super::error::{CliError, Exit};
use super::history::{is_short_commit, whole_commit};
use super::release::percentages;
use super::views::{items, text};
use super::{Context, usage};
use crate::names::{CommitId, Version};

macro_rules! simple_act {
    ($(#[$doc:meta])* $name:ident, $verb:literal, $help:ident) => {
        $(#[$doc])*
        #[derive(Debug, Args)]
        #[command(after_help = usage::$help)]
        pub(super) struct $name {
            #[command(flatten)]
            place: Place,
            #[command(flatten)]
            by_hand: ByHand,
            #[command(flatten)]
            waiting: Waiting,
        }

        impl From<$name> for Order {
            fn from($name { place, by_hand, waiting }: $name) -> Self {
                Self { place, verb: $verb, body: json!({}), by_hand, waiting }
            }
        }
    };
}

simple_act!(
    /// Take a canary one step on, or flip a blue-green release.
    AdvanceArgs, "advance", ADVANCE
);
simple_act!(
    /// Let nothing go on by itself, but for a rollback.
    PauseArgs, "pause", PAUSE
);
simple_act!(
    /// Let a paused release go on.
    ResumeArgs, "resume", RESUME
);
simple_act!(
    /// End a run, back to the version before it.
    AbortArgs, "abort", ABORT
);
simple_act!(
    /// Remove a release from the repository.
    RetractArgs, "retract", RETRACT
);

/// End a run with the new version.
#[derive(Debug, Args)]
#[command(after_help = usage::PROMOTE)]
pub(super) struct PromoteArgs {
    #[command(flatten)]
    place: Place,
    /// ab: the arm that wins.
    #[arg(long, value_name = "ARM", value_parser = arm)]
    variant: Option<String>,
    #[command(flatten)]
    by_hand: ByHand,
    #[command(flatten)]
    waiting: Waiting,
}

/// Go back to the newest settled state before the present one.
#[derive(Debug, Args)]
#[command(after_help = usage::ROLLBACK)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    place: Place,
    /// To this commit of the history, or to this version.
    #[arg(long, value_name = "COMMIT|VERSION", value_parser = rollback_to)]
    to: Option<Value>,
    #[command(flatten)]
    by_hand: ByHand,
    #[command(flatten)]
    waiting: Waiting,
}

/// Change the shares of an A/B release, or the percentage of a shadow.
#[derive(Debug, Args)]
#[command(after_help = usage::WEIGHTS)]
pub(super) struct WeightsArgs {
    #[command(flatten)]
    place: Place,
    /// ab: a=70,b=30; shadow: the mirrored percentage.
    #[arg(value_name = "WEIGHTS")]
    weights: String,
    #[command(flatten)]
    by_hand: ByHand,
    #[command(flatten)]
    waiting: Waiting,
}

/// An act that was ordered.
#[derive(Debug)]
pub(super) struct Order {
    place: Place,
    verb: &'static str,
    body: Value,
    by_hand: ByHand,
    waiting: Waiting,
}

impl From<PromoteArgs> for Order {
    fn from(PromoteArgs { place, variant, by_hand, waiting }: PromoteArgs) -> Self {
        let body = variant.map_or_else(|| json!({}), |variant| json!({ "variant": variant }));
        Self { place, verb: "promote", body, by_hand, waiting }
    }
}

impl From<RollbackArgs> for Order {
    fn from(RollbackArgs { place, to, by_hand, waiting }: RollbackArgs) -> Self {
        let body = to.map_or_else(|| json!({}), |to| json!({ "to": to }));
        Self { place, verb: "rollback", body, by_hand, waiting }
    }
}

impl TryFrom<WeightsArgs> for Order {
    type Error = CliError;

    fn try_from(WeightsArgs { place, weights, by_hand, waiting }: WeightsArgs) -> Result<Self, CliError> {
        Ok(Self { place, verb: "weights", body: shares(&weights)?, by_hand, waiting })
    }
}

/// Carries out an act.
pub(super) async fn run(order: Order, ctx: &Context) -> Result<Exit, CliError> {
    let Order { place, verb, mut body, by_hand, waiting } = order;
    if let Some(digits) = body.pointer("/to/digits").and_then(Value::as_str) {
        body = json!({ "to": { "commit": whole_commit(&place, digits, ctx).await? } });
    } else if let Some(digits) = body.pointer("/to/version").and_then(Value::as_str).filter(|v| is_short_commit(v)) {
        // Digits of a commit may all be decimal; a version of so many digits is not seen in a registry.
        if let Ok(commit) = whole_commit(&place, digits, ctx).await {
            body = json!({ "to": { "commit": commit } });
        }
    }
    let path = place.path(&[verb]);
    let call = match verb {
        "retract" => Call::new(Method::DELETE, &path[..path.len() - 1]),
        _ => Call::new(Method::POST, &path).body(body),
    };
    let never_there = async |reply: &_| {
        if verb == "retract" && is_unchanged(reply) { check_it_was_there(&place, ctx).await } else { Ok(()) }
    };
    match change_unless(by_hand.on(call), &waiting, ctx, never_there).await {
        // A retraction is carried out whatever is queued.
        Err(error) if verb != "retract" => Err(with_queued(error, &place, ctx).await),
        done => done,
    }
}

/// Refuses to call it done where nothing of that name was ever there: it is a slip of the pen.
async fn check_it_was_there(place: &Place, ctx: &Context) -> Result<(), CliError> {
    match ctx.client.get(&place.path(&["history"])).await {
        Ok(history) if !items(&history.body).is_empty() => Ok(()),
        Err(error) if error.exit != Exit::NotFound => Err(error),
        _ => {
            let sentence = format!("no release of the name `{}` is or was deployed there", place.name);
            Err(CliError::new(Exit::NotFound, sentence).hint("`kmlflow list` shows what there is"))
        }
    }
}

/// An act that is impossible from what is deployed, with the request that is queued for the release and may be what was meant.
async fn with_queued(error: CliError, place: &Place, ctx: &Context) -> CliError {
    if !matches!(error.exit, Exit::Conflict | Exit::NotFound) {
        return error;
    }
    let release = match ctx.client.get(&place.path(&[])).await {
        Ok(release) => release.body,
        // It knows of a first request that is queued.
        Err(missing) if error.exit == Exit::NotFound && missing.exit == Exit::NotFound => return missing,
        Err(_) => return error,
    };
    let id = text(&release, "/waiting/delivery");
    if id.is_empty() {
        return error;
    }
    let asked = match ctx.client.get(&["deliveries", &id]).await {
        Ok(delivery) => asked_for(&delivery.body),
        Err(_) => String::new(),
    };
    let queued = format!(
        "delivery #{}{asked} is queued and waits for: {}; a newer `kmlflow release` replaces it",
        text(&release, "/waiting/number"),
        text(&release, "/waiting/waitsFor"),
    );
    let hint = error.hint.as_deref().map_or_else(|| queued.clone(), |hint| format!("{hint}; {queued}"));
    error.hint(hint)
}

/// What a delivery asks for, in brackets: ` (canary of version 3)`; empty where it is no release.
fn asked_for(delivery: &Value) -> String {
    let of = |field: &str| text(delivery, &format!("/event{field}"));
    let (strategy, version) = (of("/intent/strategy"), of("/intent/arms/0/version"));
    if version.is_empty() { String::new() } else { format!(" ({strategy} of version {version})") }
}

fn shares(given: &str) -> Result<Value, CliError> {
    if let Ok(percent) = percent(given.trim_end_matches('%')) {
        return Ok(json!({ "percent": percent }));
    }
    let pairs = given.split(',').map(pair).collect::<Result<Vec<_>, _>>();
    let pairs = pairs.map_err(|_| {
        CliError::usage(format!("`{}` are no weights", crate::names::shown(given)))
            .hint("write a=70,b=30 for an A/B release, 20 for a shadow")
    })?;
    Ok(json!({ "weights": percentages(&pairs)? }))
}

/// Reads where a rollback goes: a version, a commit, or the first digits of one, to be looked up.
fn rollback_to(given: &str) -> Result<Value, String> {
    if let Ok(version) = Version::parse(given) {
        return Ok(json!({ "version": version }));
    }
    if let Ok(commit) = CommitId::parse(given) {
        return Ok(json!({ "commit": commit }));
    }
    if is_short_commit(given) {
        Ok(json!({ "digits": given }))
    } else {
        Err("must be a version, or a commit of `kmlflow history`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_shares_of_arms_or_one_percentage() {
        assert_eq!(shares("a=70,b=30").unwrap(), json!({"weights": {"a": 70, "b": 30}}));
        assert_eq!(shares("20").unwrap(), json!({"percent": 20}));
        assert_eq!(shares("20%").unwrap(), json!({"percent": 20}));
        for bad in ["", "a", "a=x", "a=-1,b=101", "a=50,a=50", "NaN", "300", "101", "z=50,b=50"] {
            assert_eq!(shares(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_rollback_goes_to_a_version_or_a_commit() {
        assert_eq!(rollback_to("6").unwrap(), json!({"version": "6"}));
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(rollback_to(commit).unwrap(), json!({"commit": commit}));
        assert_eq!(rollback_to("0123abc").unwrap(), json!({"digits": "0123abc"}));
        assert!(rollback_to("0123").is_err() && rollback_to("HEAD").is_err());
    }
}
