//! Tells the formats of disks by their first bytes, those that are not stored too.
//!
//! Source: QEMU, docs/interop and block/; `VMware`'s "Virtual Disk Format 5.0"; Microsoft's
//! [MS-VHDX] and "Virtual Hard Disk Image Format Specification".

/// The first bytes of a qcow2 file.
pub const MAGIC: &[u8; 4] = b"QFI\xfb";

/// The format of a disk that is not stored, by the first bytes of its file: what `qemu-img` calls
/// it.
#[must_use]
pub fn foreign(head: &[u8]) -> Option<&'static str> {
    let is_vdi = head.get(64..68) == Some(&[0x7f, 0x10, 0xda, 0xbe]);
    match head {
        [b'K', b'D', b'M', b'V', ..] | [b'C', b'O', b'W', b'D', ..] => Some("vmdk"),
        _ if head.starts_with(b"# Disk DescriptorFile") => Some("vmdk"),
        _ if head.starts_with(b"vhdxfile") => Some("vhdx"),
        _ if is_vhd(head) => Some("vhd"),
        _ if is_vdi => Some("vdi"),
        _ => None,
    }
}

/// Whether this sector is that of a vhd: one that grows begins and ends with it, one of a fixed
/// size only ends with it.
#[must_use]
pub fn is_vhd(sector: &[u8]) -> bool {
    sector.starts_with(b"conectix")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_magic() {
        let mut vdi = [0; 512];
        vdi[64..68].copy_from_slice(&0xbeda_107f_u32.to_le_bytes());
        let heads: [(&[u8], Option<&str>); 8] = [
            (b"KDMV\x01\0\0\0", Some("vmdk")),
            (b"# Disk DescriptorFile\nversion=1\n", Some("vmdk")),
            (b"vhdxfile", Some("vhdx")),
            (b"conectix\0\0\0\x02", Some("vhd")),
            (&vdi, Some("vdi")),
            (b"", None),
            (&[0; 512], None),
            (MAGIC, None),
        ];
        for (head, format) in heads {
            assert_eq!(foreign(head), format);
        }
    }
}
