//! Size budgets. The length of functions is clippy's to watch.

use super::{SourceFile, none, rust_files, service_files};

/// No file has more production lines than this.
const LINES_MAX: usize = 500;

/// Half of all files are no longer than this.
const LINES_MEDIAN: usize = 120;

/// Nine files in ten are no longer than this.
const LINES_P90: usize = 300;

/// `main` starts things and does nothing.
const MAIN_LINES_MAX: usize = 60;

fn production_files() -> Vec<SourceFile> {
    service_files().into_iter().chain(rust_files("bootstrap/src")).collect()
}

#[test]
fn no_file_is_over_500_production_lines() {
    let too_long = |file: &SourceFile| {
        (file.production().count() > LINES_MAX).then(|| format!("{}: {}", file.path, file.production().count()))
    };
    none("production lines", &production_files().iter().filter_map(too_long).collect::<Vec<_>>());
}

#[test]
fn the_median_file_has_at_most_120_lines_and_nine_in_ten_at_most_300() {
    let mut lines: Vec<usize> =
        production_files().iter().map(|file| file.production().count()).filter(|&lines| lines > 0).collect();
    lines.sort_unstable();
    let at = |percent: usize| lines[(lines.len() - 1) * percent / 100];
    assert!(at(50) <= LINES_MEDIAN, "median {}", at(50));
    assert!(at(90) <= LINES_P90, "p90 {}", at(90));
}

#[test]
fn main_is_at_most_60_lines() {
    let mains = production_files().into_iter().filter(|file| file.path.ends_with("/main.rs"));
    let too_long = mains.filter(|file| file.production().count() > MAIN_LINES_MAX);
    none("main", &too_long.map(|file| format!("{}: {}", file.path, file.production().count())).collect::<Vec<_>>());
}
