//! Reads manifests that were saved.

use std::str::FromStr;

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

use super::{Declared, Manifest, NamedEntries, VERSION, write};
use crate::files::digest::Digest;
use crate::files::entry::{Content, Entry, FileMode};
use crate::path::{RelPath, printable, unescape};

/// Why a text is not a manifest that this version reads.
#[derive(Debug, Error, Diagnostic)]
pub enum ManifestError {
    /// The text does not begin as a manifest does.
    #[error("`{name}` is not a manifest of hashctx")]
    #[diagnostic(code(hashctx::not_a_manifest), help("save one with `hashctx --manifest > FILE`"))]
    NotAManifest {
        /// Where it comes from.
        name: String,
    },

    /// The manifest is of a later version.
    #[error("`{name}` is a manifest of version {found}; this hashctx reads version {VERSION}")]
    #[diagnostic(code(hashctx::newer_manifest), help("use the hashctx that wrote it, or a newer one"))]
    Newer {
        /// Where it comes from.
        name: String,
        /// The version that its first line names.
        found: String,
    },

    /// A line is not a manifest line.
    #[error("`{}` contains a line that is not a manifest line", text.name())]
    #[diagnostic(code(hashctx::bad_manifest), help("save it again with `hashctx --manifest > FILE`"))]
    Line {
        /// The manifest's text, to show the line in.
        #[source_code]
        text: NamedSource<String>,
        /// Where the line is in that text.
        #[label("this line")]
        at: SourceSpan,
    },
}

/// Reads a manifest; `name` is what errors call it.
///
/// # Errors
/// Where the text is not a manifest, or one of a later version. Nothing is guessed: a text that
/// [`Manifest::write`] does not write is refused.
pub fn parse(name: &str, text: &str) -> Result<Manifest, ManifestError> {
    check_version(name, text)?;
    let mut manifest = Manifest::default();
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let read = line
            .strip_suffix('\n')
            .and_then(|line| (number == 0).then_some(()).or_else(|| manifest.take(line)));
        if read.is_none() {
            return Err(bad_line(name, text, at, line));
        }
        at += line.len();
    }
    Ok(manifest)
}

/// `line` stands in `text` behind so many bytes.
fn bad_line(name: &str, text: &str, before: usize, line: &str) -> ManifestError {
    let shown = |text: &str| printable(text.as_bytes());
    let before = shown(text.get(..before).unwrap_or_default()).len();
    let at = SourceSpan::from((before, shown(line).trim_end_matches('\n').len()));
    ManifestError::Line { text: NamedSource::new(name, shown(text)), at }
}

fn check_version(name: &str, text: &str) -> Result<(), ManifestError> {
    let name = name.to_owned();
    let first = text.split('\n').next().unwrap_or_default();
    let Some(found) = first.strip_prefix("hashctx manifest ") else {
        return Err(ManifestError::NotAManifest { name });
    };
    if found != VERSION.to_string() {
        return Err(ManifestError::Newer { name, found: printable(found.as_bytes()) });
    }
    Ok(())
}

impl Manifest {
    /// Takes one more line; `None` where it is wrong there.
    fn take(&mut self, line: &str) -> Option<()> {
        let (keyword, rest) = line.split_once(' ')?;
        if keyword == "context" {
            self.named.push(NamedEntries { name: name(rest)?, entries: Vec::new() });
            return Some(());
        }
        if let Some(entry) = entry(keyword, rest) {
            return self.push(entry);
        }
        let declared = declared(keyword, rest)?;
        let in_order =
            self.entries.is_empty() && self.named.is_empty() && self.declared.last() < Some(&declared);
        (in_order && self.declared.insert(declared)).then_some(())
    }

    fn push(&mut self, entry: Entry) -> Option<()> {
        let entries = self.named.last_mut().map_or(&mut self.entries, |named| &mut named.entries);
        let in_order = entries.last().is_none_or(|last| last.path < entry.path);
        in_order.then(|| entries.push(entry))
    }
}

fn declared(keyword: &str, rest: &str) -> Option<Declared> {
    match keyword {
        "dockerfile" => Some(Declared::Dockerfile(rest.parse().ok()?)),
        "target" => Some(Declared::Target(name(rest)?)),
        "platform" => Some(Declared::Platform(name(rest)?)),
        "arg" => pair(rest).map(|(arg, digest)| Declared::Arg(arg, digest)),
        "source" => pair(rest).map(|(context, digest)| Declared::Source(context, digest)),
        "input" => pair(rest).map(|(input, digest)| Declared::Input(input, digest)),
        "base" => {
            let (image, digest) = rest.split_once(' ')?;
            Some(Declared::Base(name(image)?, name(digest)?))
        }
        _ => None,
    }
}

fn pair<T: FromStr>(rest: &str) -> Option<(String, T)> {
    let (key, value) = rest.split_once(' ')?;
    Some((name(key)?, value.parse().ok()?))
}

fn name(text: &str) -> Option<String> {
    let plain = String::from_utf8(unescape(&text.replace("\\x20", " "))?).ok()?;
    (write::name(&plain) == text).then_some(plain)
}

fn entry(keyword: &str, rest: &str) -> Option<Entry> {
    let (keyword, bits) = match keyword.split_once(':') {
        Some((keyword, bits)) => (keyword, Some(octal(bits)?)),
        None => (keyword, None),
    };
    match (keyword, bits) {
        ("file", bits) => file(rest, bits.map_or(FileMode::Plain, FileMode::Bits)),
        ("exec", None) => file(rest, FileMode::Executable),
        ("dir", permissions) => Some(Entry { path: path(rest)?, content: Content::Dir { permissions } }),
        ("link", None) => {
            let (from, target) = rest.split_once('\t')?;
            let target = unescape(target)?.into_boxed_slice();
            Some(Entry { path: path(from)?, content: Content::Link { target } })
        }
        _ => None,
    }
}

fn file(rest: &str, mode: FileMode) -> Option<Entry> {
    let (digest, text) = rest.split_once("  ")?;
    let digest: Digest = digest.parse().ok()?;
    Some(Entry { path: path(text)?, content: Content::File { digest, mode } })
}

fn path(text: &str) -> Option<RelPath> {
    RelPath::new(unescape(text)?)
}

fn octal(bits: &str) -> Option<u16> {
    let value = u16::from_str_radix(bits, 8).ok()?;
    (bits == format!("{value:04o}") && value <= 0o7777).then_some(value)
}
