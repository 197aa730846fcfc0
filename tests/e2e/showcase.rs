//! `kmlflow demo`: the main job, shown in one command.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use tests::TestEnvironment;
use tests::environment::{signal, succeed};

#[test]
fn the_demo_shows_five_releases_a_promotion_and_a_rollback() {
    let environment = TestEnvironment::new();
    let shown = succeed(&mut environment.kmlflow(["demo", "--exit"]));
    for word in ["single", "canary", "ab", "blue-green", "shadow", "promote", "rollback"] {
        assert!(shown.to_lowercase().contains(word), "`{word}` is missing:\n{shown}");
    }
    assert!(!shown.contains("git clone"), "a service that ends has no address to look at:\n{shown}");
}

#[test]
fn a_demo_that_stays_says_where_to_look_and_ends_when_it_is_told_to() {
    let environment = TestEnvironment::new();
    let mut demo = environment.kmlflow(["demo"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = String::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        shown.push_str(&line.unwrap());
        shown.push('\n');
        if shown.contains("Ctrl-C ends") {
            break;
        }
    }
    let command = shown.lines().find_map(|line| line.strip_prefix("command ")).unwrap().trim();
    let listed = succeed(environment.command("bash").args(["-c", command]));
    assert!(listed.contains("churn-predictor"), "{command}: {listed}");
    signal("-TERM", &demo.id().to_string());
    assert_eq!(demo.wait().unwrap().code(), Some(0), "{shown}");
    for word in ["git clone", "curl", "http://127.0.0.1:"] {
        assert!(shown.contains(word), "`{word}` is missing:\n{shown}");
    }
}
