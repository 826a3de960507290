//! Fields and values of apt's documents: what a line is, and what numbers, checksums and paths are.
//!
//! Source: deb822(5).

use storekit::{Checksum, printable};

use crate::ecosystem::BadIndex;
use crate::ecosystem::path::spelled_path;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// It ends a paragraph.
    Empty,
    /// It goes on with the field before it.
    More(&'a [u8]),
    /// A field and its value.
    Field(&'a [u8], &'a [u8]),
}

/// What the line is.
///
/// # Errors
/// [`BadIndex::Malformed`] where it is none of these.
pub(super) fn line(text: &[u8], number: u64) -> Result<Line<'_>, BadIndex> {
    match text {
        [] => return Ok(Line::Empty),
        [b' ' | b'\t', more @ ..] => {
            // A line of nothing but blanks ends a paragraph, too.
            let empty = more.iter().all(u8::is_ascii_whitespace);
            return Ok(if empty { Line::Empty } else { Line::More(more) });
        }
        _ => {}
    }
    let name = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let (name, rest) = text.split_at(name.count());
    match rest {
        [b':', value @ ..] if !name.is_empty() => Ok(Line::Field(name, value.trim_ascii())),
        _ => Err(BadIndex::Malformed(format!("its line {number} is not a field"))),
    }
}

/// A size in bytes.
///
/// # Errors
/// [`BadIndex::Malformed`].
pub(super) fn size(text: &[u8]) -> Result<u64, BadIndex> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    number.ok_or_else(|| BadIndex::Malformed(format!("`{}` is not a size", shown(text))))
}

/// A checksum in hex.
///
/// # Errors
/// [`BadIndex::Malformed`].
pub(super) fn checksum(algorithm: &str, text: &[u8]) -> Result<Checksum, BadIndex> {
    let hex = std::str::from_utf8(text).ok();
    let checksum = hex.and_then(|hex| Checksum::from_hex(algorithm, hex));
    checksum.ok_or_else(|| BadIndex::Malformed(format!("`{}` is not a {algorithm} checksum", shown(text))))
}

/// A path, in the spelling of a table's names.
///
/// # Errors
/// [`BadIndex::Malformed`].
pub(super) fn path(text: &[u8]) -> Result<String, BadIndex> {
    let path = std::str::from_utf8(text).ok().and_then(spelled_path);
    path.ok_or_else(|| BadIndex::Malformed(format!("`{}` is not a path below it", shown(text))))
}

/// The three words of a line of checksums: the checksum, the size and the name.
///
/// # Errors
/// [`BadIndex::Malformed`].
pub(super) fn three_words(text: &[u8]) -> Result<[&[u8]; 3], BadIndex> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(checksum), Some(size), Some(name), None) => Ok([checksum, size, name]),
        _ => Err(BadIndex::Malformed(format!("`{}` is not a checksum, a size and a name", shown(text)))),
    }
}

/// Text of an index for a message: its beginning, printable.
pub(super) fn shown(text: &[u8]) -> String {
    const MOST: usize = 80;
    let text = String::from_utf8_lossy(text.get(..MOST).unwrap_or(text));
    printable(&text).to_string()
}
