//! Every interleaving of the service, Argo CD, the operator and the gateway: no request ever meets a predictor that is not ready, the own
//! Service never reaches one that should get no traffic, and nothing is stuck.
//!
//! The service's steps are the real `plan` and `decide` with a cluster that is seen. The world is the model of what was recorded: within a
//! sync Argo CD applies Services before custom resources and those in any order; the operator keeps old predictors until every new one
//! is ready; the gateway follows the applied route some time later.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use kmlflow::names::PredictorName;
use kmlflow::release::{
    Act, Intent, MainRule, Observed, OwnSelector, Period, Phase, Readiness, Release, Seen, Traffic,
};
use kmlflow::rollout::{self, Decision};

use super::{Became, Repository, put};

/// What the cluster has of the release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Cluster {
    /// The applied SeldonDeployment's predictors.
    predictors: Vec<PredictorName>,
    /// The applied route.
    route: Route,
    /// The route that the gateway sends requests by.
    taken: Route,
    /// Whom the applied own Service selects; none is every pod.
    own: Option<PredictorName>,
    /// The port that the applied own Service sends to.
    own_port: u16,
    /// The port that each predictor listens on.
    ports: BTreeMap<PredictorName, u16>,
    /// Predictors that have pods, and whether they are ready.
    pods: BTreeMap<PredictorName, bool>,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Route {
    /// None is the own Service.
    backends: Vec<PredictorName>,
    mirror: Option<PredictorName>,
}

#[derive(Clone)]
struct State {
    repository: Repository,
    cluster: Cluster,
    acts_left: usize,
}

/// The predictor that never becomes ready in a scenario.
type NeverReady = Option<&'static str>;

fn desired(release: &Release) -> Cluster {
    let traffic: Traffic = release.traffic().unwrap();
    let shares: Vec<PredictorName> = match &traffic.main {
        MainRule::Own => Vec::new(),
        MainRule::Split(split) => split.iter().map(|(predictor, _)| predictor.clone()).collect(),
    };
    let matched = traffic.matches.into_iter().map(|(_, predictor)| predictor);
    let backends: BTreeSet<PredictorName> = shares.into_iter().chain(matched).collect();
    let route =
        Route { backends: backends.into_iter().collect(), mirror: traffic.mirror.map(|(predictor, _)| predictor) };
    Cluster {
        predictors: release.spec.variants.iter().map(|variant| variant.predictor.clone()).collect(),
        taken: route.clone(),
        route,
        own_port: release.serving_of(release.stable().unwrap()).port(),
        ports: release.spec.variants.iter().map(|it| (it.predictor.clone(), release.serving_of(it).port())).collect(),
        own: match traffic.own {
            OwnSelector::All => None,
            OwnSelector::One(predictor) => Some(predictor),
        },
        pods: BTreeMap::new(),
    }
}

fn applied(state: &State) -> bool {
    let wanted = desired(state.repository.release.as_ref().unwrap());
    let there = &state.cluster;
    let ports = there.ports.iter().filter(|(predictor, _)| there.predictors.contains(predictor));
    let ports = ports.map(|(predictor, port)| (predictor.clone(), *port)).collect();
    Cluster { pods: BTreeMap::new(), ports, taken: wanted.taken.clone(), ..there.clone() } == wanted
}

fn seen(state: &State) -> Observed {
    let cluster = &state.cluster;
    let release = state.repository.release.as_ref().unwrap();
    let variants = cluster.pods.iter().map(|(predictor, ready)| {
        let readiness = if *ready { Readiness::Ready } else { Readiness::NotReady("starting".to_owned()) };
        (predictor.clone(), readiness)
    });
    let Route { backends, mirror } = cluster.route.clone();
    let mut routed: BTreeSet<PredictorName> = backends.into_iter().chain(mirror).collect();
    // The own Service names a predictor by its selector, as long as the route still goes through it.
    routed.extend(cluster.own.clone());
    let all_there = cluster.pods.keys().cloned().collect::<BTreeSet<_>>()
        == release.spec.variants.iter().map(|v| v.predictor.clone()).collect();
    let is_followed = cluster.taken == cluster.route;
    let live = applied(state) && is_followed && all_there && cluster.pods.values().all(|ready| *ready);
    Observed::Seen(Seen {
        variants: variants.collect(),
        applied: applied(state),
        routed,
        is_followed,
        live_since: live.then_some(state.repository.now),
    })
}

