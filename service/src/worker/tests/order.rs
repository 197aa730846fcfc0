//! The order in which what was asked of one release is done, whatever becomes of the turns.

use std::fs;
use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use super::remote::{Far, overtake_while};
use super::tracking_server::Registry;
use super::*;

/// The versions that the commits of a release brought, oldest first.
fn versions(far: &Far) -> Vec<String> {
    let format = "--format=%(trailers:key=Version,valueonly,separator=)";
    let log = far.at_remote(&["log", "--reverse", format, "main", "--", "releases/production/models/fraud"]);
    log.lines().map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_turn_that_was_divided_and_failed_is_done_in_the_order_in_which_it_was_asked_for() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    // The first push is refused, so it is divided; the remote goes away during the second.
    let (pushes, away) = (far.remote().with_file_name("pushes"), far.remote().with_file_name("away.git"));
    let script = "echo one >>PUSHES\ntest $(wc -l <PUSHES) -lt 2 || mv REMOTE AWAY\nexit 1";
    let places = [("PUSHES", &pushes), ("REMOTE", &far.remote()), ("AWAY", &away)];
    let script =
        places.iter().fold(script.to_owned(), |script, (word, path)| script.replace(word, path.to_str().unwrap()));
    far.hook("pre-receive", &script);
    for requested in
        [put("fraud", single("8")), put("a", single("1")), put("fraud", single("9")), put("b", single("1"))]
    {
        let asked = far.world.handle().request(requested, Duration::from_millis(10)).await;
        assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    }
    far.world.run().await;
    assert_eq!(fs::read_to_string(&pushes).unwrap().lines().count(), 2, "it was divided");
    assert!(away.exists() && far.world.view("fraud").await.waiting.is_some(), "and failed");

    far.is_there(true);
    fs::remove_file(far.remote().join("hooks/pre-receive")).unwrap();
    far.world.turn_clock(10).await;
    assert_eq!(versions(&far), ["7", "8", "9"]);
    assert_eq!(far.world.state("fraud").await, "single settled live=9");
}

#[tokio::test]
async fn what_is_refused_for_good_is_looked_at_anew_however_long_it_was_divided() {
    let mut far = Far::new().await;
    // The last push of the divided turn is refused because somebody else pushed meanwhile, and nothing after that.
    let pushes = far.remote().with_file_name("pushes");
    let overtake = overtake_while("test $pushes = 3");
    let script = "echo one >>PUSHES\npushes=$(wc -l <PUSHES)\ntest $pushes -gt 2 || exit 1\n";
    far.hook("pre-receive", &format!("{}{overtake}\nexit 1", script.replace("PUSHES", pushes.to_str().unwrap())));
    let handle = far.world.handle();
    let asked = (0..4).map(|number| handle.request(put(&format!("m{number}"), single("7")), Duration::from_secs(60)));
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asked), far.world.run());
    for (number, answer) in answers.into_iter().enumerate() {
        assert!(matches!(answer, Ok(Answer::Done(_))), "{number}: {answer:?}");
    }
    assert_eq!(
        far.at_remote(&["log", "--author=Ann", "--skip=1", "--format=%s", "main"]),
        "By hand",
        "they were faster"
    );
    assert_eq!(far.subjects().len(), 4);
}

/// A service in the middle of looking into a request for a third version, beside a canary that runs.
struct Asking {
    handle: Handle,
    /// Once somebody waits here too, the registry answers.
    answers: Arc<Barrier>,
    asked: JoinHandle<Result<Answer, Fault>>,
    running: JoinHandle<()>,
    _world: World,
}

/// Begins to look into it, with an act made absolute before that.
async fn asking(act: Act) -> (Asking, Requested) {
    let registry = Registry::start().await;
    registry.register("fraud", 2);
    registry.register_one("fraud", 3, &[]);
    registry.file("fraud", 3, "MLmodel", include_str!("../../../core/src/servable/samples/cloudpickle.yaml"));
    let mut world = World::tracking(registry).await;
    world.put("fraud", single("1")).await;
    world.put("fraud", canary("2")).await;
    let act = world.absolute("fraud", act).await.unwrap();
    let answers = Arc::new(Barrier::new(2));
    world.registry().content().together = Some(Arc::clone(&answers));
    let (handle, worker) = world.parts.take().unwrap();
    let running = tokio::spawn(worker.run(std::future::pending()));
    let third = json!({"model": "fraud", "version": "3", "strategy": "canary", "steps": [5, 25, 50]});
    let wanted = serde_json::from_value::<ReleaseRequest>(third).unwrap().wanted().unwrap();
    let third = request("fraud", Intent::Put(Box::new(wanted)));
    let asking = handle.clone();
    let asked = tokio::spawn(async move { asking.request(third, Duration::from_secs(60)).await });
    while world.registry().content().waiting_max == 0 {
        tokio::task::yield_now().await;
    }
    (Asking { handle, answers, asked, running, _world: world }, act)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_waits_for_the_request_before_it_while_that_is_looked_into() {
    let (Asking { handle, answers, asked, running, _world }, pause) = asking(Act::Pause).await;
    let acting = handle.clone();
    let mut paused = tokio::spawn(async move { acting.request(pause, Duration::from_secs(60)).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut paused).await;
    assert!(early.is_err(), "it would be undone: {early:?}");
    answers.wait().await;
    assert!(matches!(asked.await.unwrap(), Ok(Answer::Done(_))));
    assert!(matches!(paused.await.unwrap(), Ok(Answer::Done(done)) if done.changed));
    let release = handle.release(&key("fraud")).await.unwrap().release;
    assert!(release.rollout.paused.is_some(), "{release:?}");
    assert_eq!(release.staying().last().unwrap().version.as_str(), "3");
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_waits_for_no_registry_and_takes_the_place_of_the_request_that_does() {
    let (Asking { handle, answers, asked, running, _world }, back) = asking(Act::Rollback { to: None }).await;
    assert!(matches!(handle.request(back, Duration::from_secs(60)).await, Ok(Answer::Done(done)) if done.changed));
    answers.wait().await;
    assert!(matches!(asked.await.unwrap(), Ok(Answer::Done(done)) if !done.changed));
    let release = handle.release(&key("fraud")).await.unwrap().release;
    assert_eq!(release.stable().unwrap().version.as_str(), "1");
    assert_eq!(release.spec.variants.len(), 1);
    running.abort();
}
