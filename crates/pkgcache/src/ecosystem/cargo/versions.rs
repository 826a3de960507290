//! The index file of a crate: a line of JSON for each version.
//!
//! Source: the Cargo Book, "Index format".

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};

use serde::Deserialize;
use storekit::Checksum;

use super::{index_path, is_version, shown};
use crate::ecosystem::releases::{Hidden, Releases, seconds};
use crate::ecosystem::table::{Standing, TableBuilder, Voucher};
use crate::ecosystem::{BadIndex, json};

/// No line is longer: 16 MiB.
const LONGEST_LINE: u64 = 16 << 20;
/// No index file is larger: 1 GiB.
const CAP: u64 = 1 << 30;

/// What counts of a version; all else is the client's affair.
#[derive(Deserialize)]
struct Version<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    vers: Cow<'a, str>,
    #[serde(borrow)]
    cksum: Cow<'a, str>,
    #[serde(default)]
    yanked: Option<bool>,
    /// When it was published.
    #[serde(borrow, default)]
    pubtime: Option<Cow<'a, str>>,
}

impl Version<'_> {
    fn standing(&self) -> Standing {
        let published = self.pubtime.as_deref().and_then(seconds);
        Standing { published, withdrawn: self.yanked == Some(true) }
    }
}

/// Adds all versions of an index file, as `NAME/VERSION`.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(document: &mut dyn Read, table: &mut TableBuilder) -> Result<(), BadIndex> {
    each(document, |_, version| {
        let checksum = Checksum::from_hex("sha256", &version.cksum);
        let voucher = Voucher { checksum, standing: version.standing(), ..Voucher::default() };
        let has_room = table.add(&format!("{}/{}", version.name, version.vers), &voucher);
        if has_room { Ok(()) } else { Err(BadIndex::TooLarge("it names too many files")) }
    })?;
    table.publish_the_rest();
    Ok(())
}

/// The versions of an index file. Where it says of one when that was published, one of which it
/// does not is older than the field: registries add it to all that is new.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn releases(document: &mut dyn Read) -> Result<Releases, BadIndex> {
    let mut found = Releases::default();
    each(document, |_, version| found.add(&version.vers, version.standing()))?;
    if found.all.iter().any(|release| release.standing.published.is_some()) {
        for release in &mut found.all {
            release.standing.published.get_or_insert(0);
        }
    }
    Ok(found)
}

/// Writes an index file. What clients are not to see is yanked in it: cargo chooses no such
/// version, and one that a lock file has is still asked for, and refused with a reason.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render(document: &mut dyn Read, hidden: &Hidden, out: &mut dyn Write) -> Result<(), BadIndex> {
    each(document, |mut line, version| {
        if hidden.has(&version.vers) {
            json::edit(&mut line, &mut Yank { out, is_said: false })
        } else {
            Ok(out.write_all(line)?)
        }
    })
}

/// Yanks the version of a line.
struct Yank<'y> {
    out: &'y mut dyn Write,
    is_said: bool,
}

impl json::Editor for Yank<'_> {
    fn fate(&mut self, path: &json::Path) -> json::Fate {
        if path.is(&["yanked"]) { json::Fate::Seen } else { json::Fate::Copied }
    }

    fn see(&mut self, _: &json::Path, _: json::Value<'_>) -> Result<Option<String>, BadIndex> {
        self.is_said = true;
        Ok(Some("true".to_owned()))
    }

    fn end(&mut self, path: &json::Path) -> Result<Option<String>, BadIndex> {
        Ok((path.depth() == 0 && !self.is_said).then(|| r#""yanked":true"#.to_owned()))
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        Ok(self.out.write_all(bytes)?)
    }
}

/// Shows all versions of an index file, with their lines.
fn each(
    document: &mut dyn Read,
    mut show: impl FnMut(&[u8], &Version<'_>) -> Result<(), BadIndex>,
) -> Result<(), BadIndex> {
    let mut document = BufReader::new(document.take(CAP + 1));
    let mut line = Vec::new();
    let mut of = None;
    let mut left = CAP;
    for number in 1_u64.. {
        line.clear();
        let count = (&mut document).take(LONGEST_LINE).read_until(b'\n', &mut line)? as u64;
        if count == 0 {
            break;
        }
        if count == LONGEST_LINE && !line.ends_with(b"\n") {
            return Err(BadIndex::TooLarge("one of its lines is longer than 16 MiB"));
        }
        left = left.checked_sub(count).ok_or(BadIndex::TooLarge("it is larger than 1 GiB"))?;
        if !line.trim_ascii().is_empty() {
            show(&line, &read(&line, number, &mut of)?)?;
        }
    }
    Ok(())
}

fn read<'l>(line: &'l [u8], number: u64, of: &mut Option<String>) -> Result<Version<'l>, BadIndex> {
    let malformed =
        |why: &str| BadIndex::Malformed(format!("its line {number} is not a version of a crate: {why}"));
    let version: Version<'l> =
        serde_json::from_slice(line).map_err(|error| malformed(&shown(&error.to_string())))?;
    let path = index_path(&version.name).ok_or_else(|| malformed("its name is not valid"))?;
    if *of.get_or_insert_with(|| path.clone()) != path {
        return Err(malformed("it has another name than the lines before"));
    }
    if !is_version(&version.vers) {
        return Err(malformed("its version is not valid"));
    }
    if Checksum::from_hex("sha256", &version.cksum).is_none() {
        return Err(malformed("its `cksum` is not a SHA-256"));
    }
    Ok(version)
}