/// The next steps of Argo CD, the gateway and the operator.
fn world(state: &State, never_ready: NeverReady) -> Vec<(String, State)> {
    let mut next = Vec::new();
    let wanted = desired(state.repository.release.as_ref().unwrap());
    let mut with = |label: String, change: &dyn Fn(&mut Cluster)| {
        let mut after = state.clone();
        change(&mut after.cluster);
        next.push((label, after));
    };
    if (&state.cluster.own, state.cluster.own_port) != (&wanted.own, wanted.own_port) {
        with("Argo CD applies the Service".to_owned(), &|cluster| {
            cluster.own.clone_from(&wanted.own);
            cluster.own_port = wanted.own_port;
        });
    } else {
        if state.cluster.predictors != wanted.predictors {
            with("Argo CD applies the SeldonDeployment".to_owned(), &|cluster| {
                cluster.predictors.clone_from(&wanted.predictors);
                cluster.ports.extend(wanted.ports.clone());
            });
        }
        if state.cluster.route != wanted.route {
            with("Argo CD applies the route".to_owned(), &|cluster| cluster.route.clone_from(&wanted.route));
        }
    }
    if state.cluster.taken != state.cluster.route {
        with("the gateway takes the route".to_owned(), &|cluster| cluster.taken.clone_from(&cluster.route));
    }
    for predictor in &state.cluster.predictors {
        if !state.cluster.pods.contains_key(predictor) {
            with(format!("the operator makes {predictor}"), &|cluster| {
                *cluster.pods.entry(predictor.clone()).or_default() = false;
            });
        }
    }
    for (predictor, ready) in &state.cluster.pods {
        if !ready && never_ready != Some(predictor.as_str()) {
            with(format!("{predictor} becomes ready"), &|cluster| {
                *cluster.pods.entry(predictor.clone()).or_default() = true
            });
        }
    }
    let all_ready = state.cluster.predictors.iter().all(|predictor| state.cluster.pods.get(predictor) == Some(&true));
    if all_ready && state.cluster.pods.len() > state.cluster.predictors.len() {
        with("the operator removes the rest".to_owned(), &|cluster| {
            cluster.pods.retain(|predictor, _| cluster.predictors.contains(predictor));
            cluster.ports.retain(|predictor, _| cluster.predictors.contains(predictor));
        });
    }
    next
}

/// The next steps of the service: what comes by itself, and what people ask for.
fn service(state: &State) -> Vec<(String, State)> {
    let mut next = Vec::new();
    let observed = seen(state);
    let release = state.repository.release.clone().unwrap();
    let restorable = state.repository.restorable(release.rollout.restores.as_ref());
    if let Decision::Go(intent) = rollout::decide(&release, restorable.as_ref(), &observed, state.repository.now) {
        let mut after = state.clone();
        assert!(matches!(after.repository.plan_once(&intent, observed.clone()), Became::Committed(_)), "{intent:?}");
        next.push((format!("the service goes on: {}", name(&intent)), after));
    }
    if state.acts_left == 0 {
        return next;
    }
    let acts = [Act::Advance, Act::Promote { variant: None }, Act::Abort, Act::Rollback { to: None }];
    let deployed = state.repository.deployed().unwrap();
    let history = state.repository.history();
    let acts = acts
        .iter()
        .filter_map(|act| Some((format!("{act:?}"), kmlflow::plan::absolute(act, &deployed, &history).ok()?)));
    let puts = [
        "version: 2",
        "version: 2, strategy: canary, steps: [50]",
        "version: 3, strategy: shadow",
        "version: 3, strategy: blue-green",
        "version: 4, serving: {port: 9100}",
    ];
    for (label, intent) in acts.chain(puts.into_iter().map(|request| (request.to_owned(), put(request)))) {
        let mut after = state.clone();
        after.acts_left -= 1;
        if matches!(after.repository.plan_once(&intent, observed.clone()), Became::Committed(_)) {
            next.push((label, after));
        }
    }
    next
}

