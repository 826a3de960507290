//! How indexes are compressed, and their lines.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::ecosystem::BadIndex;

/// How the bytes of an index are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    /// The word for it in an entry.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// The one of this name.
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Plain, Self::Gzip, Self::Xz, Self::Zstd].into_iter().find(|it| it.name() == name)
    }
}

/// No index is larger when it is unpacked.
pub(crate) const CAP: u64 = crate::ecosystem::ruling::LARGEST_INDEX;
/// No line is longer: 16 MiB.
const LONGEST_LINE: u64 = 16 << 20;
/// What an unpacker may take in memory: 80 MiB, enough for `xz -9`.
const XZ_KIB: u32 = 80 << 10;
/// The same for zstd: 2 to this power, 64 MiB.
const ZSTD_WINDOW: u32 = 26;
/// What is read at once.
const PIECE: usize = 128 << 10;

/// What is in a document that is packed so; more than `cap` bytes are an error.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn unpacked<'a>(
    packing: Packing,
    document: &'a mut dyn Read,
    cap: u64,
) -> Result<Unpacked<'a>, BadIndex> {
    let unpacked: Box<dyn Read + 'a> = match packing {
        Packing::Plain => Box::new(document),
        Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, document))),
        Packing::Xz => {
            let packed = BufReader::with_capacity(PIECE, document);
            Box::new(XzReader::new_mem_limit(packed, true, XZ_KIB))
        }
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::new(document).map_err(|error| broken(&error))?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(|error| broken(&error))?;
            Box::new(decoder)
        }
    };
    let capped: Box<dyn Read + 'a> = Box::new(Capped { inner: unpacked, left: cap });
    Ok(BufReader::with_capacity(PIECE, capped))
}

/// What comes out of a document when it is unpacked.
pub(crate) type Unpacked<'a> = BufReader<Box<dyn Read + 'a>>;

/// The lines of a document.
pub(crate) struct Lines<'a> {
    inner: Unpacked<'a>,
    line: Vec<u8>,
    /// How many were read.
    pub(crate) count: u64,
}

/// Ends in an error where more comes than an index has.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or(ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}

impl<'a> Lines<'a> {
    /// Of a document that is packed so.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(crate) fn new(packing: Packing, document: &'a mut dyn Read) -> Result<Self, BadIndex> {
        Self::capped(packing, document, CAP)
    }

    /// Of a document that is not larger than this when it is unpacked.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(crate) fn capped(packing: Packing, document: &'a mut dyn Read, cap: u64) -> Result<Self, BadIndex> {
        Ok(Self { inner: unpacked(packing, document, cap)?, line: Vec::new(), count: 0 })
    }

    /// The next line without its end; `None` behind the last.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, BadIndex> {
        self.line.clear();
        let mut inner = (&mut self.inner).take(LONGEST_LINE);
        let count = inner.read_until(b'\n', &mut self.line).map_err(|error| broken(&error))?;
        if count == 0 {
            return Ok(None);
        }
        self.count += 1;
        match self.line.strip_suffix(b"\n") {
            Some(line) => Ok(Some(line.strip_suffix(b"\r").unwrap_or(line))),
            None if count as u64 == LONGEST_LINE => {
                Err(BadIndex::TooLarge("one of its lines is longer than 16 MiB"))
            }
            None => Ok(Some(&self.line)),
        }
    }
}

/// What an error while a document is unpacked says of it.
pub(crate) fn broken(error: &io::Error) -> BadIndex {
    match error.kind() {
        ErrorKind::FileTooLarge => BadIndex::TooLarge("it is larger than 1 GiB when it is unpacked"),
        ErrorKind::OutOfMemory => BadIndex::TooLarge("it takes too much memory to unpack"),
        _ => BadIndex::Malformed(format!("it cannot be read or unpacked: {error}")),
    }
}
