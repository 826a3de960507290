//! Advisories, as OSV writes them: which versions of a package each names.
//!
//! Exact for `npm`, `cargo` and `go` (Semantic Versioning) and `python` (PEP 440). Advisories of
//! other ecosystems are left out: a distribution's are of its releases and source packages, which
//! the address of a file does not name.
//!
//! Deliberately absent: files (`read`), the network.
//!
//! Source: the Open Source Vulnerability format, 1.7: "affected[].ranges[]", "Evaluation".

pub(super) mod read;
mod version;

use std::collections::HashMap;

use serde::Deserialize;

use self::version::Version;
use super::OsvFiles;
use crate::ecosystem::Ecosystem;
use crate::ecosystem::python::normalized;

/// Advisories by the packages that they name.
#[derive(Debug, Default)]
pub(crate) struct Advisories {
    by_package: HashMap<(Ecosystem, Box<str>), Vec<Named>>,
    /// How many there are.
    count: usize,
}

/// What one says of a package.
#[derive(Debug)]
struct Named {
    id: Box<str>,
    versions: Box<[Box<str>]>,
    ranges: Box<[Range]>,
}

/// From where to where versions are affected: events in their order.
#[derive(Debug)]
struct Range(Box<[Event]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// Affected from this version on; `None` is before all.
    Introduced(Option<Version>),
    /// Not any more from this one on.
    Fixed(Version),
    /// Not any more behind this one.
    LastAffected(Version),
}

/// An advisory, as its file has it.
#[derive(Deserialize)]
struct Record {
    id: String,
    #[serde(default)]
    aliases: Option<Vec<String>>,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default)]
    affected: Option<Vec<Affected>>,
}

#[derive(Deserialize)]
struct Affected {
    #[serde(default)]
    package: Option<Package>,
    #[serde(default)]
    ranges: Option<Vec<RangeRecord>>,
    #[serde(default)]
    versions: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct RangeRecord {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<EventRecord>,
}

#[derive(Deserialize)]
struct EventRecord {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

/// The kind of client that an advisory's ecosystem is of.
fn kind(ecosystem: &str) -> Option<Ecosystem> {
    match ecosystem {
        "npm" => Some(Ecosystem::Npm),
        "PyPI" => Some(Ecosystem::Python),
        "Go" => Some(Ecosystem::Go),
        // The registry's own name: no other ecosystem begins so.
        _ if ecosystem.starts_with("crates.") => Some(Ecosystem::Cargo),
        _ => None,
    }
}

/// A name as an advisory's packages are told apart by.
fn name_of(kind: Ecosystem, name: &str) -> Box<str> {
    match kind {
        Ecosystem::Python => normalized(name).into(),
        Ecosystem::Cargo => name.to_ascii_lowercase().replace('_', "-").into(),
        _ => name.into(),
    }
}

impl Advisories {
    /// Adds an advisory, where it counts.
    ///
    /// # Errors
    /// What is not one.
    fn add(&mut self, json: &[u8], files: &OsvFiles) -> Result<(), String> {
        let record: Record = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let names = || std::iter::once(&record.id).chain(record.aliases.iter().flatten());
        let counts = files.all || names().any(|name| name.starts_with("MAL-"));
        if !counts || record.withdrawn.is_some() || names().any(|name| files.ignore.contains(name)) {
            return Ok(());
        }
        self.count += 1;
        for affected in record.affected.into_iter().flatten() {
            let Some(package) = affected.package else { continue };
            let Some(kind) = kind(&package.ecosystem) else { continue };
            let ranges = affected.ranges.unwrap_or_default();
            // Commits are not versions.
            let ranges = ranges.into_iter().filter(|range| range.kind != "GIT");
            let said = Named {
                id: record.id.as_str().into(),
                versions: affected.versions.unwrap_or_default().into_iter().map(Into::into).collect(),
                ranges: ranges.map(|range| Range::read(kind, &range.events)).collect(),
            };
            self.by_package.entry((kind, name_of(kind, &package.name))).or_default().push(said);
        }
        Ok(())
    }

    /// The advisory that names this version of the package.
    #[must_use]
    pub(crate) fn of(&self, kind: Ecosystem, name: &str, version: &str) -> Option<&str> {
        // A text of its own for each look: the map's keys have none to borrow.
        let named = self.by_package.get(&(kind, name_of(kind, name)))?;
        let parsed = Version::read(kind, version);
        named.iter().find(|it| it.has(kind, version, parsed.as_ref())).map(|it| &*it.id)
    }

    /// How many count.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.count
    }
}

impl Named {
    fn has(&self, kind: Ecosystem, version: &str, parsed: Option<&Version>) -> bool {
        // An advisory without any version is of the package.
        let of_all = self.versions.is_empty() && self.ranges.is_empty();
        let is_same =
            |it: &str| it == version || (parsed.is_some() && Version::read(kind, it).as_ref() == parsed);
        of_all || self.versions.iter().any(|it| is_same(it)) || self.ranges.iter().any(|it| it.has(parsed))
    }
}

impl Range {
    /// An event with a version that cannot be read is left out, but for the beginning: from
    /// there on, then, all are affected.
    fn read(kind: Ecosystem, events: &[EventRecord]) -> Self {
        let version = |text: &String| Version::read(kind, text);
        let read = |event: &EventRecord| match event {
            EventRecord { introduced: Some(text), .. } if text == "0" => Some(Event::Introduced(None)),
            EventRecord { introduced: Some(text), .. } => Some(Event::Introduced(version(text))),
            EventRecord { fixed: Some(text), .. } => version(text).map(Event::Fixed),
            EventRecord { last_affected: Some(text), .. } => version(text).map(Event::LastAffected),
            _ => None,
        };
        let mut events: Vec<_> = events.iter().filter_map(read).collect();
        events.sort_by(|one, other| one.version().cmp(&other.version()));
        Self(events.into())
    }

    /// Whether it has the version. One that cannot be read is in a range that begins before all
    /// versions and has no end.
    fn has(&self, version: Option<&Version>) -> bool {
        let Some(version) = version else {
            return matches!(&*self.0, [Event::Introduced(None)]);
        };
        self.0.iter().fold(false, |is_affected, event| match event {
            Event::Introduced(from) => is_affected || from.as_ref().is_none_or(|from| version >= from),
            Event::Fixed(from) => is_affected && version < from,
            Event::LastAffected(last) => is_affected && version <= last,
        })
    }
}

impl Event {
    fn version(&self) -> Option<&Version> {
        match self {
            Self::Introduced(version) => version.as_ref(),
            Self::Fixed(version) | Self::LastAffected(version) => Some(version),
        }
    }
}

#[cfg(test)]
mod tests;
