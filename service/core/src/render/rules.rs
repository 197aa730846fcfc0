//! What the operator, the Gateway API and Kubernetes demand of a release's objects and say nowhere, or too late: as code.
//!
//! Settings that a person chose are refused by the name of the setting; what only a template can get wrong, by the file.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::RenderError;
use super::kinds::{BackendRef, ComponentSpec, Container, ObjectMeta, Predictor, SeldonDeployment};
use super::objects::{Kustomization, Object, Parsed};
use super::pods::POD_HASH;
use crate::release::{
    ENGINE_GRPC_PORT, ENGINE_PORT, ENV_NAMES_THAT_WIPE, Node, Release, is_env_name, is_host, is_quantity,
};

type Checked = Result<(), RenderError>;

/// The only container of a predictor: its name is part of the Deployment's and of the Service's that reaches it.
const CONTAINER: &str = "model";

/// The engine's ports, in the same pod as the model.
const ENGINE_PORTS: [u16; 2] = [ENGINE_PORT, ENGINE_GRPC_PORT];

/// Longer names are replaced by a hash (`<release>-<predictor>-0-model` is the longest that is made of them).
const NAME_CHARS_MAX: usize = 63;

/// The most bytes of a SeldonDeployment: etcd takes 1.5 MiB for one object, and who manages its fields and its status are in it too.
const SELDON_BYTES_MAX: usize = 1 << 20;

/// The most rules of a route in the Gateway API.
const ROUTE_RULES_MAX: usize = 16;

/// Checks the release itself, before anything is made of it.
///
/// # Errors
/// Every setting that cannot be.
pub(super) fn check_release(release: &Release) -> Checked {
    let found = release.violations();
    if found.is_empty() { Ok(()) } else { Err(RenderError::Settings(found)) }
}

/// Checks that the SeldonDeployment can be kept: its settings, each within its own bound, may be too much together.
///
/// # Errors
/// A text that is too long.
pub(super) fn check_size(seldon: &str) -> Checked {
    demand(seldon.len() <= SELDON_BYTES_MAX, "serving", || {
        format!(
            "would make the SeldonDeployment larger than {} KiB, which a cluster does not keep: shorten `env` and `pod`",
            SELDON_BYTES_MAX / 1024
        )
    })
}

/// Checks all objects of a release together.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check_objects(release: &Release, objects: &[(&'static str, Parsed)]) -> Checked {
    let name = release.metadata.name.as_str();
    let namespace = release.spec.target.namespace.as_str();
    let mut services = BTreeSet::from([name.to_owned()]);
    let mut seen = BTreeSet::new();
    for (file, parsed) in objects {
        let meta = parsed.document.get("metadata");
        let word = |key: &str| meta.and_then(|meta| meta.get(key)).and_then(Node::as_str).unwrap_or_default();
        let ours = word("name") == name || word("name").strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
        intact(file, ours && word("namespace") == namespace, || {
            format!(
                "object `{}` must be named after the release and lie in namespace `{namespace}`",
                crate::names::shown(word("name"))
            )
        })?;
        let kind = parsed.document.get("kind").and_then(Node::as_str).unwrap_or_default();
        intact(file, seen.insert((kind, word("name"))), || format!("{kind} `{}` is there twice", word("name")))?;
        if let Object::Seldon(deployment) = &parsed.object {
            check_seldon(file, name, deployment)?;
            for predictor in &deployment.spec.predictors {
                services
                    .extend([format!("{name}-{}", predictor.name), format!("{name}-{}-{CONTAINER}", predictor.name)]);
            }
        }
    }
    objects.iter().try_for_each(|(file, parsed)| check_other(file, &parsed.object, &services))
}

/// Checks that the kustomization names the files that there are.
///
/// # Errors
/// A list that is another one.
pub(super) fn check_kustomization(
    file: &str,
    kustomization: &Kustomization,
    files: &IndexMap<String, String>,
) -> Checked {
    let same = kustomization.resources.iter().eq(files.keys());
    intact(
        file,
        same && kustomization.kind == "Kustomization"
            && kustomization.api_version.starts_with("kustomize.config.k8s.io/"),
        || format!("its resources must be {}", files.keys().cloned().collect::<Vec<_>>().join(", ")),
    )
}

