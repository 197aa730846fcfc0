//! One model, and all of them.

use std::collections::BTreeSet;

use super::*;
use crate::registry::{Reading, VersionReading};

const GET: &str = "GET registered-models/get name=fraud";
const WISHES: &str =
    "GET model-versions/search filter=name = 'fraud' AND tags.`kmlflow.release` LIKE '%'&max_results=1000";
const MODELS: &str = "GET registered-models/search order_by=name ASC&max_results=1000";
const VERSIONS: &str = "GET model-versions/search order_by=name ASC&order_by=version_number DESC&max_results=1000";

fn model(name: &str, aliases: &[(&str, &str)]) -> Value {
    let aliases: Vec<Value> =
        aliases.iter().map(|(alias, version)| json!({"alias": alias, "version": version})).collect();
    // MLflow leaves empty fields out.
    if aliases.is_empty() { json!({"name": name}) } else { json!({"name": name, "aliases": aliases}) }
}

fn found(name: &str, number: u32, tags: &[(&str, &str)]) -> Value {
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    json!({"name": name, "version": number.to_string(), "source": format!("models:/m-{number}"), "run_id": "", "tags": tags})
}

fn get_version(number: u32) -> String {
    format!("GET model-versions/get name=fraud&version={number}")
}

fn numbers(reading: &Reading) -> Vec<&str> {
    reading.versions.keys().map(Version::as_str).collect()
}

#[tokio::test]
async fn a_model_is_read_with_its_aliases_and_the_versions_they_name_or_that_bear_a_wish() {
    let aliases = [("champion", "1"), ("challenger", "3"), ("old", "1")];
    let script = Script::of([
        (GET, ok(json!({"registered_model": model("fraud", &aliases)}))),
        (WISHES, ok(json!({"model_versions": [found("fraud", 3, &[("kmlflow.release", "canary")])]}))),
        (&get_version(1), ok(json!({"model_version": found("fraud", 1, &[("a", "b"), ("empty", "")])}))),
    ])
    .await;
    let reading = script.client().read_model(&fraud(), &wishes()).await.unwrap().unwrap();
    assert_eq!(reading.model, fraud());
    let told: Vec<String> = reading.aliases.iter().map(|(alias, version)| format!("{alias}={version}")).collect();
    assert_eq!(told, ["challenger=3", "champion=1", "old=1"]);
    let expected = VersionReading {
        source: Some("models:/m-1".to_owned()),
        run_id: None,
        tags: [("a".to_owned(), "b".to_owned()), ("empty".to_owned(), String::new())].into(),
    };
    assert_eq!(reading.versions[&version(1)], expected);
    assert_eq!(numbers(&reading), ["1", "3"]);
    script.done();
}

#[tokio::test]
async fn a_version_that_is_gone_leaves_its_alias_without_one() {
    let script = Script::of([
        (GET, ok(json!({"registered_model": model("fraud", &[("champion", "1")])}))),
        (WISHES, ok(json!({}))),
        (&get_version(1), absent()),
    ])
    .await;
    let reading = script.client().read_model(&fraud(), &wishes()).await.unwrap().unwrap();
    assert!(reading.aliases.len() == 1 && reading.versions.is_empty(), "{reading:?}");
    script.done();
}

#[tokio::test]
async fn a_model_that_is_not_there_and_a_prompt_are_none() {
    let prompt = json!({"name": "fraud", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]});
    for answer in [absent(), ok(json!({"registered_model": prompt}))] {
        let script = Script::of([(GET, answer), (WISHES, ok(json!({})))]).await;
        assert_eq!(script.client().read_model(&fraud(), &wishes()).await.unwrap(), None);
        script.done();
    }
}

