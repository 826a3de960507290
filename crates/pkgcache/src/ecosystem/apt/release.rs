//! `Release` and `InRelease`: what they say of a repository's indexes.
//!
//! Limit: signatures are checked elsewhere (`signature`); here only what one would cover counts.

use std::collections::BTreeMap;
use std::io::Read;

use jiff::fmt::rfc2822;
use storekit::Checksum;

use super::fields::{self, Line};
use crate::ecosystem::BadIndex;
use crate::ecosystem::packing::{Lines, Packing};

/// What a release says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Release {
    /// Each file below the release's folder, with its size and a checksum; paths are spelled as
    /// [`super::place()`] spells them. A file stands there once for each of its checksums: SHA-256
    /// first, which names what is stored, then SHA-512, then SHA-1. Indexes that may be asked for
    /// by their MD5 stand there under that address, too, since an MD5 proves nothing.
    pub(crate) files: Vec<(String, u64, Checksum)>,
    /// When it ceases to be valid, in seconds since 1970.
    pub(crate) valid_until: Option<i64>,
    /// Whether its files can be asked for by their checksums (`Acquire-By-Hash`).
    pub(crate) by_hash: bool,
    /// Whether clients ask for the lists of what is for all architectures: it is one of
    /// `Architectures`, and these packages are not in the lists of each
    /// (`No-Support-for-Architecture-all: Packages`).
    pub(crate) has_lists_of_all: bool,
}

/// No release is larger: 16 MiB.
const CAP: u64 = 16 << 20;
/// No release names more files.
const MOST: usize = 200_000;
/// The lists of checksums, the one that counts most first.
const LISTS: [&str; 3] = ["SHA256", "SHA512", "SHA1"];

/// Fields one of which every release has. `Error: …` is a field, too.
const FIELDS: [&str; 11] = [
    "Architectures",
    "Codename",
    "Components",
    "Date",
    "Description",
    "Label",
    "MD5Sum",
    "Origin",
    "SHA256",
    "Suite",
    "Version",
];

const SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

/// Reads a `Release` or an `InRelease` (clear-signed: only what the signature covers counts).
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn release(document: &mut dyn Read) -> Result<Release, BadIndex> {
    let mut lines = Lines::capped(Packing::Plain, document, CAP)
        .map_err(|_| BadIndex::TooLarge("it is larger than 16 MiB"))?;
    let mut draft = Draft::default();
    let mut part = Part::Start;
    loop {
        let number = lines.count + 1;
        let next = lines.next().map_err(|error| match error {
            BadIndex::TooLarge(_) => BadIndex::TooLarge("it is larger than 16 MiB"),
            other => other,
        })?;
        let Some(text) = next else { break };
        part = draft.take(part, text, number)?;
    }
    match part {
        Part::Start => Err(malformed("it is empty")),
        Part::Plain | Part::Behind if !draft.is_release => Err(malformed("it has no field of a release")),
        Part::Plain | Part::Behind => Ok(draft.finish()),
        Part::Head | Part::Signed => Err(malformed("it has no signature at its end")),
        Part::Signature => Err(malformed("its signature has no end")),
    }
}

/// Where in the document a line stands.
#[derive(Clone, Copy)]
enum Part {
    Start,
    /// A document without a signature.
    Plain,
    /// What stands before signed text.
    Head,
    Signed,
    Signature,
    Behind,
}

fn malformed(text: &str) -> BadIndex {
    BadIndex::Malformed(text.to_owned())
}

/// What one file has: its size, its checksums in the order of [`LISTS`], and its MD5.
#[derive(Default)]
struct File {
    size: u64,
    checksums: [Option<Checksum>; 3],
    md5: Option<String>,
}

#[derive(Default)]
struct Draft {
    files: BTreeMap<String, File>,
    /// Which list the lines belong to: one of [`LISTS`], or the MD5s behind them.
    list: Option<usize>,
    seen: [bool; LISTS.len() + 1],
    by_hash: bool,
    /// What `Architectures` and `No-Support-for-Architecture-all` say.
    all: (bool, bool),
    valid_until: Option<i64>,
    /// Whether it has one of [`FIELDS`], or a list.
    is_release: bool,
}

