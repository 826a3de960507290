//! The header of a qcow2 file: how large the disk is, and whether the file is all of it.
//!
//! Reads nothing but the bytes that it is given. Numbers are big-endian.
//!
//! Source: QEMU, docs/interop/qcow2.txt.

use super::disk_magic::MAGIC;

/// The longest name of a backing file.
const NAME: usize = 1023;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The size of the disk that a machine sees, in bytes.
    pub virtual_size: u64,
    /// The file that has what is not in this one.
    pub backing: Option<String>,
    /// Whether the disk's bytes are in another file.
    pub external: bool,
    /// The name of that file, where the header tells it.
    pub data_file: Option<String>,
}

/// The kind of the header extension that names the file with the disk's bytes.
const DATA_FILE: u32 = 0x4441_5441;
/// Where version 3 says how long its header is, and how long it is at least.
const LENGTH: usize = 100;
const LEAST: usize = 104;

impl Header {
    /// Reads the header out of a file's first bytes.
    ///
    /// # Errors
    /// What is not a qcow2 of version 2 or 3, or contradicts itself.
    pub fn parse(head: &[u8]) -> Result<Self, &'static str> {
        if head.get(..4) != Some(MAGIC) {
            return Err("it does not begin like one");
        }
        let cut = "its header is cut off";
        let version = u32_at(head, 4).ok_or(cut)?;
        if !matches!(version, 2 | 3) {
            return Err("its version is neither 2 nor 3");
        }
        let virtual_size = u64_at(head, 24).ok_or(cut)?;
        let Some(cluster @ 9..=21) = u32_at(head, 20) else {
            return Err("its cluster size is not valid");
        };
        if i64::try_from(virtual_size).is_err() {
            return Err("its disk size is not valid");
        }
        // The rest of version 2's header; nothing of it is of use here.
        head.get(..72).ok_or(cut)?;
        let features = if version == 3 { u64_at(head, 72).ok_or(cut)? } else { 0 };
        let external = features & 4 != 0;
        // The header and all that belongs to it is in the first cluster.
        let first = head.get(..1 << cluster).unwrap_or(head);
        let data_file = external.then(|| data_file(first)).flatten();
        Ok(Self { virtual_size, backing: backing(head)?, external, data_file })
    }
}

/// The name of the file with the disk's bytes, out of the header's extensions: kind, length,
/// content padded to 8 bytes. One that does not end names nothing.
fn data_file(head: &[u8]) -> Option<String> {
    let mut at = usize::try_from(u32_at(head, LENGTH)?).ok().filter(|length| *length >= LEAST)?;
    loop {
        let (kind, length) = (u32_at(head, at)?, usize::try_from(u32_at(head, at + 4)?).ok()?);
        let content = head.get(at + 8..(at + 8).checked_add(length)?)?;
        match kind {
            0 => return None,
            DATA_FILE => return (length <= NAME).then(|| String::from_utf8_lossy(content).into_owned()),
            _ => at += 8 + length.next_multiple_of(8),
        }
    }
}

fn backing(head: &[u8]) -> Result<Option<String>, &'static str> {
    let (Some(offset), Some(size)) = (u64_at(head, 8), u32_at(head, 16)) else { return Ok(None) };
    if offset == 0 || size == 0 {
        return Ok(None);
    }
    let size = usize::try_from(size).ok().filter(|size| *size <= NAME);
    let start = usize::try_from(offset).ok();
    let name = start.zip(size).and_then(|(start, size)| head.get(start..start.checked_add(size)?));
    let name = name.ok_or("the name of its backing file is not in its header")?;
    Ok(Some(String::from_utf8_lossy(name).into_owned()))
}

fn u32_at(head: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(head.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(head: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(head.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(version: u32, bits: u32, size: u64, backing: (u64, u32)) -> Vec<u8> {
        let mut head = vec![0; 112];
        head[..4].copy_from_slice(MAGIC);
        head[4..8].copy_from_slice(&version.to_be_bytes());
        head[8..16].copy_from_slice(&backing.0.to_be_bytes());
        head[16..20].copy_from_slice(&backing.1.to_be_bytes());
        head[20..24].copy_from_slice(&bits.to_be_bytes());
        head[24..32].copy_from_slice(&size.to_be_bytes());
        head
    }

    #[track_caller]
    fn refused(head: &[u8]) {
        assert!(Header::parse(head).is_err());
    }

    #[test]
    fn headers_are_read() {
        let whole = Header { virtual_size: 5, backing: None, external: false, data_file: None };
        assert_eq!(Header::parse(&head(3, 16, 5, (0, 0))).unwrap(), whole);
        let mut other = head(2, 9, 5, (104, 4));
        other[104..108].copy_from_slice(b"base");
        assert_eq!(Header::parse(&other).unwrap().backing.as_deref(), Some("base"));
        let mut external = head(3, 16, 5, (0, 0));
        external[79] = 4;
        assert!(Header::parse(&external).unwrap().external);
    }

    /// A header whose bytes are elsewhere, with these extensions.
    fn external(extensions: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let mut head = head(3, 16, 5, (0, 0));
        head[79] = 4;
        head[100..104].copy_from_slice(&112_u32.to_be_bytes());
        for (kind, length, content) in extensions {
            head.extend(kind.to_be_bytes().into_iter().chain(length.to_be_bytes()));
            head.extend(*content);
            head.resize(head.len().next_multiple_of(8), 0);
        }
        head
    }

    #[test]
    fn the_data_file_is_named() {
        let named =
            |extensions: &[(u32, u32, &[u8])]| Header::parse(&external(extensions)).unwrap().data_file;
        let file: (u32, u32, &[u8]) = (DATA_FILE, 8, b"data.raw");
        assert_eq!(named(&[file, (0, 0, b"")]).as_deref(), Some("data.raw"));
        assert_eq!(named(&[(0x6803_f857, 3, b"abc"), file]).as_deref(), Some("data.raw"));
        for hostile in [
            &[(0, 0, &b""[..]), file][..],
            &[(1, u32::MAX, b""), file],
            &[(DATA_FILE, u32::MAX, b"x")],
            &[(DATA_FILE, 1024, &[b'x'; 1024])],
            &[(DATA_FILE, 9, b"x")],
            &[],
        ] {
            assert_eq!(named(hostile), None);
        }
        let mut short = external(&[file]);
        short[100..104].copy_from_slice(&72_u32.to_be_bytes());
        assert_eq!(Header::parse(&short).unwrap().data_file, None);
    }

    #[test]
    fn headers_that_lie_are_refused() {
        refused(b"");
        refused(b"QFI\xfb");
        refused(&head(1, 16, 5, (0, 0)));
        refused(&head(4, 16, 5, (0, 0)));
        refused(&head(3, 8, 5, (0, 0)));
        refused(&head(3, 64, 5, (0, 0)));
        refused(&head(3, 16, u64::MAX, (0, 0)));
        refused(&head(3, 16, 5, (u64::MAX, 4)));
        refused(&head(3, 16, 5, (104, u32::MAX)));
        refused(&head(3, 16, 5, (110, 4)));
        refused(&head(3, 16, 5, (0, 0))[..76]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0..5u32) {
            let mut bytes = bytes;
            let _ = Header::parse(&bytes);
            if bytes.len() > 8 {
                bytes[..4].copy_from_slice(MAGIC);
                bytes[4..8].copy_from_slice(&version.to_be_bytes());
                let _ = Header::parse(&bytes);
            }
        }
    }
}