#[tokio::test]
async fn each_distinct_wish_is_one_search_and_a_key_that_no_tag_can_have_is_none() {
    let (second, other) = (format!("{WISHES}&page_token=t/+="), WISHES.replace("kmlflow.release", "a b"));
    let script = Script::of([
        (GET, ok(json!({"registered_model": model("fraud", &[])}))),
        (WISHES, ok(json!({"model_versions": [found("fraud", 2, &[])], "next_page_token": "t/+="}))),
        (&second, ok(json!({}))),
        (&other, ok(json!({"model_versions": [found("fraud", 5, &[])]}))),
    ])
    .await;
    let keys = ["kmlflow.release", "a b", "kmlflow.release", "a`b"].map(str::to_owned);
    let reading = script.client().read_model(&fraud(), &keys).await.unwrap().unwrap();
    assert_eq!(numbers(&reading), ["2", "5"]);
    script.done();
}

#[tokio::test]
async fn a_name_that_cannot_be_quoted_finds_its_own_versions_alone() {
    let name = "both ' and \"";
    let script = Script::of([
        (&*format!("GET registered-models/get name={name}"), ok(json!({"registered_model": model(name, &[])}))),
        (
            "GET model-versions/search filter=name LIKE 'both _ and _' AND tags.`kmlflow.release` LIKE '%'&max_results=1000",
            ok(json!({"model_versions": [found(name, 1, &[]), found("both x and y", 2, &[])]})),
        ),
    ])
    .await;
    let reading = script.client().read_model(&ModelName::parse(name).unwrap(), &wishes()).await.unwrap().unwrap();
    assert_eq!(numbers(&reading), ["1"]);
    script.done();
}

#[tokio::test]
async fn a_sweep_asks_for_its_pages_and_nothing_else_and_keeps_what_policies_need() {
    let models = [model("a", &[("champion", "2")]), model("b", &[]), model("no/model", &[("champion", "1")])];
    let versions = [
        found("a", 3, &[("other", "x")]),
        found("a", 2, &[]),
        found("b", 9, &[("kmlflow.release", "")]),
        found("no/model", 1, &[]),
        found("made meanwhile", 1, &[("kmlflow.release", "canary")]),
    ];
    let script = Script::of([
        (MODELS, ok(json!({"registered_models": models[..1], "next_page_token": "m2"}))),
        (&format!("{MODELS}&page_token=m2"), ok(json!({"registered_models": models[1..], "next_page_token": ""}))),
        (VERSIONS, ok(json!({"model_versions": versions[..2], "next_page_token": "v2"}))),
        (&format!("{VERSIONS}&page_token=v2"), ok(json!({"model_versions": versions[2..]}))),
    ])
    .await;
    let besides = [("a", "3"), ("b", "100")].map(|(model, v)| (model.parse().unwrap(), v.parse().unwrap()));
    let readings = script.client().read_all(&wishes(), &besides.into()).await.unwrap();
    let told: Vec<(&str, Vec<&str>)> = readings.iter().map(|r| (r.model.as_str(), numbers(r))).collect();
    assert_eq!(told, [("a", vec!["2", "3"]), ("b", vec!["9"])]);
    script.done();
}

#[tokio::test]
async fn a_sweep_leaves_out_what_no_release_could_be_called_and_fails_not() {
    let aliases = [("champion", "1"), ("bad\u{200b}alias", "1"), ("zero", "0")];
    let script = Script::of([
        (MODELS, ok(json!({"registered_models": [model("fraud", &aliases)]}))),
        (VERSIONS, ok(json!({"model_versions": [found("fraud", 0, &[]), found("fraud", 1, &[])]}))),
    ])
    .await;
    let readings = script.client().read_all(&wishes(), &BTreeSet::new()).await.unwrap();
    assert_eq!((readings[0].aliases.len(), numbers(&readings[0])), (1, vec!["1"]));
    script.done();
}

