//! What goes to standard output: text for people, JSON for programs.

use std::io::Write as _;

use serde::Serialize;

use crate::arguments::Output;
use crate::fault::Fault;

/// Writes an answer in the form that was asked for.
pub fn write<T: Serialize>(output: Output, value: &T, text: impl FnOnce() -> String) -> Result<(), Fault> {
    let mut written = match output {
        Output::Text => text(),
        Output::Json => serde_json::to_string_pretty(value)
            .map_err(|error| Fault::new(format!("the answer cannot be written: {error}"), "report it"))?,
    };
    if !written.ends_with('\n') && !written.is_empty() {
        written.push('\n');
    }
    // A reader that went away has seen enough.
    let _gone = std::io::stdout().write_all(written.as_bytes());
    Ok(())
}

/// Rows under their heads, each column as wide as it must be.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let all: Vec<Vec<String>> =
        std::iter::once(heads.iter().map(|head| (*head).to_owned()).collect()).chain(rows.iter().cloned()).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["wider".to_owned(), String::new()]];
        assert_eq!(table(&["ONE", "TWO"], &rows), "ONE    TWO\na      b\nwider\n");
    }
}
