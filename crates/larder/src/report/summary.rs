//! A bake in Markdown, for the page that a CI shows of a run.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};

use camino::Utf8Path;
use storekit::size::ByteSize;

use super::{Baked, SHORT, Sum};

/// The lines of a summary, as they come.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    rows: String,
}

impl Summary {
    /// Adds an image or a disk.
    pub(crate) fn add(&mut self, baked: &Baked) {
        let key = baked.key.as_deref().map_or("-", |key| key.get(..SHORT).unwrap_or(key));
        let from = baked.tier.as_deref().or(baked.from).unwrap_or("-");
        let why = baked.error.as_ref().or(baked.reason.as_ref()).map_or("", String::as_str);
        let (image, state, seconds) = (cell(&baked.image), baked.state.name(), baked.seconds);
        // A string is never too long to be written.
        let _ = writeln!(
            self.rows,
            "| {image} | {state} | `{key}` | {} | {seconds:.1} s | {} |",
            cell(from),
            cell(why)
        );
    }

    /// All of it, with the sum and the names that were given.
    pub(crate) fn text(&self, sum: &Sum, tagged: &[String]) -> String {
        let mut text = format!(
            "### larder bake\n\n{sum}\n\n| image | result | key | from | time | why |\n| --- | --- | --- | --- | ---: | --- |\n{}",
            self.rows
        );
        if !sum.tiers.is_empty() {
            text.push_str(
                "\n| tier | images from it | | images to it | |\n| --- | ---: | ---: | ---: | ---: |\n",
            );
            for (tier, tally) in &sum.tiers {
                let (given, taken) = (ByteSize(tally.given_bytes), ByteSize(tally.taken_bytes));
                let _ = writeln!(
                    text,
                    "| {} | {} | {given} | {} | {taken} |",
                    cell(tier),
                    tally.given,
                    tally.taken
                );
            }
        }
        for line in tagged {
            let _ = write!(text, "\n- {}", cell(line));
        }
        text.push('\n');
        text
    }
}

/// Appends the text to the file: a CI's page may have other steps' on it.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn append(text: &str, path: &Utf8Path) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

/// The text in a cell of a table, on one line, with nothing that would be markup.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '`' | '*' | '_' | '[' | ']' | '\\' => cell.extend(['\\', c]),
            c if c.is_control() => cell.push(' '),
            c => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_markup() {
        assert_eq!(cell("a|b\nc <i>"), "a\\|b c \\<i\\>");
    }
}