#[tokio::test]
async fn a_version_that_slipped_between_two_pages_is_asked_for_by_itself() {
    let script = Script::of([
        (MODELS, ok(json!({"registered_models": [model("fraud", &[("champion", "1"), ("gone", "2")])]}))),
        (VERSIONS, ok(json!({}))),
        (&get_version(1), ok(json!({"model_version": found("fraud", 1, &[])}))),
        (&get_version(2), absent()),
    ])
    .await;
    assert_eq!(numbers(&script.client().read_all(&[], &BTreeSet::new()).await.unwrap()[0]), ["1"]);
    script.done();
}

#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_in_smaller_ones() {
    let too_large =
        || Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n".to_vec());
    let (hundred, ten) = (VERSIONS.replace("1000", "100"), VERSIONS.replace("1000", "10"));
    let models = json!({"registered_models": [model("fraud", &[("champion", "1")])]});
    let script = Script::of([
        (MODELS, ok(models)),
        (VERSIONS, ok(json!({"model_versions": [found("fraud", 2, &[])], "next_page_token": "1000"}))),
        (&format!("{VERSIONS}&page_token=1000"), too_large()),
        (&format!("{hundred}&page_token=1000"), too_large()),
        (&format!("{ten}&page_token=1000"), ok(json!({"model_versions": [found("fraud", 1, &[])]}))),
    ])
    .await;
    assert_eq!(numbers(&script.client().read_all(&[], &BTreeSet::new()).await.unwrap()[0]), ["1"]);
    script.done();
    let one_by_one = [(MODELS, ok(json!({}))), (VERSIONS, too_large()), (&*hundred, too_large()), (&*ten, too_large())];
    let script = Script::of(one_by_one).await;
    assert!(matches!(script.client().read_all(&[], &BTreeSet::new()).await, Err(Error::TooLarge { .. })));
    script.done();
}

#[tokio::test]
async fn pages_that_begin_anew_are_noticed_at_once() {
    let again = || ok(json!({"registered_models": [model("fraud", &[])], "next_page_token": "again"}));
    let second = format!("{MODELS}&page_token=again");
    let script = Script::of([(MODELS, again()), (&*second, again())]).await;
    let error = script.client().read_all(&[], &BTreeSet::new()).await.unwrap_err();
    assert!(matches!(error, Error::PagesRepeat { .. }), "{error:?}");
    script.done();
}

#[tokio::test]
async fn an_answer_about_another_model_is_none() {
    let script = Script::of([(GET, ok(json!({"registered_model": model("other", &[])})))]).await;
    let error = script.client().read_model(&fraud(), &[]).await.unwrap_err();
    assert!(matches!(error, Error::NotMlflow { .. }), "{error:?}");
    script.done();
}

#[tokio::test]
async fn an_empty_registry_is_read_with_two_requests() {
    let script = Script::of([(MODELS, ok(json!({}))), (VERSIONS, ok(json!({})))]).await;
    assert_eq!(script.client().read_all(&wishes(), &BTreeSet::new()).await.unwrap(), []);
    script.done();
}

#[tokio::test]
async fn no_more_than_eight_requests_are_on_their_way_at_once() {
    let names: Vec<(String, String)> = (1..=40).map(|n| (format!("alias-{n}"), n.to_string())).collect();
    let aliases: Vec<(&str, &str)> = names.iter().map(|(alias, number)| (alias.as_str(), number.as_str())).collect();
    let requests: Vec<String> = (1..=40).map(get_version).collect();
    let mut expected = vec![(GET, ok(json!({"registered_model": model("fraud", &aliases)})))];
    let versions = requests.iter().zip(1..);
    expected
        .extend(versions.map(|(request, n)| (request.as_str(), ok(json!({"model_version": found("fraud", n, &[])})))));
    let script = Script::of(expected).await;
    let reading = script.client().read_model(&fraud(), &[]).await.unwrap().unwrap();
    assert_eq!(reading.versions.len(), 40);
    assert!(script.state.lock().unwrap().open_max <= REQUESTS_MAX);
    script.done();
}
