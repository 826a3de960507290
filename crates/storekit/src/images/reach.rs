//! Which blobs an image needs: from a descriptor through indexes and manifests down to layers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::blobs::Blobs;
use crate::digest::{Digest, DigestMap};
use crate::error::{Error, Result};
use crate::files::look::Seen;
use crate::oci::{DOCUMENT_CAP, Descriptor, Links};

/// Indexes nest at most this deep; deeper ones are refused.
const DEPTH: usize = 8;

/// What hangs on a descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The blobs that are there, with their sizes in bytes; documents were verified, layers not
    /// read.
    pub present: BTreeMap<Digest, u64>,
    /// The blobs that should be there and are not, or have another size than announced.
    pub missing: BTreeSet<Digest>,
    /// The documents among the missing ones: what hangs on them is not known, so nothing may go on
    /// its account.
    pub unknown: BTreeSet<Digest>,
    /// What the descriptor's own document refers to by its `subject`; not among what it needs.
    pub subject: Option<Digest>,
    /// Whether the descriptor's own document is a disk's, and not an image's.
    pub is_disk: bool,
    /// The documents among those that are there.
    pub documents: BTreeSet<Digest>,
    /// Whether there are layers that are to be had elsewhere and are not there.
    pub is_elsewhere: bool,
}

impl Reach {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// The digests of all blobs, present and missing.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.present.keys().chain(&self.missing).copied()
    }

    fn lack(&mut self, descriptor: &Descriptor) {
        self.missing.insert(descriptor.digest);
        if descriptor.is_document() {
            self.unknown.insert(descriptor.digest);
        }
    }
}

/// Follows descriptors, and remembers the documents that it has read.
#[derive(Debug)]
pub struct Walker {
    blobs: Blobs,
    read: HashMap<Digest, Arc<Read>>,
    seen: Arc<DigestMap<Seen>>,
}

/// What a document says.
#[derive(Debug)]
struct Read {
    children: Vec<Descriptor>,
    subject: Option<Digest>,
    is_disk: bool,
}

impl Walker {
    pub(crate) fn new(blobs: Blobs) -> Self {
        Self { blobs, read: HashMap::new(), seen: Arc::default() }
    }

    /// One that takes the sizes of blobs from a list of the folder that was just made, and does not
    /// look at each file again: a layer that went since then counts as there.
    #[must_use]
    pub fn with_seen(self, seen: Arc<DigestMap<Seen>>) -> Self {
        Self { seen, ..self }
    }

    /// All blobs that `root` needs, itself included. A layer with `urls` need not be there.
    ///
    /// # Errors
    /// [`Error::BadDocument`]; I/O errors. A damaged document counts as missing, and is moved
    /// aside.
    pub fn reach(&mut self, root: &Descriptor) -> Result<Reach> {
        let mut reach = Reach::default();
        self.visit(root, 0, &mut reach)?;
        Ok(reach)
    }

    fn visit(&mut self, descriptor: &Descriptor, depth: usize, reach: &mut Reach) -> Result<()> {
        let digest = descriptor.digest;
        if reach.present.contains_key(&digest) || reach.missing.contains(&digest) {
            return Ok(());
        }
        let size = match self.seen.get(&digest) {
            Some(seen) => Some(seen.size),
            None => self.blobs.size(&digest)?,
        };
        match size {
            Some(size) if size == descriptor.size => reach.present.insert(digest, size),
            None if !descriptor.urls.is_empty() => {
                reach.is_elsewhere = true;
                return Ok(());
            }
            _ => {
                reach.lack(descriptor);
                return Ok(());
            }
        };
        if !descriptor.is_document() {
            return Ok(());
        }
        if depth == DEPTH {
            return Err(Error::BadDocument { digest, reason: format!("it nests more than {DEPTH} deep") });
        }
        let read = match self.read(digest) {
            Err(Error::Damaged { .. } | Error::Missing { .. } | Error::NotFetched { .. }) => {
                reach.present.remove(&digest);
                reach.lack(descriptor);
                return Ok(());
            }
            read => read?,
        };
        reach.documents.insert(digest);
        if depth == 0 {
            reach.subject = read.subject;
            reach.is_disk = read.is_disk;
        }
        read.children.iter().try_for_each(|child| self.visit(child, depth + 1, reach))
    }

    fn read(&mut self, digest: Digest) -> Result<Arc<Read>> {
        if let Some(known) = self.read.get(&digest) {
            return Ok(Arc::clone(known));
        }
        let bytes = self.blobs.read(&digest, DOCUMENT_CAP)?;
        let links: Links = serde_json::from_slice(&bytes)
            .map_err(|error| Error::BadDocument { digest, reason: error.to_string() })?;
        let (subject, is_disk) = (links.subject(), links.is_disk());
        let read = Arc::new(Read { subject, is_disk, children: links.all().collect() });
        self.read.insert(digest, Arc::clone(&read));
        Ok(read)
    }
}
