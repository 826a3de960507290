//! In which form bytes come: plain, gzip or zstd, told by their first bytes; and decoders with
//! limits.
//!
//! Source: RFC 1952 (gzip), RFC 8878 (zstd), POSIX pax (ustar).

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;
use zstd::stream::raw::Operation;

/// How many first bytes [`Form::of`] and [`is_tar`] look at.
pub const HEAD: usize = 512;

/// Beyond this much, what decompresses to more than [`RATIO`] times its size is refused.
const EXPANSION_FREE: u64 = 16 << 30;
const RATIO: u64 = 1000;

/// The largest window that a zstd frame may ask for: 2^27 bytes, the reference decoder's own limit.
const WINDOW_LOG: u32 = 27;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not, as far as can be told.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Form {
    /// Tells the form by the first bytes.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame: zstd:chunked and pzstd start with one.
            [low, 0x2a, 0x4d, 0x18, ..] if low & 0xf0 == 0x50 => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What a layer's media type says.
    #[must_use]
    pub fn named(media_type: &str) -> Self {
        match media_type.rsplit(['+', '.']).next() {
            Some("gzip") => Self::Gzip,
            Some("zstd") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What follows `…layer.v1.tar` in a layer's media type.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => "+gzip",
            Self::Zstd => "+zstd",
        }
    }

    /// Reads the plain bytes. Expansion beyond all reason is an error.
    ///
    /// # Errors
    /// When the decoder cannot be set up.
    pub fn decoder<'a>(self, input: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
        let taken = Arc::new(AtomicU64::new(0));
        let counted = BufReader::with_capacity(128 << 10, Counted { input, taken: Arc::clone(&taken) });
        let plain: Box<dyn Read + Send + 'a> = match self {
            Self::Plain => return Ok(Box::new(counted)),
            Self::Gzip => Box::new(Gzip { member: Some(GzDecoder::new(counted)), is_first: true }),
            Self::Zstd => Box::new(Zstd::new(counted)?),
        };
        Ok(Box::new(Limited { plain, taken, given: 0 }))
    }
}

/// Tells a compression that is not read here: its name, which is that of the program that undoes
/// it.
#[must_use]
pub fn unread(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Some("bzip2"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("lz4"),
        [b'L', b'Z', b'I', b'P', 1, ..] => Some("lzip"),
        _ => None,
    }
}

/// Whether these are the first bytes of a tar: a ustar header, or the zeros that end an empty one.
#[must_use]
pub fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar") || (head.len() >= HEAD && head.iter().all(|byte| *byte == 0))
}

/// Whether these may be the first bytes of a JSON document.
#[must_use]
pub fn may_be_json(head: &[u8]) -> bool {
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'[')) && !is_tar(head)
}

/// Reads up to [`HEAD`] bytes.
///
/// # Errors
/// I/O errors.
pub fn read_head(input: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    input.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// What follows the end of the compressed data and is not compressed data.
fn junk(form: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("there is data after the end of its {form}"))
}

/// Reads gzip, one member after the other, and tells where something else follows the last.
struct Gzip<R> {
    /// `None` at the end.
    member: Option<GzDecoder<R>>,
    is_first: bool,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput if !self.is_first && member.header().is_none() => junk("gzip"),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                    io::Error::new(error.kind(), format!("its gzip is damaged: {error}"))
                }
                _ => error,
            })?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let next = self.member.take().map(GzDecoder::into_inner);
            self.member = match next {
                Some(mut input) => match input.fill_buf()?.first() {
                    None => None,
                    Some(0x1f) => Some(GzDecoder::new(input)),
                    Some(_) => return Err(junk("gzip")),
                },
                None => None,
            };
            self.is_first = false;
        }
        Ok(0)
    }
}

