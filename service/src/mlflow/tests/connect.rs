//! Our webhook: found, made, changed, tested, and everything that stands in the way.

use super::*;

const URL: &str = "http://kmlflow.svc:8080/webhooks/mlflow";
const VERSION: &str = "GET version";
const LIST: &str = "GET webhooks max_results=1000";
const TEST: &str = r#"POST webhooks/w-1/test {"event":{"entity":"MODEL_VERSION_ALIAS","action":"CREATED"}}"#;
const EVENTS: &str = r#"[{"entity":"REGISTERED_MODEL","action":"CREATED"},{"entity":"MODEL_VERSION","action":"CREATED"},{"entity":"MODEL_VERSION_TAG","action":"SET"},{"entity":"MODEL_VERSION_TAG","action":"DELETED"},{"entity":"MODEL_VERSION_ALIAS","action":"CREATED"},{"entity":"MODEL_VERSION_ALIAS","action":"DELETED"}]"#;

fn create() -> String {
    format!(
        r#"POST webhooks {{"name":"kmlflow","description":"Tells the release service what changed in the registry","url":"{URL}","secret":"s-1","status":"ACTIVE","events":{EVENTS}}}"#
    )
}

fn webhook(id: &str, url: &str, events: &str) -> Value {
    let events: Value = serde_json::from_str(events).unwrap();
    json!({"webhook_id": id, "name": "kmlflow", "url": url, "events": events, "status": "ACTIVE"})
}

/// Ours as it should be, with its events in the order of the database.
fn right() -> Value {
    let mut webhook = webhook("w-1", URL, EVENTS);
    webhook["events"].as_array_mut().unwrap().reverse();
    webhook
}

fn made(webhook: &Value) -> Reply {
    ok(json!({"webhook": webhook}))
}

fn version_of(text: &str) -> Reply {
    with_head(200, "Content-Type: text/html\r\n", text)
}

fn tested(result: Value) -> Reply {
    ok(json!({"result": result}))
}

fn delivered() -> Reply {
    tested(json!({"success": true, "response_status": 202, "response_body": "{}"}))
}

/// Every list that is asked for: the first, and the eight that meet every process.
fn lists(first: Value, later: &Value) -> Vec<(&'static str, Reply)> {
    let mut lists = vec![(LIST, ok(json!({"webhooks": first})))];
    lists.extend(std::iter::repeat_n((LIST, ok(json!({"webhooks": later}))), 8));
    lists
}

async fn connect(script: &Script, give: GiveSecret) -> Result<Connected, Obstacle> {
    let connected = script.client().connect(URL, "s-1", give).await;
    script.done();
    connected
}

#[tokio::test]
async fn where_there_is_none_one_is_made_and_tried() {
    let create = create();
    let foreign = json!([webhook("w-9", "http://other/webhooks/mlflow", EVENTS)]);
    let mut expected = lists(foreign, &json!([]));
    expected.extend([(VERSION, version_of("3.17.2\n")), (&create, made(&right())), (TEST, delivered())]);
    let connected = connect(&Script::of(expected).await, GiveSecret::WhereNeeded).await.unwrap();
    assert_eq!((connected.outcome, connected.response_status), (Outcome::Created, 202));
    assert_eq!((connected.id.as_str(), connected.server_version.as_deref()), ("w-1", Some("3.17.2")));
}

#[tokio::test]
async fn one_that_is_right_is_left_alone() {
    let mut expected = lists(json!([right()]), &json!([right()]));
    expected.extend([(VERSION, version_of("3.17.2")), (TEST, delivered())]);
    let connected = connect(&Script::of(expected).await, GiveSecret::WhereNeeded).await.unwrap();
    assert_eq!((connected.outcome, connected.removed), (Outcome::Unchanged, Vec::new()));
}

