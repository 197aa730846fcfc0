//! How soon the service is ready with many releases, and how much memory it holds.

use std::time::Instant;

use tests::TestEnvironment;

use crate::Bench;
use crate::commits::{fill, service};
use crate::machine::{median, ms, range, resident_mib_max};
use crate::report::Report;

pub fn measure(bench: &Bench, report: &mut Report) {
    let releases = bench.sizes.backlog;
    let environment = TestEnvironment::below(&bench.folder);
    let server = service(&environment);
    fill(&server, releases, 10);
    report.at_most(
        &format!("resident memory after making {releases} releases"),
        resident_mib_max(server.pid()),
        64.0,
        " MiB",
    );
    assert_eq!(server.stop(), Some(0));
    let starts: Vec<f64> = (0..bench.sizes.rounds)
        .map(|_| {
            let began = Instant::now();
            let server = service(&environment);
            let took = ms(began.elapsed());
            server.kill();
            took
        })
        .collect();
    report.at_most(
        &format!("start to ready with {releases} releases {}", range(&starts)),
        median(&starts),
        200.0,
        " ms",
    );
}
