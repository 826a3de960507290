//! The text of an index, piece by piece: UTF-8, and not more of it than any index has.

use std::io::{ErrorKind, Read};

use crate::ecosystem::BadIndex;

/// An index has no more bytes.
const MOST: u64 = 1 << 30;
const PIECE: usize = 64 << 10;

/// A reader of text.
pub(crate) struct Text<'r> {
    input: &'r mut dyn Read,
    buffer: Vec<u8>,
    /// What is at hand: valid text from here…
    from: usize,
    /// …to here, and then what was read of the next character up to `filled`.
    valid: usize,
    filled: usize,
    taken: u64,
    ended: bool,
}

impl<'r> Text<'r> {
    /// The text that comes out of a reader.
    #[must_use]
    pub(crate) fn new(input: &'r mut dyn Read) -> Self {
        Self { input, buffer: vec![0; PIECE], from: 0, valid: 0, filled: 0, taken: 0, ended: false }
    }

    /// What is at hand of the text; nothing at its end only.
    ///
    /// # Errors
    /// [`BadIndex`]: not UTF-8, too long, or not readable.
    pub(crate) fn at_hand(&mut self) -> Result<&[u8], BadIndex> {
        if self.from == self.valid && !self.ended {
            self.refill()?;
        }
        Ok(self.buffer.get(self.from..self.valid).unwrap_or_default())
    }

    /// The next byte, which stays; `None` at the end.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, BadIndex> {
        Ok(self.at_hand()?.first().copied())
    }

    /// Goes on by so many bytes of what is at hand.
    pub(crate) fn take(&mut self, count: usize) {
        let count = count.min(self.valid - self.from);
        self.from += count;
        self.taken += count as u64;
    }

    /// How many bytes were taken.
    #[must_use]
    pub(crate) fn position(&self) -> u64 {
        self.taken
    }

    fn refill(&mut self) -> Result<(), BadIndex> {
        self.buffer.copy_within(self.valid..self.filled, 0);
        self.filled -= self.valid;
        (self.from, self.valid) = (0, 0);
        while self.valid == 0 {
            let count = match self.input.read(self.buffer.get_mut(self.filled..).unwrap_or_default()) {
                Ok(0) if self.filled == 0 => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(0) => return Err(not_text(self.taken)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.filled += count;
            self.valid = self.check()?;
        }
        if self.taken + self.valid as u64 > MOST {
            return Err(BadIndex::TooLarge("the index is larger than 1 GiB"));
        }
        Ok(())
    }

    /// How much of the buffer is text, if the rest can become text.
    fn check(&self) -> Result<usize, BadIndex> {
        match std::str::from_utf8(self.buffer.get(..self.filled).unwrap_or_default()) {
            Ok(text) => Ok(text.len()),
            Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
            Err(error) => Err(not_text(self.taken + error.valid_up_to() as u64)),
        }
    }
}

fn not_text(position: u64) -> BadIndex {
    BadIndex::Malformed(format!("the index is not UTF-8 text (byte {position})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Slow<'t>(&'t [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(1);
            self.0.read(buffer.get_mut(..count).unwrap())
        }
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, BadIndex> {
        let mut slow = Slow(bytes);
        let mut text = Text::new(&mut slow);
        let mut all = Vec::new();
        while let Some(byte) = text.peek()? {
            all.push(byte);
            text.take(1);
        }
        Ok(all)
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "aé€😀".as_bytes();
        assert_eq!(read(text).unwrap(), text);
        assert_eq!(read(b"").unwrap(), b"");
    }

    #[test]
    fn what_is_not_text_is_named_by_its_place() {
        for (bytes, place) in [(&b"ab\xff"[..], 2), (b"a\xc3", 1), (b"a\xed\xa0\x80", 1), (b"\xc0\x80", 0)] {
            let reason = format!("the index is not UTF-8 text (byte {place})");
            assert_eq!(read(bytes), Err(BadIndex::Malformed(reason)));
        }
    }

    #[test]
    fn an_endless_text_is_refused() {
        let mut input = std::io::repeat(b' ');
        let mut text = Text::new(&mut input);
        let error = loop {
            match text.at_hand().map(<[u8]>::len) {
                Ok(count) => text.take(count),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, BadIndex::TooLarge(_)) && text.position() <= MOST);
    }
}