#[tokio::test]
async fn one_that_differs_is_changed_by_what_differs() {
    let mut differs = webhook("w-1", URL, r#"[{"entity":"MODEL_VERSION","action":"CREATED"}]"#);
    differs["status"] = "DISABLED".into();
    let change = format!(r#"PATCH webhooks/w-1 {{"events":{EVENTS},"status":"ACTIVE"}}"#);
    let mut expected = lists(json!([differs]), &json!([]));
    expected.extend([(VERSION, version_of("3.3.0")), (&change, made(&right())), (TEST, delivered())]);
    let connected = connect(&Script::of(expected).await, GiveSecret::WhereNeeded).await.unwrap();
    assert_eq!(connected.outcome, Outcome::Changed(vec!["events", "status"]));
}

#[tokio::test]
async fn of_several_with_our_address_the_right_one_stays() {
    let double = webhook("w-2", URL, r#"[{"entity":"MODEL_VERSION","action":"CREATED"}]"#);
    let mut expected = lists(json!([double, right()]), &json!([]));
    expected.extend([(VERSION, version_of("3.17.2")), ("DELETE webhooks/w-2 {}", ok(json!({}))), (TEST, delivered())]);
    let connected = connect(&Script::of(expected).await, GiveSecret::WhereNeeded).await.unwrap();
    assert_eq!((connected.outcome, connected.removed), (Outcome::Unchanged, vec!["w-2".to_owned()]));
}

#[tokio::test]
async fn one_that_signs_with_another_secret_gets_ours() {
    let refused = tested(json!({"success": false, "response_status": 401, "response_body": "{}"}));
    let mut expected = lists(json!([right()]), &json!([]));
    expected.extend([
        (VERSION, version_of("3.17.2")),
        (TEST, refused.clone()),
        (r#"PATCH webhooks/w-1 {"secret":"s-1"}"#, made(&right())),
        (TEST, delivered()),
    ]);
    let connected = connect(&Script::of(expected).await, GiveSecret::WhereNeeded).await.unwrap();
    assert_eq!(connected.outcome, Outcome::Changed(vec!["secret"]));
    // Where it must have been given before, that is a failure.
    let mut expected = lists(json!([right()]), &json!([]));
    expected.extend([(VERSION, version_of("3.17.2")), (TEST, refused)]);
    let obstacle = connect(&Script::of(expected).await, GiveSecret::Never).await.unwrap_err();
    assert!(obstacle.sentence.contains("does not know the secret"), "{obstacle}");
}

#[tokio::test]
async fn a_rotation_gives_the_secret_in_any_case() {
    let mut expected = lists(json!([right()]), &json!([]));
    expected.extend([
        (VERSION, version_of("3.17.2")),
        (r#"PATCH webhooks/w-1 {"secret":"s-1"}"#, made(&right())),
        (TEST, delivered()),
    ]);
    let connected = connect(&Script::of(expected).await, GiveSecret::Always).await.unwrap();
    assert_eq!(connected.outcome, Outcome::Changed(vec!["secret"]));
    let expected = [(VERSION, version_of("3.17.2")), (LIST, ok(json!({})))];
    let obstacle = connect(&Script::of(expected).await, GiveSecret::Never).await.unwrap_err();
    assert!(obstacle.sentence.contains("has no webhook"), "{obstacle}");
}

/// What a refusal to make one is said to mean.
async fn check_refusal(answer: Reply, sentence: &str, cure: &str) {
    let create = create();
    let expected = [(VERSION, version_of("3.17.2")), (LIST, ok(json!({}))), (&create, answer)];
    let obstacle = connect(&Script::of(expected).await, GiveSecret::WhereNeeded).await.unwrap_err();
    assert!(obstacle.sentence.contains(sentence) && obstacle.cure.contains(cure), "{obstacle:?}");
    assert!(!format!("{obstacle:?}").contains("s-1"), "{obstacle:?}");
}

#[tokio::test]
async fn each_setting_that_is_missing_is_named_with_the_line_to_set() {
    let invalid = |message: &str| refused(400, "INVALID_PARAMETER_VALUE", message);
    check_refusal(
        invalid("Invalid webhook URL scheme: 'http'. Allowed schemes are: https."),
        "not set to allow http",
        "`MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https`",
    )
    .await;
    check_refusal(
        invalid("Webhook URL must not resolve to a non-public IP address. '127.0.0.1' resolves to 127.0.0.1."),
        "private network",
        "`MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true`",
    )
    .await;
    check_refusal(html(500, "x"), "cannot read the secrets", "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=").await;
    let unknown = invalid("Cannot resolve Webhook URL hostname 'kmlflow.svc'.");
    check_refusal(unknown, "is not known where MLflow runs", "--url").await;
    check_refusal(invalid("Webhook URL is too long"), "Webhook URL is too long", "log").await;
    check_refusal(html(403, "Permission denied"), "only an administrator", "--username").await;
    check_refusal(html(503, "x"), "failed with 503", "log").await;
}

#[tokio::test]
async fn a_process_with_another_key_is_met_after_one_was_made() {
    let create = create();
    let mut expected = vec![(VERSION, version_of("3.17.2")), (LIST, ok(json!({}))), (&*create, made(&right()))];
    expected.extend(std::iter::repeat_n((LIST, ok(json!({}))), 7));
    expected.push((LIST, html(500, "InvalidToken")));
    let script = Script::of(expected).await;
    let obstacle = script.client().connect(URL, "s-1", GiveSecret::WhereNeeded).await.unwrap_err();
    assert!(obstacle.is_refusal && obstacle.cure.contains("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY="), "{obstacle:?}");
    script.done();
}

/// What a test delivery that does not arrive is said to mean.
async fn check_test(result: Value, sentence: &str) {
    let mut expected = lists(json!([right()]), &json!([]));
    expected.extend([(VERSION, version_of("3.17.2")), (TEST, tested(result))]);
    let obstacle = connect(&Script::of(expected).await, GiveSecret::Never).await.unwrap_err();
    assert!(obstacle.sentence.contains(sentence) && !obstacle.is_refusal, "{obstacle:?}");
}

#[tokio::test]
async fn a_delivery_that_does_not_arrive_is_said_why() {
    let failed = |words: &str| json!({"success": false, "error_message": format!("Failed to test webhook: {words}")});
    check_test(failed("… [Errno 111] Connection refused"), "the connection is refused").await;
    check_test(failed("NameResolutionError(…)"), "is not known where MLflow runs").await;
    check_test(failed("SSLError(… CERTIFICATE_VERIFY_FAILED …)"), "does not trust the certificate").await;
    check_test(failed("Read timed out"), "no answer in time").await;
    check_test(failed("something new"), "it could not").await;
    check_test(json!({"success": true, "response_status": 302}), "says 302").await;
    check_test(json!({"success": false, "response_status": 404}), "says 404").await;
    check_test(json!({}), "it could not").await;
}

#[tokio::test]
async fn what_is_no_tracking_server_is_said_so() {
    for (answer, sentence) in [
        (html(200, "A page"), "does not tell a version of MLflow"),
        (html(404, "Not Found"), "answered 404"),
        (with_head(302, "Location: http://x/\r\n", ""), "answered 302"),
        (refused(404, "ENDPOINT_NOT_FOUND", "no"), "does not tell a version of MLflow"),
        (version_of("2.22.0"), "MLflow 2.22.0, which has no webhooks"),
        (version_of("3.2.0"), "which has no webhooks"),
    ] {
        let obstacle = connect(&Script::of([(VERSION, answer)]).await, GiveSecret::WhereNeeded).await.unwrap_err();
        assert!(obstacle.sentence.contains(sentence), "{obstacle}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client_of(&format!("http://{free}"));
    let obstacle = client.connect(URL, "s-1", GiveSecret::WhereNeeded).await.unwrap_err();
    assert!(obstacle.sentence.contains("connection refused") && !obstacle.is_refusal, "{obstacle}");
}

#[tokio::test]
async fn behind_a_login_the_account_is_what_is_missing() {
    let expected = [(VERSION, html(401, "Unauthorized")), (LIST, html(401, "Unauthorized"))];
    let obstacle = connect(&Script::of(expected).await, GiveSecret::WhereNeeded).await.unwrap_err();
    assert!(obstacle.is_refusal && obstacle.cure.contains("--password-file"), "{obstacle:?}");
}
