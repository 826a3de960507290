//! The help texts as they are printed: a change of wording shows in a diff.

use larder_tests::{Ran, reviewed};

use crate::support::session;

#[test]
fn the_manual_is_as_it_was() {
    let mut manual = String::new();
    for args in
        [&["--help"][..], &["serve", "--help"], &["ls", "--help"], &["info", "--help"], &["verify", "--help"]]
    {
        let text = Ran::of(session().command("").args(args)).ok().stdout();
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
