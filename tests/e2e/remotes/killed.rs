//! One service on SQLite, a remote, somebody else who pushes there all the time, and a process that is killed again and again.

use std::sync::mpsc;

use tests::Checkout;

use super::*;
use crate::acknowledged::{Asked, CLIENTS, Told, UNGUARDED, acknowledge, push_by_hand, without_gc};

/// How often it is killed, and after how many acknowledged requests each time.
const KILLS: usize = 100;
const ACKNOWLEDGED: usize = 10;

#[test]
fn killed_a_hundred_times_it_loses_and_doubles_nothing_that_it_acknowledged() {
    let environment = TestEnvironment::new();
    let repository = serve::empty(&environment, "gitops.git");
    without_gc(&environment, &repository);
    let url = format!("file://{}", repository.display());
    succeed(&mut environment.kmlflow(["init", "--url", &url]));
    let start = || environment.server().env("KMLFLOW__GIT__URL", &url).env(UNGUARDED.0, UNGUARDED.1).start();
    let (told, checkout) = (Told::default(), Checkout::of(&environment, &url));
    let by_hand = std::thread::scope(|scope| {
        let (to_person, heard) = mpsc::channel();
        let checkout = &checkout;
        let by_hand = scope.spawn(move || push_by_hand(checkout, &heard));
        for _ in 0..KILLS {
            let server = start();
            let (address, token) = (server.address(), server.token());
            let (tell, acknowledged) = mpsc::channel();
            std::thread::scope(|scope| {
                for client in 0..CLIENTS {
                    let (told, token, tell) = (&told, &token, tell.clone());
                    scope.spawn(move || {
                        loop {
                            match told.ask(client, (address, token)) {
                                Asked::Acknowledged if tell.send(()).is_ok() => {}
                                Asked::Uncommitted => {}
                                Asked::Acknowledged | Asked::Lost => return,
                            }
                        }
                    });
                }
                drop(tell);
                // Also when it panics here, so that the clients end.
                let server = server;
                acknowledge((ACKNOWLEDGED, &acknowledged), &to_person, (&told, || server.printed()));
                server.kill();
            });
        }
        drop(to_person);
        by_hand.join().unwrap()
    });
    assert!(told.count() >= KILLS * ACKNOWLEDGED && by_hand.len() > KILLS, "{} {}", told.count(), by_hand.len());
    told.check(&start(), &checkout, &by_hand);
}