fn name(intent: &Intent) -> &'static str {
    match intent {
        Intent::Run { .. } => "run",
        Intent::Remove { .. } => "remove",
        Intent::Settle { .. } => "settle",
        Intent::Rollback { .. } => "restore",
        _ => "other",
    }
}

/// What is wrong with a state, where something is.
fn wrong(state: &State) -> Option<String> {
    let cluster = &state.cluster;
    let ready = |predictor: &PredictorName| cluster.pods.get(predictor) == Some(&true);
    let reached = |predictor: &PredictorName| cluster.own.is_none() || cluster.own.as_ref() == Some(predictor);
    if cluster.taken.backends.is_empty() {
        let listens = |predictor: &PredictorName| cluster.ports.get(predictor) == Some(&cluster.own_port);
        if !cluster.pods.keys().any(|predictor| reached(predictor) && ready(predictor) && listens(predictor)) {
            return Some("outage: the own Service has no ready endpoint".to_owned());
        }
        let phase = state.repository.release.as_ref().unwrap().rollout.phase;
        let entering =
            state.repository.release.as_ref().unwrap().spec.variants.get(1).map(|variant| &variant.predictor);
        if matches!(phase, Phase::Entering | Phase::Running) && cluster.own.is_none() && entering.is_some_and(ready) {
            return Some("leak: the own Service reaches a predictor that enters".to_owned());
        }
    }
    if let Some(bad) = cluster.taken.backends.iter().find(|predictor| !ready(predictor)) {
        return Some(format!("outage: the route names {bad}, which is not ready"));
    }
    let mirror = cluster.taken.mirror.as_ref().filter(|predictor| !cluster.pods.contains_key(*predictor))?;
    Some(format!("outage: the mirror names {mirror}, which is not there"))
}

fn key(state: &State) -> String {
    let release = state.repository.release.as_ref().unwrap();
    format!(
        "{:?}|{:?}|{:?}|{}",
        release.spec,
        (release.rollout.phase, release.rollout.step, &release.rollout.restores, release.rollout.outcome),
        state.cluster,
        state.acts_left
    )
}

fn explore(never_ready: NeverReady, acts: usize) -> usize {
    let mut repository = Repository::new(Period::ZERO);
    repository.put("version: 1");
    let cluster = Cluster {
        pods: [(PredictorName::parse("v1").unwrap(), true)].into(),
        ..desired(repository.release.as_ref().unwrap())
    };
    let start = State { repository, cluster, acts_left: acts };
    let mut from: HashMap<String, Option<(String, String)>> = HashMap::from([(key(&start), None)]);
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        let here = key(&state);
        if let Some(wrong) = wrong(&state) {
            panic!("{wrong}\n{}", path(&from, here));
        }
        let next: Vec<(String, State)> = world(&state, never_ready).into_iter().chain(service(&state)).collect();
        let phase = state.repository.release.as_ref().unwrap().rollout.phase;
        let waits_for_the_bad = state
            .repository
            .release
            .as_ref()
            .unwrap()
            .spec
            .variants
            .iter()
            .any(|v| never_ready == Some(v.predictor.as_str()));
        if next.is_empty() && matches!(phase, Phase::Entering | Phase::Leaving) && !waits_for_the_bad {
            panic!("stuck in {phase:?}\n{}", path(&from, here));
        }
        for (label, after) in next {
            let there = key(&after);
            if let Entry::Vacant(vacant) = from.entry(there) {
                vacant.insert(Some((here.clone(), label)));
                queue.push_back(after);
            }
        }
    }
    from.len()
}

fn path(from: &HashMap<String, Option<(String, String)>>, end: String) -> String {
    let mut steps = Vec::new();
    let mut at = end;
    while let Some(Some((before, label))) = from.get(&at) {
        steps.push(label.clone());
        at.clone_from(before);
    }
    steps.reverse();
    steps.join("\n")
}

#[test]
fn no_interleaving_fails_a_request_or_gets_stuck() {
    for never_ready in [None, Some("v2"), Some("v3")] {
        let states = explore(never_ready, 3);
        assert!(states > 500, "only {states} states were explored");
    }
}
