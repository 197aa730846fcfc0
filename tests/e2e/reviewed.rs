//! What is waited for where a change of the release `fraud` goes by a review, at whichever forge.

use serde_json::Value;
use tests::Server;

const FRAUD: &str = "production/models/fraud";

/// Waits until the version that serves is this one.
#[track_caller]
pub(super) fn serves(server: &Server<'_>, version: &str) -> Value {
    server.until(&format!("version {version} serves"), || {
        let answer = server.api("GET", &format!("/releases/{FRAUD}"), None);
        let release = (answer.status == 200).then(|| answer.json())?;
        (release["spec"]["variants"][0]["version"] == version).then_some(release)
    })
}

/// Waits until what was accepted by this answer waits for the review of a pull request; answers the rest of those words, which begin with its address, and
/// the delivery. The answer itself waits for the forge no longer than for anything else, and a forge may take longer than that.
#[track_caller]
pub(super) fn review_of(server: &Server<'_>, answer: &Value) -> (String, String) {
    let delivery = answer["delivery"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let words = server.until("its pull request is open", || {
        let delivery = server.get(&format!("/deliveries/{delivery}"));
        Some(delivery["waitsFor"].as_str()?.strip_prefix("the review of ")?.to_owned())
    });
    (words, delivery)
}

/// Waits until what was accepted by this answer waits for what these words say, or is tried again because of it; answers all that is said. The answer itself may
/// come before that is known.
#[track_caller]
pub(super) fn says_why(server: &Server<'_>, answer: &Value, words: &str) -> String {
    let delivery = answer["delivery"].as_str().unwrap_or_else(|| panic!("{answer}"));
    server.until(&format!("it says `{words}`"), || {
        let delivery = server.get(&format!("/deliveries/{delivery}"));
        let said = ["waitsFor", "reason", "cure"].map(|field| delivery[field].as_str().unwrap_or_default()).join("; ");
        said.contains(words).then_some(said)
    })
}

/// Waits until its last review is in this state, and answers the release.
#[track_caller]
pub(super) fn review_is(server: &Server<'_>, state: &str) -> Value {
    server.until(&format!("the review is {state}"), || {
        let release = server.get(&format!("/releases/{FRAUD}"));
        (release["review"]["state"] == state).then_some(release)
    })
}
