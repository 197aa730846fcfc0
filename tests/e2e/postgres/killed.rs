//! Three replicas on PostgreSQL, a branch at a real Git server, somebody else who pushes there all the time, and replicas that are killed by chance.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{RwLock, mpsc};

use tests::git_site::{GitSite, LOGIN};
use tests::{Checkout, Server, ServerBuilder};

use super::together::Site;
use crate::acknowledged::{Asked, CLIENTS, Told, UNGUARDED, acknowledge, push_by_hand, without_gc};
use tests::environment::succeed;

const REPLICAS: usize = 3;

/// How often one is killed, and after how many more acknowledged requests each time.
const KILLS: usize = 25;
const ACKNOWLEDGED: usize = 40;

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        // Knuth's MMIX generator; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// Where the replicas listen, as far as they live.
type Places = RwLock<[Option<SocketAddr>; REPLICAS]>;

/// Stops the clients when it is dropped, so also when the test fails: it waits for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks one after the other, by chance, until it is told to stop.
fn ask(told: &Told, client: usize, (places, token): (&Places, &str), (tell, stopped): (mpsc::Sender<()>, &AtomicBool)) {
    let mut chance = Chance(client as u64 + 1);
    while !stopped.load(Ordering::Relaxed) {
        let Some(address) = places.read().unwrap()[chance.below(REPLICAS)] else { continue };
        if told.ask(client, (address, token)) == Asked::Acknowledged && tell.send(()).is_err() {
            return;
        }
    }
}

#[test]
fn replicas_killed_by_chance_lose_and_double_nothing_that_any_of_them_acknowledged() {
    let mut site = Site::<REPLICAS>::new();
    let by_path = site.url.clone();
    without_gc(&site.environments[0], &site.environments[0].path("gitops.git"));
    let git = GitSite::start(&site.environments[0]);
    succeed(
        site.environments[0]
            .command("git")
            .args(["config", "http.receivepack", "true"])
            .current_dir(site.environments[0].path("gitops.git")),
    );
    site.url = git.url("gitops.git");
    let password = site.environments[0].write("password", LOGIN.1);
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let replica = |at: usize| -> ServerBuilder<'_> {
        let begin = site.replica(at).env(UNGUARDED.0, UNGUARDED.1);
        let begin = begin.env("KMLFLOW__GIT__CA_FILE", git.ca_file.to_str().unwrap());
        begin
            .env("KMLFLOW__GIT__CREDENTIALS__USERNAME", LOGIN.0)
            .env("KMLFLOW__GIT__CREDENTIALS__PASSWORD_FILE", password.to_str().unwrap())
    };
    let (told, stopped) = (Told::default(), AtomicBool::new(false));
    let checkout = Checkout::of(&site.environments[0], &by_path);
    let mut servers: [_; REPLICAS] = std::array::from_fn(|at| Some(replica(at).start()));
    let token = servers[0].as_ref().unwrap().token();
    let places: Places = RwLock::new(servers.each_ref().map(|server| server.as_ref().map(|server| server.address())));
    let by_hand = std::thread::scope(|scope| {
        let ((to_person, heard), (tell, acknowledged)) = (mpsc::channel(), mpsc::channel());
        let (told, places, token, checkout) = (&told, &places, token.as_str(), &checkout);
        let (stop, stopped) = (Stop(&stopped), &stopped);
        let by_hand = scope.spawn(move || push_by_hand(checkout, &heard));
        for client in 0..CLIENTS {
            let tell = tell.clone();
            scope.spawn(move || ask(told, client, (places, token), (tell, stopped)));
        }
        drop(tell);
        let mut chance = Chance(7);
        for _ in 0..KILLS {
            let printed = || servers.iter().flatten().map(Server::printed).collect::<Vec<_>>().join("\n---\n");
            acknowledge((ACKNOWLEDGED, &acknowledged), &to_person, (told, printed));
            let at = chance.below(REPLICAS);
            places.write().unwrap()[at] = None;
            servers[at].take().unwrap().kill();
            let again = replica(at).start();
            places.write().unwrap()[at] = Some(again.address());
            servers[at] = Some(again);
        }
        drop((stop, to_person));
        by_hand.join().unwrap()
    });
    assert!(told.count() >= KILLS * ACKNOWLEDGED && by_hand.len() > KILLS, "{} {}", told.count(), by_hand.len());
    for server in servers.iter().flatten() {
        told.check(server, &checkout, &by_hand);
    }
}
