//! What the manual says.

#![expect(clippy::disallowed_methods, reason = "tests write what they like")]

use std::fmt::Write as _;
use std::process::Command;

#[test]
fn the_help_is_as_reviewed() {
    let mut text = String::new();
    for job in ["", "bake", "ci", "test", "bench", "dist", "install"] {
        let args: Vec<_> = [job, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(&args).output().expect("xtask");
        let manual = String::from_utf8(output.stdout).expect("UTF-8");
        writeln!(text, "$ cargo xtask {}\n{manual}", args.join(" ")).expect("a string");
    }
    let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");
    if std::env::var_os("LARDER_BLESS").is_some() {
        std::fs::write(snapshot, &text).expect("the snapshot");
    }
    assert_eq!(
        std::fs::read_to_string(snapshot).expect("the snapshot"),
        text,
        "LARDER_BLESS=1 writes it anew"
    );
}