fn check_other(file: &str, object: &Object, services: &BTreeSet<String>) -> Checked {
    match object {
        Object::Service(service) => {
            let labels = service.metadata.labels.iter().flatten();
            // The operator deletes Services with its label that it did not make.
            intact(file, labels.into_iter().all(|(key, _)| key != "seldon-deployment-id"), || {
                "the own Service must not have the label `seldon-deployment-id`".to_owned()
            })
        }
        Object::HttpRoute(route) => {
            demand(route.spec.rules.len() <= ROUTE_RULES_MAX, "match", || {
                format!("a route has at most {ROUTE_RULES_MAX} rules")
            })?;
            let rules = &route.spec.rules;
            let mirrors =
                rules.iter().flat_map(|rule| rule.filters.iter().flatten()).map(|filter| &filter.request_mirror);
            for mirror in mirrors {
                demand((1..=100).contains(&mirror.percent), "shadow.percent", || "must be 1 to 100".to_owned())?;
                check_backends(file, std::slice::from_ref(&mirror.backend_ref), services)?;
            }
            rules.iter().try_for_each(|rule| check_backends(file, &rule.backend_refs, services))
        }
        Object::GrpcRoute(route) => {
            route.spec.rules.iter().try_for_each(|rule| check_backends(file, &rule.backend_refs, services))
        }
        Object::PodMonitor(monitor) => check_labels(&monitor.metadata),
        Object::Rule(rule) => check_labels(&rule.metadata),
        Object::ConfigMap(map) => {
            let labels = map.metadata.labels.iter().flatten();
            intact(file, labels.into_iter().any(|(key, value)| key == "grafana_dashboard" && value == "1"), || {
                "the dashboard's ConfigMap must have the label `grafana_dashboard: \"1\"`".to_owned()
            })
        }
        Object::Seldon(_) => Ok(()),
    }
}

/// A backend whose Service does not exist turns its whole rule into errors, and so does a rule in which nobody has a weight.
fn check_backends(file: &str, backends: &[BackendRef], services: &BTreeSet<String>) -> Checked {
    intact(file, !backends.is_empty(), || "a rule of a route has no backend".to_owned())?;
    backends.iter().try_for_each(|backend| {
        intact(file, services.contains(&backend.name), || {
            format!("the route names Service `{}`, which no predictor has", backend.name)
        })?;
        intact(file, backend.weight != Some(0), || format!("Service `{}` must be left out at weight 0", backend.name))
    })
}

fn check_labels(meta: &ObjectMeta) -> Checked {
    meta.labels.iter().flatten().try_for_each(|(key, value)| {
        demand(is_label(key, value), "monitoring.labels", || format!("`{}` is not a label", crate::names::shown(key)))
    })
}

fn check_seldon(file: &str, name: &str, deployment: &SeldonDeployment) -> Checked {
    let predictors = &deployment.spec.predictors;
    intact(file, deployment.metadata.name == name, || format!("the SeldonDeployment must be named `{name}`"))?;
    let names: BTreeSet<&str> = predictors.iter().map(|predictor| predictor.name.as_str()).collect();
    intact(file, !names.is_empty() && names.len() == predictors.len(), || {
        "predictors must have names of their own".to_owned()
    })?;
    let budgets = predictors.iter().flat_map(|p| &p.component_specs).filter(|c| c.pdb_spec.is_some()).count();
    // Two disruption budgets would select the same pods, and no such pod could be evicted.
    intact(file, budgets <= 1, || "at most one predictor may have a `pdbSpec`".to_owned())?;
    predictors.iter().enumerate().try_for_each(|(n, predictor)| {
        intact(file, predictor.traffic == if n == 0 { 100 } else { 0 }, || {
            "`traffic` must be 100 on the first predictor and 0 on the others".to_owned()
        })?;
        check_predictor(file, name, predictor)
    })
}

fn check_predictor(file: &str, name: &str, predictor: &Predictor) -> Checked {
    let Predictor { name: own, annotations, labels, graph, component_specs, .. } = predictor;
    intact(file, !own.contains('-') && own.len() <= 12, || {
        format!("predictor `{own}` must have no `-` and at most 12 characters")
    })?;
    let longest = format!("{name}-{own}-0-{CONTAINER}");
    demand(longest.len() <= NAME_CHARS_MAX, "name", || {
        format!("is too long: `{longest}` has more than {NAME_CHARS_MAX} characters")
    })?;
    intact(file, annotations.contains_key(POD_HASH), || format!("predictor `{own}` must carry `{POD_HASH}`"))?;
    // The validation asks whether it is there, the controller whether it is `true`.
    let no_engine = annotations.get("seldon.io/no-engine");
    intact(file, no_engine.is_none_or(|value| value == "true"), || {
        "`seldon.io/no-engine` must be \"true\" or absent".to_owned()
    })?;
    intact(file, labels.iter().flatten().all(|(key, _)| key != "version"), || {
        "the label `version` belongs to the operator".to_owned()
    })?;
    intact(file, predictor.progress_deadline_seconds > 0, || "`progressDeadlineSeconds` must be there".to_owned())?;
    let [component] = component_specs.as_slice() else {
        return Err(RenderError::manifest(file, format!("predictor `{own}` must have one component")));
    };
    let [container] = component.spec.containers.as_slice() else {
        return Err(RenderError::manifest(file, format!("predictor `{own}` must have one container")));
    };
    intact(file, graph.name == CONTAINER && container.name == CONTAINER, || {
        format!("graph and container must be named `{CONTAINER}`")
    })?;
    intact(file, graph.implementation.is_some() == graph.model_uri.is_some(), || {
        "`implementation` and `modelUri` go together".to_owned()
    })?;
    intact(file, graph.implementation.is_some() || container.image.is_some(), || {
        "a container without a runtime needs an image".to_owned()
    })?;
    let words = graph.model_uri.iter().chain(&container.image);
    for word in words {
        let ok = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control());
        demand(ok, "image", || {
            format!("`{}` is neither an image nor an address of an artifact", crate::names::shown(word))
        })?;
    }
    check_scale(predictor, component)?;
    check_container(file, container, no_engine.is_none())?;
    let selector = component.spec.node_selector.iter().flatten();
    selector.into_iter().try_for_each(|(key, value)| {
        demand(is_label(key, value), "serving.pod.nodeSelector", || {
            format!("`{}` is not a label", crate::names::shown(key))
        })
    })
}

