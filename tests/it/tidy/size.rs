//! Size budgets. The length of functions is clippy's to watch.

use super::{SourceFile, kept_files, none, rust_files, service_files};

/// No file has more production lines than this.
const LINES_MAX: usize = 500;

/// Half of all files are no longer than this.
const LINES_MEDIAN: usize = 120;

/// Nine files in ten are no longer than this.
const LINES_P90: usize = 300;

/// `main` starts things and does nothing.
const MAIN_LINES_MAX: usize = 60;

/// At least so many lines of tests for a hundred of production. A ratchet, which is only ever raised: the goal is 100 (docs/decisions/0019).
const TEST_LINES_PERCENT_MIN: usize = 50;

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

#[test]
fn there_are_no_fewer_tests_for_the_code_than_before() {
    let (mut production, mut tests) = (0, 0);
    for (is_production, _) in production_files().iter().flat_map(SourceFile::lines) {
        if is_production { production += 1 } else { tests += 1 }
    }
    // The tests from outside. What measures is none, and what starts the tests is none either.
    let outside = |file: &SourceFile| {
        let is_rust = ["tests/it/", "tests/e2e/", "tests/src/", "tests/stand-ins/", "bootstrap/tests/it/"]
            .iter()
            .any(|folder| file.path.starts_with(folder));
        is_rust && file.path.ends_with(".rs") || file.path.starts_with("tests/python/")
    };
    tests += kept_files().iter().filter(|file| outside(file)).map(|file| file.text.lines().count()).sum::<usize>();
    let percent = tests * 100 / production;
    assert!(percent >= TEST_LINES_PERCENT_MIN, "{percent} %: {tests} lines of tests for {production} of production");
}
