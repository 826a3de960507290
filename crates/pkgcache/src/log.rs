//! What the person who runs the server should know, on stderr.

use std::io::Write;

/// Something went wrong that no client's answer tells.
pub(crate) fn warning(text: &str) {
    // Nobody is left to tell where stderr is closed.
    let _ = writeln!(std::io::stderr(), "pkgcache: warning: {text}");
}
