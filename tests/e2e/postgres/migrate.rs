//! From a file to a server, with the real program.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tests::TestEnvironment;
use tests::environment::{run, succeed};

use super::*;
use crate::image;

pub(super) const URL: &str = "KMLFLOW__STORE__URL";

#[test]
fn a_service_goes_on_with_what_its_file_had() {
    let (server, environment) = (PostgresServer::start(), TestEnvironment::new());
    let in_file = environment.server().start();
    let _ = in_file.put("production/models/fraud", &image("fraud", "1")).expect(201);
    let before = in_file.get("/deliveries");
    let history = in_file.get("/releases/production/models/fraud/history");
    let data_dir = environment.data_dir();
    let migrate = |more: &[&str]| {
        let mut command = environment.kmlflow(["migrate", "--data-dir"]);
        command.arg(&data_dir).args(more);
        command
    };
    let password = environment.write("password", OWNER.1);
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let password = password.to_str().unwrap();
    let url = server.url("kmlflow");

    let busy = run(&mut migrate(&["--to", &url, "--password-file", password]));
    assert!(busy.code == 1 && busy.stderr.contains("another kmlflow uses the data directory"), "{busy:?}");
    assert_eq!(in_file.stop(), Some(0));
    let missing = run(&mut migrate(&["--to", &server.url("elsewhere"), "--password-file", password]));
    let hint = "Hint: make it with `createdb`; the cause was: ";
    assert!(missing.code == 1 && missing.stderr.contains(hint), "{missing:?}");
    let copied = succeed(&mut migrate(&["--to", &url, "--password-file", password, "-o", "json"]));
    let copied: Value = serde_json::from_str(&copied).unwrap();
    assert!(copied["deliveries"] == 1 && copied["commits"].as_u64().unwrap() >= 1, "{copied}");
    let again = run(&mut migrate(&["--to", &url, "--password-file", password]));
    assert!(again.code == 1 && again.stderr.contains("has rows in `deliveries` already"), "{again:?}");
    assert!(!again.stderr.contains("Start the service"), "{again:?}");

    // Who forgets to say where the store is now would go on with what nobody else sees.
    let forgotten = environment.server().run();
    let mark = format!("{}/kmlflow.db.moved-to", data_dir.display());
    assert!(forgotten.code == 1, "{forgotten:?}");
    assert!(forgotten.stderr.contains(&format!("the store in this file was taken over to {url}\n")), "{forgotten:?}");
    let cure =
        format!("Hint: set `store.url` to that (KMLFLOW__STORE__URL), or delete `{mark}` to go on with the file");
    assert!(forgotten.stderr.contains(&cure), "{forgotten:?}");
    let file = environment.path("old.tar");
    let backup = run(environment.kmlflow(["backup", "--data-dir"]).arg(&data_dir).arg(&file));
    assert!(backup.code == 1 && backup.stderr.contains(&cure) && !file.exists(), "{backup:?}");

    let with_password = url.replace('@', &format!(":{}@", OWNER.1));
    let on_server = environment.server().env(URL, &with_password).start();
    assert_eq!(on_server.get("/deliveries"), before);
    assert_eq!(on_server.get("/releases/production/models/fraud/history"), history);
    let _ = on_server.put("production/models/fraud", &image("fraud", "2")).expect(200);
    assert_eq!(
        on_server.get("/deliveries")["items"].as_array().map(Vec::len),
        Some(2),
        "what is answered is written by then"
    );
    assert_eq!(server.psql("kmlflow", "SELECT count(*), count(DISTINCT number) FROM deliveries"), "2|2");
    assert!(!on_server.printed().contains(OWNER.1));
    let file = environment.path("backup.tar");
    let mut backup = environment.kmlflow(["backup", "--data-dir"]);
    let backup = run(backup.arg(&data_dir).arg(&file).env(URL, &with_password));
    assert!(backup.code == 1 && backup.stderr.contains("`pg_dump`") && !file.exists(), "{backup:?}");
    assert_eq!(on_server.stop(), Some(0));

    std::fs::remove_file(mark).unwrap();
    let in_file = environment.server().start();
    assert_eq!(in_file.get("/deliveries"), before, "as whoever took the mark away wants it");
}

#[test]
fn a_service_that_may_not_in_says_why_and_shows_no_password() {
    let (server, environment) = (PostgresServer::start(), TestEnvironment::new());
    let url = server.url("kmlflow").replace('@', ":hunter2@");
    let refused = environment.server().env(URL, &url).run();
    let told = format!("{}{}", refused.stdout, refused.stderr);
    assert!(
        refused.code == 1 && told.contains("refused the user or the password") && !told.contains("hunter2"),
        "{told}"
    );
}
