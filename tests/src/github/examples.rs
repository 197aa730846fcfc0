//! The payloads that GitHub's users have collected for its webhooks (npm `@octokit/webhooks-examples`).

use serde_json::Value;

/// Names the file with them; the tier `github` fetches it and sets this.
const EXAMPLES: &str = "KMLFLOW_TEST_GITHUB_EXAMPLES";

/// All of them, by event.
///
/// # Panics
/// When the tier did not run, or the file is none.
#[track_caller]
pub fn webhook_examples() -> Vec<(String, Vec<Value>)> {
    let path = std::env::var(EXAMPLES).unwrap_or_else(|_| panic!("`{EXAMPLES}` names no file: run `tests/run github`"));
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the file")).expect("examples");
    let events = all.as_array().expect("a list").iter();
    let payloads = |event: &Value| event["examples"].as_array().expect("a list").clone();
    events.map(|event| (event["name"].as_str().expect("a name").to_owned(), payloads(event))).collect()
}

/// The first of an event that tells of this action.
#[track_caller]
pub(super) fn webhook_example(event: &str, action: &str) -> Value {
    let (_, payloads) = webhook_examples().into_iter().find(|(name, _)| name == event).expect("the event");
    payloads.into_iter().find(|payload| payload["action"] == action).expect("the action")
}
