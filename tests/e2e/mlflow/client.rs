//! The service's client of the registry against a real one: what only MLflow itself can say of names, filters and permissions.

use kmlflow::mlflow::{Client, Error, Password, Permission, Settings, User};
use kmlflow::names::{ModelName, Version};
use kmlflow::registry::Reading;
use serde_json::json;
use std::collections::BTreeSet;
use tests::mlflow::{ADMIN, MlflowServer, basic};

use super::{ACCOUNTS, MLFLOW};

/// Names that a filter, an address or a pattern could stumble over.
const NAMES: [&str; 14] = [
    "O'Brien",
    "say \"hi\"",
    "both ' and \"",
    "both ' \"",
    "50% off",
    "back`tick",
    "under_score",
    "模型 Größe v1.0 (x)",
    "ends in \\",
    "'quoted'",
    "\"doubly\"",
    "two '' quotes",
    "x' OR name LIKE '%",
    "a; -- b & c=d#e+f",
];

fn client(mlflow: &MlflowServer, who: Option<(&str, &str)>) -> Client {
    let settings = Settings {
        tracking_uri: mlflow.url(),
        username: who.map(|(name, _)| name.to_owned()),
        password: who.map(|(_, password)| Password::new(password.to_owned())),
    };
    Client::new(settings).unwrap()
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// The aliases and the versions of a reading, written down.
fn told(reading: &Reading) -> String {
    let aliases: Vec<String> = reading.aliases.iter().map(|(alias, version)| format!("{alias}={version}")).collect();
    let versions: Vec<&str> = reading.versions.keys().map(Version::as_str).collect();
    format!("{} of {}", aliases.join(" "), versions.join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_any_name_are_read_with_what_policies_need_and_nothing_else() {
    let wish = "kmlflow.release odd /:.-ключ".to_owned();
    for model in NAMES {
        MLFLOW.create_model(model);
        for _ in 0..4 {
            MLFLOW.create_version(model, "s3://b/m", &[("validation_status", "approved")]);
        }
        MLFLOW.set_tag(model, "3", &wish, "canary");
        MLFLOW.set_alias(model, "champion", "1");
        MLFLOW.set_alias(model, "größte", "1");
    }
    let client = client(&MLFLOW, None);
    let wishes = [wish];
    let all = client.read_all(&wishes, &BTreeSet::new()).await.unwrap();
    for model in NAMES {
        let reading = client.read_model(&name(model), &wishes).await.unwrap().unwrap();
        assert_eq!(told(&reading), "champion=1 größte=1 of 1 3", "{model}");
        assert_eq!(reading.versions[&version("1")].tags["validation_status"], "approved");
        assert_eq!(reading.versions[&version("1")].source.as_deref(), Some("s3://b/m"));
        assert_eq!(all.iter().find(|other| other.model == reading.model), Some(&reading));
        let rows = client.versions_page(&reading.model, None).await.unwrap();
        let rows: Vec<&str> = rows.items.iter().map(|row| row.version.as_str()).collect();
        assert_eq!(rows, ["4", "3", "2", "1"], "{model}");
        // SQLite knows upper and lower case of ASCII only.
        let found = client.models_page(None, Some(&model.to_ascii_uppercase())).await.unwrap();
        assert!(found.items.iter().any(|row| row.name == reading.model), "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_none_and_what_is_no_model_is_left_out() {
    let client = client(&MLFLOW, None);
    assert_eq!(client.read_model(&name("nothing"), &[]).await.unwrap(), None);
    assert_eq!(client.version(&name("nothing"), &version("1")).await.unwrap(), None);
    assert_eq!(client.artifact_location(&name("nothing"), &version("1")).await.unwrap(), None);
    assert_eq!(client.run_tags("nothing").await.unwrap(), None);
    assert_eq!(client.versions_page(&name("nothing"), None).await.unwrap().items, []);

    MLFLOW.create_model("deleted");
    MLFLOW.create_version("deleted", "s3://b/m", &[]);
    MLFLOW.set_alias("deleted", "champion", "1");
    MLFLOW.delete_version("deleted", "1");
    let reading = client.read_model(&name("deleted"), &[]).await.unwrap().unwrap();
    assert_eq!(told(&reading), " of ", "MLflow drops the alias with the version");

    let prompt = json!({"name": "greeting", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]});
    drop(MLFLOW.api("POST", "/registered-models/create", Some(&prompt)).expect(200));
    assert_eq!(client.read_model(&name("greeting"), &[]).await.unwrap(), None);
    assert!(
        client
            .read_all(&[], &BTreeSet::new())
            .await
            .unwrap()
            .iter()
            .all(|reading| reading.model.as_str() != "greeting")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_written_and_removed_whatever_they_hold() {
    MLFLOW.create_model("tagged");
    let number = version(&MLFLOW.create_version("tagged", "s3://b/m", &[]));
    let client = client(&MLFLOW, None);
    let tag = |key: &str| MLFLOW.tag("tagged", "1", key);
    for value in ["", "ä \"quoted\"\nline", &"x".repeat(5_000)] {
        client.set_tag(&name("tagged"), &number, "kmlflow.status.reason", value).await.unwrap();
        assert_eq!(tag("kmlflow.status.reason").as_deref(), Some(value));
    }
    for _ in 0..2 {
        client.delete_tag(&name("tagged"), &number, "kmlflow.status.reason").await.unwrap();
        assert_eq!(tag("kmlflow.status.reason"), None);
    }
    client.delete_tag(&name("nothing"), &number, "k").await.unwrap();
    let error = client.set_tag(&name("nothing"), &number, "k", "v").await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code, .. } if code == "RESOURCE_DOES_NOT_EXIST"), "{error}");
    let error = client.set_tag(&name("tagged"), &number, "no`key", "v").await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code, .. } if code == "INVALID_PARAMETER_VALUE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_version_are_found_and_read() {
    let run = MLFLOW.create_run(("mlflow.user", "ann"));
    let metric = json!({"run_id": run, "key": "auc", "value": 0.93, "timestamp": 1, "step": 0});
    drop(MLFLOW.api("POST", "/runs/log-metric", Some(&metric)).expect(200));
    let directory = MLFLOW.put_artifact(&run, "model/MLmodel", "flavors: {}\n");
    MLFLOW.create_model("files");
    let source = format!("{directory}/model");
    let body = json!({"name": "files", "source": source, "run_id": run});
    drop(MLFLOW.api("POST", "/model-versions/create", Some(&body)).expect(200));
    let (client, model, number) = (client(&MLFLOW, None), name("files"), version("1"));
    assert_eq!(client.artifact_location(&model, &number).await.unwrap(), Some(source));
    let file = client.artifact_file(&model, &number, "MLmodel").await.unwrap();
    assert_eq!(file.as_deref(), Some(b"flavors: {}\n".as_slice()));
    assert_eq!(client.artifact_file(&model, &number, "requirements.txt").await.unwrap(), None);
    assert!(client.artifact_file(&model, &number, "../../secret").await.is_err());
    assert_eq!(client.version(&model, &number).await.unwrap().unwrap().run_id.as_deref(), Some(run.as_str()));
    assert_eq!(client.run_tags(&run).await.unwrap().unwrap()["mlflow.user"], "ann");
    let measured = client.version_metrics(&model, &number).await.unwrap();
    assert_eq!(measured, Some([("auc".to_owned(), 0.93)].into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_say_who_somebody_is_and_what_they_may_do() {
    ACCOUNTS.create_model("guarded");
    ACCOUNTS.create_user("bea", "a-password-of-bea");
    let anybody = client(&ACCOUNTS, None);
    let (admin, bea) = (basic(ADMIN.0, ADMIN.1), basic("bea", "a-password-of-bea"));
    let model = name("guarded");

    let user = |name: &str, is_admin| Some(User { name: name.to_owned(), is_admin });
    assert_eq!(anybody.current_user(&admin).await.unwrap(), user(ADMIN.0, true));
    assert_eq!(anybody.current_user(&bea).await.unwrap(), user("bea", false));
    for stranger in [basic("bea", "a-wrong-password"), basic("nobody", "x"), "Bearer x".to_owned()] {
        let error = anybody.current_user(&stranger).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    }
    assert_eq!(client(&MLFLOW, None).current_user(&bea).await.unwrap(), None, "a server without accounts");

    assert_eq!(anybody.permission(&bea, "bea", &model).await.unwrap(), Permission::Read);
    for (word, expected) in [("EDIT", Permission::Edit), ("MANAGE", Permission::Manage)] {
        ACCOUNTS.grant("bea", "guarded", word);
        assert_eq!(anybody.permission(&bea, "bea", &model).await.unwrap(), expected);
    }
    let error = anybody.permission(&bea, ADMIN.0, &model).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "nobody is told of others: {error}");

    let error = anybody.read_model(&model, &[]).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let ours = client(&ACCOUNTS, Some(ADMIN));
    assert!(ours.read_model(&model, &[]).await.unwrap().is_some());
    ACCOUNTS.create_version("guarded", "s3://b/m", &[]);
    ACCOUNTS.create_user("cleo", "a-password-of-cleo");
    let reader = client(&ACCOUNTS, Some(("cleo", "a-password-of-cleo")));
    assert!(reader.read_model(&model, &[]).await.unwrap().is_some());
    let error = reader.set_tag(&model, &version("1"), "k", "v").await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
}
