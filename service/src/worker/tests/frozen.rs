//! A branch that does not take a part of what a turn has for it: nothing else is held up by that.

use super::remote::Far;
use super::*;
use crate::event::DeliveryState;
use crate::release::RefusalKind;

/// The release `fraud`, changed by a push, at a remote that refuses the service's commits to one release.
async fn changed_by_hand(frozen: &str) -> Far {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let hook = format!(
        "read old new ref; git log --format=%an $old..$new -- releases/production/models/{frozen} | grep -q Kmlflow && echo '{frozen} is frozen' >&2 && exit 1; exit 0"
    );
    far.hook("pre-receive", &hook);
    let document = far.at_remote(&["show", &format!("main:{}", path("release.yaml"))]);
    far.push(&path("release.yaml"), &document.replace("replicas: 1", "replicas: 3"));
    far
}

/// The deliveries that were refused, by their reasons.
async fn refusals(far: &Far) -> Vec<String> {
    let filter = crate::worker::DeliveryFilter { state: Some(DeliveryState::Refused), ..Default::default() };
    let refused = far.world.handle().deliveries(filter).await.unwrap().items;
    refused.into_iter().map(|delivery| delivery.reason.unwrap()).collect()
}

#[tokio::test]
async fn what_follows_from_a_push_of_others_and_is_refused_holds_up_nobody_and_is_asked_for_by_itself() {
    let mut far = changed_by_hand("fraud").await;
    assert!(far.world.put("churn", single("8")).await.changed, "it has nothing to do with it");
    far.world.run().await;
    let refused = refusals(&far).await;
    assert!(refused.len() == 1 && refused[0].contains("fraud is frozen"), "{refused:?}");
    let notes = far.world.view("fraud").await.notes;
    assert!(notes.iter().any(|note| note.contains("is not rendered yet")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("fraud is frozen")), "{notes:?}");
    assert!(far.world.put("churn", single("9")).await.changed, "nor have later ones");

    far.without_hook("pre-receive");
    far.world.done(request("fraud", Intent::Rerender)).await;
    assert!(far.at_remote(&["show", &format!("main:{}", path("seldon.yaml"))]).contains("replicas: 3"));
    assert_eq!(far.world.view("fraud").await.notes, [] as [String; 0]);
}

#[tokio::test]
async fn where_a_request_is_refused_what_follows_from_a_push_of_others_is_done_behind_it() {
    let mut far = changed_by_hand("churn").await;
    match far.world.ask(put("churn", single("8"))).await {
        Err(Fault::Refused(refusal)) => {
            assert_eq!(refusal.kind, RefusalKind::RemoteRefused);
            assert!(refusal.reason.contains("churn is frozen"), "{}", refusal.reason);
        }
        other => panic!("not refused: {other:?}"),
    }
    far.world.run().await;
    assert!(far.at_remote(&["show", &format!("main:{}", path("seldon.yaml"))]).contains("replicas: 3"));
    assert_eq!(far.world.view("fraud").await.notes, [] as [String; 0]);
}

#[tokio::test]
async fn what_alone_is_too_much_is_refused_where_the_remote_keeps_what_others_asked_for() {
    let mut far = Far::new().await;
    far.at_remote(&["config", "receive.maxInputSize", "24000"]);
    // Nothing that compresses: more than the remote keeps.
    let digits: String = (0..4_000u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let env: Vec<Value> = digits
        .as_bytes()
        .chunks(1_000)
        .enumerate()
        .map(|(n, part)| json!({"name": format!("PART_{n}"), "value": String::from_utf8_lossy(part)}))
        .collect();
    let large = json!({"version": "7", "serving": {"env": env}});
    let handle = far.world.handle();
    let asked = [("large", large), ("churn", single("7")), ("fraud", single("7"))].map(|(name, body)| {
        let (handle, requested) = (handle.clone(), put(name, body));
        tokio::spawn(async move { handle.request(requested, Duration::from_secs(60)).await })
    });
    while !asked.iter().all(tokio::task::JoinHandle::is_finished) {
        far.world.run().await;
        tokio::task::yield_now().await;
    }
    let [large, churn, fraud] = asked;
    match large.await.unwrap() {
        Err(Fault::Refused(refusal)) => {
            assert_eq!(refusal.kind, RefusalKind::RemoteRefused);
            assert!(refusal.reason.contains("maximum"), "{}", refusal.reason);
            assert!(!refusal.reason.contains("remote.git"), "it says where that is: {}", refusal.reason);
        }
        other => panic!("not refused: {other:?}"),
    }
    for other in [churn, fraud] {
        let answer = other.await.unwrap();
        assert!(matches!(answer, Ok(Answer::Done(_))), "{answer:?}");
    }
}