impl Draft {
    fn take(&mut self, part: Part, text: &[u8], number: u64) -> Result<Part, BadIndex> {
        match part {
            Part::Start if text == SIGNED => Ok(Part::Head),
            Part::Start | Part::Plain => {
                if text.starts_with(b"-----") {
                    return Err(malformed("signed text begins in the middle of it"));
                }
                self.line(text, number)?;
                Ok(Part::Plain)
            }
            Part::Head if text.is_empty() => Ok(Part::Signed),
            Part::Head if text.starts_with(b"Hash:") => Ok(Part::Head),
            Part::Head => Err(malformed("its signed text has an unknown head")),
            Part::Signed if text == SIGNATURE => Ok(Part::Signature),
            Part::Signed => {
                let text = match text.strip_prefix(b"- ") {
                    Some(text) => text,
                    None if text.starts_with(b"-") => {
                        return Err(malformed("its signed text is broken"));
                    }
                    None => text,
                };
                self.line(text, number)?;
                Ok(Part::Signed)
            }
            Part::Signature if text == END => Ok(Part::Behind),
            Part::Signature => Ok(Part::Signature),
            Part::Behind if text.trim_ascii().is_empty() => Ok(Part::Behind),
            Part::Behind => Err(malformed("something stands behind its signature")),
        }
    }

    fn line(&mut self, text: &[u8], number: u64) -> Result<(), BadIndex> {
        match fields::line(text, number)? {
            Line::Empty => {
                // Those of several paragraphs count as one's.
                self.list = None;
                Ok(())
            }
            Line::More(text) => self.file(text),
            Line::Field(name, value) => self.field(name, value),
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadIndex> {
        let lists = LISTS.iter().chain(&["MD5Sum"]);
        self.list = lists.into_iter().position(|list| name.eq_ignore_ascii_case(list.as_bytes()));
        if let Some(seen) = self.list.and_then(|list| self.seen.get_mut(list))
            && std::mem::replace(seen, true)
        {
            return Err(BadIndex::Malformed(format!("it has two lists `{}`", fields::shown(name))));
        }
        let known = FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()));
        self.is_release |= known || self.list.is_some();
        if name.eq_ignore_ascii_case(b"Acquire-By-Hash") {
            self.by_hash = value.eq_ignore_ascii_case(b"yes");
        } else if name.eq_ignore_ascii_case(b"No-Support-for-Architecture-all") {
            self.all.1 = value.eq_ignore_ascii_case(b"Packages");
        } else if name.eq_ignore_ascii_case(b"Architectures") {
            self.all.0 = value.split(u8::is_ascii_whitespace).any(|word| word == b"all");
        } else if name.eq_ignore_ascii_case(b"Valid-Until") {
            self.valid_until = seconds(value);
        }
        Ok(())
    }

    fn file(&mut self, text: &[u8]) -> Result<(), BadIndex> {
        let Some(list) = self.list else { return Ok(()) };
        let [hex, size, path] = fields::three_words(text)?;
        let (size, path) = (fields::size(size)?, fields::path(path)?);
        if self.files.len() >= MOST {
            return Err(BadIndex::TooLarge("it names too many files"));
        }
        let is_new = !self.files.contains_key(&path);
        let file = self.files.entry(path.clone()).or_default();
        if is_new {
            file.size = size;
        }
        let agrees = if let Some(algorithm) = LISTS.get(list) {
            let checksum = fields::checksum(algorithm, hex)?;
            let slot = file.checksums.get_mut(list);
            slot.is_none_or(|slot| *slot.get_or_insert(checksum) == checksum)
        } else {
            let md5 = md5(hex)?;
            *file.md5.get_or_insert_with(|| md5.clone()) == md5
        };
        if agrees && file.size == size {
            Ok(())
        } else {
            Err(BadIndex::Malformed(format!("it says two different things of `{path}`")))
        }
    }

    fn finish(self) -> Release {
        let mut files = Vec::with_capacity(self.files.len());
        for (path, file) in self.files {
            let known = file.checksums.into_iter().flatten();
            let rows: Vec<_> = known.map(|checksum| (path.clone(), file.size, checksum)).collect();
            let by_md5 = file.md5.filter(|_| self.by_hash).zip(rows.first().cloned());
            files.extend(by_md5.map(|(md5, (_, size, checksum))| {
                let folder = path.rsplit_once('/').map(|(folder, _)| format!("{folder}/"));
                (format!("{}by-hash/MD5Sum/{md5}", folder.unwrap_or_default()), size, checksum)
            }));
            files.extend(rows);
        }
        let (valid_until, by_hash) = (self.valid_until, self.by_hash);
        Release { files, valid_until, by_hash, has_lists_of_all: self.all.0 && !self.all.1 }
    }
}

fn md5(text: &[u8]) -> Result<String, BadIndex> {
    let hex = std::str::from_utf8(text).ok().filter(|text| is_hex(text, 32));
    hex.map(str::to_ascii_lowercase)
        .ok_or_else(|| BadIndex::Malformed(format!("`{}` is not an MD5 checksum", fields::shown(text))))
}

/// A date as mail has it. One that cannot be read says nothing: the client decides by its own
/// reading.
fn seconds(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.replace("UTC", "+0000");
    Some(rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?.as_second())
}

/// Whether this is so many hex digits.
#[must_use]
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
