//! What changed since an image was last saved under one of its names.

use std::fmt;
use std::io::Write;

use camino::Utf8Path;
use serde::Serialize;
use storekit::store::Store;

use crate::config::names;
use crate::process::runner::{RunError, Runner, code};
use crate::process::tools::Tools;

/// The inputs that differ from those of an earlier key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The earlier key.
    pub since: String,
    /// One line for each input, as `hashctx --diff` prints it.
    pub lines: Vec<String>,
}

/// An earlier key of an image, with the manifest that was saved for it.
pub(crate) struct Earlier {
    pub(crate) key: String,
    pub(crate) manifest: Vec<u8>,
}

/// The image's last save under one of its names. `None` where there is none, or none to be read: an
/// explanation is never worth a failure.
pub(crate) fn earlier(store: &Utf8Path, tags: &[String]) -> Option<Earlier> {
    let images = Store::open(store).ok()?.images();
    let mut saved: Vec<_> = images.list().ok()?;
    // What podman builds is saved under localhost/.
    let wanted: Vec<_> = tags.iter().map(|name| names::any_engines(name)).collect();
    saved.retain(|listed| listed.entry.names.iter().any(|name| wanted.contains(&names::any_engines(name))));
    saved.sort_by_key(|listed| listed.entry.saved);
    // A key without a manifest was saved by hand.
    saved.iter().rev().find_map(|listed| {
        let manifest = images.inputs(&listed.key).ok()??;
        Some(Earlier { key: listed.key.to_string(), manifest })
    })
}

/// The key under which an image of one of these names was last saved.
#[must_use]
pub fn last_key(store: &Utf8Path, tags: &[String]) -> Option<String> {
    earlier(store, tags).map(|earlier| earlier.key)
}

/// What changed since an earlier save; `None` where there is none, or nothing to be read of it.
/// `temp` is a folder for what is compared.
pub(crate) fn changes_since(
    earlier: Option<Earlier>,
    (key, manifest): (&str, &Utf8Path),
    temp: &Utf8Path,
    (tools, runner): (&Tools, &Runner),
) -> Result<Option<Changes>, RunError> {
    let Some(earlier) = earlier.filter(|earlier| earlier.key != key) else { return Ok(None) };
    let old = temp.join("earlier");
    let written = std::fs::File::create(&old).and_then(|mut file| file.write_all(&earlier.manifest));
    if written.is_err() {
        return Ok(None);
    }
    let diff = tools.hashctx().arg("--diff").path(&old).path(manifest);
    match runner.capture(&diff) {
        Ok((status, lines)) if matches!(code(status), Some(0 | 1)) => {
            Ok(Some(Changes::parse(&earlier.key, &lines)))
        }
        Err(error) if error.is_interruption() => Err(error),
        _ => Ok(None),
    }
}

impl Changes {
    /// Takes the output of `hashctx --diff`.
    pub(crate) fn parse(since: &str, diff: &[u8]) -> Self {
        let lines = String::from_utf8_lossy(diff).lines().map(str::to_owned).collect();
        Self { since: since.to_owned(), lines }
    }
}

/// `3 changes since 0123456789ab`
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.since.get(..12).unwrap_or(&self.since);
        match self.lines.len() {
            1 => write!(f, "1 change since {short}"),
            count => write!(f, "{count} changes since {short}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(diff: &str, expected: &str) {
        assert_eq!(Changes::parse("0123456789abcdef", diff.as_bytes()).to_string(), expected);
    }

    #[test]
    fn changes_are_counted_by_line() {
        reads("changed a\n", "1 change since 0123456789ab");
        reads("added b\nremoved c\n", "2 changes since 0123456789ab");
        reads("", "0 changes since 0123456789ab");
    }
}
