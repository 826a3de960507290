//! The help texts as they are printed: a change of wording shows in a diff.

use larder_tests::{Ran, reviewed};

use crate::support::session;

#[test]
fn the_manual_is_as_it_was() {
    let mut manual = String::new();
    let authority = ["init", "print", "bundle", "rotate"].map(|job| vec!["ca", job, "--help"]);
    let commands = [
        "serve", "run", "record", "replay", "export", "import", "detect", "env", "ls", "info", "rm",
        "refresh", "verify", "ca",
    ];
    let helps = commands.iter().map(|command| vec![*command, "--help"]);
    for args in std::iter::once(vec!["--help"]).chain(helps).chain(authority) {
        let text = Ran::of(session().command("").args(&args)).ok().stdout();
        manual.extend([
            "$ pkgcache ",
            &args.join(" "),
            "
",
            &text,
            "
",
        ]);
    }
    reviewed(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/manual.txt"), &manual);
}
