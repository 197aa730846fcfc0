//! The order in which what was asked of one release is done, whatever becomes of the turns.

use std::fs;
use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use super::remote::{Far, overtake_while};
use super::tracking_server::Registry;
use super::*;
use crate::event::DeliveryState;
use crate::release::RollbackTo;

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

/// Asks for a third version, which waits, and for a way back behind it; gives the id of what waits.
async fn ask_for_a_third_and_back(far: &mut Far, is_tried: bool, to: Option<RollbackTo>) -> String {
    let wait = Duration::from_millis(10);
    let asked = far.world.handle().request(put("fraud", single("9")), wait).await;
    let Ok(Answer::Queued { delivery, .. }) = asked else { panic!("{asked:?}") };
    if is_tried {
        far.world.run().await;
    }
    let back = far.world.absolute("fraud", Act::Rollback { to }).await.unwrap();
    let asked = far.world.handle().request(back, wait).await;
    assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    delivery
}

#[tokio::test]
async fn a_way_back_takes_the_place_of_what_waits_before_it_and_never_was_in_force() {
    let to_what_serves = RollbackTo::Version("8".parse().unwrap());
    for (is_away, is_started_anew, to, end) in [
        (true, false, None, vec!["7", "8", "7"]),
        (true, true, None, vec!["7", "8", "7"]),
        (true, false, Some(to_what_serves), vec!["7", "8"]),
        (false, false, None, vec!["7", "8", "7"]),
    ] {
        let mut far = Far::new().await;
        far.world.put("fraud", single("7")).await;
        far.world.put("fraud", single("8")).await;
        if is_away {
            far.is_there(false);
        }
        let waits = ask_for_a_third_and_back(&mut far, is_away, to).await;
        if is_away {
            far.is_there(true);
        }
        if is_started_anew {
            far.world.kill();
            far.world.start().await;
        }
        far.world.turn_clock(10).await;
        assert_eq!(versions(&far), end);
        assert_eq!(far.world.state("fraud").await, format!("single settled live={}", end.last().unwrap()));
        let view = far.world.handle().delivery(&waits).await.unwrap();
        assert_eq!(view.state, DeliveryState::Unchanged, "{view:?}");
        assert!(view.reason.as_deref().unwrap().starts_with("replaced by the newer delivery "), "{view:?}");
    }
}

#[tokio::test]
async fn what_had_arrived_before_a_way_back_was_in_force_and_is_said_to_be() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.world.put("fraud", single("8")).await;
    // The next push arrives, and the remote is away before it says so.
    let away = far.remote().with_file_name("away.git");
    let script =
        format!("[ $1 != committed ] || {{ mv '{}' '{}'; kill -9 $PPID; }}", far.remote().display(), away.display());
    far.hook("reference-transaction", &script);
    let arrived = ask_for_a_third_and_back(&mut far, true, None).await;
    far.is_there(true);
    far.without_hook("reference-transaction");
    far.world.turn_clock(10).await;
    assert_eq!(versions(&far), ["7", "8", "9", "7"]);
    let view = far.world.handle().delivery(&arrived).await.unwrap();
    assert!(view.state == DeliveryState::Applied && view.commit.is_some(), "{view:?}");
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
        super::pause().await;
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