/// A predictor without a pod keeps the whole SeldonDeployment unready, and its routes frozen.
fn check_scale(predictor: &Predictor, component: &ComponentSpec) -> Checked {
    match (&component.hpa_spec, predictor.replicas) {
        (None, replicas) => {
            demand(replicas.is_some_and(|n| n >= 1), "serving.replicas", || "must be at least 1".to_owned())
        }
        (Some(hpa), replicas) => {
            let ok = hpa.min_replicas >= 1 && hpa.max_replicas >= hpa.min_replicas && replicas.is_none();
            demand(ok, "serving.autoscaling", || "must have `min` of at least 1 and `max` not below it".to_owned())?;
            let uses = hpa.metricsv2.iter().map(|metric| metric.resource.target.average_utilization);
            let requests = component.spec.containers.iter().filter_map(|c| c.resources.as_ref()?.requests.as_ref());
            let has_cpu = requests.into_iter().any(|requests| requests.contains_key("cpu"));
            demand(has_cpu, "serving.autoscaling", || "needs a CPU request: its percentage is one of that".to_owned())?;
            demand(uses.into_iter().all(|use_| use_ >= 1), "serving.autoscaling.cpu", || {
                "must be at least 1".to_owned()
            })
        }
    }
}

fn check_container(file: &str, container: &Container, engine: bool) -> Checked {
    // Ports without a number of their own are counted up over all predictors, so that another predictor would restart this one.
    let names: Vec<&str> = container.ports.iter().map(|port| port.name.as_str()).collect();
    let tcp = container.ports.iter().all(|port| port.protocol == "TCP");
    intact(file, names == ["http", "grpc", "metrics"] && tcp, || {
        "ports must be `http`, `grpc` and `metrics`, protocol TCP".to_owned()
    })?;
    let numbers: BTreeSet<u16> = container.ports.iter().map(|port| port.container_port).collect();
    let free = numbers.len() == names.len() && !numbers.contains(&0);
    demand(free, "serving.port", || "must be another one than 9500 (gRPC) and 6000 (metrics)".to_owned())?;
    demand(!engine || ENGINE_PORTS.iter().all(|port| !numbers.contains(port)), "serving.port", || {
        "must not be 8000 or 5001: they belong to the engine".to_owned()
    })?;
    let mut seen = BTreeSet::new();
    for variable in container.env.iter().flatten() {
        let (name, shown) = (variable.name.as_str(), crate::names::shown(&variable.name));
        demand(!ENV_NAMES_THAT_WIPE.contains(&name), "serving.env", || {
            format!("must not set `{name}`: the operator sets it, and the container would lose all other variables")
        })?;
        demand(is_env_name(name), "serving.env", || format!("`{shown}` is not the name of an environment variable"))?;
        demand(seen.insert(name), "serving.env", || format!("names `{shown}` twice"))?;
        let one = variable.value.is_some() != variable.value_from.is_some();
        demand(one, "serving.env", || format!("`{shown}` needs either `value` or `valueFrom`"))?;
    }
    let quantities = container.resources.iter().flat_map(|r| [&r.requests, &r.limits]).flatten().flatten();
    quantities.into_iter().try_for_each(|(name, quantity)| {
        demand(is_quantity(quantity), "serving.resources", || {
            format!("`{}` is not a quantity of {}", crate::names::shown(quantity), crate::names::shown(name))
        })
    })
}

fn demand(holds: bool, field: &str, detail: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(RenderError::rule(field, detail())) }
}

fn intact(file: &str, holds: bool, detail: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(RenderError::manifest(file, detail())) }
}

fn is_label(key: &str, value: &str) -> bool {
    let word = |text: &str| {
        text.len() <= 63
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            && !text.starts_with(['-', '.', '_'])
            && !text.ends_with(['-', '.', '_'])
    };
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_host) && !name.is_empty() && word(name) && word(value)
}
