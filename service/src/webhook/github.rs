//! GitHub's webhooks, and those of Gitea and Forgejo, which send GitHub's headers beside their own: what an event's JSON says happened.
//!
//! Some sixty events exist, few matter: a push to the branch, what becomes of a pull request and its checks, and the dispatch that asks for a
//! release.
//! Whatever else is authentic is an ignored event with its reason. All of a dispatch's `client_payload` is what some caller wrote: it is parsed and never put into a text
//! that anything interprets. Which event it is stands in a header that is not signed, so each is read by its fields alone.

use serde_json::{Map, Value};

use super::signature::Headers;
use super::standard::{missing, request, violation};
use super::{ParseError, parse_object};
use crate::event::Event;
use crate::names::{ModelName, Requester, Version, shown};
use crate::release::{Refusal, model_of_image};

/// The header that names the event.
const EVENT: &str = "x-github-event";

/// The action of a `repository_dispatch` that asks for a release: the trigger of the service's predecessor.
const RELEASE_ACTION: &str = "mlflow-model-update";

/// Where a dispatch releases to unless it says so: where the first policy and the command line do.
const PLACE: [(&str, &str); 2] = [("environment", "production"), ("namespace", "models")];

/// What the reference says; beside it these fields would say it twice.
const SAID_BY_IMAGE: [&str; 3] = ["model", "version", "image"];

/// The field of a release request that says who asks. In a dispatch it says for whom, because who asks is signed.
const CLAIM: &str = "requestedBy";

type Object = Map<String, Value>;

/// Whether it is the event that a new webhook sends to see whether somebody is there.
pub fn is_ping(headers: &Headers) -> bool {
    headers.text(EVENT) == Some("ping")
}

/// Reads an authentic delivery.
///
/// # Errors
/// The body is no JSON object, no header names the event, or a dispatch that asks for a release cannot be read as one.
pub fn parse(headers: &Headers, body: &[u8]) -> Result<Event, ParseError> {
    let event = headers.text(EVENT).ok_or(ParseError::NoHeader("X-GitHub-Event"))?;
    let body = parse_object(body)?;
    match event {
        "ping" => Ok(ignored("a webhook asked whether this door is there, and it is")),
        "push" => Ok(push(&body)),
        "repository_dispatch" => dispatch(body),
        // Gitea and Forgejo have one event for each way to review.
        "pull_request"
        | "pull_request_review"
        | "pull_request_approved"
        | "pull_request_rejected"
        | "pull_request_comment"
        | "pull_request_sync" => Ok(review(event, &body)),
        "check_suite" => Ok(checked(&body)),
        other => Ok(ignored(format!("`{}` says nothing about releases", shown(other)))),
    }
}

fn ignored(reason: impl Into<String>) -> Event {
    Event::Ignored { reason: reason.into() }
}

/// Which repository it was is not looked at: what a push leads to is a look at our own.
fn push(body: &Object) -> Event {
    match body.get("ref") {
        Some(Value::String(reference)) => match reference.strip_prefix("refs/heads/") {
            Some(branch) => Event::Pushed { branch: branch.to_owned() },
            None => ignored(format!("`{}` was pushed, which is no branch", shown(reference))),
        },
        _ => ignored("a push that names no `ref`"),
    }
}

/// Of which branch a pull request is; what it says of its state is asked of the forge itself.
fn review(event: &str, body: &Object) -> Event {
    match body.get("pull_request").and_then(|pull| pull.get("head")?.get("ref")?.as_str()) {
        Some(branch) => Event::ReviewChanged { branch: branch.to_owned() },
        None => ignored(format!("a `{event}` that names no branch")),
    }
}

/// Checks of a branch ended: one that waited for them may have been merged. Of which branch they are; of a fork's, nothing is said.
fn checked(body: &Object) -> Event {
    match body.get("check_suite").and_then(|suite| suite.get("head_branch")?.as_str()) {
        Some(branch) => Event::ReviewChanged { branch: branch.to_owned() },
        None => ignored("a `check_suite` that names no branch"),
    }
}

