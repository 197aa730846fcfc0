use std::time::Duration;

use serde_json::{Value, json};

use super::api_server::{Answer, ApiServer};
use crate::live::{Blindness, Kind, Place, PodName, Touched};
use crate::sync::access::{ACCESS, resource};
use crate::sync::{Address, Changes, Clusters, Settings};

const ALL: [&str; 7] =
    ["applications", "seldondeployments", "deployments", "pods", "services", "httproutes", "grpcroutes"];

pub(super) struct Scene {
    pub(super) server: ApiServer,
    pub(super) clusters: Clusters,
    _dir: tempfile::TempDir,
}

/// A cluster with nothing in it but what is given, watched.
pub(super) async fn scene(prepare: impl FnOnce(&ApiServer)) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let server = ApiServer::start(&path).await;
    ALL.iter().for_each(|plural| server.put(plural, Answer::Objects(Vec::new())));
    prepare(&server);
    let address = Address::Kubeconfig { path, context: None };
    let clusters = [("here".to_owned(), address)].into();
    let settings = Settings { clusters, hub: "here".to_owned(), argocd_namespace: "argocd".to_owned() };
    let clusters = Clusters::connect(settings).await.unwrap();
    let watched = clusters.clone();
    tokio::spawn(async move { watched.run().await });
    Scene { server, clusters, _dir: dir }
}

impl Scene {
    /// Waits for changes until a claim holds.
    async fn until(&self, claim: impl Fn(&Clusters) -> bool) {
        let wait = async {
            while !claim(&self.clusters) {
                let _changes = self.clusters.changes().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the claim never held");
    }

    /// Waits until a kind is watched.
    async fn watched(&self, plural: &str) {
        let watched = async {
            while !self.server.has_watch(plural) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), watched).await.expect("nobody watches");
    }

    fn blindness(&self, kind: Kind) -> Option<Blindness> {
        blindness(&self.clusters, kind)
    }
}

fn blindness(clusters: &Clusters, kind: Kind) -> Option<Blindness> {
    clusters.see("here", |index| index.blindness(&[kind])).unwrap()
}

fn has(clusters: &Clusters, name: &str) -> bool {
    let place = Place { namespace: "models".into(), name: name.into() };
    clusters.see("here", |index| index.found(&place).is_some()).unwrap()
}

fn seldon(name: &str, version: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "models", "resourceVersion": version, "managedFields": [{"fieldsV1": {"f:x": {}}}]},
           "spec": {"predictors": [{"name": "v1", "graph": {"children": [1, 2]}}]}})
}

#[tokio::test]
async fn what_is_listed_and_what_follows_is_seen_and_told() {
    let scene = scene(|server| server.put("seldondeployments", Answer::Objects(vec![seldon("one", "1")]))).await;
    scene.until(|clusters| has(clusters, "one")).await;
    scene.watched("seldondeployments").await;
    scene.server.tell("seldondeployments", "ADDED", seldon("two", "6"));
    scene.until(|clusters| has(clusters, "two")).await;
    scene.server.tell("seldondeployments", "DELETED", seldon("one", "7"));
    scene.until(|clusters| !has(clusters, "one")).await;
    assert_eq!(scene.server.lists("seldondeployments"), 1, "nothing is asked for again");
}

#[tokio::test]
async fn a_watch_that_breaks_off_is_taken_up_where_it_was() {
    let scene = scene(|server| server.put("seldondeployments", Answer::Objects(vec![seldon("one", "1")]))).await;
    scene.until(|clusters| has(clusters, "one")).await;
    scene.watched("seldondeployments").await;
    scene.server.break_off("seldondeployments");
    scene.watched("seldondeployments").await;
    scene.server.tell("seldondeployments", "ADDED", seldon("two", "6"));
    scene.until(|clusters| has(clusters, "two") && has(clusters, "one")).await;
}

#[tokio::test]
async fn a_version_that_is_too_old_is_listed_anew_without_a_word_and_nothing_is_missed() {
    let scene = scene(|server| server.put("seldondeployments", Answer::Objects(vec![seldon("one", "1")]))).await;
    scene.until(|clusters| has(clusters, "one")).await;
    scene.watched("seldondeployments").await;
    scene.server.put("seldondeployments", Answer::Objects(vec![seldon("two", "8")]));
    scene.server.expire("seldondeployments");
    scene.until(|clusters| has(clusters, "two") && !has(clusters, "one")).await;
    assert_eq!(scene.blindness(Kind::Seldon), None);
}

