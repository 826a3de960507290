//! Packets, armor and numbers: the outer form of OpenPGP's documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// No document has more packets.
const MOST: usize = 200_000;

/// Bytes that are read from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A number: its bits, then its bytes. Without zeros before it.
    pub(super) fn number(&mut self) -> Option<&'a [u8]> {
        let bits = usize::from(self.u16()?);
        let bytes = self.take(bits.div_ceil(8))?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..)
    }
}

/// A packet: what it is, and its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
}

/// All packets of a document; `None` where it does not consist of packets. Bodies whose length
/// comes in parts, or not at all, are for data and not read.
pub(super) fn packets(document: &[u8]) -> Option<Vec<Packet<'_>>> {
    let mut bytes = Bytes(document);
    let mut found = Vec::new();
    while !bytes.0.is_empty() {
        let head = bytes.u8()?;
        let (tag, length) = match head {
            0xc0.. => (head & 0x3f, new_length(&mut bytes)?),
            0x80.. => (head >> 2 & 0x0f, old_length(&mut bytes, head & 3)?),
            _ => return None,
        };
        found.push(Packet { tag, body: bytes.take(length)? });
        if found.len() > MOST {
            return None;
        }
    }
    Some(found)
}

/// The length of a packet, as it has been written since 1998. Subpackets have theirs in the same
/// form, but that all first bytes up to 254 go with a second one.
fn new_length(bytes: &mut Bytes<'_>) -> Option<usize> {
    match bytes.u8()? {
        first @ ..192 => Some(first.into()),
        first @ 192..224 => Some(((usize::from(first) - 192) << 8) + usize::from(bytes.u8()?) + 192),
        224..255 => None,
        255 => usize::try_from(bytes.u32()?).ok(),
    }
}

fn old_length(bytes: &mut Bytes<'_>, kind: u8) -> Option<usize> {
    match kind {
        0 => Some(bytes.u8()?.into()),
        1 => Some(bytes.u16()?.into()),
        2 => usize::try_from(bytes.u32()?).ok(),
        _ => None,
    }
}

/// The subpackets of a signature: each with what it is (with its critical bit) and its body.
pub(super) fn subpackets(area: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut bytes = Bytes(area);
    let mut found = Vec::new();
    while !bytes.0.is_empty() {
        let length = match bytes.u8()? {
            first @ ..192 => first.into(),
            first @ 192..255 => ((usize::from(first) - 192) << 8) + usize::from(bytes.u8()?) + 192,
            255 => usize::try_from(bytes.u32()?).ok()?,
        };
        let mut body = Bytes(bytes.take(length)?);
        found.push((body.u8()?, body.0));
    }
    Some(found)
}

/// A document as packets: as it is, or what its blocks of this kind (`SIGNATURE`) armor. `None` for
/// armor that is broken. Text around the blocks counts for nothing; neither does the armor's own
/// checksum, since signatures prove more.
pub(super) fn unarmored(document: &[u8], kind: &str) -> Option<Vec<u8>> {
    let is_binary = document.first().is_some_and(|byte| *byte >= 0x80);
    if is_binary {
        return Some(document.to_vec());
    }
    let text = std::str::from_utf8(document).ok()?;
    let (begin, end) = (format!("-----BEGIN PGP {kind}-----"), format!("-----END PGP {kind}-----"));
    let mut lines = text.lines().map(str::trim_end);
    let mut found = Vec::new();
    while lines.any(|line| line == begin) {
        // The fields end at an empty line.
        lines.find(|line| line.is_empty())?;
        let mut block = String::new();
        loop {
            match lines.next()? {
                line if line == end => break,
                line if line.starts_with('=') => {}
                line => block.push_str(line),
            }
        }
        found.extend(STANDARD.decode(block).ok()?);
    }
    (!found.is_empty()).then_some(found)
}
