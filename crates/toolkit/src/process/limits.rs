//! What the operating system lets a process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the process have as many files open as it may: a save keeps one for each blob until its key
/// stands.
///
/// A limit that cannot be raised is not an error here: what runs into it says so.
pub fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
