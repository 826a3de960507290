//! The document of one version, at `/NAME/VERSION` and `/NAME/TAG`: what a packument has of it, by
//! itself. corepack asks for it, and `npm view`'s like.
//!
//! Source: npm's registry documentation, "Package Endpoints", `GET /{package}/{version}`.

use std::io::{self, Read, Write};

use super::names::Name;
use super::packument::{link, malformed, not, text};
use super::render::ATTESTATIONS;
use crate::ecosystem::BadIndex;
use crate::ecosystem::base::Base;
use crate::ecosystem::json::{self, Editor, Fate, Path, Value, quoted};

/// The name and the version, or the tag, in a path.
#[must_use]
pub(super) fn parse(path: &str) -> Option<(Name, &str)> {
    let (name, version) = path.rsplit_once('/')?;
    let name = Name::parse(name).filter(|_| is_version(version) || is_tag(version))?;
    Some((name, version))
}

/// `1.2.3`, with what may stand behind it; a file's name is none.
fn is_version(text: &str) -> bool {
    let (numbers, _) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
    let three = numbers.split('.').count() == 3 && numbers.split('.').all(number);
    three && text.bytes().all(known) && ![".tgz", ".gz", ".zip"].iter().any(|end| text.ends_with(end))
}

/// A word, without what files have in their names.
fn is_tag(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(known)
}

/// Reads the document of a version, and writes it with a tarball that is on the mount.
struct Reader<'d> {
    name: &'d str,
    version: Option<String>,
    is_named: bool,
    has_tarball: bool,
    /// What stands in the place of links: the tarball's, and what attestations begin with.
    tarball: Option<String>,
    root: Option<String>,
    out: &'d mut dyn Write,
}

/// The version that the document is of: by a tag, only the document says it.
///
/// # Errors
/// [`BadIndex`], if it cannot be the document of what was asked for.
pub(crate) fn check_version(name: &str, asked: &str, document: &mut dyn Read) -> Result<String, BadIndex> {
    let mut out = io::sink();
    let mut read = Reader::new(name, &mut out);
    json::edit(document, &mut read)?;
    let version = read.version.ok_or_else(|| malformed("it does not say its version"))?;
    // Registries leave out what stands behind a `+`.
    let known = |version: &str| version.split('+').next().unwrap_or_default().to_owned();
    if is_version(asked) && known(asked) != known(&version) {
        return Err(malformed(&format!("it is not that of `{name}` {asked}")));
    }
    Ok(version)
}

/// Writes the document of this version, with links that stay on the mount; all else as it is.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render_version(
    name: &str,
    version: &str,
    document: &mut dyn Read,
    base: &Base,
    out: &mut dyn Write,
) -> Result<(), BadIndex> {
    let root = format!("{}{}", base.here, base.mount);
    let usual = Name::parse(name).map(|name| name.tarball(version));
    let tarball = usual.filter(|_| !base.keeps_links).map(|usual| quoted(&format!("{root}/{usual}")));
    json::edit(document, &mut Reader { tarball, root: Some(root), ..Reader::new(name, out) })
}

impl<'d> Reader<'d> {
    fn new(name: &'d str, out: &'d mut dyn Write) -> Self {
        Self { name, version: None, is_named: false, has_tarball: false, tarball: None, root: None, out }
    }
}

impl Editor for Reader<'_> {
    fn fate(&mut self, path: &Path) -> Fate {
        let seen = match path.depth() {
            0 => true,
            1 => matches!(path.last(), "name" | "version" | "dist"),
            2 => path.is(&["dist", "tarball"]),
            _ => path.is(&["dist", "attestations", "url"]),
        };
        if seen { Fate::Seen } else { Fate::Copied }
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        match (path.depth(), path.last()) {
            (0, _) if value != Value::Object => Err(malformed("it is not a JSON object")),
            (1, "dist") if value != Value::Object => Err(not(path, "an object")),
            (1, "name") if value != Value::Text(self.name) => {
                Err(malformed(&format!("it is not that of `{}`", self.name)))
            }
            (1, "name") => {
                self.is_named = true;
                Ok(None)
            }
            (1, "version") => {
                self.version = text(path, value)?.map(str::to_owned);
                Ok(None)
            }
            (2, "tarball") => {
                self.has_tarball = link(path, value)?.is_some();
                Ok(self.tarball.clone().filter(|_| self.has_tarball))
            }
            (3, "url") => {
                let Some(link) = link(path, value)? else { return Ok(None) };
                let behind = link.url.split_once(ATTESTATIONS).map(|(_, behind)| behind);
                let root = self.root.as_deref();
                Ok(root.zip(behind).map(|(root, behind)| quoted(&format!("{root}{ATTESTATIONS}{behind}"))))
            }
            _ => Ok(None),
        }
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        match path.depth() {
            0 if !self.is_named => Err(malformed("it does not say its package's name")),
            0 if self.version.is_none() => Err(malformed("it does not say its version")),
            0 if !self.has_tarball => Err(malformed("it does not say where its tarball is")),
            _ => Ok(None),
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        Ok(self.out.write_all(bytes)?)
    }
}

/// The path of the document, in its canonical spelling.
#[must_use]
pub(crate) fn version_path(name: &str, version: &str) -> String {
    format!("/{}/{version}", name.replace('/', "%2F"))
}
