//! What was written of a page before it is known how the page begins: kept in memory, compressed.

use std::io::Write;

use zstd::stream::write::Encoder;

use crate::ecosystem::BadIndex;

/// Compressed, a page has no more bytes. A listed file takes about a hundred.
const MOST: usize = 24 << 20;

/// Kept text.
pub(super) struct Spool(Encoder<'static, Vec<u8>>);

impl Spool {
    /// # Errors
    /// [`BadIndex::Unreadable`].
    pub(super) fn new() -> Result<Self, BadIndex> {
        Ok(Self(Encoder::new(Vec::new(), 1)?))
    }

    /// Keeps text.
    ///
    /// # Errors
    /// [`BadIndex::TooLarge`].
    pub(super) fn put(&mut self, text: &[u8]) -> Result<(), BadIndex> {
        if self.0.get_ref().len() > MOST {
            return Err(BadIndex::TooLarge("the page is too long to be written anew"));
        }
        Ok(self.0.write_all(text)?)
    }

    /// Writes all that was kept.
    ///
    /// # Errors
    /// [`BadIndex::Unreadable`].
    pub(super) fn write(self, out: &mut dyn Write) -> Result<(), BadIndex> {
        Ok(zstd::stream::copy_decode(self.0.finish()?.as_slice(), out)?)
    }
}
