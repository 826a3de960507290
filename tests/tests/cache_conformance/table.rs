//! The table in pkgcache's CONFORMANCE.md: written with `LARDER_BLESS=1`, else compared.
//!
//! The rows of an edition that this machine lacks stay as they are.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;

use crate::expected::Expected;
use crate::suite::{MODES, Run};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/pkgcache/CONFORMANCE.md");
const TABLE: (&str, &str) = ("<!-- measured -->\n", "<!-- end of measured -->\n");
const LIST: (&str, &str) = ("<!-- listed -->\n", "<!-- end of listed -->\n");

/// Writes or compares.
pub(crate) fn check(runs: &[Run], expected: &Expected) {
    let found = fs::read_to_string(DOCUMENT).unwrap();
    let wanted = with(&found, TABLE, |table| rows(table, runs));
    let wanted = with(&wanted, LIST, |_| listed(expected));
    if env::var_os("LARDER_BLESS").is_some() {
        fs::write(DOCUMENT, wanted).unwrap();
    } else {
        assert!(
            found == wanted,
            "CONFORMANCE.md is not of this run: set LARDER_BLESS=1 to write it anew\n{wanted}"
        );
    }
}

/// The document with another text between two marks.
fn with(document: &str, (begin, end): (&str, &str), text: impl FnOnce(&str) -> String) -> String {
    let (before, rest) = document.split_once(begin).expect(begin);
    let (between, after) = rest.split_once(end).expect(end);
    format!("{before}{begin}{}{end}{after}", text(between))
}

fn rows(table: &str, runs: &[Run]) -> String {
    let head = "| edition | mode | required | optimal |\n| --- | --- | --- | --- |\n";
    let old = table.lines().skip(2).filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        Some(((cells.next()?, cells.next()?), line.to_owned()))
    });
    let mut rows: BTreeMap<_, _> = old.collect();
    for run in runs {
        let [required, optimal] = ["required", "optimal"].map(|kind| run.count(kind));
        let count = |(passed, all): (usize, usize)| format!("{passed} of {all}");
        let row = format!("| {} | {} | {} | {} |", run.edition, run.mode, count(required), count(optimal));
        rows.insert((run.edition.to_owned(), run.mode.to_string()), row);
    }
    rows.values().rev().fold(head.to_owned(), |text, row| text + row + "\n")
}

/// One line for each test, with the places where it does not pass.
fn listed(expected: &Expected) -> String {
    let mut text = String::from("| test | where | why |\n| --- | --- | --- |\n");
    let mut done = Vec::new();
    for edition in ["2026", "0.4.5"] {
        for entry in MODES.iter().flat_map(|mode| expected.entries(edition, *mode)) {
            if !done.contains(&&entry.id) {
                let _ = writeln!(text, "| `{}` | {} | {} |", entry.id, entry.place, entry.reason);
                done.push(&entry.id);
            }
        }
    }
    text
}
