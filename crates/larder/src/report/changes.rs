//! What changed since an image was saved before, under its name or one of its tags.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;

use camino::Utf8Path;
use serde::Serialize;
use storekit::store::Store;
use storekit::{Listed, Origin};

use crate::config::names;
use crate::process::runner::{RunError, Runner, code};
use crate::process::tools::Tools;

/// The inputs that differ from those of an earlier key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The earlier key.
    pub since: String,
    /// The tier that has the earlier image, where this machine's store is not meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// One line for each input, as `hashctx --diff` prints it.
    pub lines: Vec<String>,
}

/// An earlier key of an image, with the manifest that was saved for it.
pub(crate) struct Earlier {
    pub(crate) key: String,
    pub(crate) manifest: Vec<u8>,
    /// The tier that it is from, where it is not this machine's store.
    pub(crate) tier: Option<String>,
}

/// What is looked for among earlier saves.
pub(crate) struct Sought<'a> {
    /// The name in larder.toml.
    pub(crate) image: &'a str,
    /// The names in engines.
    pub(crate) tags: &'a [String],
}

/// How many earlier saves are compared, the newest first.
pub(crate) const COMPARED: usize = 50;

impl Sought<'_> {
    /// The saves that were of this image, by its name in larder.toml or one of its tags, the newest
    /// first. A name alone may be another project's.
    pub(crate) fn saves(&self, store: &Store) -> Vec<Listed> {
        let Ok(mut saved) = store.images().list() else { return Vec::new() };
        saved.retain(|listed| self.is_of(&listed.entry.origin, &listed.entry.names));
        saved.sort_by_key(|listed| std::cmp::Reverse(listed.entry.saved));
        saved
    }

    /// Whether an image that is noted with these was of this one.
    pub(crate) fn is_of(&self, origin: &Origin, names: &[String]) -> bool {
        // What podman builds is saved under localhost/.
        let is_tag =
            |name: &String| self.tags.iter().any(|tag| names::any_engines(tag) == names::any_engines(name));
        origin.image.as_ref().is_some_and(|image| image.as_str() == self.image) || names.iter().any(is_tag)
    }
}

/// The lines of a manifest of inputs.
pub(crate) struct Lines<'a>(BTreeSet<&'a [u8]>);

impl<'a> Lines<'a> {
    pub(crate) fn of(manifest: &'a [u8]) -> Self {
        Self(manifest.split(|byte| *byte == b'\n').collect())
    }

    /// In how many lines another manifest differs.
    pub(crate) fn difference(&self, other: &[u8]) -> usize {
        self.0.symmetric_difference(&Lines::of(other).0).count()
    }
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
            Ok(Some(Changes { tier: earlier.tier, ..Changes::parse(&earlier.key, &lines) }))
        }
        Err(error) if error.is_interruption() => Err(error),
        _ => Ok(None),
    }
}

impl Changes {
    /// Takes the output of `hashctx --diff`.
    pub(crate) fn parse(since: &str, diff: &[u8]) -> Self {
        let lines = String::from_utf8_lossy(diff).lines().map(str::to_owned).collect();
        Self { since: since.to_owned(), tier: None, lines }
    }
}

/// `3 changes since 0123456789ab`, `1 change since 0123456789ab in team`
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.since.get(..12).unwrap_or(&self.since);
        match self.lines.len() {
            1 => write!(f, "1 change since {short}"),
            count => write!(f, "{count} changes since {short}"),
        }?;
        self.tier.as_ref().map_or(Ok(()), |tier| write!(f, " in the tier `{tier}`"))
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
        let far = Changes { tier: Some("team".to_owned()), ..Changes::parse("0123456789abcdef", b"a\n") };
        assert_eq!(far.to_string(), "1 change since 0123456789ab in the tier `team`");
    }

    #[test]
    fn the_difference_is_that_of_lines() {
        let lines = Lines::of(b"a\nb\nc\n");
        assert_eq!(lines.difference(b"a\nb\nc\n"), 0);
        assert_eq!(lines.difference(b"a\nx\nc\n"), 2);
        assert_eq!(lines.difference(b"c\na\n"), 1);
    }
}
