//! `Packages` and `Sources`: what they say of the files of a repository.

use std::io::Read;

use storekit::Checksum;

use super::fields::{self, Line};
use crate::ecosystem::BadIndex;
use crate::ecosystem::packing::{Lines, Packing};
use crate::ecosystem::table::{TableBuilder, Voucher};

/// Adds all files of a `Packages` or a `Sources`, by their paths below the repository's base, in
/// the spelling of [`super::place()`].
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(
    packing: Packing,
    document: &mut dyn Read,
    table: &mut TableBuilder,
) -> Result<(), BadIndex> {
    let mut lines = Lines::new(packing, document)?;
    let mut paragraph = Paragraph::default();
    loop {
        let number = lines.count + 1;
        let Some(text) = lines.next()? else { break };
        match fields::line(text, number)? {
            Line::Empty => std::mem::take(&mut paragraph).add_to(table)?,
            Line::More(text) => paragraph.more(text)?,
            Line::Field(name, value) => paragraph.field(name, value)?,
        }
    }
    paragraph.add_to(table)
}

/// A list of checksums in a paragraph of `Sources`, by how good it is for us: the store itself
/// knows bodies by SHA-256.
const LISTS: [(&str, &str); 3] =
    [("Checksums-Sha256", "sha256"), ("Checksums-Sha512", "sha512"), ("Checksums-Sha1", "sha1")];

/// What was read of a paragraph.
#[derive(Default)]
struct Paragraph {
    filename: Option<String>,
    size: Option<u64>,
    /// By SHA-256, SHA-512 and SHA-1.
    checksums: [Option<Checksum>; 3],
    directory: Option<Vec<u8>>,
    /// Names, sizes and checksums of a source package's files, by list.
    files: [Vec<(Vec<u8>, u64, Checksum)>; 3],
    /// Which list the line belongs to.
    list: Option<usize>,
}

impl Paragraph {
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadIndex> {
        self.list = LISTS.iter().position(|(field, _)| name.eq_ignore_ascii_case(field.as_bytes()));
        let algorithm = ["sha256", "sha512", "sha1"]
            .iter()
            .enumerate()
            .find(|(_, algorithm)| name.eq_ignore_ascii_case(algorithm.as_bytes()));
        if let Some((place, algorithm)) = algorithm {
            let slot = self.checksums.get_mut(place);
            return slot.map_or(Ok(()), |slot| once(slot, algorithm, fields::checksum(algorithm, value)?));
        }
        if name.eq_ignore_ascii_case(b"Filename") {
            once(&mut self.filename, "Filename", fields::path(value)?)
        } else if name.eq_ignore_ascii_case(b"Size") {
            once(&mut self.size, "Size", fields::size(value)?)
        } else if name.eq_ignore_ascii_case(b"Directory") {
            once(&mut self.directory, "Directory", value.to_vec())
        } else {
            Ok(())
        }
    }

    fn more(&mut self, text: &[u8]) -> Result<(), BadIndex> {
        let Some(list) = self.list else { return Ok(()) };
        let (Some(files), Some((_, algorithm))) = (self.files.get_mut(list), LISTS.get(list)) else {
            return Ok(());
        };
        let [checksum, size, name] = fields::three_words(text)?;
        if name.contains(&b'/') {
            return Err(BadIndex::Malformed(format!("`{}` is not a file's name", fields::shown(name))));
        }
        files.push((name.to_vec(), fields::size(size)?, fields::checksum(algorithm, checksum)?));
        Ok(())
    }

    fn add_to(self, table: &mut TableBuilder) -> Result<(), BadIndex> {
        if let Some(filename) = &self.filename {
            let checksum = self.checksums.into_iter().flatten().next();
            add(table, filename, &Voucher { checksum, size: self.size, ..Voucher::default() })?;
        }
        let Some(files) = self.files.into_iter().find(|files| !files.is_empty()) else { return Ok(()) };
        let Some(directory) = self.directory else {
            return Err(BadIndex::Malformed("a source package has no field `Directory`".to_owned()));
        };
        for (name, size, checksum) in files {
            let path = fields::path(&[&directory, b"/".as_slice(), &name].concat())?;
            add(table, &path, &Voucher { checksum: Some(checksum), size: Some(size), ..Voucher::default() })?;
        }
        Ok(())
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), BadIndex> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(BadIndex::Malformed(format!("a package has two fields `{name}`"))),
    }
}

fn add(table: &mut TableBuilder, path: &str, voucher: &Voucher) -> Result<(), BadIndex> {
    if table.add(path, voucher) { Ok(()) } else { Err(BadIndex::TooLarge("it names too many files")) }
}
