//! Extracted files as a tar: names, modes, times, owners, extended attributes and devices as the
//! image has them.
//!
//! The end of the archive is written by [`Stream::finish`] alone; one that is dropped ends inside
//! an entry, so that no reader takes it for whole.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::member::Meta;
use super::sink::{Item, Sink, Taken, What, copy};
use crate::error::{Error, Result};

/// What a header block has room for.
const NAME: usize = 100;
const BLOCK: usize = 512;

/// A tar in the making.
pub struct Stream<W: Write> {
    /// Gone once the archive has its end.
    out: Option<W>,
}

impl<W: Write> Stream<W> {
    /// An archive that goes there.
    pub fn new(out: W) -> Self {
        Self { out: Some(out) }
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<()> {
        let Some(mut out) = self.out.take() else { return Ok(()) };
        out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush()).map_err(failed)
    }
}

fn failed(source: io::Error) -> Error {
    Error::write("-", source)
}

impl<W: Write> Drop for Stream<W> {
    fn drop(&mut self) {
        let Some(out) = &mut self.out else { return };
        // Many readers take a mere end of the stream for the end of the archive; none takes this.
        let mut cut = Header::new_gnu();
        cut.set_size(1);
        let _ = cut.set_path("unfinished");
        cut.set_cksum();
        let _ = out.write_all(cut.as_bytes()).and_then(|()| out.flush());
    }
}

impl<W: Write> Sink for Stream<W> {
    fn put(&mut self, item: &Item<'_>, data: &mut dyn Read) -> Result<Taken> {
        let Some(out) = &mut self.out else { return Ok(Taken::Skipped("the archive has its end")) };
        write(out, item, data)?;
        Ok(Taken::Yes)
    }
}

fn write(out: &mut dyn Write, item: &Item<'_>, data: &mut dyn Read) -> Result<()> {
    let (kind, size, target) = match item.what {
        What::File(size) => (EntryType::Regular, size, None),
        What::Folder => (EntryType::Directory, 0, None),
        What::Symlink(target) => (EntryType::Symlink, 0, Some(target)),
        What::Link(target) => (EntryType::Link, 0, Some(target)),
        What::Device => (item.meta.header.entry_type(), 0, None),
    };
    let mut name = item.name.to_vec();
    if kind == EntryType::Directory {
        name.push(b'/');
    }
    let records = records(item.meta, &name, target);
    if !records.is_empty() {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(records.len() as u64);
        header.set_cksum();
        out.write_all(header.as_bytes()).and_then(|()| out.write_all(&records)).map_err(failed)?;
        pad(out, records.len() as u64)?;
    }
    let header = header(item.meta, kind, size, &name, target.unwrap_or_default());
    out.write_all(header.as_bytes()).map_err(failed)?;
    copy(item, data, out, "-")?;
    pad(out, size)
}

fn pad(out: &mut dyn Write, size: u64) -> Result<()> {
    let rest = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0);
    out.write_all(&[0; BLOCK][..rest]).map_err(failed)
}

/// The PAX records: those that came with the entry, and what the header has no room for.
fn records(meta: &Meta, name: &[u8], target: Option<&[u8]>) -> Vec<u8> {
    let long = [("path", Some(name)), ("linkpath", target)];
    let long = long.into_iter().filter_map(|(key, value)| Some((key, value.filter(|it| it.len() > NAME)?)));
    let kept = meta.pax.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
    long.chain(kept).flat_map(|(key, value)| record(key, value)).collect()
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// The image's own header with another name, size and kind.
fn header(meta: &Meta, kind: EntryType, size: u64, name: &[u8], target: &[u8]) -> Header {
    let mut header = meta.header.clone();
    let block = header.as_mut_bytes();
    // The name, the link's target, and all behind the device numbers: the formats differ there.
    for (field, value) in [(0..NAME, name), (157..157 + NAME, target), (345..512, &b""[..])] {
        let room = field.len();
        block[field.clone()].fill(0);
        let count = value.len().min(room);
        block[field.start..field.start + count].copy_from_slice(&value[..count]);
    }
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(stream: &mut Stream<&mut Vec<u8>>, name: &str, bytes: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_mode(0o640);
        let meta = Meta { header, pax: vec![("SCHILY.xattr.user.a".to_owned(), b"b".to_vec())] };
        let item = Item { name: name.as_bytes(), what: What::File(bytes.len() as u64), meta: &meta };
        stream.put(&item, &mut &*bytes).unwrap();
    }

    #[test]
    fn long_names_and_attributes_are_kept() {
        let long = "d/".repeat(100) + "x";
        let mut bytes = Vec::new();
        let mut stream = Stream::new(&mut bytes);
        put(&mut stream, &long, b"hello");
        stream.finish().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(&*entry.path_bytes(), long.as_bytes());
        assert_eq!(entry.header().mode().unwrap(), 0o640);
        let keys: Vec<_> =
            entry.pax_extensions().unwrap().unwrap().map(|it| it.unwrap().key_bytes()).collect();
        assert!(keys.contains(&&b"SCHILY.xattr.user.a"[..]));
    }

    #[test]
    fn one_that_is_dropped_is_read_by_nobody() {
        let mut bytes = Vec::new();
        {
            let mut stream = Stream::new(&mut bytes);
            put(&mut stream, "x", b"x");
        }
        let mut archive = tar::Archive::new(&bytes[..]);
        let read = archive.entries().unwrap().try_for_each(|entry| {
            let mut entry = entry?;
            let mut all = Vec::new();
            entry.read_to_end(&mut all)?;
            if all.len() as u64 == entry.size() { Ok(()) } else { Err(io::Error::other("cut off")) }
        });
        assert!(read.is_err());
    }
}
