//! The bench: what the service costs, as ratios to a contender or to the machine's own limits in the same run.
//!
//! Absolute times are printed for orientation only. Contenders take turns in small chunks, so that what disturbs one disturbs all.

mod commits;
mod counting;
mod followed;
mod line;
mod machine;
mod proxy;
mod receiver;
mod registry;
mod remotes;
mod report;
mod start;
mod sweep;
mod syncs;
mod templates;
mod watched;

use std::path::PathBuf;

use report::Report;

/// How much of everything.
pub struct Sizes {
    /// Rounds in which contenders take turns.
    rounds: usize,
    /// Releases of the small and the large repository.
    present: [usize; 2],
    /// Namespaces of the large repository.
    namespaces: usize,
    /// Requests that wait before they are let through at once.
    backlog: usize,
    /// Deliveries per contender and round.
    deliveries: usize,
    /// Renders per contender and round.
    renders: usize,
    /// Models of the registry that is swept, and versions of each.
    registry: [usize; 2],
    /// The size of an artifact in MiB, and how often it is moved each way.
    artifact_mib: usize,
    artifacts: usize,
    /// Releases of the repositories behind a web server, and of the largest one.
    elsewhere: [usize; 3],
    most_elsewhere: usize,
    /// For how many seconds deliveries keep arriving.
    arriving: u32,
    /// Releases of the cluster that is played, with four pods each.
    watched: usize,
    /// Applications on the test bed, and how often each step is followed there.
    applications: usize,
    followed: usize,
}

/// What the bench proves.
const FULL: Sizes = Sizes {
    rounds: 7,
    present: [10, 10_000],
    namespaces: 100,
    backlog: 1_000,
    deliveries: 4_000,
    renders: 200,
    registry: [500, 10],
    artifact_mib: 1_024,
    artifacts: 5,
    elsewhere: [10, 1_000, 10_000],
    most_elsewhere: 50_000,
    arriving: 8,
    watched: 5_000,
    applications: 500,
    followed: 11,
};

/// That it runs at all.
const SMOKE: Sizes = Sizes {
    rounds: 2,
    present: [2, 12],
    namespaces: 3,
    backlog: 12,
    deliveries: 64,
    renders: 2,
    registry: [3, 4],
    artifact_mib: 4,
    artifacts: 2,
    elsewhere: [2, 3, 4],
    most_elsewhere: 6,
    arriving: 1,
    watched: 5,
    applications: 3,
    followed: 2,
};

/// One part of the bench.
type Part = fn(&Bench, &mut Report);

/// Where things are.
pub struct Bench {
    sizes: Sizes,
    python: PathBuf,
    /// A folder on the disk, not in memory.
    folder: PathBuf,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1).cloned();
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let folder = tests::environment::repository_root().join("target/bench");
    std::fs::create_dir_all(&folder).expect("a folder for the bench");
    let python = PathBuf::from(after("--python").unwrap_or_else(|| "python3".to_owned()));
    let bench = Bench { sizes: if smoke { SMOKE } else { FULL }, python, folder };

    let mut report = Report::new(smoke);
    let parts: [(&str, Part); 13] = [
        ("requests to commits", commits::measure),
        ("syncs", syncs::measure),
        ("receiver", receiver::measure),
        ("templates", templates::measure),
        ("start and memory", start::measure),
        ("registry to commits", registry::measure),
        ("sweep", sweep::measure),
        ("proxy", proxy::measure),
        ("remotes: one push", remotes::idle),
        ("remotes: far away", remotes::far),
        ("remotes: large", remotes::large),
        ("cluster: watched", watched::measure),
        ("cluster: followed", followed::measure),
    ];
    let only = after("--only").unwrap_or_default();
    let chosen: Vec<_> = parts.into_iter().filter(|(name, _)| name.contains(&only)).collect();
    if chosen.is_empty() {
        eprintln!("Error: no part is called `{only}`\nHint: tests/bench/run --help");
        std::process::exit(2);
    }
    for (name, part) in chosen {
        eprintln!("measuring: {name}");
        part(&bench, &mut report);
    }
    std::process::exit(report.end(&bench.folder.join("table.md")));
}
