//! The packets of a document: from armor, or as they are.
//!
//! The library is only handed what lies in memory and is not larger than it should be, one packet
//! at a time: it ends the process where it is asked for more behind an error.

use std::io::{BufReader, Read};

use pgp::armor::{Dearmor, DearmorOptions};
use pgp::packet::{Packet, PacketHeader};
use pgp::types::PacketLength;

/// Which blocks of armor count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Keys,
    Signatures,
}

impl Block {
    /// The lines at the ends of such a block.
    fn ends(self) -> (&'static str, &'static str) {
        match self {
            Self::Keys => ("-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"),
            Self::Signatures => ("-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----"),
        }
    }

    /// No document of such blocks has more packets.
    fn most(self) -> usize {
        match self {
            Self::Keys => 200_000,
            Self::Signatures => 1000,
        }
    }
}

/// All packets of a document, in binary form or as blocks of armor; those that cannot be read are
/// left out. Text around the blocks counts for nothing. `None` where it does not consist of
/// packets: bodies whose length comes in parts, or not at all, are for data and not read.
pub(super) fn packets(document: &[u8], block: Block) -> Option<Vec<Packet>> {
    let is_binary = document.first().is_some_and(|byte| *byte >= 0x80);
    if is_binary {
        return parsed(document, block.most());
    }
    parsed(&unarmored(std::str::from_utf8(document).ok()?, block)?, block.most())
}

fn unarmored(text: &str, block: Block) -> Option<Vec<u8>> {
    let (begin, end) = block.ends();
    let mut lines = text.lines().map(str::trim_end);
    let mut found = Vec::new();
    while let Some(first) = lines.find(|line| *line == begin) {
        let mut armor = format!("{first}\n");
        loop {
            let line = lines.next()?;
            armor.push_str(line);
            armor.push('\n');
            if line == end {
                break;
            }
        }
        let options = DearmorOptions::new().set_limit(armor.len() + 1);
        // To its end at once: it must not be read again behind an error.
        Dearmor::with_options(BufReader::new(armor.as_bytes()), options).read_to_end(&mut found).ok()?;
    }
    (!found.is_empty()).then_some(found)
}

fn parsed(document: &[u8], most: usize) -> Option<Vec<Packet>> {
    let mut rest = document;
    let mut found = Vec::new();
    for _ in 0..=most {
        if rest.is_empty() {
            return Some(found);
        }
        let header = PacketHeader::try_from_reader(&mut rest).ok()?;
        let PacketLength::Fixed(length) = header.packet_length() else { return None };
        let (body, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        found.extend(Packet::from_reader(header, body).ok());
        rest = behind;
    }
    None
}
