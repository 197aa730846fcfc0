//! Aligned tables for a person, as text: columns as wide as their widest cell, colour only where it is asked for.

use std::fmt::Write as _;

/// What a cell or line means, which decides its colour on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    Strong,
    Good,
    Warn,
    Bad,
    Dim,
}

impl Tone {
    /// The text in this tone's colour, or unchanged.
    pub(super) fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            _ if !color || text.is_empty() => return text.to_owned(),
            Self::Plain => return text.to_owned(),
            Self::Strong => "1",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Dim => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// One cell: a line of text without control characters, whoever it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    pub(super) fn new(text: &str, tone: Tone) -> Self {
        Self { text: plain(text), tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Tone::Plain)
    }
}

/// A table with a head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// Between two columns.
const GAP: &str = "   ";

impl Table {
    /// A table without rows yet.
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, one line per row, without white space at the ends of lines. A column without any text is left out.
    pub(super) fn to_text(&self, color: bool) -> String {
        let used =
            |column: usize| self.rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.text.is_empty()));
        let columns: Vec<usize> = (0..self.head.len()).filter(|column| used(*column)).collect();
        let head: Vec<Cell> = self.head.iter().map(|name| Cell::new(name, Tone::Dim)).collect();
        let rows: Vec<&Vec<Cell>> = std::iter::once(&head).chain(&self.rows).collect();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0);
        let widths: Vec<usize> = columns.iter().map(|column| width(*column)).collect();
        let mut text = String::new();
        for row in rows {
            write_row(&mut text, row, &columns, &widths, color);
        }
        text
    }
}

/// Lines of a name and a value, aligned; those without a value are left out.
pub(super) fn facts(facts: &[(&str, Cell)], color: bool) -> String {
    let shown: Vec<_> = facts.iter().filter(|(_, cell)| !cell.text.is_empty()).collect();
    let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    shown.iter().fold(String::new(), |mut text, (name, cell)| {
        let name = Tone::Dim.paint(&format!("{name:width$}"), color);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}{GAP}{}", cell.tone.paint(&cell.text, color));
        text
    })
}

/// A foreign text on one line: line breaks become spaces, other control characters are shown as escapes, so that none reaches a terminal.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn write_row(text: &mut String, row: &[Cell], columns: &[usize], widths: &[usize], color: bool) {
    let mut pending = 0;
    for (column, width) in columns.iter().zip(widths) {
        let empty = Cell::default();
        let cell = row.get(*column).unwrap_or(&empty);
        if !cell.text.is_empty() {
            text.extend(std::iter::repeat_n(' ', pending));
            text.push_str(&cell.tone.paint(&cell.text, color));
            pending = 0;
        }
        pending += width - cell.width() + GAP.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "NOTE", "SPLIT", "EMPTY"]);
        table.row(["fraud".into(), "".into(), Cell::new("v7 95%", Tone::Good), "".into()]);
        table.row(["a-long-name".into(), "größe".into(), "v1".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let text = table().to_text(false);
        assert_eq!(text, "NAME          NOTE    SPLIT\nfraud                 v7 95%\na-long-name   größe   v1\n");
    }

    #[test]
    fn colour_changes_no_width() {
        let colored = table().to_text(true);
        assert!(colored.contains("\u{1b}[32mv7 95%\u{1b}[0m"));
        let stripped =
            ["\u{1b}[32m", "\u{1b}[2m", "\u{1b}[0m"].iter().fold(colored, |text, code| text.replace(code, ""));
        assert_eq!(stripped, table().to_text(false));
    }

    #[test]
    fn a_foreign_text_cannot_steer_the_terminal() {
        let cell = Cell::from("a\u{1b}[2Jb\nc\r");
        assert_eq!(cell.text, "a\\u{1b}[2Jb c");
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        let text = facts(&[("model", "fraud".into()), ("paused", "".into()), ("commit", "abc".into())], false);
        assert_eq!(text, "model    fraud\ncommit   abc\n");
    }
}