fn dispatch(mut body: Object) -> Result<Event, ParseError> {
    let action = body.get("action").and_then(Value::as_str).unwrap_or_default();
    if action != RELEASE_ACTION {
        return Ok(ignored(format!(
            "a `repository_dispatch` of the type `{}` asks for nothing here; `{RELEASE_ACTION}` asks for a release",
            shown(action)
        )));
    }
    let sender = body.get("sender").and_then(|sender| sender.get("login")).and_then(Value::as_str);
    let sender = sender.and_then(|login| Requester::parse(login).ok());
    let Some(Value::Object(mut wanted)) = body.remove("client_payload") else {
        return Err(ParseError::Fields(missing("client_payload")));
    };
    say_image(&mut wanted)?;
    say_who(&mut wanted, sender)?;
    for (field, text) in PLACE {
        wanted.entry(field).or_insert_with(|| Value::String(text.to_owned()));
    }
    request(&mut wanted).map(|requested| Event::Requested(Box::new(requested)))
}

/// Puts in its place who asks: whom GitHub says that it is. For whom they say that they ask stands beside it as what it is, a claim.
fn say_who(wanted: &mut Object, sender: Option<Requester>) -> Result<(), ParseError> {
    let claim = match wanted.shift_remove(CLAIM) {
        None => None,
        Some(Value::String(text)) => Some(
            Requester::parse(&text)
                .map_err(|error| ParseError::Refused(violation(CLAIM, format!("is no name: it {}", error.rule))))?,
        ),
        Some(_) => return Err(ParseError::Fields(violation(CLAIM, "must be a text".to_owned()))),
    };
    let who = match (sender, claim) {
        (Some(sender), None) => sender,
        (Some(sender), Some(claim)) => Requester::parse(&format!("{sender} (for {claim})")).unwrap_or(sender),
        // Whoever it is, the inbox has the name of the door that they came by.
        (None, _) => return Ok(()),
    };
    wanted.insert(CLAIM.to_owned(), Value::String(String::from(who)));
    Ok(())
}

/// Puts what the reference says in its place, in the words of a release request.
fn say_image(wanted: &mut Object) -> Result<(), ParseError> {
    if let Some(field) = SAID_BY_IMAGE.into_iter().find(|field| wanted.contains_key(*field)) {
        let detail = "stands in `image_uri` already and must be left out".to_owned();
        return Err(ParseError::Fields(violation(field, detail)));
    }
    let image = match wanted.shift_remove("image_uri") {
        Some(Value::String(image)) => image,
        Some(_) => return Err(ParseError::Fields(violation("image_uri", "must be a text".to_owned()))),
        None => return Err(ParseError::Fields(missing("image_uri"))),
    };
    let (model, version) = model_of(&image).map_err(ParseError::Refused)?;
    let said = SAID_BY_IMAGE.into_iter().zip([model.into(), version.into(), image]);
    wanted.extend(said.map(|(field, text)| (field.to_owned(), Value::String(text))));
    Ok(())
}

