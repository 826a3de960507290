//! What is noted of one entry, and of all in a folder.

use crate::digest::Digest;
use crate::files::packed::{put_number, put_text, take, take_digest, take_number, take_text};
use crate::files::state::FileState;
use crate::packages::entry::{Level, PackageEntry};

/// What a collector has to know of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary<'a> {
    /// Which kind of client it serves.
    pub ecosystem: &'a str,
    /// Where it came from.
    pub source: &'a str,
    /// The URL that was asked for.
    pub url: &'a str,
    /// The digest of the credentials that the answers belong to.
    pub scope: Option<Digest>,
    /// The package's name, where it is known.
    pub name: Option<&'a str>,
    /// Its version, where it is known.
    pub version: Option<&'a str>,
    /// Its architecture, where it is known.
    pub architecture: Option<&'a str>,
    /// Who vouches for the newest response.
    pub level: Level,
    /// Whether the newest response says that there is no such file, or another error.
    pub absent: bool,
    /// The bodies that it names, sorted, each once.
    pub bodies: Vec<Digest>,
}

impl<'a> Summary<'a> {
    /// Of an entry that was read.
    #[must_use]
    pub fn of(entry: &'a PackageEntry) -> Self {
        let newest = entry.responses.first();
        Self {
            ecosystem: &entry.key.ecosystem,
            source: &entry.key.source,
            url: &entry.key.url,
            scope: entry.key.scope,
            name: entry.name.as_deref(),
            version: entry.package_version.as_deref(),
            architecture: entry.architecture.as_deref(),
            level: newest.map_or(Level::None, |newest| newest.level),
            absent: newest.is_some_and(|newest| newest.status >= 400),
            bodies: entry.bodies(),
        }
    }

    /// Writes it in few bytes: see FORMAT.md, ".packages".
    pub fn write(&self, to: &mut Vec<u8>) {
        for text in [self.ecosystem, self.source, self.url] {
            put_text(to, text);
        }
        let texts = [self.name, self.version, self.architecture];
        let known = texts.map(|text| u8::from(text.is_some()));
        to.push(
            known[0]
                | known[1] << 1
                | known[2] << 2
                | u8::from(self.scope.is_some()) << 3
                | u8::from(self.absent) << 4,
        );
        texts.iter().flatten().for_each(|text| put_text(to, text));
        to.extend(self.scope.iter().flat_map(|scope| *scope.bytes()));
        to.push(self.level as u8);
        put_number(to, self.bodies.len() as u64);
        self.bodies.iter().for_each(|body| to.extend_from_slice(body.bytes()));
    }

    /// Reads what [`Summary::write`] wrote, and leaves what is behind it. `None` for anything else.
    pub fn read(from: &mut &'a [u8]) -> Option<Self> {
        let (ecosystem, source, url) = (take_text(from)?, take_text(from)?, take_text(from)?);
        let known = *take(from, 1)?.first()?;
        let mut texts = [None; 3];
        for (_, text) in texts.iter_mut().enumerate().filter(|(bit, _)| known >> bit & 1 == 1) {
            *text = Some(take_text(from)?);
        }
        let scope = if known & 8 == 0 { None } else { Some(take_digest(from)?) };
        let absent = known & 16 != 0;
        let level = Level::ALL.get(usize::from(*take(from, 1)?.first()?)).copied()?;
        let count = usize::try_from(take_number(from)?).ok()?;
        let mut bodies = take(from, count.checked_mul(32)?)?;
        let bodies = std::iter::from_fn(|| take_digest(&mut bodies)).collect();
        let [name, version, architecture] = texts;
        Some(Self { ecosystem, source, url, scope, name, version, architecture, level, absent, bodies })
    }
}

/// What the index says of the entries in one folder.
#[derive(Debug, Default)]
pub struct Section {
    bytes: Vec<u8>,
    /// Where each record begins. They are sorted by their names.
    records: Vec<u32>,
}