#[tokio::test]
async fn a_missing_kind_and_a_missing_right_are_named_and_the_rest_is_seen() {
    let scene = scene(|server| {
        server.put("seldondeployments", Answer::Objects(vec![seldon("one", "1")]));
        server.put("grpcroutes", Answer::Fails(404));
        server.put("pods", Answer::Fails(403));
        server.put("services", Answer::Fails(401));
    })
    .await;
    let named = |kind: Kind, words: &'static str, cure: &'static str| {
        let is_it = move |why: Blindness| why.reason.contains(words) && why.cure.is_some_and(|it| it.contains(cure));
        move |clusters: &Clusters| blindness(clusters, kind).is_some_and(is_it)
    };
    let grpc = named(Kind::GrpcRoute, "has no `grpcroutes.gateway.networking.k8s.io`", "`kubectl get crd grpcroutes.");
    scene.until(grpc).await;
    let pods = "does not let the service `list` `pods`: its role lacks that verb";
    scene.until(named(Kind::Pod, pods, "`kubectl auth can-i list pods -A")).await;
    scene.until(named(Kind::Service, "does not know the service's account", "renew the token")).await;
    scene.until(|clusters| has(clusters, "one")).await;
    // What is installed later is seen without a restart.
    scene.server.put("grpcroutes", Answer::Objects(Vec::new()));
    scene.until(|clusters| blindness(clusters, Kind::GrpcRoute).is_none()).await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_left_out_and_the_others_are_seen() {
    let theirs = |predictors: Value| json!({"metadata": {"name": "theirs", "namespace": "models", "resourceVersion": "1"}, "spec": {"predictors": predictors}});
    let odd = [theirs(json!("none")), json!({"metadata": {"name": "empty", "namespace": "models"}, "spec": null})];
    let negative = json!({"metadata": {"name": "negative", "namespace": "models"}, "spec": {"predictors": [{"name": "x", "replicas": -1}]}});
    let scene = scene(|server| {
        let all = [&odd[..], &[seldon("one", "1"), negative]].concat();
        server.put("seldondeployments", Answer::Objects(all));
    })
    .await;
    scene.until(|clusters| has(clusters, "one") && has(clusters, "negative")).await;
    assert!(!has(&scene.clusters, "theirs"));
    assert_eq!(scene.blindness(Kind::Seldon), None);
    scene.watched("seldondeployments").await;
    scene.server.tell("seldondeployments", "MODIFIED", theirs(json!([])));
    scene.until(|clusters| has(clusters, "theirs")).await;
    // One that was read and cannot be any more is not what it was.
    scene.server.tell("seldondeployments", "MODIFIED", theirs(json!([7])));
    scene.until(|clusters| !has(clusters, "theirs")).await;
    assert_eq!((scene.blindness(Kind::Seldon), scene.server.lists("seldondeployments")), (None, 1));
}

#[tokio::test]
async fn what_says_no_more_that_it_is_ours_is_gone_and_so_is_what_goes_after_that() {
    let pod = |name: &str, labels: Value| json!({"metadata": {"name": name, "namespace": "models", "resourceVersion": "6", "labels": labels}});
    let ours = || json!({"seldon-deployment-id": "one", "seldon-app": "one-v1"});
    let stray = || json!({"seldon-deployment-id": "one"});
    let scene =
        scene(|server| server.put("pods", Answer::Objects(vec![pod("one-a", ours()), pod("one-b", ours())]))).await;
    let pods = |clusters: &Clusters| {
        let place = Place { namespace: "models".into(), name: "one".into() };
        clusters.see("here", |index| index.found(&place).map_or(0, |found| found.pods.len())).unwrap()
    };
    scene.until(|clusters| pods(clusters) == 2).await;
    scene.watched("pods").await;
    scene.server.tell("pods", "MODIFIED", pod("one-a", stray()));
    scene.until(|clusters| pods(clusters) == 1).await;
    scene.server.tell("pods", "DELETED", pod("one-b", stray()));
    scene.until(|clusters| pods(clusters) == 0).await;
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_from_no_answer() {
    let scene = scene(|server| server.put("services", Answer::Says("<html>Sign in</html>"))).await;
    let words = "the cluster `here` answers to `list` `services` what cannot be read";
    scene.until(|clusters| blindness(clusters, Kind::Service).is_some_and(|why| why.reason == words)).await;
    let cure = scene.blindness(Kind::Service).unwrap().cure.unwrap();
    assert!(cure.contains("`kubectl get services -A -o json`"), "{cure}");
}

#[tokio::test]
async fn all_of_a_namespace_are_listed_however_many_pages_that_takes() {
    let all = |number: usize| (0..number).map(|number| seldon(&format!("s{number}"), "1")).collect();
    let scene = scene(|server| server.put("seldondeployments", Answer::Objects(all(1_234)))).await;
    let read = scene.clusters.seldon_deployments("here", "models").await.unwrap();
    assert_eq!(read.len(), 1_234);
    assert_eq!(read[1_233]["metadata"]["name"], "s1233");
    scene.server.put("seldondeployments", Answer::Objects(all(5_001)));
    let refused = scene.clusters.seldon_deployments("here", "models").await.unwrap_err();
    assert!(refused.contains("`models` has more than 5000 SeldonDeployments"), "{refused}");
}

#[tokio::test]
async fn changes_are_told_once_and_add_up_until_somebody_asks() {
    let scene =
        scene(|server| server.put("seldondeployments", Answer::Objects(vec![seldon("one", "1"), seldon("two", "1")])))
            .await;
    let mut told = Changes::default();
    while told.touched.len() < 2 || told.clusters.is_empty() {
        let changes = tokio::time::timeout(Duration::from_secs(20), scene.clusters.changes()).await.unwrap();
        told.touched.extend(changes.touched);
        told.clusters.extend(changes.clusters);
    }
    let places = told.touched.into_iter().map(|(cluster, touched)| match touched {
        Touched::Place(place) => format!("{cluster}: {}", place.name),
        Touched::Application(name) => format!("{cluster}: {name}"),
    });
    assert_eq!(places.collect::<Vec<_>>(), ["here: one", "here: two"]);
}

#[tokio::test]
async fn the_log_of_the_run_that_failed_comes_before_that_of_the_present_one() {
    let scene = scene(|_| {}).await;
    let pod = PodName { namespace: "models".into(), name: "fraud-1".into(), container: "model".into() };
    let path = "/api/v1/namespaces/models/pods/fraud-1/log";
    scene.server.say(path, 200, "started\nKeyError: 'amount'\n");
    let log = scene.clusters.log("here", &pod, 20).await.unwrap();
    assert!(log.is_previous && log.text.contains("KeyError"), "{log:?}");
    let asked = scene.server.asked();
    assert!(asked[0].1.contains("previous=true") && asked[0].1.contains("tailLines=20"), "{asked:?}");
    scene.server.say(path, 403, "");
    let refused = scene.clusters.log("here", &pod, 20).await.unwrap_err();
    assert!(refused.contains("`get` `pods/log`"), "{refused}");
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named_and_never_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let connect = |context: Option<&str>| {
        let address = Address::Kubeconfig { path: path.clone(), context: context.map(ToOwned::to_owned) };
        let clusters = [("far".to_owned(), address)].into();
        Clusters::connect(Settings { clusters, hub: "far".to_owned(), argocd_namespace: "argocd".to_owned() })
    };
    assert!(connect(None).await.unwrap_err().to_string().contains("is not there"));
    std::fs::write(&path, "hunter2: [").unwrap();
    let sentence = connect(None).await.unwrap_err().to_string();
    assert!(sentence.contains("is not one") && !sentence.contains("hunter2"), "{sentence}");
    let _server = ApiServer::start(&path).await;
    assert!(connect(Some("other")).await.unwrap_err().to_string().contains("no usable context `other`"));
    connect(Some("test")).await.unwrap();
}

#[test]
fn every_kind_that_is_watched_is_in_the_list_of_rights() {
    for kind in [Kind::Application].into_iter().chain(Kind::OF_RELEASES) {
        let wanted = resource(kind);
        let found = ACCESS.iter().find(|access| access.resource == wanted.plural && access.group == wanted.group);
        let verbs = found.unwrap_or_else(|| panic!("{kind:?}")).verbs;
        assert!(verbs.contains(&"list") && verbs.contains(&"watch"), "{kind:?}");
    }
}
