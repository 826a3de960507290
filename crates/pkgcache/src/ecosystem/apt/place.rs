//! Where a path lies in a repository, and what it is by its name.
//!
//! Deliberately absent: what any index says. So a name decides only what may be believed of a file,
//! never that it is what it should be.

use crate::ecosystem::Package;
use crate::ecosystem::path::{decoded, segments};

/// The parts of a path in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The path above `dists` or `pool`, without a `/` at its end. Where a path has neither (a flat
    /// repository), the folder of the file.
    pub(crate) base: String,
    /// For what belongs to a release: the release's folder below the base (`dists/stable/updates`);
    /// nothing (`""`) in a flat repository, whose release lies in the base itself.
    pub(crate) release: Option<String>,
    /// The path below the release's folder, else below the base.
    pub(crate) rest: String,
}

impl Place {
    /// The path of a file in the release's folder, with its `/`.
    #[must_use]
    pub(crate) fn beside_release(&self, name: &str) -> Option<String> {
        let folder = self.release.as_deref()?;
        let slash = if folder.is_empty() { "" } else { "/" };
        Some(format!("{}/{folder}{slash}{name}", self.base))
    }
}

/// What a file is by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A release file or its signature.
    Release,
    /// An index by its checksum: algorithm and digits.
    ByHash(String, String),
    /// An index by its name.
    Index,
    /// A package, or a file of a source package.
    Package(Package),
    /// Nothing that apt asks for by itself.
    Other,
}

/// The names of the files that say what a release is.
pub(super) const RELEASE: [&str; 3] = ["InRelease", "Release", "Release.gpg"];
/// What is added to the name of an index that is compressed.
const PACKED: [&str; 6] = [".xz", ".gz", ".zst", ".lz4", ".bz2", ".lzma"];
/// What the name of a package ends with.
const BINARY: [&str; 3] = [".deb", ".udeb", ".ddeb"];
/// What stands behind the version in the name of a file of a source package, the longest first.
const SOURCE: [&str; 5] = [".orig", ".debian.tar.", ".diff.gz", ".tar.", ".dsc"];

/// The parts of a path; `None` where it could not be in a repository.
#[must_use]
pub(crate) fn place(path: &str) -> Option<Place> {
    let segments = segments(path)?;
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some((base, below)) = split_at_name(&names, "dists").filter(|(_, below)| below.len() > 1) {
        if let Kind::Package(_) = kind(below) {
            return Some(Place {
                base: root(base),
                release: None,
                rest: format!("dists/{}", below.join("/")),
            });
        }
        let (suite, rest) = below.split_at_checked(suite_length(below))?;
        let release = Some(format!("dists/{}", suite.join("/")));
        return Some(Place { base: root(base), release, rest: rest.join("/") });
    }
    if let Some((base, below)) = split_at_name(&names, "pool").filter(|(_, below)| !below.is_empty()) {
        return Some(Place { base: root(base), release: None, rest: format!("pool/{}", below.join("/")) });
    }
    flat(&names)
}

