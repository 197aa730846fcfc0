//! One service writes by a database at a time; the next one takes over.

use tests::environment::{run, succeed};
use tests::{ServerBuilder, TestEnvironment};

use super::migrate::URL;
use super::*;
use crate::image;

fn with<'e>(begin: ServerBuilder<'e>, store: &str, repository: &str) -> ServerBuilder<'e> {
    begin.env(URL, store).env("KMLFLOW__GIT__URL", repository)
}

#[test]
fn a_second_service_is_refused_until_the_first_is_gone_and_then_goes_on_where_it_ended() {
    let (server, environment) = (PostgresServer::start(), TestEnvironment::new());
    let repository = environment.path("gitops.git");
    succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&repository));
    let address = format!("file://{}", repository.display());
    succeed(&mut environment.kmlflow(["init", "--url", &address]));
    let url = server.url("kmlflow").replace('@', &format!(":{}@", OWNER.1));

    let first = with(environment.server(), &url, &address).start();
    let _ = first.put("production/models/fraud", &image("fraud", "1")).expect(201);
    // On another machine, as far as it knows.
    let elsewhere = TestEnvironment::new();
    let refused = run(&mut with(elsewhere.server(), &url, &address).command());
    assert!(refused.code == 1 && refused.stderr.contains("another kmlflow uses the database"), "{refused:?}");
    assert!(refused.stderr.contains("Hint: stop it"), "{}", refused.stderr);

    first.kill();
    // The server hears of it a moment later.
    while server.psql("kmlflow", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") != "0" {}
    let second = with(elsewhere.server(), &url, &address).start();
    assert_eq!(second.get("/releases/production/models/fraud")["metadata"]["name"], "fraud");
    let _ = second.put("production/models/fraud", &image("fraud", "2")).expect(200);
}
