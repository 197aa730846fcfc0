//! The table.

use std::path::Path;

/// One line of the table.
struct Line {
    what: String,
    goal: String,
    measured: String,
    /// None: printed for orientation.
    holds: Option<bool>,
}

/// The table as it grows.
pub struct Report {
    smoke: bool,
    lines: Vec<Line>,
}

impl Report {
    /// An empty one. In a smoke run nothing that was measured decides anything.
    pub fn new(smoke: bool) -> Self {
        Self { smoke, lines: Vec::new() }
    }

    /// A figure that has to be at most this.
    pub fn at_most(&mut self, what: &str, measured: f64, limit: f64, unit: &str) {
        self.add(what, format!("≤ {limit}{unit}"), format!("{measured:.2}{unit}"), Some(measured <= limit));
    }

    /// A figure that has to be at least this.
    pub fn at_least(&mut self, what: &str, measured: f64, limit: f64, unit: &str) {
        self.add(what, format!("≥ {limit}{unit}"), format!("{measured:.2}{unit}"), Some(measured >= limit));
    }

    /// A number that does not depend on the machine: it decides in a smoke run too.
    pub fn counted(&mut self, what: &str, counted: f64, wanted: std::ops::RangeInclusive<f64>) {
        let goal = format!("{} to {}", wanted.start(), wanted.end());
        eprintln!("  {what}: {counted:.2} {goal}");
        let holds = Some(wanted.contains(&counted));
        self.lines.push(Line { what: what.to_owned(), goal, measured: format!("{counted:.2}"), holds });
    }

    /// A figure for orientation.
    pub fn beside(&mut self, what: &str, measured: String) {
        self.add(what, String::new(), measured, None);
    }

    fn add(&mut self, what: &str, goal: String, measured: String, holds: Option<bool>) {
        eprintln!("  {what}: {measured} {goal}");
        // The debug build and tiny sizes decide nothing.
        let holds = holds.filter(|_| !self.smoke);
        self.lines.push(Line { what: what.to_owned(), goal, measured, holds });
    }

    /// Prints and keeps the table; returns the exit code.
    pub fn end(&self, file: &Path) -> i32 {
        let mut table = String::from("| What | Goal | Here | |\n| --- | --- | --- | --- |\n");
        for Line { what, goal, measured, holds } in &self.lines {
            let verdict = match holds {
                Some(true) => "holds",
                Some(false) => "does not hold",
                None => "",
            };
            table.push_str(&format!("| {what} | {goal} | {measured} | {verdict} |\n"));
        }
        println!("{table}");
        let failed = self.lines.iter().filter(|line| line.holds == Some(false)).count();
        if self.smoke {
            // It ran; with sizes like these the times mean nothing.
            println!("{} passed, {failed} failed", self.lines.len() - failed);
            return i32::from(failed > 0);
        }
        if let Err(error) = std::fs::write(file, &table) {
            eprintln!("the table is not kept in {}: {error}", file.display());
        }
        i32::from(failed > 0)
    }
}
