//! What is stored of one URL: a small text file in `packages/entries/`. See FORMAT.md, "Package
//! entries".
//!
//! An entry holds all responses that are stored under one cache key, the newest first; they differ
//! in the request headers that the server selected them by. Nothing here knows HTTP's rules: header
//! fields are kept as they came.

use std::collections::BTreeMap;

use camino::Utf8Path;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::packages::id::PackageId;

/// The version of the format; a newer one is refused.
pub const VERSION: u64 = 1;
/// No entry file is larger: 1 MiB.
pub const CAP: u64 = 1 << 20;
/// No entry holds more responses; the oldest go.
pub const MOST_RESPONSES: usize = 32;

/// Behind a URL, and before the hex digits of a digest: an answer that a command was given.
const GIVEN: &str = "#given=";

/// Under what a response is stored.
///
/// The same URL asked with different credentials, where the answers are private, has different
/// scopes. The ecosystem is only said, and tells no keys apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PackageKey {
    /// Which kind of client it serves: `generic` where nothing is known.
    pub ecosystem: String,
    /// Where it comes from: the URL's host and port.
    pub source: String,
    /// The URL that was asked for, with its query.
    pub url: String,
    /// The digest of the credentials that the answers belong to; `None` where anybody may have
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Digest>,
}

/// What is stored under one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PackageEntry {
    /// What the entry is found by.
    #[serde(flatten)]
    pub key: PackageKey,
    /// The package's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The package's version, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_version: Option<String>,
    /// The package's architecture, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The responses, the newest first.
    #[serde(default, rename = "response")]
    pub responses: Vec<StoredResponse>,
}

/// One stored response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredResponse {
    /// The status code; 200 for a part that was cut out of one.
    pub status: u16,
    /// The digest of the bytes that are stored.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Where these bytes are only a part of the whole: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The checksum that the bytes were announced with, and were found to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Checksum>,
    /// Who says that these bytes are the right ones.
    #[serde(default, skip_serializing_if = "Level::is_none")]
    pub level: Level,
    /// When it was asked for.
    pub requested: Timestamp,
    /// When its head came.
    pub received: Timestamp,
    /// The header fields, in order, names in lower case. Values are bytes, each written as the
    /// character of its number.
    pub headers: Vec<(String, String)>,
    /// The names of the request headers that it was selected by (`Vary`), in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vary: Vec<String>,
    /// What these headers were, normalised; one that is not here was not in the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selecting: BTreeMap<String, String>,
}

/// Who says that the bytes of a response are the right ones. The order is that of trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nobody: they are what the upstream sent.
    #[default]
    None,
    /// The upstream sent them for a name that is given once; since then they are compared with
    /// themselves.
    Pinned,
    /// The address that was asked for has their checksum in it.
    Addressed,
    /// An index of the upstream's, whose signature was not checked here, names their checksum.
    Indexed,
    /// The same, and the index is signed by a key that was given for this upstream.
    Signed,
}

impl Level {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::None, Self::Pinned, Self::Addressed, Self::Indexed, Self::Signed];

    /// The name that entries, lists and `Cache-Status` have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pinned => "pinned",
            Self::Addressed => "addressed",
            Self::Indexed => "indexed",
            Self::Signed => "signed",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's way to ask")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// A part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// The position of its first byte.
    pub first: u64,
    /// The size of the whole.
    pub total: u64,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u64,
    #[serde(flatten)]
    entry: PackageEntry,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl PackageKey {
    /// A key whose `ecosystem` and `source` are made into names of folders: what is not a
    /// lower-case letter, a digit, `.`, `-` or `_` becomes `_`. The URL stays as it is: it alone
    /// (with the scope) tells keys apart.
    #[must_use]
    pub fn new(ecosystem: &str, source: &str, url: impl Into<String>, scope: Option<Digest>) -> Self {
        Self { ecosystem: folder_name(ecosystem), source: folder_name(source), url: url.into(), scope }
    }

    /// Whether both stand for the same: the URL and the credentials tell.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.url == other.url && self.scope == other.scope
    }

    /// The digest that names the entry's file.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match &self.scope {
            None => Digest::of(self.url.as_bytes()),
            Some(scope) => Digest::of(format!("{} {scope}", self.url).as_bytes()),
        }
    }

    /// Under what an answer with this body is kept for the record of a command that was given it,
    /// whatever the upstream says since: no request has a fragment.
    #[must_use]
    pub fn given(&self, digest: &Digest) -> Self {
        Self { url: format!("{}{GIVEN}{}", self.url, digest.hex()), ..self.clone() }
    }

    /// The digest of the body that is kept under such a URL; `None` of any other.
    #[must_use]
    pub fn given_in(url: &str) -> Option<Digest> {
        url.rsplit_once(GIVEN).and_then(|(_, hex)| Digest::from_hex(hex))
    }

    /// Under what that stands which a command was given: the key without that it is kept.
    #[must_use]
    pub fn of_given(&self) -> Self {
        let url = self.url.rsplit_once(GIVEN).map_or(self.url.as_str(), |(url, _)| url);
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// What events call the entry.
    #[must_use]
    pub fn id(&self) -> PackageId {
        PackageId::of(&self.digest())
    }

    /// Where the entry's file is, below `packages/entries`.
    #[must_use]
    pub fn path(&self) -> String {
        let hex = self.digest().hex();
        let shard: String = hex.chars().take(2).collect();
        format!("{}/{shard}/{hex}.toml", folder_name(&self.source))
    }
}

