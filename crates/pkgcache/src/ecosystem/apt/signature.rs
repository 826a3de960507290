//! Whether a release is signed by a key of a keyring.
//!
//! What is handed on is what was signed, and nothing else of the document. Whoever wrote it may be
//! hostile, so it is split as apt does: what stands around the signed text, or begins with a dash
//! that is not escaped, is refused and not skipped.
//!
//! Source: RFC 9580, 7 (the cleartext signature framework).

use crate::ecosystem::BadIndex;
use crate::ecosystem::openpgp::{Keyring, Signed};

/// No release is larger: 16 MiB.
const CAP: usize = 16 << 20;

const SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

/// Whether a `Release.gpg` may be what it should: an armored signature, or a packet.
#[must_use]
pub(crate) fn is_one(document: &[u8]) -> bool {
    document.trim_ascii_start().starts_with(SIGNATURE) || document.first().is_some_and(|tag| tag & 0x80 != 0)
}

/// The signed text of an `InRelease`, or of a `Release` with its signature from `Release.gpg`, if a
/// key of the keyring (packets or armor) signed it that may do so at this time, in seconds since
/// 1970. Lines of an `InRelease` end in `\n`, and not in blanks, which it does not sign.
///
/// # Errors
/// [`BadIndex`] says why it does not count as signed.
pub(crate) fn verify(
    document: &[u8],
    detached: Option<&[u8]>,
    keyring: &[u8],
    now: i64,
) -> Result<Vec<u8>, BadIndex> {
    if document.len() > CAP {
        return Err(BadIndex::TooLarge("it is larger than 16 MiB"));
    }
    let keyring = Keyring::read(keyring)?;
    if let Some(signatures) = detached {
        keyring.check(Signed::Bytes(document), signatures, now)?;
        return Ok(document.to_vec());
    }
    let (lines, signatures) = parts(document).map_err(|text| BadIndex::Malformed(text.to_owned()))?;
    keyring.check(Signed::Text(&lines.join(b"\r\n".as_slice())), signatures, now)?;
    let mut text = lines.join(b"\n".as_slice());
    text.push(b'\n');
    Ok(text)
}

/// The lines that are signed, and the block of their signatures. `Err` says what is wrong.
fn parts(document: &[u8]) -> Result<(Vec<&[u8]>, &[u8]), &'static str> {
    let mut rest = Lines(document);
    if rest.next() != Some(SIGNED) {
        return Err("it is not signed");
    }
    // Its fields end at an empty line.
    loop {
        match rest.next() {
            Some(b"") => break,
            Some(line) if line.starts_with(b"Hash:") => {}
            _ => return Err("its signed text has an unknown head"),
        }
    }
    let mut lines = Vec::new();
    let block = loop {
        let before = rest.0;
        match rest.next() {
            Some(SIGNATURE) => break before,
            Some(line) => lines.push(plain(line)?),
            None => return Err("it has no signature at its end"),
        }
    };
    while let Some(line) = rest.next() {
        if line == END {
            let length = block.len() - rest.0.len();
            let ends = rest.0.trim_ascii().is_empty();
            return block.get(..length).filter(|_| ends).map(|block| (lines, block)).ok_or(BEHIND);
        }
    }
    Err("its signature has no end")
}

const BEHIND: &str = "something stands behind its signature";

/// A line as it is signed: what it was escaped with and the blanks at its end do not belong to it.
fn plain(line: &[u8]) -> Result<&[u8], &'static str> {
    let line = match line.strip_prefix(b"- ") {
        Some(line) => line,
        None if line.starts_with(b"-") => return Err("its signed text is broken"),
        None => line,
    };
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
    Ok(line.get(..line.len() - blanks).unwrap_or_default())
}

struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self.0.split_at(end.map_or(self.0.len(), |end| end + 1));
        self.0 = rest;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}
