//! The help texts as they are printed: a change of wording shows in a diff.

use std::env;
use std::fs;

use crate::support::program;

#[test]
fn the_manual_is_as_it_was() {
    let mut manual = String::new();
    for args in
        [&["--help"][..], &["serve", "--help"], &["ls", "--help"], &["info", "--help"], &["verify", "--help"]]
    {
        let output = program().args(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
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