/// Reads zstd, one frame after the other, and tells where something else follows the last.
struct Zstd<R> {
    input: R,
    decoder: zstd::stream::raw::Decoder<'static>,
    /// Whether a frame has ended, and none has begun since.
    is_between: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> io::Result<Self> {
        let mut decoder = zstd::stream::raw::Decoder::new()?;
        decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Self { input, decoder, is_between: false })
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                input => input?,
            };
            let is_end = input.is_empty();
            if self.is_between {
                match input.first() {
                    None => return Ok(0),
                    // A frame, or one to be skipped.
                    Some(0x28 | 0x50..=0x5f) => {}
                    Some(_) => return Err(junk("zstd")),
                }
            }
            let status = self
                .decoder
                .run_on_buffers(input, buffer)
                .map_err(|error| io::Error::new(error.kind(), format!("its zstd is damaged: {error}")))?;
            self.input.consume(status.bytes_read);
            self.is_between = status.remaining == 0;
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if is_end && !self.is_between {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

struct Counted<R> {
    input: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

struct Limited<R> {
    plain: R,
    taken: Arc<AtomicU64>,
    given: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        self.given += count as u64;
        let limit = self.taken.load(Ordering::Relaxed).saturating_mul(RATIO).max(EXPANSION_FREE);
        if self.given > limit {
            return Err(io::Error::other(
                "it expands to more than 1000 times its size: a decompression bomb",
            ));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_by_their_magic() {
        assert_eq!(Form::of(&zstd::encode_all(&b"x"[..], 1).unwrap()), Form::Zstd);
        assert_eq!(Form::of(&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]), Form::Zstd);
        assert_eq!(Form::of(&[0x1f, 0x8b, 8]), Form::Gzip);
        assert_eq!(Form::of(b""), Form::Plain);
        assert_eq!(Form::of(b"{}"), Form::Plain);
    }

    #[test]
    fn compressions_that_are_not_read_are_told() {
        assert_eq!(unread(b"\xfd7zXZ\0\0\x04"), Some("xz"));
        assert_eq!(unread(b"BZh91AY&SY"), Some("bzip2"));
        assert_eq!(unread(b"\x04\x22\x4d\x18"), Some("lz4"));
        for head in [&b""[..], b"BZh9", b"{}", &[0x1f, 0x8b, 8], &[0; 512]] {
            assert_eq!(unread(head), None);
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let whole = zstd::encode_all(&vec![7; 100_000][..], 1).unwrap();
        let mut plain = Vec::new();
        Form::Zstd.decoder(&whole[..]).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(plain.len(), 100_000);
        let cut = &whole[..whole.len() - 1];
        assert!(Form::Zstd.decoder(cut).unwrap().read_to_end(&mut plain).is_err());
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        flate2::read::GzEncoder::new(plain, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
        packed
    }

    #[test]
    fn members_and_frames_follow_one_another() {
        let plain: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let (one, two) = plain.split_at(500_000);
        let frames = [&zstd::encode_all(one, 1).unwrap()[..], &zstd::encode_all(two, 1).unwrap()];
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7];
        let empty = zstd::encode_all(&b""[..], 1).unwrap();
        for (form, packed) in [
            (Form::Gzip, [gzip(one), gzip(two)].concat()),
            (Form::Gzip, [gzip(one), gzip(b""), gzip(two), gzip(b"")].concat()),
            (Form::Zstd, frames.concat()),
            (Form::Zstd, [&skipped[..], frames[0], &skipped, &empty, frames[1], &skipped].concat()),
        ] {
            let mut found = Vec::new();
            form.decoder(&packed[..]).unwrap().read_to_end(&mut found).unwrap();
            assert!(found == plain, "{form:?}");
            for cut in [1, 4, 9] {
                let cut = &packed[..packed.len() - cut];
                let error = form.decoder(cut).unwrap().read_to_end(&mut found).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{form:?}");
            }
        }
    }

    #[test]
    fn data_after_the_end_is_told_from_a_cut() {
        for (form, packed) in
            [(Form::Gzip, gzip(b"x")), (Form::Zstd, zstd::encode_all(&b"x"[..], 1).unwrap())]
        {
            for junk in [&b"\n"[..], b"\0\0\0", b"junk that is long enough for a header of either form"] {
                let input = [&packed, junk].concat();
                let error = form.decoder(&input[..]).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
                assert!(error.to_string().contains("data after the end"), "{form:?}: {error}");
            }
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let plain = io::repeat(0).take(EXPANSION_FREE + 2);
        let taken = Arc::new(AtomicU64::new(10));
        let mut bomb = Limited { plain, taken, given: EXPANSION_FREE - 1 };
        assert!(io::copy(&mut bomb, &mut io::sink()).is_err());
    }
}
