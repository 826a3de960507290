//! Numbers, texts and digests in few bytes, for derived files of very many records.
//!
//! Numbers are written in groups of seven bits, the lowest first, each but the last with its
//! highest bit set. What is read is taken from the front of a slice; `None` where it is not there.

use crate::digest::Digest;

/// Writes a number.
pub(crate) fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

/// Writes a text, behind its length.
pub(crate) fn put_text(to: &mut Vec<u8>, text: &str) {
    put_number(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

/// The next so many bytes.
pub(crate) fn take<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

/// Reads a number of less than 2⁶³.
pub(crate) fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = *take(from, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Reads a text.
pub(crate) fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take_number(from)?).ok()?;
    std::str::from_utf8(take(from, length)?).ok()
}

/// Reads a digest.
pub(crate) fn take_digest(from: &mut &[u8]) -> Option<Digest> {
    take(from, 32)?.first_chunk().map(|bytes| Digest::from_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), (1 << 62) - 1] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(take_number(&mut bytes.as_slice()), Some(number));
        }
        assert_eq!(take_number(&mut [0xff; 20].as_slice()), None);
        assert_eq!(take_number(&mut [0x80].as_slice()), None);
    }
}
