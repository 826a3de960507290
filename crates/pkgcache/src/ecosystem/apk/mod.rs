//! apk: a signed index for each architecture of each repository, and packages of gzip members.
//!
//! An index is a tar in gzip, `APKINDEX.tar.gz`, behind a tar with its signature; both members are
//! handed on as they came. A package has a signature, a control member and a data member. The index
//! has the checksum of the control member, and this the one of the data member, so both together
//! cover every byte behind the signature, which clients do not look at where the index is signed.
//!
//! Deliberately absent: the index of apk 3, `Packages.adb`. It is handed on by its class, and
//! nobody vouches for packages that it alone names.
//!
//! Source: Alpine's wiki, "Apk spec"; apk-tools 2, `src/database.c` and `src/package.c`.

pub(crate) mod members;
pub(crate) mod signature;
#[cfg(test)]
pub(crate) mod tests;

use std::io::{BufRead, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use storekit::Checksum;

use crate::ecosystem::path::segments;
use crate::ecosystem::ruling::LARGEST_INDEX;
use crate::ecosystem::table::{TableBuilder, Voucher};
use crate::ecosystem::{Asked, BadIndex, Class, Package};

/// The name of an index.
pub(crate) const INDEX: &str = "APKINDEX.tar.gz";
/// That of apk 3.
const ADB: &str = "Packages.adb";
/// No line of an index is longer, in bytes.
const LINE: u64 = 1 << 20;

/// What the path asks for.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let Some(segments) = segments(path).filter(|_| query.is_none()) else { return Asked::default() };
    let Some((file, above)) = segments.split_last() else { return Asked::default() };
    let architecture = above.last().cloned();
    if matches!(file.as_str(), INDEX | ADB) {
        let package = Package { architecture, ..Package::default() };
        return Asked { class: Class::Index, package, ..Asked::default() };
    }
    let Some((name, version)) = file.strip_suffix(".apk").and_then(split) else { return Asked::default() };
    let folder: String = above.iter().flat_map(|part| ["/", part]).collect();
    Asked {
        class: Class::Artifact,
        package: Package { name: Some(name.to_owned()), version: Some(version.to_owned()), architecture },
        index: Some(format!("{folder}/{INDEX}")),
        entry: Some(format!("{name}-{version}")),
    }
}

/// `NAME-VERSION`, where the version has its release: `1.2.3-r0`.
fn split(name: &str) -> Option<(&str, &str)> {
    let (rest, release) = name.rsplit_once('-')?;
    let (at, _) = rest.rmatch_indices('-').next()?;
    let version = name.get(at + 1..)?;
    let good = release.starts_with('r') && version.starts_with(|c: char| c.is_ascii_digit()) && at > 0;
    good.then_some((name.get(..at)?, version))
}

/// What an index says of its packages. The checksum is that of a package's control member.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(read: &mut dyn Read, table: &mut TableBuilder) -> Result<(), BadIndex> {
    let plain = MultiGzDecoder::new(BufReader::new(read)).take(LARGEST_INDEX);
    let mut tar = tar::Archive::new(plain);
    // The tar with the signature ends without an end.
    tar.set_ignore_zeros(true);
    // Long names are not put together: they could take any memory.
    for entry in tar.entries()?.raw(true) {
        let entry = entry?;
        if entry.path_bytes().as_ref() == b"APKINDEX" {
            return of_text(&mut BufReader::new(entry), table);
        }
    }
    Err(BadIndex::Malformed("it has no file `APKINDEX`".to_owned()))
}

/// What one package's lines say.
#[derive(Default)]
struct Lines {
    name: Option<String>,
    version: Option<String>,
    checksum: Option<Checksum>,
    size: Option<u64>,
}

impl Lines {
    fn take(&mut self, line: &str) {
        match line.split_once(':') {
            Some(("P", text)) => self.name = Some(text.to_owned()),
            Some(("V", text)) => self.version = Some(text.to_owned()),
            Some(("C", text)) => self.checksum = checksum(text),
            Some(("S", text)) => self.size = text.parse().ok(),
            _ => {}
        }
    }

    /// Adds it. Returns whether there is room for another.
    fn add(self, table: &mut TableBuilder) -> bool {
        let Self { name: Some(name), version: Some(version), checksum, size } = self else { return true };
        table.add(&format!("{name}-{version}"), &Voucher { checksum, size, ..Voucher::default() })
    }
}

fn of_text(text: &mut impl BufRead, table: &mut TableBuilder) -> Result<(), BadIndex> {
    let (mut lines, mut line) = (Lines::default(), Vec::new());
    loop {
        line.clear();
        if text.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            lines.add(table);
            return Ok(());
        }
        let Some(whole) = line.strip_suffix(b"\n") else {
            return Err(BadIndex::Malformed("it ends within a line".to_owned()));
        };
        if !whole.is_empty() {
            lines.take(&String::from_utf8_lossy(whole));
        } else if !std::mem::take(&mut lines).add(table) {
            return Err(BadIndex::TooLarge("it names more than 4,000,000 packages"));
        }
    }
}

/// `Q1` and a SHA-1, `Q2` and a SHA-256, in base64.
fn checksum(text: &str) -> Option<Checksum> {
    let (kind, encoded) = text.split_at_checked(2)?;
    let bytes = STANDARD.decode(encoded).ok()?;
    match kind {
        "Q1" => bytes.try_into().ok().map(Checksum::Sha1),
        "Q2" => bytes.try_into().ok().map(Checksum::Sha256),
        _ => None,
    }
}
