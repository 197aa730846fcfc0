//! A repository in the data directory is one service's alone, so another one on the same database is refused.

use tests::TestEnvironment;
use tests::environment::run;

use super::migrate::URL;
use super::*;
use crate::image;

#[test]
fn a_second_service_with_a_repository_of_its_own_is_refused_until_the_first_is_gone() {
    let (server, environment) = (PostgresServer::start(), TestEnvironment::new());
    let url = server.url("kmlflow").replace('@', &format!(":{}@", OWNER.1));
    let first = environment.server().env(URL, &url).start();
    let _ = first.put("production/models/fraud", &image("fraud", "1")).expect(201);
    let elsewhere = TestEnvironment::new();
    let refused = run(&mut elsewhere.server().env(URL, &url).command());
    assert!(refused.code == 1 && refused.stderr.contains("another kmlflow uses the database"), "{refused:?}");
    assert!(refused.stderr.contains("Hint: stop it") && refused.stderr.contains("`git.url`"), "{}", refused.stderr);

    first.kill();
    // The server hears of it a moment later.
    while server.psql("kmlflow", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") != "0" {}
    let again = environment.server().env(URL, &url).start();
    let _ = again.put("production/models/fraud", &image("fraud", "2")).expect(200);
}
