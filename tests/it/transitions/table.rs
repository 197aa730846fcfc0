//! The transition table: every state against every request, as ARCHITECTURE.md has it.

use std::fmt::Write as _;

use kmlflow::release::*;

use super::{Became, Repository};

const BEGIN: &str = "<!-- transitions: begin -->\n";
const END: &str = "<!-- transitions: end -->";

/// A state and how a release gets there. Version 7 is stable, 8 is new, 6 was before.
fn states() -> Vec<(&'static str, Repository)> {
    let with = |delay: u64, steps: &[&str]| {
        let mut repository = Repository::new(Period::from_minutes(delay));
        for step in steps {
            match *step {
                "advance" => drop(repository.act(&Act::Advance)),
                "promote" => drop(repository.act(&Act::Promote { variant: None })),
                "time" => {
                    repository.advance_clock(301);
                    repository.go_on();
                }
                put => drop(repository.put(put)),
            }
        }
        repository
    };
    let stable = ["version: 6", "version: 7"];
    let run = |put: &'static str| -> Repository { with(0, &[stable[0], stable[1], put]) };
    vec![
        ("not there", with(0, &[])),
        ("settled", with(0, &stable)),
        ("settled, first version", with(0, &["version: 7"])),
        ("entering", with(5, &[stable[0], stable[1], "time", "version: 8, strategy: canary"])),
        ("canary running", run("version: 8, strategy: canary")),
        ("canary, last step", with(0, &[stable[0], stable[1], "version: 8, strategy: canary", "advance", "advance"])),
        ("ab running", run("version: 8, strategy: ab")),
        ("blue-green, blue active", run("version: 8, strategy: blue-green")),
        ("blue-green, green active", with(0, &[stable[0], stable[1], "version: 8, strategy: blue-green", "advance"])),
        ("shadow running", run("version: 8, strategy: shadow")),
        (
            "superseded, entering",
            with(
                5,
                &[stable[0], stable[1], "time", "version: 5, strategy: canary", "time", "version: 8, strategy: canary"],
            ),
        ),
        ("leaving", with(5, &[stable[0], stable[1], "time", "version: 8, strategy: canary", "time", "promote"])),
        (
            "leaving, removed",
            with(5, &[stable[0], stable[1], "time", "version: 8, strategy: canary", "time", "promote", "time"]),
        ),
    ]
}

type Request = fn(&mut Repository) -> Became;

fn requests() -> Vec<(&'static str, Request)> {
    vec![
        ("`single` 7", |r| r.put("version: 7")),
        ("`single` 8", |r| r.put("version: 8")),
        ("`single` 9", |r| r.put("version: 9")),
        ("`single` 7, other pods", |r| r.put("version: 7, serving: {resources: {requests: {cpu: 300m}}}")),
        ("`single` 9, other port", |r| r.put("version: 9, serving: {port: 9100}")),
        ("`single` 7, 2 replicas", |r| r.put("version: 7, serving: {replicas: 2}")),
        ("`canary` 8", |r| r.put("version: 8, strategy: canary")),
        ("`canary` 8, other steps", |r| r.put("version: 8, strategy: canary, steps: [5, 30]")),
        ("`canary` 9", |r| r.put("version: 9, strategy: canary")),
        ("`canary` 7", |r| r.put("version: 7, strategy: canary")),
        ("`canary` 8, baseline 6", |r| r.put("version: 8, strategy: canary, baseline: 6")),
        ("`ab` 8", |r| r.put("version: 8, strategy: ab")),
        ("`blue-green` 8", |r| r.put("version: 8, strategy: blue-green")),
        ("`shadow` 8", |r| r.put("version: 8, strategy: shadow")),
        ("`advance`", |r| r.act(&Act::Advance)),
        ("`promote`", |r| r.act(&Act::Promote { variant: None })),
        ("`promote` b", |r| r.act(&Act::Promote { variant: Some(Role::B) })),
        ("`abort`", |r| r.act(&Act::Abort)),
        ("`rollback`", |r| r.act(&Act::Rollback { to: None })),
        ("`rollback` to 6", |r| r.act(&Act::Rollback { to: Some(RollbackTo::Version(super::version(6))) })),
        ("`pause`", |r| r.act(&Act::Pause)),
        ("`resume`", |r| r.act(&Act::Resume)),
        ("`weights` a=20,b=80", |r| r.act(&weights(Some([(Role::A, 20), (Role::B, 80)]), None))),
        ("`weights` 50 %", |r| r.act(&weights(None, Some(50)))),
        ("`retract`", |r| r.act(&Act::Retract)),
    ]
}

fn weights(weights: Option<[(Role, u8); 2]>, percent: Option<u8>) -> Act {
    Act::Weights(WeightsRequest { weights: weights.map(|w| w.into_iter().collect()), percent })
}

/// What became of it: the first commit's action, and where the release is after all that follows at once.
fn cell(before: &Repository, request: Request) -> String {
    let mut repository = before.clone();
    match request(&mut repository) {
        Became::Nothing => "–".to_owned(),
        Became::Waits(_) => "waits".to_owned(),
        Became::Refused(RefusalKind::Invalid) => "422".to_owned(),
        Became::Refused(RefusalKind::NotFound) => "404".to_owned(),
        Became::Refused(_) => "409".to_owned(),
        Became::Committed(action) => {
            let state = repository.release.as_ref().map_or_else(|| "gone".to_owned(), shape);
            format!("{action} → {state}")
        }
    }
}

/// A release in a few characters: phase, versions, and who leaves in brackets.
fn shape(release: &Release) -> String {
    let staying: Vec<&str> = release.staying().map(|variant| variant.predictor.as_str()).collect();
    let leaving: Vec<&str> = release.leaving().map(|variant| variant.predictor.as_str()).collect();
    let mut out = format!("{} {}", release.rollout.phase.as_str(), staying.join("+"));
    if !leaving.is_empty() {
        write!(out, " ({})", leaving.join("+")).unwrap();
    }
    if release.rollout.phase == Phase::Running {
        match release.traffic().map(|traffic| traffic.main) {
            Some(MainRule::Split(split)) if split.len() > 1 => {
                write!(out, " {}", split.iter().map(|(_, w)| w.to_string()).collect::<Vec<_>>().join("/")).unwrap()
            }
            Some(MainRule::Split(split)) => write!(out, ", all to {}", split[0].0).unwrap(),
            _ => {}
        }
    }
    if release.rollout.paused.is_some() {
        out.push_str(", paused");
    }
    out
}

fn table() -> String {
    let mut out = String::new();
    for (name, state) in states() {
        let now = state.release.as_ref().map_or_else(|| "nothing is deployed".to_owned(), shape);
        write!(out, "**{name}** ({now})\n\n| Request | Becomes |\n| --- | --- |\n").unwrap();
        let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
        for (request_name, request) in requests() {
            let cell = cell(&state, request);
            match rows.iter_mut().find(|(known, _)| *known == cell) {
                Some((_, names)) => names.push(request_name),
                None => rows.push((cell, vec![request_name])),
            }
        }
        for (cell, names) in rows {
            writeln!(out, "| {} | {cell} |", names.join(" · ")).unwrap();
        }
        out.push('\n');
    }
    out
}

#[test]
fn the_table_in_the_documentation_is_what_happens() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
    let document = std::fs::read_to_string(path).unwrap();
    let table = table();
    let written = document.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(table, _)| table.trim());
    if written != Some(table.trim()) {
        let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/transitions.md");
        std::fs::write(target, &table).unwrap();
        panic!(
            "ARCHITECTURE.md has another table than what happens; what happens was written to {target}: review it and take it over"
        );
    }
}
