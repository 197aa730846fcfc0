//! Everything that is one request: tags, files, runs, lists, accounts.

use super::*;

#[tokio::test]
async fn a_tag_is_set_and_deleted_and_an_absent_one_is_deleted_already() {
    const DELETE: &str = r#"DELETE model-versions/delete-tag {"name":"fraud","version":"1","key":"odd key/ä"}"#;
    const SET: &str =
        r#"POST model-versions/set-tag {"name":"fraud","version":"1","key":"odd key/ä","value":"a\"b\n"}"#;
    let script = Script::of([(SET, ok(json!({}))), (DELETE, ok(json!({}))), (DELETE, absent()), (SET, absent())]).await;
    let client = script.client();
    client.set_tag(&fraud(), &version(1), "odd key/ä", "a\"b\n").await.unwrap();
    client.delete_tag(&fraud(), &version(1), "odd key/ä").await.unwrap();
    client.delete_tag(&fraud(), &version(1), "odd key/ä").await.unwrap();
    let error = client.set_tag(&fraud(), &version(1), "odd key/ä", "a\"b\n").await.unwrap_err();
    assert!(error.to_string().contains("RESOURCE_DOES_NOT_EXIST") && !error.is_temporary(), "{error}");
    script.done();
}

#[tokio::test]
async fn files_are_found_where_they_are_and_none_where_not() {
    const WHERE: &str = "GET model-versions/get-download-uri name=fraud&version=1";
    const FILE: &str = "GET model-versions/get-artifact name=fraud&version=1&path=a b/MLmodel";
    let script = Script::of([
        (WHERE, ok(json!({"artifact_uri": "s3://b/m"}))),
        (WHERE, ok(json!({}))),
        (WHERE, absent()),
        (FILE, with_head(200, "", "flavors: {}\n")),
        (FILE, with_head(200, "", "")),
        (FILE, absent()),
    ])
    .await;
    let client = script.client();
    for expected in [Some("s3://b/m".to_owned()), None, None] {
        assert_eq!(client.artifact_location(&fraud(), &version(1)).await.unwrap(), expected);
    }
    for expected in [Some(b"flavors: {}\n".to_vec()), Some(Vec::new()), None] {
        assert_eq!(client.artifact_file(&fraud(), &version(1), "a b/MLmodel").await.unwrap(), expected);
    }
    script.done();
}

#[tokio::test]
async fn a_run_has_its_tags() {
    const RUN: &str = "GET runs/get run_id=abc";
    let tags = json!({"run": {"info": {}, "data": {"tags": [{"key": "mlflow.user", "value": "ann"}]}}});
    let script = Script::of([(RUN, ok(tags)), (RUN, ok(json!({"run": {}}))), (RUN, absent())]).await;
    let client = script.client();
    let tags = client.run_tags("abc").await.unwrap().unwrap();
    assert_eq!(tags, [("mlflow.user".to_owned(), "ann".to_owned())].into());
    assert_eq!(client.run_tags("abc").await.unwrap(), Some([].into()));
    assert_eq!(client.run_tags("abc").await.unwrap(), None);
    script.done();
}

#[tokio::test]
async fn a_version_has_what_its_run_measured_and_what_is_no_number_is_left_out() {
    const VERSION: &str = "GET model-versions/get name=fraud&version=1";
    let of_run = |run: &str| ok(json!({"model_version": {"name": "fraud", "version": "1", "run_id": run}}));
    let metrics =
        json!([{"key": "auc", "value": 0.93, "step": 2}, {"key": "loss", "value": "NaN"}, {"key": "rows", "value": 7}]);
    let script = Script::of([
        (VERSION, of_run("abc")),
        ("GET runs/get run_id=abc", ok(json!({"run": {"data": {"metrics": metrics}}}))),
        (VERSION, of_run("")),
        (VERSION, absent()),
    ])
    .await;
    let client = script.client();
    let measured = client.version_metrics(&fraud(), &version(1)).await.unwrap().unwrap();
    assert_eq!(measured, [("auc".to_owned(), 0.93), ("rows".to_owned(), 7.0)].into());
    for _ in 0..2 {
        assert_eq!(client.version_metrics(&fraud(), &version(1)).await.unwrap(), None);
    }
    script.done();
}

