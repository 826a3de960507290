//! A stored disk image (raw, qcow2), read back: an OCI artifact, the file cut into aligned chunks
//! of one size, each compressed by itself, those of zeros left out.
//!
//! Another version of a disk shares the chunks that did not change. Every byte is covered by a
//! digest: a chunk's plain bytes by the one beside its name, and what no chunk covers is zeros. No
//! digest of the whole file is kept, for that would cost the reading of all its holes.
//!
//! Deliberately absent: what is in a disk (partitions, file systems, clusters), and how its file is
//! recognised: see [`crate::format::qcow2`], [`crate::format::disk_magic`].
//!
//! Source: OCI image-spec v1.1, manifest.md, "Guidelines for Artifact Usage".

pub(crate) mod documents;

use std::io::Read;

use storekit::{Blobs, Descriptor, Digest, Key};

use crate::error::{Error, Result};
use crate::format::compression::Form;
use crate::format::qcow2::Header;

/// How many bytes of a disk each chunk has; the last may have fewer.
pub const CHUNK: u64 = 4 << 20;
/// A manifest lists at most so many chunks: larger disks become an index of several manifests.
pub const PART: usize = 4096;
/// No chunk is larger when it is compressed.
pub(crate) const PACKED: u64 = CHUNK + (1 << 16);

/// What a disk's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes, one after the other.
    Raw,
    /// QEMU's format, versions 2 and 3.
    Qcow2,
}

impl Format {
    /// `raw` or `qcow2`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// A disk image in the store, by its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What its file is.
    pub format: Format,
    /// The file's size in bytes.
    pub size: u64,
    /// The size of the disk that a machine sees, in bytes; for raw disks that of the file.
    pub virtual_size: u64,
    /// The chunks that are not all zeros, by offset.
    pub chunks: Vec<Chunk>,
}

/// A chunk of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins in the file, in bytes: a multiple of [`CHUNK`].
    pub offset: u64,
    /// The digest of its bytes.
    pub plain: Digest,
    /// The digest of its compressed form, which names the blob.
    pub packed: Digest,
    /// The blob's size in bytes.
    pub packed_size: u64,
}

impl Disk {
    /// The disk that a descriptor names; `None` where it names something else.
    ///
    /// # Errors
    /// Missing or damaged documents; those that contradict themselves.
    pub fn read(blobs: &Blobs, key: &Key, root: &Descriptor) -> Result<Option<Self>> {
        documents::read(blobs, key, root)
    }

    /// The header of a stored qcow2: it is in the first chunk. `None` for a raw disk.
    ///
    /// # Errors
    /// A chunk that is missing, damaged, or does not begin as a qcow2.
    pub fn header(&self, blobs: &Blobs, key: &Key) -> Result<Option<Header>> {
        if self.format != Format::Qcow2 {
            return Ok(None);
        }
        let corrupt = |reason: String| Error::Corrupt { key: key.clone(), reason };
        let first = self.chunks.first().filter(|chunk| chunk.offset == 0);
        let first = first.ok_or_else(|| corrupt("its first bytes are not stored".to_owned()))?;
        let packed = blobs.read(&first.packed, PACKED)?;
        let mut head = Vec::new();
        let read =
            Form::Zstd.decoder(packed.as_slice()).and_then(|plain| plain.take(CHUNK).read_to_end(&mut head));
        read.map_err(|error| corrupt(format!("its first chunk does not unpack: {error}")))?;
        let header = Header::parse(&head);
        header.map(Some).map_err(|reason| corrupt(format!("it is not a qcow2: {reason}")))
    }

    /// How many bytes the chunk has.
    pub(crate) fn length(&self, chunk: &Chunk) -> u64 {
        self.size.saturating_sub(chunk.offset).min(CHUNK)
    }
}
