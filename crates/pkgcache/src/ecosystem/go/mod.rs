//! Go's modules: what clients ask a module proxy for, and what a checksum database says of them.
//!
//! A version never changes. What its zip and its go.mod hash to stands in a checksum database, a
//! log whose head is signed: a record counts once it is proven to be in a tree with a signed head.
//! Toolchains are versions of a module of their own, and go the same way.
//!
//! Deliberately absent: whether a newer head goes on from an older one. Clients compare the heads
//! that they are given themselves.
//!
//! Source: "Go Modules Reference" (GOPROXY protocol, checksum database, canonical versions, escaped
//! paths); `golang.org/x/mod/sumdb` for the formats of heads, records and tiles.

pub(crate) mod dirhash;
pub(crate) mod note;
pub(crate) mod sumdb;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tiles;

use std::io::{Read, Write};

use crate::ecosystem::path::segments;
use crate::ecosystem::releases::{Hidden, Releases};
use crate::ecosystem::table::Standing;
use crate::ecosystem::{Asked, BadIndex, Class, Package};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The list of a module's versions, its newest one, or what a branch is now.
    Index,
    /// Something that a version has for ever.
    File(Kind),
    /// A path of the checksum database of this name.
    Sumdb(String, Query),
}

/// What a version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// When it was made.
    Info,
    /// Its go.mod.
    Mod,
    /// All of it.
    Zip,
}

/// What a checksum database is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// Whether the proxy hands requests on to it.
    Supported,
    /// Its newest signed head.
    Latest,
    /// The record of a version.
    Lookup,
    /// A tile of the tree.
    Tile(tiles::Place),
}

/// A path below a module proxy, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// What it asks for.
    pub(crate) what: What,
    /// The module and the version that it is about, as people write them.
    pub(crate) package: Package,
}

/// What the path asks for; `None` where no client asks so.
#[must_use]
pub(crate) fn parse(path: &str) -> Option<Request> {
    let segments = segments(path)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["sumdb", rest @ ..] => of_sumdb(rest),
        [module @ .., "@latest"] | [module @ .., "@v", "list"] => of_module(module, What::Index, None),
        [module @ .., "@v", file] => of_version(module, file),
        _ => None,
    }
}

/// No list of versions is longer, in bytes.
const LONGEST_LIST: u64 = 16 << 20;

/// The versions of a module's list.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn releases(document: &mut dyn Read) -> Result<Releases, BadIndex> {
    let mut found = Releases::default();
    for line in list(document)?.lines().map(str::trim).filter(|line| !line.is_empty()) {
        found.add(line.split_whitespace().next().unwrap_or_default(), Standing::default())?;
    }
    Ok(found)
}

/// The version that a document such as that of `@latest` is of.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn release(document: &mut dyn Read) -> Result<Releases, BadIndex> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info {
        version: String,
    }
    let info: Info =
        serde_json::from_str(&list(document)?).map_err(|error| BadIndex::Malformed(error.to_string()))?;
    let mut found = Releases::default();
    found.add(&info.version, Standing::default())?;
    Ok(found)
}

/// Writes a module's list without what clients are not to see.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render(document: &mut dyn Read, hidden: &Hidden, out: &mut dyn Write) -> Result<(), BadIndex> {
    let list = list(document)?;
    let version = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    for line in list.lines().filter(|line| !hidden.has(&version(line))) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn list(document: &mut dyn Read) -> Result<String, BadIndex> {
    let mut text = String::new();
    document.take(LONGEST_LIST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST_LIST {
        return Err(BadIndex::TooLarge("the list of versions is larger than 16 MiB"));
    }
    Ok(text)
}

/// A request with its class.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let Some(Request { what, package }) = parse(path).filter(|_| query.is_none()) else {
        return Asked::default();
    };
    let class = match what {
        What::Index | What::Sumdb(_, Query::Latest) => Class::Index,
        What::File(Kind::Info) => Class::PinnedByName,
        What::File(_) | What::Sumdb(_, Query::Lookup | Query::Tile(_)) => Class::Artifact,
        What::Sumdb(_, Query::Supported) => Class::Api,
    };
    Asked { class, package, ..Asked::default() }
}

fn of_module(module: &[&str], what: What, version: Option<String>) -> Option<Request> {
    let name = unescaped(&module.join("/")).filter(|name| !name.is_empty())?;
    Some(Request { what, package: Package { name: Some(name), version, architecture: None } })
}

fn of_version(module: &[&str], file: &str) -> Option<Request> {
    let (version, ending) = file.rsplit_once('.')?;
    let version = unescaped(version)?;
    let is_fixed = is_canonical(&version);
    let what = match ending {
        "info" if is_fixed => What::File(Kind::Info),
        "info" => What::Index,
        "mod" if is_fixed => What::File(Kind::Mod),
        "zip" if is_fixed => What::File(Kind::Zip),
        _ => return None,
    };
    of_module(module, what, Some(version))
}

/// The name of a database may have a path in it.
fn of_sumdb(path: &[&str]) -> Option<Request> {
    let verb = |it: &&str| matches!(*it, "supported" | "latest" | "tile" | "lookup");
    let (name, rest) = path.split_at_checked(path.iter().position(verb)?)?;
    let what = |query| What::Sumdb(name.join("/"), query);
    let plain = |query| Some(Request { what: what(query), package: Package::default() });
    match rest {
        ["supported"] => plain(Query::Supported),
        ["latest"] => plain(Query::Latest),
        ["tile", tile @ ..] => plain(Query::Tile(tiles::Place::read(&tile.join("/"))?)),
        ["lookup", module @ ..] => {
            let (module, version) =
                module.join("/").rsplit_once('@').map(|(it, at)| (it.to_owned(), at.to_owned()))?;
            of_module(&[module.as_str()], what(Query::Lookup), Some(unescaped(&version)?))
        }
        _ => None,
    }
}

/// A module's path, or a version, as people write it. Upper case is `!` and the letter in lower
/// case, so that file systems which know no case hold both.
#[must_use]
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let good = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._~/+".contains(*c);
        plain.push(match c {
            '!' => chars.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase(),
            c => Some(c).filter(good)?,
        });
    }
    Some(plain)
}

/// The other way: as it stands in paths.
#[must_use]
pub(crate) fn escaped(text: &str) -> String {
    let one = |c: char| if c.is_ascii_uppercase() { vec!['!', c.to_ascii_lowercase()] } else { vec![c] };
    text.chars().flat_map(one).collect()
}

/// Whether a version is one of which the bytes are fixed: `vMAJOR.MINOR.PATCH`, with `-PRERELEASE`
/// or without, and without `+BUILD` but `+incompatible`.
#[must_use]
pub(crate) fn is_canonical(version: &str) -> bool {
    let Some(rest) = version.strip_prefix('v') else { return false };
    let rest = rest.strip_suffix("+incompatible").unwrap_or(rest);
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let is_number = |part: &str| {
        let digits = !part.is_empty() && part.len() < 20 && part.bytes().all(|it| it.is_ascii_digit());
        digits && (part == "0" || !part.starts_with('0'))
    };
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    let numbers: Vec<_> = core.split('.').collect();
    numbers.len() == 3
        && numbers.into_iter().all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(is_word))
}
