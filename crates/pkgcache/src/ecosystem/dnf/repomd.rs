//! repomd.xml: which indexes a repository has. primary.xml: which packages.

use std::io::{BufReader, Read};

use storekit::Checksum;

use super::records::{self, Shape};
use crate::ecosystem::BadIndex;
use crate::ecosystem::packing::{self, Packing};
use crate::ecosystem::table::{TableBuilder, Voucher};

/// What a repomd.xml says: its files, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repomd {
    /// The files.
    pub(crate) files: Vec<Listed>,
}

/// An index that a repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// What it is: `primary`, `filelists`, `primary_zck`.
    pub(crate) kind: String,
    /// Its path below the repository's base.
    pub(crate) path: String,
    /// What it hashes to.
    pub(crate) checksum: Checksum,
    /// How many bytes it has.
    pub(crate) size: Option<u64>,
}

/// No repomd.xml is larger: 16 MiB.
pub(crate) const CAP: u64 = 16 << 20;
/// No repomd.xml names more files.
const MOST: usize = 10_000;

const INDEXES: Shape = Shape { root: "repomd", record: "data", size: None };
const PACKAGES: Shape = Shape { root: "metadata", record: "package", size: Some("package") };

/// Reads a repomd.xml. Files of another base, and those without a checksum that counts, are left
/// out: nobody vouches for them.
///
/// # Errors
/// [`BadIndex`], also where one path has two checksums.
pub(crate) fn repomd(document: &mut dyn Read) -> Result<Repomd, BadIndex> {
    let mut capped = document.take(CAP + 1);
    let mut repomd = Repomd::default();
    records::read(INDEXES, &mut BufReader::new(&mut capped), |record| {
        let (Some(path), Some(checksum), false) = (record.path, record.checksum, record.is_elsewhere) else {
            return Ok(());
        };
        if repomd.files.iter().any(|it| it.path == path && it.checksum != checksum) {
            return Err(BadIndex::Malformed(format!("it says two different things of `{path}`")));
        }
        if repomd.files.len() == MOST {
            return Err(BadIndex::TooLarge("it names too many files"));
        }
        repomd.files.push(Listed { kind: record.kind, path, checksum, size: record.size });
        Ok(())
    })
    .map_err(|error| {
        if capped.limit() == 0 { BadIndex::TooLarge("it is larger than 16 MiB") } else { error }
    })?;
    Ok(repomd)
}

impl Repomd {
    /// The file of this path below the base.
    #[must_use]
    pub(crate) fn file(&self, path: &str) -> Option<&Listed> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The list of packages, in a form that can be read here, and how it is packed.
    #[must_use]
    pub(crate) fn primary(&self) -> Option<(&Listed, Packing)> {
        let mut primary = self.files.iter().filter(|file| file.kind == "primary");
        primary.find_map(|file| Some((file, packing_of(&file.path)?)))
    }
}

impl Repomd {
    /// Where its list of packages is, if that is packed in ways alone that are not read here.
    #[must_use]
    pub(crate) fn unread_primary(&self) -> Option<&str> {
        let lists = |file: &&Listed| matches!(file.kind.as_str(), "primary" | "primary_zck");
        let first = self.files.iter().find(lists)?;
        self.primary().is_none().then_some(first.path.as_str())
    }
}

/// How a file is packed by its name. `None` for those that are packed in a way that is not read
/// here: bzip2, zchunk.
fn packing_of(path: &str) -> Option<Packing> {
    match path.rsplit_once('.')?.1 {
        "xml" => Some(Packing::Plain),
        "gz" => Some(Packing::Gzip),
        "xz" => Some(Packing::Xz),
        "zst" => Some(Packing::Zstd),
        _ => None,
    }
}

/// Adds all packages of a primary.xml, by their paths below the repository's base. Those of another
/// base are left out: nobody asks for them here.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(
    packing: Packing,
    document: &mut dyn Read,
    table: &mut TableBuilder,
) -> Result<(), BadIndex> {
    let mut unpacked = packing::unpacked(packing, document, packing::CAP)?;
    records::read(PACKAGES, &mut unpacked, |record| {
        let (Some(path), false) = (record.path, record.is_elsewhere) else { return Ok(()) };
        let voucher = Voucher { checksum: record.checksum, size: record.size, ..Voucher::default() };
        if table.add(&path, &voucher) { Ok(()) } else { Err(BadIndex::TooLarge("it names too many files")) }
    })
}
