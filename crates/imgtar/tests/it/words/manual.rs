//! The manual, word for word: a change of it shows as a change of this folder's snapshots.
//! `LARDER_BLESS=1` writes them anew.

use larder_tests::{Ran, reviewed};

use crate::kit::session::Session;

const COMMANDS: [&str; 20] = [
    "", "import", "export", "save", "load", "index", "init", "extract", "has", "ls", "info", "tag", "rm",
    "verify", "serve", "pack", "push", "pull", "resolve", "help",
];

#[test]
fn the_manual_is_as_reviewed() {
    let session = Session::new();
    let text: Vec<String> = COMMANDS.map(|command| manual(&session, command)).to_vec();
    let text = text.join("\n");
    reviewed(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/words/manual.txt"), &text);
}

fn manual(session: &Session, command: &str) -> String {
    let mut run = session.command(if command == "help" { "help has" } else { command });
    let run = if command == "help" { &mut run } else { run.arg("--help") };
    let ran = Ran::of(run.env("COLUMNS", "100")).ok();
    format!("$ imgtar {command} --help\n{}", ran.stdout())
}
