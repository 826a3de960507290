//! Aligned columns, for people.

use std::fmt::Write;

use storekit::printable;

/// A table: columns as wide as their widest cell, two spaces between them, none at the end of a
/// line.
#[derive(Debug, Default)]
pub struct Table {
    headings: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

/// To which side a column's cells are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(headings: &[(&'static str, Align)]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; control characters are shown, not sent to the terminal.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell).into_owned()).collect());
    }

    /// The text; the headings are bold where `bold`.
    #[must_use]
    pub fn text(&self, bold: bool) -> String {
        let headings: Vec<_> = self.headings.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let widths: Vec<_> = (0..headings.len()).map(|column| self.width(column)).collect();
        let mut text = match self.line(&headings, &widths) {
            line if bold => format!("\x1b[1m{line}\x1b[0m\n"),
            line => format!("{line}\n"),
        };
        for row in &self.rows {
            text.push_str(&self.line(row, &widths));
            text.push('\n');
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, (_, align)), &width) in cells.iter().zip(&self.headings).zip(widths) {
            // Writing to a string does not fail.
            let _ = match align {
                Align::Left => write!(line, "{cell:<width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        let heading = self.headings.get(column).map(|(heading, _)| *heading);
        cells.chain(heading).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_clean() {
        let mut table = Table::new(&[("KEY", Align::Left), ("SIZE", Align::Right), ("NAMES", Align::Left)]);
        table.row(["a".into(), "1.23MB".into(), "é:latest".into()]);
        table.row(["long-key".into(), "9B".into(), String::new()]);
        let text = "KEY         SIZE  NAMES\na         1.23MB  é:latest\nlong-key      9B\n";
        assert_eq!(table.text(false), text);
        assert!(table.text(true).starts_with("\x1b[1mKEY         SIZE  NAMES\x1b[0m\n"));
    }

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        let mut table = Table::new(&[("NAME", Align::Left)]);
        table.row(["a\x1b[2J\n".to_owned()]);
        assert_eq!(table.text(false), "NAME\na\\u{1b}[2J\\n\n");
    }
}
