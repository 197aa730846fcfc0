//! Where Git and the real cluster differ, and what is there already: told by `diff` and sweep, taken over by `import`.

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::{Bed, Namespace};
use tests::environment::{run, succeed};
use tests::server::Server;

use super::followed::{is_live_in, release, until, watching, with_seven};
use super::operator::{seldon, until_state};
use crate::by;

/// Changes an object as a person does who uses kubectl.
fn edit(bed: &Bed, namespace: &Namespace<'_>, object: &str, patch: &Value) {
    let patch = patch.to_string();
    bed.ask(&["--namespace", &namespace.name, "patch", object, "--type=json", "--patch", &patch]);
}

/// What differs: kind, object and field of each.
fn told(differences: &Value) -> Vec<String> {
    let text = |difference: &Value, field: &str| difference[field].as_str().unwrap().to_owned();
    let told = differences.as_array().unwrap().iter();
    told.map(|it| format!("{} {} {}", text(it, "kind"), text(it, "object"), text(it, "field"))).collect()
}

/// Waits until `diff` tells exactly this.
fn until_told(server: &Server<'_>, release: &str, expected: &[&str]) -> Value {
    let path = format!("/releases/{release}/diff");
    server.until(&format!("diff tells {expected:?}"), || {
        let differs = server.get(&path);
        let told = told(&differs["differences"]);
        println!("diff tells {told:?}");
        (told.len() == expected.len() && expected.iter().all(|it| told.iter().any(|told| told == it)))
            .then_some(differs)
    })
}

#[test]
fn what_is_changed_by_hand_is_told_by_diff_and_sweep_and_agrees_once_argo_cd_has_healed_it() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = with_seven(&bed, &server, "drift");
    let release = release(&namespace);
    server.put(&release, &by("canary", "fraud", "8", json!({"steps": [20, 50]}))).expect(200);
    until(&server, &release, "the first step is live", is_live_in("running"));
    until_told(&server, &release, &[]);
    let name = namespace.name.as_str();
    let diff = |more: &[&str]| run(&mut server.client(&[["diff", "fraud", "-n", name].as_slice(), more].concat()));
    assert_eq!(diff(&["--exit-code"]).code, 0);

    // Neither heals what is changed while they do not move.
    let paused = [bed.pause("argocd-controller"), bed.pause("seldon-operator")];
    let weight = "/spec/rules/0/backendRefs/1/weight";
    edit(&bed, &namespace, "httproute/fraud", &json!([{"op": "replace", "path": weight, "value": 90}]));
    let image = "/spec/predictors/0/componentSpecs/0/spec/containers/0/image";
    let replace = |path: &str| json!([{"op": "replace", "path": path, "value": "registry.example/fraud:by-hand"}]);
    edit(&bed, &namespace, "seldondeployment/fraud", &replace(image));
    let container = "/spec/template/spec/containers/0/image";
    edit(&bed, &namespace, "deployment/fraud-v8-0-model", &replace(container));
    bed.ask(&["--namespace", name, "delete", "grpcroute", "fraud-grpc"]);
    let of_seldon = "edited SeldonDeployment/fraud spec.predictors[v7].componentSpecs[0].spec.containers[model].image";
    let of_route = "edited HTTPRoute/fraud spec.rules[0].backendRefs[fraud-v8].weight";
    let of_pods = "edited Deployment/fraud-v8-0-model spec.template.spec.containers[model].image";
    let expected = [of_seldon, of_route, "missing GRPCRoute/fraud-grpc ", of_pods];
    let differs = until_told(&server, &release, &expected);
    let all = differs["differences"].as_array().unwrap();
    let of_pods =
        all.iter().find(|it| it["kind"] == "edited" && it["object"] == "Deployment/fraud-v8-0-model").unwrap();
    assert_eq!(
        (&of_pods["want"], &of_pods["have"]),
        (&json!("registry.example/fraud:8"), &json!("registry.example/fraud:by-hand"))
    );
    assert!(
        differs["diff"].as_str().unwrap().contains("-80\n+80") || differs["diff"].as_str().unwrap().contains("+90"),
        "{differs:#}"
    );
    assert_eq!(diff(&["--exit-code"]).code, 1);
    assert!(diff(&[]).stdout.contains("fraud:by-hand"), "{:?}", diff(&[]));

    // The sweep goes by what is watched, of all releases, and says that there is no registry.
    let swept = server.until("the sweep tells the same", || {
        let report = server.api("POST", "/sweep?dryRun=true", None).expect(200).json();
        let ours = report["drift"].as_array()?.iter().find(|it| it["release"] == release.as_str())?;
        (told(&ours["differences"]).len() >= 4).then(|| report.clone())
    });
    assert_eq!((&swept["registry"], &swept["clusters"]), (&json!(false), &json!(["in-cluster"])), "{swept:#}");
    let shown = succeed(&mut server.client(&["sweep", "--dry-run"]));
    assert!(shown.starts_with("no registry was compared: no tracking server is configured\n"), "{shown}");
    assert!(shown.contains(&format!("{release}, in the cluster in-cluster:")), "{shown}");
    drop(paused);
    until_told(&server, &release, &[]);
    assert_eq!(diff(&["--exit-code"]).code, 0);
    let healed = server.until("the sweep finds no difference of it", || {
        let shown = succeed(&mut server.client(&["sweep", "--dry-run"]));
        (!shown.contains(&release) && shown.contains("in-cluster agree")).then_some(shown)
    });
    assert!(!healed.contains("0 models"), "{healed}");
}