/// The text as the name of a folder: 1 to 100 characters, none of which means anything to a path.
fn folder_name(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let inner = |c: char| if c == '.' { '.' } else { safe(c) };
    let text = text.to_ascii_lowercase();
    let mut chars = text.chars().take(100);
    let first = chars.next().map_or('_', safe);
    std::iter::once(first).chain(chars.map(inner)).collect()
}

impl PackageEntry {
    /// An entry without responses.
    #[must_use]
    pub fn new(key: PackageKey) -> Self {
        Self { key, name: None, package_version: None, architecture: None, responses: Vec::new() }
    }

    /// The bodies that it names, sorted, each once.
    #[must_use]
    pub fn bodies(&self) -> Vec<Digest> {
        let mut bodies: Vec<_> = self.responses.iter().map(|response| response.digest).collect();
        bodies.sort_unstable();
        bodies.dedup();
        bodies
    }

    /// Reads the text of an entry file.
    ///
    /// # Errors
    /// [`Error::Newer`], [`Error::BadPackage`]; `path` is for the message only.
    pub fn parse(bytes: &[u8], path: &Utf8Path) -> Result<Self> {
        let bad = |reason: String| Error::BadPackage { path: path.to_owned(), reason };
        let text = std::str::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
        let wrong = |error: toml::de::Error| bad(error.message().to_owned());
        let newer = |version| Error::Newer { path: path.to_owned(), found: version, known: VERSION };
        let entry = match toml::from_str(text) {
            Ok(File { version, .. }) if version > VERSION => return Err(newer(version)),
            Ok(File { entry, .. }) => entry,
            // A later version may have other fields.
            Err(error) => match toml::from_str(text).map_err(wrong)? {
                Versioned { version } if version > VERSION => return Err(newer(version)),
                Versioned { .. } => return Err(wrong(error)),
            },
        };
        let wrong_part = |it: &StoredResponse| it.part.is_some_and(|part| !part.holds(it.size));
        if entry.responses.iter().any(wrong_part) {
            return Err(bad("a part reaches beyond its whole".to_owned()));
        }
        Ok(entry)
    }

    /// The text of the entry file.
    #[must_use]
    pub fn to_text(&self) -> String {
        toml::to_string(&File { version: VERSION, entry: self.clone() }).unwrap_or_default()
    }
}

impl Part {
    /// Whether `size` bytes from `first` on lie inside the whole.
    fn holds(self, size: u64) -> bool {
        self.first.checked_add(size).is_some_and(|end| end <= self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PackageKey {
        PackageKey::new("generic", "files.example:8443", "https://files.example:8443/a?b=1", None)
    }

    fn entry() -> PackageEntry {
        let mut entry = PackageEntry::new(key());
        entry.name = Some("a".into());
        entry.responses.push(StoredResponse {
            status: 200,
            digest: Digest::of(b"x"),
            size: 1,
            part: Some(Part { first: 4, total: 10 }),
            announced: None,
            level: Level::None,
            requested: "2026-01-02T03:04:05Z".parse().unwrap(),
            received: "2026-01-02T03:04:06Z".parse().unwrap(),
            headers: vec![("etag".into(), "\"\u{fc}\"".into())],
            vary: vec!["accept".into(), "foo".into()],
            selecting: [("foo".to_owned(), "1".to_owned())].into(),
        });
        entry
    }

    #[track_caller]
    fn rejected(text: &str) {
        assert!(PackageEntry::parse(text.as_bytes(), Utf8Path::new("k")).is_err(), "{text} was accepted");
    }

    #[test]
    fn an_entry_survives_its_file() {
        let entry = entry();
        assert_eq!(PackageEntry::parse(entry.to_text().as_bytes(), Utf8Path::new("k")).unwrap(), entry);
    }

    #[test]
    fn the_file_is_as_documented() {
        assert_eq!(
            entry().to_text(),
            "version = 1\n\
             ecosystem = \"generic\"\n\
             source = \"files.example_8443\"\n\
             url = \"https://files.example:8443/a?b=1\"\n\
             name = \"a\"\n\n\
             [[response]]\n\
             status = 200\n\
             digest = \"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\"\n\
             size = 1\n\
             requested = \"2026-01-02T03:04:05Z\"\n\
             received = \"2026-01-02T03:04:06Z\"\n\
             headers = [[\"etag\", '\"ü\"']]\n\
             vary = [\"accept\", \"foo\"]\n\n\
             [response.part]\n\
             first = 4\n\
             total = 10\n\n\
             [response.selecting]\n\
             foo = \"1\"\n"
        );
    }

    #[test]
    fn a_newer_or_broken_file_is_refused() {
        rejected(&entry().to_text().replace("version = 1", "version = 2"));
        rejected(&entry().to_text().replace("sha256:2d", "sha256:/."));
        rejected(&entry().to_text().replace("total = 10", "total = 4"));
        rejected(&entry().to_text().replace("first = 4", "first = 9223372036854775807"));
        rejected("");
    }

    #[test]
    fn no_source_leads_out_of_its_folder() {
        let path = PackageKey::new("..", "../../etc\0/x", "u", None).path();
        assert!(path.starts_with("_._.._etc__x/"), "{path}");
        assert!(PackageKey::new("", "", "u", None).path().starts_with("_/"));
    }

    #[test]
    fn credentials_tell_keys_apart() {
        let scoped = PackageKey { scope: Some(Digest::of(b"secret")), ..key() };
        assert_ne!(scoped.path(), key().path());
    }
}
