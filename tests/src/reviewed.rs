//! Texts that were reviewed: a change of one shows as a change of its file.

use std::env;
use std::fs;
use std::path::Path;

/// The text is what the file says. With `LARDER_BLESS=1` the file is written anew.
#[track_caller]
pub fn reviewed(file: impl AsRef<Path>, text: &str) {
    let file = file.as_ref();
    if env::var_os("LARDER_BLESS").is_some() {
        crate::write(file, text);
    }
    let found = fs::read_to_string(file).unwrap_or_default();
    assert_eq!(found, text, "LARDER_BLESS=1 writes {} anew", file.display());
}