/// The model and its version, of `[registry/]model:version` with or without a digest. What is wrong is said without the reference, in
/// which somebody may have written a password.
fn model_of(image: &str) -> Result<(ModelName, Version), Refusal> {
    model_of_image(image).map_err(|what| {
        let detail = format!("must be `[registry/]model:version`, such as `registry.example/fraud:8`: {what}");
        violation("image_uri", detail)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Requested;
    use crate::release::{Intent, Wanted};

    fn read(event: &str, body: &Value) -> Result<Event, ParseError> {
        parse(&Headers::from_pairs([("X-GitHub-Event", event)]), body.to_string().as_bytes())
    }

    fn dispatched(payload: Value) -> Result<Event, ParseError> {
        let body = json!({"action": RELEASE_ACTION, "branch": "main", "client_payload": payload,
            "repository": {"full_name": "Codertocat/Hello-World"}, "sender": {"login": "Codertocat"}});
        read("repository_dispatch", &body)
    }

    #[track_caller]
    fn requested(payload: Value) -> (Requested, Wanted) {
        match dispatched(payload).unwrap() {
            Event::Requested(requested) => match &requested.intent {
                Intent::Put(wanted) => (Requested::clone(&requested), Wanted::clone(wanted)),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn reason(event: &str, body: &Value) -> String {
        match read(event, body).unwrap() {
            Event::Ignored { reason } => {
                assert!(!reason.contains('\n') && reason.len() < 400, "{reason}");
                reason
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_push_names_its_branch_and_a_tag_is_none() {
        let pushed = |reference: &str| read("push", &json!({"ref": reference, "after": "0".repeat(40)})).unwrap();
        assert_eq!(pushed("refs/heads/main"), Event::Pushed { branch: "main".to_owned() });
        assert_eq!(pushed("refs/heads/feature/a"), Event::Pushed { branch: "feature/a".to_owned() });
        assert!(reason("push", &json!({"ref": "refs/tags/simple-tag"})).contains("`refs/tags/simple-tag`"));
        assert!(reason("push", &json!({"ref": 7})).contains("no `ref`"));
    }

    #[test]
    fn the_predecessors_trigger_asks_for_a_release() {
        let (asked, wanted) = requested(json!({"image_uri": "registry.example:5000/team/fraud:8"}));
        assert_eq!(asked.key.to_string(), "production/models/fraud");
        assert_eq!(asked.requested_by.as_deref(), Some("Codertocat"));
        assert_eq!((wanted.model.as_str(), wanted.arms[0].version.as_str()), ("fraud", "8"));
        assert_eq!(wanted.arms[0].artifact.image.as_deref(), Some("registry.example:5000/team/fraud:8"));
        assert!(!wanted.by_registry);
    }

    #[test]
    fn a_dispatch_may_say_where_and_how_as_a_request_does() {
        let digest = "0a".repeat(32);
        let (asked, wanted) = requested(json!({"image_uri": format!("fraud:8@sha256:{digest}"), "name": "cards",
            "namespace": "payments", "environment": "staging", "strategy": "canary", "requestedBy": "ada"}));
        assert_eq!(asked.key.to_string(), "staging/payments/cards");
        assert_eq!(asked.requested_by.as_deref(), Some("Codertocat (for ada)"));
        assert_eq!(wanted.strategy.as_str(), "canary");
    }

    #[test]
    fn what_a_dispatch_cannot_mean_is_named_and_repeats_no_password() {
        let check = |payload: Value, because: &str| match dispatched(payload) {
            Err(ParseError::Fields(refusal) | ParseError::Refused(refusal)) => {
                let reason = &refusal.reason;
                assert!(reason.contains(because) && !reason.contains('\n') && !reason.contains("hunter2"), "{reason}");
            }
            other => panic!("{other:?}"),
        };
        check(json!({}), "`image_uri` is missing");
        check(json!({"image_uri": 8}), "`image_uri` must be a text");
        check(json!({"image_uri": "registry.example/fraud"}), "it has no version");
        check(json!({"image_uri": "registry.example:5000/fraud"}), "it has no version");
        check(json!({"image_uri": "registry.example/fraud:latest"}), "its version must be");
        check(json!({"image_uri": "registry.example/:8"}), "its model must be");
        check(json!({"image_uri": "u:hunter2@registry.example/fraud:8"}), "must be");
        check(json!({"image_uri": "registry.example/$(reboot):8"}), "image");
        check(json!({"image_uri": "registry.example/fraud:8", "version": "9"}), "`version` stands in `image_uri`");
        check(json!({"image_uri": "registry.example/fraud:8", "stratgy": "canary"}), "`stratgy` is not a field");
        check(json!({"image_uri": "registry.example/fraud:8", "namespace": "../x"}), "`namespace` is no namespace");
        check(json!("registry.example/fraud:8"), "`client_payload` is missing");
        check(json!({"image_uri": "fraud:8", "requestedBy": 7}), "`requestedBy` must be a text");
        check(json!({"image_uri": "fraud:8", "requestedBy": "a\nb"}), "`requestedBy` is no name");
    }

    #[test]
    fn who_asks_is_whom_github_says_whatever_the_payload_claims() {
        let by = |claim: &str| requested(json!({"image_uri": "fraud:8", "requestedBy": claim})).0.requested_by;
        assert_eq!(by("the-boss").as_deref(), Some("Codertocat (for the-boss)"));
        // What does not fit beside the name is left out, not the name.
        assert_eq!(by(&"x".repeat(100)).as_deref(), Some("Codertocat"));
        let nobody =
            json!({"action": RELEASE_ACTION, "client_payload": {"image_uri": "fraud:8", "requestedBy": "the-boss"}});
        let Event::Requested(requested) = read("repository_dispatch", &nobody).unwrap() else {
            panic!("not a request")
        };
        assert_eq!(requested.requested_by, None);
    }

    #[test]
    fn another_dispatch_asks_for_nothing() {
        let body = json!({"action": "on-demand-test", "branch": "master", "client_payload": {}});
        assert!(reason("repository_dispatch", &body).contains("`on-demand-test` asks for nothing"));
        assert!(reason("repository_dispatch", &json!({"action": null})).contains("asks for nothing"));
    }

    #[test]
    fn a_name_of_a_sender_that_no_commit_can_bear_is_left_out() {
        let body =
            json!({"action": RELEASE_ACTION, "client_payload": {"image_uri": "fraud:8"}, "sender": {"login": "a\nb"}});
        let Event::Requested(requested) = read("repository_dispatch", &body).unwrap() else { panic!("not a request") };
        assert_eq!(requested.requested_by, None);
    }

    #[test]
    fn what_becomes_of_a_pull_request_names_its_branch() {
        let body = json!({"action": "closed", "pull_request": {"number": 1, "head": {"ref": "kmlflow/production/models/fraud"}}});
        for event in ["pull_request", "pull_request_review", "pull_request_approved", "pull_request_rejected"] {
            let branch = "kmlflow/production/models/fraud".to_owned();
            assert_eq!(read(event, &body).unwrap(), Event::ReviewChanged { branch }, "{event}");
            assert!(reason(event, &json!({"action": "opened"})).contains("names no branch"), "{event}");
        }
        let suite = |branch: Value| json!({"action": "completed", "check_suite": {"head_branch": branch}});
        let branch = "kmlflow/production/models/fraud".to_owned();
        assert_eq!(read("check_suite", &suite(json!(branch))).unwrap(), Event::ReviewChanged { branch });
        assert!(reason("check_suite", &suite(Value::Null)).contains("names no branch"));
        assert!(reason("check_run", &json!({"action": "completed"})).contains("says nothing"));
    }

    #[test]
    fn every_other_event_is_ignored_by_name() {
        assert!(reason("ping", &json!({"zen": "Design for failure.", "hook_id": 1})).contains("and it is"));
        assert!(reason("star", &json!({})).contains("`star` says nothing"));
        assert!(reason(&"x".repeat(5000), &json!({})).contains("says nothing"));
    }

    #[test]
    fn a_delivery_without_the_name_of_its_event_or_a_json_object_is_an_error() {
        let headers = |pairs: &[(&str, &str)]| Headers::from_pairs(pairs.iter().copied());
        let none = headers(&[]);
        assert_eq!(parse(&none, b"{}"), Err(ParseError::NoHeader("X-GitHub-Event")));
        assert_eq!(
            parse(&headers(&[("x-github-event", "push"); 2]), b"{}"),
            Err(ParseError::NoHeader("X-GitHub-Event"))
        );
        let push = headers(&[("x-github-event", "push")]);
        assert_eq!(parse(&push, b"[]"), Err(ParseError::NotAnObject));
        assert!(matches!(parse(&push, b"payload=%7B%7D"), Err(ParseError::NotJson(_))));
        assert!(is_ping(&headers(&[("X-GitHub-Event", "ping")])) && !is_ping(&push) && !is_ping(&none));
    }
}
