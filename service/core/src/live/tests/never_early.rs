//! Whatever comes in whatever order, nothing is live before it is.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::world::{FIRST, SECOND, World, hash, release};
use crate::live::Kind;
use crate::release::Release;

/// Something that happens in the cluster.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Commit,
    ApplyAll,
    ApplyServices,
    ApplySeldon,
    ApplyRoutes,
    SayOldSynced,
    SayNewSynced,
    Flap(&'static str),
    OperatorMakes,
    NewIsReady,
    NewIsBad,
    OperatorRemoves,
    Accept,
    Relist,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let all = vec![
        Commit,
        ApplyAll,
        ApplyServices,
        ApplySeldon,
        ApplyRoutes,
        SayOldSynced,
        SayNewSynced,
        Flap("Available"),
        Flap("Creating"),
        OperatorMakes,
        NewIsReady,
        NewIsBad,
        OperatorRemoves,
        Accept,
        Relist,
    ];
    proptest::sample::select(all)
}

static BEFORE: LazyLock<Release> = LazyLock::new(|| release("single", "settled", &[("live", "7")]));
static AFTER: LazyLock<Release> = LazyLock::new(|| release("single", "settled", &[("live", "8")]));

/// Lets it happen, as far as it can.
fn happen(world: &mut World, happening: Happening) {
    let is_committed = world.head.as_ref().is_some_and(|(id, _)| id == SECOND);
    let new = hash(&AFTER, "v8");
    let has = |world: &World, predictor: &str| world.deployments().iter().any(|it| it == predictor);
    let asks_for_new = world.applied_predictors().iter().any(|(name, _)| name == "v8");
    match happening {
        Happening::Commit => world.commit(SECOND, &AFTER),
        Happening::ApplyAll => world.apply(|_| true),
        Happening::ApplyServices => world.apply(|kind| kind == Kind::Service),
        Happening::ApplySeldon => world.apply(|kind| kind == Kind::Seldon),
        Happening::ApplyRoutes => world.apply(|kind| matches!(kind, Kind::HttpRoute | Kind::GrpcRoute)),
        Happening::SayOldSynced => world.say_synced(FIRST),
        Happening::SayNewSynced if is_committed => world.say_synced(SECOND),
        Happening::Flap(state) => world.seldon_says(state),
        Happening::OperatorMakes if asks_for_new && !has(world, "v8") => world.deployment("v8", &new, (1, 0)),
        Happening::NewIsReady if has(world, "v8") => world.deployment("v8", &new, (1, 1)),
        Happening::NewIsBad if has(world, "v8") => world.deployment("v8", &new, (1, 0)),
        Happening::OperatorRemoves if asks_for_new && has(world, "v8") => {
            world.remove(Kind::Deployment, "fraud-v7-0-model")
        }
        Happening::Accept => world.accept_routes(),
        Happening::Relist => relist(world),
        Happening::SayNewSynced
        | Happening::OperatorMakes
        | Happening::NewIsReady
        | Happening::NewIsBad
        | Happening::OperatorRemoves => {}
    }
}

/// Everything is listed anew.
fn relist(world: &mut World) {
    for kind in [Kind::Application].into_iter().chain(Kind::OF_RELEASES) {
        let of = world.objects.iter().filter(|((it, _), _)| *it == kind);
        let objects = of.filter_map(|(_, object)| super::world::kept(kind, object)).collect();
        let touched = world.index.replace(kind, objects);
        assert_eq!(touched, [], "a list of what is known is no news");
    }
}

