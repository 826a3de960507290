//! The index file of a crate: a line of JSON for each version.
//!
//! Source: the Cargo Book, "Index format".

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use serde::Deserialize;
use storekit::Checksum;

use super::{index_path, is_version, shown};
use crate::ecosystem::BadIndex;
use crate::ecosystem::table::{TableBuilder, Voucher};

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
}

/// Adds all versions of an index file, as `NAME/VERSION`.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(document: &mut dyn Read, table: &mut TableBuilder) -> Result<(), BadIndex> {
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
            add(&line, number, &mut of, table)?;
        }
    }
    Ok(())
}

fn add(line: &[u8], number: u64, of: &mut Option<String>, table: &mut TableBuilder) -> Result<(), BadIndex> {
    let malformed =
        |why: &str| BadIndex::Malformed(format!("its line {number} is not a version of a crate: {why}"));
    let version: Version<'_> =
        serde_json::from_slice(line).map_err(|error| malformed(&shown(&error.to_string())))?;
    let path = index_path(&version.name).ok_or_else(|| malformed("its name is not valid"))?;
    if *of.get_or_insert_with(|| path.clone()) != path {
        return Err(malformed("it has another name than the lines before"));
    }
    if !is_version(&version.vers) {
        return Err(malformed("its version is not valid"));
    }
    let checksum = Checksum::from_hex("sha256", &version.cksum)
        .ok_or_else(|| malformed("its `cksum` is not a SHA-256"))?;
    let voucher = Voucher { url: None, checksum: Some(checksum), size: None };
    if table.add(&format!("{}/{}", version.name, version.vers), &voucher) {
        Ok(())
    } else {
        Err(BadIndex::TooLarge("it names too many files"))
    }
}
