use std::collections::BTreeSet;

use serde_json::Value;
use tests::TestEnvironment;
use tests::bed::Bed;
use tests::environment::run;

use super::{Scene, kill_at, last};

/// What `up` is killed at: the end of each step, and each wave.
fn place(event: &Value) -> Option<String> {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    match (text("event").as_str(), text("state").as_str()) {
        ("step", "done") => Some(text("step")),
        ("waiting", _) if text("reason").starts_with("wave ") => text("reason").split(':').next().map(str::to_owned),
        _ => None,
    }
}

/// The writes of the tests' own account since a byte of the audit log, without what is only asked: dry runs and reviews.
fn writes(bed: &Bed, since: usize) -> Vec<String> {
    let log = bed.log("audit");
    let entries = log[since..].lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_write = |entry: &Value| {
        let text = |path: &str| entry.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_changing = ["create", "update", "patch", "delete", "deletecollection"].contains(&text("/verb").as_str());
        let is_asking = text("/requestURI").contains("dryRun=All")
            || text("/objectRef/resource").ends_with("reviews")
            || text("/objectRef/subresource") == "exec";
        text("/user/username") == "tests" && is_changing && !is_asking
    };
    entries.filter(is_write).map(|entry| format!("{} {}", entry["verb"], entry["requestURI"])).collect()
}

/// Every Application of the platform that is synced and healthy, by name.
fn healthy(bed: &Bed) -> BTreeSet<String> {
    let is_healthy = |application: &Value| {
        let status = &application["status"];
        status["sync"]["status"] == "Synced" && status["health"]["status"] == "Healthy"
    };
    let all = bed.list("argocd", "application");
    all.iter()
        .filter(|one| is_healthy(one))
        .filter_map(|one| one["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn everything_comes_up_although_it_is_killed_at_each_step_stays_as_it_is_and_goes_again() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let scene = Scene::new(&bed, &environment, "life");
    scene.volumes(0, 8);
    let before = scene.objects();

    // Killed where it has not been before, until there is no such place.
    let mut places = BTreeSet::new();
    let ended = loop {
        let ended = kill_at(scene.up(&[], &[]), |event| {
            let here = place(event);
            if here.as_deref() == Some("service") {
                scene.open_the_pod();
            }
            here.is_some_and(|here| places.insert(here))
        });
        if let Some(code) = ended {
            break code;
        }
    };
    assert_eq!(ended, 0, "{places:?}");
    for step in ["tools", "namespaces", "secrets", "service", "repository", "root", "waves"] {
        assert!(places.contains(step), "{step} of {places:?}");
    }
    // A wave whose parts were healthy before it was looked at is waited for by nobody, such as one that came up while this was killed.
    assert!(places.iter().any(|place| place.starts_with("wave ")), "{places:?}");
    let parts = [
        "environments",
        "jupyterlab",
        "kmlflow",
        "meilisearch",
        "mlflow",
        "monitoring",
        "object-store",
        "object-store-browser",
        "platform",
        "postgresql",
    ];
    assert_eq!(healthy(&bed), parts.map(str::to_owned).into());

    // The same again finds nothing to do, and does nothing.
    let since = bed.log("audit").len();
    let again = run(scene.up(&[], &[]).args(["--output", "json"]));
    assert_eq!((again.code, &last(&again.stdout)["changed"]), (0, &Value::from(0)), "{again:?}");
    assert_eq!(writes(&bed, since), [] as [&str; 0]);
    let status = scene.ask(&["status", "--output", "json"]);
    let told: Vec<Value> = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!((status.code, told.len()), (0, parts.len() - 1), "{status:?}");
    assert!(told.iter().all(|part| part["state"] == "healthy"), "{told:?}");
    let doctor = scene.ask(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");

    // Away but for the data, and on the same data again.
    let uid = |kind: &str, name: &str| bed.get("storage", kind, name).unwrap()["metadata"]["uid"].clone();
    let kept = [("secret", "postgres-admin"), ("persistentvolumeclaim", "data-postgres-0")];
    let had = kept.map(|(kind, name)| uid(kind, name));
    let down = scene.ask(&["down", "--keep-data"]);
    assert_eq!(down.code, 0, "{down:?}");
    let left: BTreeSet<String> = scene.objects().into_keys().filter(|name| !before.contains_key(name)).collect();
    let with_data = ["jupyter", "k5w", "mlflow", "monitoring", "search", "storage"];
    let is_of_data = |name: &String| with_data.iter().any(|place| name.contains(place));
    assert!(left.iter().all(is_of_data), "{left:?}");
    let up = run(&mut scene.up(&[], &[]));
    assert_eq!(up.code, 0, "{up:?}");
    assert_eq!(kept.map(|(kind, name)| uid(kind, name)), had);

    // And everything away: what was there is as it was, and nothing else is there.
    let down = scene.ask(&["down"]);
    assert_eq!(down.code, 0, "{down:?}");
    let mut after = scene.objects();
    // What other tests left may have been on its way out at the beginning.
    let of_tests = format!("-{}", std::process::id());
    let is_others = |name: &str| name.contains(&of_tests) && !name.contains(&scene.name);
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name) && is_others(name));
    after.extend(gone.map(|(name, uid)| (name.clone(), uid.clone())).collect::<Vec<_>>());
    assert_eq!(after, before);
    assert_eq!(scene.ask(&["status"]).code, 4, "there is no platform any more");
}
