//! The help texts as they are printed: a change of wording shows in a diff.

use std::env;
use std::fs;

use larder_tests::Ran;

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
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/manual.txt");
    if env::var_os("LARDER_BLESS").is_some() {
        fs::write(path, &manual).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), manual, "LARDER_BLESS=1 writes it anew");
}
