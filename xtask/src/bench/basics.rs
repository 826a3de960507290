//! What all benches need: a shell, files, and a word to who waits.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};

use camino::Utf8Path;
use larder::process::command::Cmd;
use larder::process::runner::RunError;

pub(super) fn lost(source: io::Error) -> RunError {
    RunError::Lost { program: "the bench's files".into(), source }
}

/// Tells who waits what is going on.
pub(super) fn say(line: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "bench: {line}");
}

/// Writes a file, with the folders above it.
pub(super) fn write(path: &Utf8Path, text: &str) -> Result<(), RunError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(lost)?;
    let mut file = File::create(path).map_err(lost)?;
    file.write_all(text.as_bytes()).map_err(lost)
}

pub(super) fn sh(script: String) -> Cmd {
    Cmd::new("sh").arg("-c").arg(script)
}

/// Bytes as people say them.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..10_000_000 => write!(f, "{} kB", self.0 / 1000),
            _ => write!(f, "{} MB", self.0 / 1_000_000),
        }
    }
}