#[test]
fn what_no_release_of_git_wants_is_listed_and_left_alone() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("strangers");
    let name = namespace.name.as_str();
    bed.apply(&seldon(&namespace, &[("main", "wine:7")]).to_string());
    let gone = format!("production/{name}/gone");
    let labels = json!({"app.kubernetes.io/managed-by": "kmlflow"});
    let metadata =
        json!({"name": "gone", "namespace": name, "labels": labels, "annotations": {"kmlflow.dev/release": gone}});
    bed.apply(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}})
            .to_string(),
    );
    let of = |report: &Value, place: &str| -> Vec<String> {
        let drift = report["drift"].as_array().unwrap().iter();
        drift.filter(|it| it["place"] == place).flat_map(|it| told(&it["differences"])).collect()
    };
    let swept = server.until("both are listed", || {
        let report = server.api("POST", "/sweep?dryRun=true", None).expect(200).json();
        let all = [of(&report, &format!("{name}/wine")), of(&report, &format!("{name}/gone"))];
        (all == [["unmanaged SeldonDeployment/wine "], ["orphaned Service/gone "]]).then_some(report)
    });
    assert!(swept.to_string().contains(&format!("`kmlflow import wine -n {name}`")), "{swept:#}");
    let object = bed.get(name, "seldondeployment", "wine").unwrap();
    assert_eq!(
        (&object["metadata"]["generation"], &object["metadata"]["annotations"]["kmlflow.dev/release"]),
        (&json!(1), &Value::Null)
    );
}

#[test]
fn a_seldon_deployment_that_was_there_is_shown_as_a_release_and_becomes_one_that_answers() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = bed.namespace("import");
    let name = namespace.name.as_str();
    bed.apply(&seldon(&namespace, &[("main", "wine:7")]).to_string());
    until_state(&bed, &namespace, "Available");
    let import = |more: &[&str]| run(&mut server.client(&[["import", "wine", "-n", name].as_slice(), more].concat()));

    // A look changes nothing, neither here nor there.
    let before = bed.get(name, "seldondeployment", "wine").unwrap();
    let shown = server.until("the cluster is read", || Some(import(&[])).filter(|shown| shown.code == 0));
    for words in [
        &format!("the release production/{name}/wine"),
        "request 1:",
        "registry.example/wine:7",
        "its Service `wine-main`",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {shown:?}");
    }
    assert!(shown.stderr.contains("nothing was changed: `--apply` asks for it"), "{shown:?}");
    assert_eq!(server.get("/releases")["items"], json!([]));
    assert_eq!(bed.get(name, "seldondeployment", "wine").unwrap()["metadata"], before["metadata"]);

    // As a release it is taken over by Argo CD under its own name.
    let applied = import(&["--apply"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    namespace.follow(&server);
    let release = format!("production/{name}/wine");
    until(&server, &release, "it is live", is_live_in("settled"));
    let object = bed.get(name, "seldondeployment", "wine").unwrap();
    assert_eq!(object["metadata"]["uid"], before["metadata"]["uid"], "it is the same object");
    assert_eq!(object["metadata"]["annotations"]["kmlflow.dev/release"], release.as_str());
    let answer = bed.predict_until(&format!("wine-{name}.k5w.localhost"), |answer| answer.status == 200);
    assert_eq!(answer.json()["predictor"], "v7");
    let again = import(&[]);
    assert!(
        again.code == 3 && again.stdout.contains(&format!("it belongs to the release `{release}` already")),
        "{again:?}"
    );
}
