//! What the pods of a part are allowed against what its namespace lets in (Pod Security Standards): the API server refuses any other pod, and the
//! part never starts.

use kmlflow_bootstrap::catalogue::{Catalogue, Component};
use serde_json::{Value, json};

use crate::manifests::{documents, none, objects, platform};
use crate::scene::catalogue;

/// What `restricted` and `baseline` say against a pod, as far as manifests here can differ from it.
fn faults(pod: &Value, level: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if level == "privileged" {
        return faults;
    }
    let whole = &pod["securityContext"];
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    faults.extend(volumes.filter(|volume| volume["hostPath"].is_object()).map(|volume| format!("{volume}")));
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        faults.extend((pod[key] == true).then(|| key.to_owned()));
    }
    let all = ["initContainers", "containers"].into_iter().flat_map(|key| pod[key].as_array().into_iter().flatten());
    for container in all {
        let own = &container["securityContext"];
        // What a container does not say, its pod says.
        let of = |key: &str| if own[key].is_null() { &whole[key] } else { &own[key] };
        let mut fault = |is_good: bool, what: &str| {
            faults.extend((!is_good).then(|| format!("{}: {what}", container["name"])));
        };
        fault(own["privileged"] != true, "privileged");
        fault(own["capabilities"]["add"].is_null(), "capabilities");
        if level == "restricted" {
            fault(own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
            fault(own["capabilities"]["drop"] == json!(["ALL"]), "capabilities");
            fault(of("runAsNonRoot") == true && of("runAsUser") != 0, "runAsNonRoot");
            fault(of("seccompProfile")["type"] == "RuntimeDefault", "seccompProfile");
        }
    }
    faults
}

fn level<'a>(catalogue: &'a Catalogue, namespace: &str) -> &'a str {
    &catalogue.namespaces.iter().find(|known| known.name == namespace).unwrap().pods
}

#[test]
fn our_pods_are_let_into_their_namespaces() {
    let catalogue = catalogue();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for part in catalogue.components.iter().filter(|part| part.chart.is_none() && part.upstream.is_none()) {
        for object in objects(part).iter().filter(|object| object["spec"]["template"]["spec"]["containers"].is_array())
        {
            // A patch names what it changes only.
            if object["spec"]["selector"].is_null() && object["kind"] != "Job" {
                continue;
            }
            seen += 1;
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&part.namespace);
            let found = faults(&object["spec"]["template"]["spec"], level(&catalogue, namespace));
            wrong.extend(found.iter().map(|fault| format!("{} {}: {fault}", part.name, object["metadata"]["name"])));
        }
    }
    none("refused by the API server", &wrong);
    assert!(seen >= 8, "{seen}");
}

/// What the containers of a chart say of themselves when nothing is set, by its key of the values. Of a chart that is not here the API server's
/// verdict is not known. The tier `platform` renders those that are at hand; all of them were rendered once, and these are in
/// namespaces that are `restricted`.
fn of_chart(part: &Component) -> Option<(&'static str, Value)> {
    let nobody = json!({"runAsNonRoot": true, "privileged": false, "runAsUser": 100, "runAsGroup": 101});
    let restricted = json!({
        "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    match part.name.as_str() {
        "headlamp" => Some(("securityContext", nobody)),
        "cert-manager" => Some(("containerSecurityContext", restricted)),
        _ => None,
    }
}

#[test]
fn the_pods_of_charts_are_let_into_namespaces_that_are_restricted() {
    let catalogue = catalogue();
    let is_restricted = |part: &&Component| part.chart.is_some() && level(&catalogue, &part.namespace) == "restricted";
    let mut seen = 0;
    for part in catalogue.components.iter().filter(is_restricted) {
        let (key, mut context) = of_chart(part).unwrap_or_else(|| panic!("{}: look what its pods ask for", part.name));
        let values = documents(&platform().join(part.path.as_ref().unwrap()).join("values.yaml")).remove(0);
        // As Helm merges them.
        for (name, value) in values[key].as_object().into_iter().flatten() {
            context[name] = value.clone();
        }
        let pod = json!({"containers": [{"name": part.name, "securityContext": context}]});
        none("refused by the API server", &faults(&pod, "restricted"));
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_notebook_may_start_searches_and_watch_them_and_nothing_else() {
    let catalogue = catalogue();
    let of = |part: &str, kind: &str| -> Vec<Value> {
        objects(catalogue.component(part).unwrap()).into_iter().filter(|object| object["kind"] == kind).collect()
    };
    let notebook = of("jupyterlab", "Deployment").remove(0);
    let pod = &notebook["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], true);
    let account = json!({"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": catalogue.component("jupyterlab").unwrap().namespace});
    let is_about_it = |binding: &Value| binding["subjects"].as_array().unwrap().contains(&account);
    let kinds = ["RoleBinding", "ClusterRoleBinding"];
    let all =
        catalogue.components.iter().flat_map(objects).filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
    let bindings: Vec<Value> = all.filter(is_about_it).collect();
    let [binding] = &bindings[..] else { panic!("{bindings:#?}") };
    assert_eq!((&binding["kind"], &binding["metadata"]["namespace"]), (&json!("RoleBinding"), &json!("kubeflow")));
    let role =
        of("katib", "Role").into_iter().find(|role| role["metadata"]["name"] == binding["roleRef"]["name"]).unwrap();
    let rights = json!([{"apiGroups": ["kubeflow.org"], "resources": ["experiments"], "verbs": ["create", "get", "list", "watch"]}]);
    assert_eq!(role["rules"], rights);
}
