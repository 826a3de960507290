//! What the person who runs the server should know, on stderr.

use std::io::Write;

use storekit::printable;

/// Something went wrong that no client's answer tells.
pub(crate) fn warning(text: &str) {
    note(&format!("warning: {text}"));
}

/// Something happened that was asked for. What comes from strangers is shown without its control
/// characters.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell where stderr is closed.
    let _ = writeln!(std::io::stderr(), "pkgcache: {}", printable(text));
}