/// Whether the newest commit truly serves, by what the cluster holds and not by what anybody says of it.
fn serves(world: &World) -> bool {
    let (id, release) = world.head.as_ref().unwrap();
    let predictor = if id == SECOND { "v8" } else { "v7" };
    let deployment = world.objects.get(&(Kind::Deployment, format!("fraud-{predictor}-0-model")));
    let is_there = deployment.is_some_and(|it| {
        it["status"]["availableReplicas"] == 1
            && it["metadata"]["annotations"]["kmlflow.dev/pod-hash"] == hash(release, predictor)
    });
    is_there && world.applied_predictors() == [(predictor.to_owned(), hash(release, predictor))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_live_before_it_serves_alone(happenings in proptest::collection::vec(happening(), 1..40)) {
        let mut world = World::live(&BEFORE);
        for happening in happenings {
            happen(&mut world, happening);
            let look = world.look();
            if look.is_live() {
                prop_assert!(serves(&world), "live after {happening:?}");
                prop_assert_eq!(world.deployments().len(), 1, "another one is left");
            }
        }
    }
}

#[test]
fn with_the_operator_stopped_nothing_new_becomes_live() {
    let mut world = World::live(&BEFORE);
    world.commit(SECOND, &AFTER);
    assert!(!world.look().is_live());
    // Argo CD is done, and the operator's `Available` of before still stands.
    world.sync();
    world.accept_routes();
    assert!(world.look().missing.unwrap().contains("the operator has made no Deployment yet"));
    assert!(world.trouble().contains("does not take up"), "{}", world.trouble());
    world.operate();
    assert!(world.look().is_live());
}

#[test]
fn another_number_of_replicas_is_live_once_so_many_are_there_and_no_sooner() {
    let mut more = BEFORE.clone();
    more.spec.serving.replicas = Some(3);
    let manifests = crate::render::render(&more, &crate::render::Templates::built_in()).unwrap();
    crate::render::finish(&mut more, &manifests, &crate::render::Templates::built_in());
    assert_eq!(hash(&more, "v7"), hash(&BEFORE, "v7"), "nothing restarts");
    let mut world = World::live(&BEFORE);
    world.commit(SECOND, &more);
    world.say_synced(SECOND);
    let missing = |world: &World| world.look().missing.unwrap();
    assert!(missing(&world).contains("asks for another number of replicas"), "{}", missing(&world));
    // The operator is stopped: its `Available` of before still stands.
    world.sync();
    world.accept_routes();
    assert_eq!(missing(&world), "v7 is not ready: its Deployment is scaled to 1 and not to 3");
    let mut deployment = world.objects[&(Kind::Deployment, "fraud-v7-0-model".to_owned())].clone();
    deployment["spec"]["replicas"] = serde_json::json!(3);
    world.put(Kind::Deployment, deployment.clone());
    assert_eq!(missing(&world), "v7 is not ready: 1 of 3 replicas are available");
    for field in ["replicas", "updatedReplicas", "availableReplicas"] {
        deployment["status"][field] = serde_json::json!(3);
    }
    world.put(Kind::Deployment, deployment);
    assert!(world.look().is_live(), "{:?}", world.look());
}

#[test]
fn a_bad_image_in_a_running_predictor_is_never_live() {
    // The same predictor with other pods: only the digest tells them apart.
    let mut bad = BEFORE.clone();
    bad.spec.variants[0].artifact = crate::release::Artifact::of_image("registry.example/fraud:bad".to_owned());
    let manifests = crate::render::render(&bad, &crate::render::Templates::built_in()).unwrap();
    crate::render::finish(&mut bad, &manifests, &crate::render::Templates::built_in());
    let mut world = World::live(&BEFORE);
    world.commit(SECOND, &bad);
    world.sync();
    for state in ["Available", "Creating", "Available"] {
        world.seldon_says(state);
        assert!(!world.look().is_live(), "the Deployment is the old one");
    }
    // The operator has taken it up: the old pod serves on, the new one cannot pull.
    world.deployment("v7", &hash(&bad, "v7"), (1, 1));
    let mut deployment = world.objects[&(Kind::Deployment, "fraud-v7-0-model".to_owned())].clone();
    deployment["status"]["replicas"] = serde_json::json!(2);
    world.put(Kind::Deployment, deployment);
    for state in ["Available", "Creating"] {
        world.seldon_says(state);
        assert!(!world.look().is_live(), "the old pod is still there");
    }
}