#[tokio::test]
async fn models_are_listed_newest_first_and_found_by_a_part_of_their_name() {
    let models = json!({"registered_models": [
        {"name": "fraud", "aliases": [{"alias": "champion", "version": "2"}], "description": "d", "last_updated_timestamp": 1_795_834_952_465_i64,
         "latest_versions": [{"version": "2"}, {"version": "10"}, {"version": "9"}]},
        {"name": "no:model"},
        {"name": "empty"},
    ], "next_page_token": "n"});
    const PAGE: &str = "GET registered-models/search max_results=100";
    let script = Script::of([
        (&*format!("{PAGE}&order_by=last_updated_timestamp DESC"), ok(models)),
        (
            &*format!("{PAGE}&page_token=n&order_by=last_updated_timestamp DESC&filter=name ILIKE '%O_B%'"),
            ok(json!({})),
        ),
    ])
    .await;
    let client = script.client();
    let page = client.models_page(None, Some("")).await.unwrap();
    let names: Vec<&str> = page.items.iter().map(|row| row.name.as_str()).collect();
    assert_eq!((names, page.next.as_deref()), (vec!["fraud", "empty"], Some("n")));
    assert_eq!(page.items[0].newest, Some(version(10)));
    assert_eq!(page.items[0].updated_at.unwrap().as_millisecond(), 1_795_834_952_465);
    let page = client.models_page(Some("n"), Some("O'B")).await.unwrap();
    assert_eq!(page, Page { items: Vec::new(), next: None });
    script.done();
}

#[tokio::test]
async fn the_versions_of_a_model_are_listed_newest_first() {
    let versions = json!({"model_versions": [
        {"name": "fraud", "version": "2", "description": "d", "source": "s3://b/m", "run_id": "r", "creation_timestamp": 1},
        {"name": "fraud", "version": "1"},
    ]});
    const PAGE: &str =
        "GET model-versions/search max_results=100&page_token=x&order_by=version_number DESC&filter=name = 'fraud'";
    let script = Script::of([(PAGE, ok(versions))]).await;
    let page = script.client().versions_page(&fraud(), Some("x")).await.unwrap();
    let numbers: Vec<&str> = page.items.iter().map(|row| row.version.as_str()).collect();
    assert_eq!((numbers, page.next), (vec!["2", "1"], None));
    assert_eq!(page.items[0].reading.run_id.as_deref(), Some("r"));
    assert_eq!(page.items[1].created_at, None);
    script.done();
}

#[tokio::test]
async fn a_caller_is_asked_about_with_their_own_credentials() {
    const WHO: &str = "GET users/current";
    let user = json!({"is_basic_auth": true, "user": {"id": 2, "is_admin": false, "username": "rel"}});
    let script = Script::of([(WHO, ok(user)), (WHO, html(404, "Not Found")), (WHO, html(401, "no"))]).await;
    let settings = Settings {
        tracking_uri: script.address.clone(),
        username: Some("service".to_owned()),
        password: Some(Password::new("hunter2".to_owned())),
    };
    let client = Client::new(settings).unwrap();
    let user = client.current_user("Basic cmVsOng=").await.unwrap();
    assert_eq!(user, Some(User { name: "rel".to_owned(), is_admin: false }));
    assert_eq!(client.current_user("Basic cmVsOng=").await.unwrap(), None);
    assert!(matches!(client.current_user("Basic cmVsOng=").await, Err(Error::Unauthorized { .. })));
    assert!(matches!(client.current_user("Basic a\nb").await, Err(Error::Unauthorized { .. })));
    assert_eq!(script.authorizations(), ["Basic cmVsOng="; 3]);
    script.done();
}

#[tokio::test]
async fn a_permission_is_a_rank_and_an_unknown_one_allows_nothing() {
    const ASKED: &str =
        "GET api/3.0/mlflow/users/permissions/get username=rel&resource_type=registered_model&resource_id=fraud";
    let words = ["NO_PERMISSIONS", "READ", "USE", "EDIT", "MANAGE", "EVERYTHING"];
    let answers = words.map(|word| (ASKED, ok(json!({"allowed": true, "permission": word}))));
    let script = Script::of(answers).await;
    let client = script.client();
    let mut ranks = Vec::new();
    for _ in words {
        ranks.push(client.permission("Basic x", "rel", &fraud()).await.unwrap());
    }
    assert!(ranks[..5].is_sorted_by(|a, b| a < b), "{ranks:?}");
    assert_eq!((ranks[0], ranks[5]), (Permission::NoPermissions, Permission::NoPermissions));
    script.done();
}

#[tokio::test]
async fn the_service_signs_in_with_its_own_account() {
    const GET: &str = "GET model-versions/get name=fraud&version=1";
    let script = Script::of([(GET, absent())]).await;
    let settings = Settings {
        tracking_uri: format!("{}/", script.address),
        username: Some("ann".to_owned()),
        password: Some(Password::new("a:b ä".to_owned())),
    };
    assert_eq!(Client::new(settings).unwrap().version(&fraud(), &version(1)).await.unwrap(), None);
    assert_eq!(script.authorizations(), [format!("Basic {}", BASE64.encode("ann:a:b ä"))]);
    script.done();
}
