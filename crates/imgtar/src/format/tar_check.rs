//! Tells whether bytes are a tar from its first header to its end mark, while they pass by.
//!
//! What the entries are does not matter here: a layer may hold whatever a file system can.
//!
//! Source: POSIX pax; GNU tar's manual, "Basic Tar Format"; Go's archive/tar, which engines read
//! layers with.

use std::io::{self, Read};

use crate::error::Error;

const BLOCK: usize = 512;
/// The most that the extended header of one entry may take.
const PAX_CAP: u64 = 16 << 20;

/// Reads on, and fails at the first thing that no tar has; at its end, where the end mark is
/// missing.
pub(crate) struct Whole<R> {
    input: R,
    scan: Scan,
}

impl<R: Read> Whole<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, scan: Scan::default() }
    }
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let damaged = |reason: &str| io::Error::other(Error::Damaged { reason: reason.to_owned() });
        if count > 0 {
            self.scan.take(&buffer[..count]).map_err(damaged)?;
        } else if !buffer.is_empty() {
            self.scan.end().map_err(damaged)?;
        }
        Ok(count)
    }
}

/// Where in a tar the next byte stands.
#[derive(Default)]
struct Scan {
    /// What is there of the block that is being read.
    block: Vec<u8>,
    /// How many bytes of an entry's content are still to come.
    skip: u64,
    /// Whether those are an extended header's.
    keep: bool,
    pax: Vec<u8>,
    /// The size that an extended header gives the next entry.
    size: Option<u64>,
    /// Whether the last block was one more of a sparse file's header; zeros seen at the end.
    sparse: Option<u64>,
    zeros: u64,
}

type Scanned = Result<(), &'static str>;

impl Scan {
    fn take(&mut self, mut bytes: &[u8]) -> Scanned {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                let (content, rest) = bytes.split_at(count);
                if self.keep {
                    self.pax.extend_from_slice(content);
                }
                self.skip -= count as u64;
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(part);
            bytes = rest;
            if self.block.len() == BLOCK {
                let block = std::mem::take(&mut self.block);
                self.header(&block)?;
                self.block = block;
                self.block.clear();
            }
        }
        Ok(())
    }

    fn header(&mut self, block: &[u8]) -> Scanned {
        if let Some(size) = self.sparse.take() {
            self.go_on_sparse(block.get(504), size);
            return Ok(());
        }
        if std::mem::take(&mut self.keep) {
            self.size = pax_size(&std::mem::take(&mut self.pax))?;
        }
        if block.iter().all(|byte| *byte == 0) {
            self.zeros += 1;
            return Ok(());
        }
        match self.zeros {
            0 => {}
            1 => return Err("a lone block of zeros stands in it"),
            _ => return Err("something follows its end mark"),
        }
        if !sum_is_right(block) {
            return Err("it is not a tar, or a header in it is damaged");
        }
        let size = number(block.get(124..136).unwrap_or_default()).ok_or("a header in it has no size")?;
        match block.get(156) {
            Some(b'x') if size > PAX_CAP => return Err("an extended header in it is larger than 16.8MB"),
            Some(b'x') => (self.keep, self.skip) = (true, padded(size)),
            // The long name or the global header in between takes no size away.
            Some(b'g' | b'L' | b'K') => self.skip = padded(size),
            Some(b'S') => {
                let size = self.size.take().unwrap_or(size);
                self.go_on_sparse(block.get(482), size);
            }
            Some(b'1'..=b'6') => self.size = None,
            _ => self.skip = padded(self.size.take().unwrap_or(size)),
        }
        Ok(())
    }

    /// More blocks of a sparse file's map follow while this flag is set; then its content.
    fn go_on_sparse(&mut self, more: Option<&u8>, size: u64) {
        match more {
            Some(0) | None => self.skip = padded(size),
            Some(_) => self.sparse = Some(size),
        }
    }

    fn end(&self) -> Scanned {
        if self.zeros < 2 || !self.block.is_empty() {
            return Err("it has no end mark: it was cut off");
        }
        Ok(())
    }
}

fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
}

/// The sum of a header's bytes, its own field taken for spaces; of signed bytes where an old tar
/// wrote it.
fn sum_is_right(block: &[u8]) -> bool {
    let Some(announced) = block.get(148..156).and_then(number) else { return false };
    let bytes =
        || block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let unsigned: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    announced == unsigned || i64::try_from(announced).is_ok_and(|announced| announced == signed)
}

/// A number in octal digits, or in base 256 where its first bit is set. An empty field is 0.
fn number(field: &[u8]) -> Option<u64> {
    if let [first @ 0x80..=0xbf, rest @ ..] = field {
        let digits = std::iter::once(first & 0x3f).chain(rest.iter().copied());
        return digits
            .into_iter()
            .try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(byte.into()));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// The size in an extended header: records of `LENGTH NAME=VALUE\n`.
fn pax_size(mut records: &[u8]) -> Result<Option<u64>, &'static str> {
    const BAD: &str = "an extended header in it is damaged";
    let mut size = None;
    while records.first().is_some_and(|byte| *byte != 0) {
        let space = records.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let length: usize = text(&records[..space]).and_then(|length| length.parse().ok()).ok_or(BAD)?;
        let record = records.get(space + 1..length).ok_or(BAD)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            size = Some(text(value).and_then(|value| value.trim_end().parse().ok()).ok_or(BAD)?);
        }
        records = &records[length..];
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(700);
        tar.append_data(&mut header, "x".repeat(300), &[7; 700][..]).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        tar.append_link(&mut header, "link", "target").unwrap();
        tar.into_inner().unwrap()
    }

    /// Reads it through in chunks of this size.
    fn scan(bytes: &[u8], chunk: usize) -> io::Result<()> {
        let mut whole = Whole::new(bytes);
        let mut buffer = vec![0; chunk];
        while whole.read(&mut buffer)? > 0 {}
        Ok(())
    }

    #[test]
    fn a_whole_tar_passes_in_pieces_of_any_size() {
        for chunk in [1, 7, 512, 100_000] {
            scan(&tar(), chunk).unwrap();
            scan(&[0; 1024], chunk).unwrap();
            scan(&[tar(), vec![0; 9000_usize.next_multiple_of(512)]].concat(), chunk).unwrap();
        }
    }

    #[test]
    fn a_tar_that_is_cut_off_anywhere_is_refused() {
        let tar = tar();
        for length in (0..tar.len()).step_by(100).chain([tar.len() - 512, tar.len() - 1]) {
            assert!(scan(&tar[..length], 4096).is_err(), "{length} bytes passed");
        }
    }

    #[test]
    fn what_is_no_tar_is_refused() {
        for bytes in [b"hello".repeat(1000), [tar(), b"x".repeat(512)].concat(), tar()[512..].to_vec()] {
            assert!(scan(&bytes, 4096).is_err());
        }
    }

    #[test]
    fn an_extended_header_overrides_the_size() {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("size", &b"1000"[..])]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_path("f").unwrap();
        header.set_size(0);
        header.set_cksum();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes.extend(header.as_bytes());
        bytes.extend([1; 1000]);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        assert!(scan(&bytes, 4096).is_err());
        bytes.extend([0; 1024]);
        scan(&bytes, 4096).unwrap();
    }

    #[test]
    fn a_hostile_header_costs_no_memory() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(1 << 40);
        header.set_cksum();
        assert!(scan(header.as_bytes(), 4096).is_err());
    }
}