/// What stands before and behind the first segment of this name.
fn split_at_name<'a>(names: &'a [&'a str], name: &str) -> Option<(&'a [&'a str], &'a [&'a str])> {
    let at = names.iter().position(|it| *it == name)?;
    Some((names.get(..at)?, names.get(at + 1..)?))
}

fn root(segments: &[&str]) -> String {
    segments.iter().flat_map(|segment| ["/", segment]).collect()
}

fn flat(names: &[&str]) -> Option<Place> {
    let (name, folder) = names.split_last()?;
    match kind(names) {
        Kind::ByHash(..) => {
            let (folder, rest) = names.split_at_checked(names.len().checked_sub(3)?)?;
            Some(Place { base: root(folder), release: Some(String::new()), rest: rest.join("/") })
        }
        Kind::Release => {
            Some(Place { base: root(folder), release: Some(String::new()), rest: (*name).to_owned() })
        }
        // Nothing else is told from other files by its name alone.
        Kind::Index if is_list(name) => {
            Some(Place { base: root(folder), release: Some(String::new()), rest: (*name).to_owned() })
        }
        Kind::Index | Kind::Other => None,
        Kind::Package(_) => Some(Place { base: root(folder), release: None, rest: (*name).to_owned() }),
    }
}

/// How many of the segments below `dists` are the suite's name. What is below a suite has a name
/// that only indexes have, with a component before it.
fn suite_length(below: &[&str]) -> usize {
    let folder = below.len().saturating_sub(1);
    if kind(below) == Kind::Release {
        return folder;
    }
    let marker = below.iter().skip(1).position(|name| is_marker(name)).map(|at| at + 1);
    // Where the component is left out (`jammy/Contents-amd64.gz`), so is its place.
    let length = marker.map_or(1, |marker| marker.saturating_sub(1)).max(1);
    if length == 1 && folder > 1 && below.get(1) == Some(&"updates") { 2 } else { length }
}

/// Whether a segment below a suite stands right behind the component.
fn is_marker(name: &str) -> bool {
    matches!(name, "source" | "i18n" | "dep11" | "cnf" | "by-hash" | "debian-installer" | "uefi" | "signed")
        || ["binary-", "installer-", "Contents-"].iter().any(|start| name.starts_with(start))
}

/// What a path is by its last segments.
#[must_use]
pub(super) fn kind(names: &[&str]) -> Kind {
    let [.., name] = names else { return Kind::Other };
    let folder = names.iter().rev().nth(1).copied().unwrap_or_default();
    if let [.., "by-hash", algorithm, hex] = names {
        return Kind::ByHash((*algorithm).to_owned(), (*hex).to_owned());
    }
    if RELEASE.contains(name) {
        let of_component = *name == "Release" && (folder == "source" || folder.starts_with("binary-"));
        return if of_component { Kind::Index } else { Kind::Release };
    }
    let listed = is_list(name)
        || unpacked(name).starts_with("Translation-")
        || unpacked(name).starts_with("Contents-")
        || matches!(folder, "dep11" | "cnf")
        || (*name == "Index" && folder.strip_suffix(".diff").is_some());
    if listed {
        return Kind::Index;
    }
    package(name, names.contains(&"pool")).map_or(Kind::Other, Kind::Package)
}

/// A name without what says how it is compressed.
fn unpacked(name: &str) -> &str {
    PACKED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Whether an index of this name lists packages or sources.
#[must_use]
pub(super) fn is_list(name: &str) -> bool {
    matches!(unpacked(name), "Packages" | "Sources")
}

/// What the name of a package's file says. Outside a pool only names with a version count: others
/// (`NAME_latest_all.deb`) are given again and again.
fn package(name: &str, in_pool: bool) -> Option<Package> {
    let (stem, source) = stem(name)?;
    let parts: Vec<String> = stem.split('_').filter_map(word).collect();
    let versioned = parts.get(1).is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    match parts.as_slice() {
        [name, version, architecture] if versioned && !source => Some(Package {
            name: Some(name.clone()),
            version: Some(version.clone()),
            architecture: Some(architecture.clone()),
        }),
        [name, version] if versioned && source => Some(Package {
            name: Some(name.clone()),
            version: Some(version.clone()),
            architecture: Some("source".to_owned()),
        }),
        _ => in_pool.then(Package::default),
    }
}

/// The name of a package's file without its end, and whether it belongs to a source package.
fn stem(name: &str) -> Option<(&str, bool)> {
    if let Some(stem) = BINARY.iter().find_map(|end| name.strip_suffix(end)) {
        return Some((stem, false));
    }
    let whole = name.strip_suffix(".asc").unwrap_or(name);
    let ends = [".dsc", ".diff.gz", ".tar"].iter().any(|end| unpacked(whole).ends_with(end))
        || whole.ends_with(".diff.gz");
    let at = SOURCE.iter().filter_map(|end| whole.find(end)).min().filter(|_| ends)?;
    Some((whole.get(..at)?, true))
}

/// A name or a version: with the `:` of an epoch as it is, and of plain characters.
fn word(text: &str) -> Option<String> {
    let bytes = decoded(text)?;
    let text = String::from_utf8(bytes).ok()?.replace("%3a", ":").replace("%3A", ":");
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.~:".contains(c);
    (!text.is_empty() && text.chars().all(plain)).then_some(text)
}