/// The digest in the file's name, the state of the file, and the length of the rest.
const HEAD: usize = 32 + 24 + 4;

impl Section {
    /// Reads the places of the records; an empty section where anything is wrong with them.
    pub(super) fn parse(bytes: Vec<u8>) -> Self {
        let mut records = Vec::new();
        let (mut rest, mut last) = (bytes.as_slice(), None);
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let Some((name, length)) = head(rest).filter(|(name, _)| last < Some(*name)) else {
                return Self::default();
            };
            let (Some(after), Ok(at)) = (rest.get(HEAD + length..), u32::try_from(at)) else {
                return Self::default();
            };
            records.push(at);
            (rest, last) = (after, Some(name));
        }
        Self { bytes, records }
    }

    /// How many entries it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What the entry says whose file has this digest in its name and is in this state now. `None`
    /// where that is not known.
    #[must_use]
    pub fn get(&self, name: &Digest, state: &FileState) -> Option<Summary<'_>> {
        self.find(name, state).map(|(_, summary)| summary)
    }

    /// The same, with where the record begins.
    pub(super) fn find(&self, name: &Digest, state: &FileState) -> Option<(u32, Summary<'_>)> {
        let found = self.records.binary_search_by(|at| self.name(*at).cmp(name.bytes())).ok()?;
        let at = *self.records.get(found)?;
        let record = self.record(at);
        let is_still = state.is_still_at(record.get(32..56)?.first_chunk()?);
        if is_still { Some((at, Summary::read(&mut record.get(HEAD..)?)?)) } else { None }
    }

    /// The whole record that begins there.
    pub(super) fn record(&self, at: u32) -> &[u8] {
        let record = self.bytes.get(at as usize..).unwrap_or_default();
        head(record).and_then(|(_, length)| record.get(..HEAD + length)).unwrap_or_default()
    }

    fn name(&self, at: u32) -> &[u8] {
        self.bytes.get(at as usize..).and_then(|record| record.get(..32)).unwrap_or_default()
    }
}

/// The name of a record, and the length of what comes behind its head.
fn head(record: &[u8]) -> Option<(&[u8], usize)> {
    let length = record.get(56..HEAD)?.first_chunk::<4>()?;
    Some((record.get(..32)?, u32::from_le_bytes(*length) as usize))
}

/// Writes the record of an entry; nothing where the state proves nothing.
pub(super) fn put(to: &mut Vec<u8>, name: &Digest, state: &FileState, summary: &Summary<'_>) {
    let Some(state) = state.to_bytes() else { return };
    let begin = to.len();
    to.extend_from_slice(name.bytes());
    to.extend_from_slice(&state);
    to.extend_from_slice(&[0; 4]);
    summary.write(to);
    let length = u32::try_from(to.len() - begin - HEAD).ok();
    match (length, to.get_mut(begin + 56..begin + HEAD)) {
        (Some(length), Some(place)) => place.copy_from_slice(&length.to_le_bytes()),
        _ => to.truncate(begin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever stands in a record, reading it ends, and never with a panic.
    #[test]
    fn a_record_that_was_cut_or_changed_is_read_without_harm() {
        let summary = Summary {
            ecosystem: "npm",
            source: "a.example",
            url: "https://a.example/ü",
            scope: Some(Digest::of(b"s")),
            name: Some(""),
            version: None,
            architecture: Some("amd64"),
            level: Level::Signed,
            absent: true,
            bodies: vec![Digest::of(b"1"), Digest::of(b"2")],
        };
        let mut bytes = Vec::new();
        summary.write(&mut bytes);
        assert_eq!(Summary::read(&mut bytes.as_slice()), Some(summary));
        for at in 0..bytes.len() {
            assert_eq!(Summary::read(&mut &bytes[..at]), None);
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] = byte;
                let _ = Summary::read(&mut other.as_slice());
            }
        }
    }
}
