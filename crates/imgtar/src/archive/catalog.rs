//! What an archive holds, by name: documents in memory, layers on their way into the store or at
//! their place in the file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use storekit::{Blobs, ByteSize, Digest, Lease};

use crate::archive::walk::{Item, Kind};
use crate::error::{Error, Result};
use crate::format::compression::{self, Form};
use crate::format::oci::DOCUMENT_CAP;
use crate::layer::{self, Announced, Made, Shape};
use crate::progress::Progress;

/// All documents together may take so much memory; further ones go to the store like layers.
const DOCUMENTS: u64 = 24 << 20;
/// Links lead on at most this often.
const HOPS: usize = 16;

/// What stands under a name.
#[derive(Debug)]
pub enum Slot {
    /// A small JSON document.
    Document(Vec<u8>),
    /// A blob that a pipe brought.
    Brought(Box<Brought>),
    /// Bytes of the archive file.
    InFile(FileRange),
    /// Another name.
    Link(String),
}

/// A blob that a pipe brought. It gets its name in the store when an image needs it, and leaves
/// nothing behind where none does: an archive may bring a layer that is stored in another form.
#[derive(Debug)]
pub struct Brought {
    /// What it is.
    pub shape: Shape,
    /// The blob, as long as it has no name.
    made: Mutex<Option<Made>>,
}

impl Brought {
    fn new(made: Made) -> Self {
        Self { shape: made.shape, made: Mutex::new(Some(made)) }
    }

    /// Gives the blob its name. `None` where an earlier call did, and has the lease.
    ///
    /// # Errors
    /// I/O errors.
    pub fn publish(&self) -> Result<Option<Lease>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(made.map(Made::publish).transpose()?.map(|stored| stored.lease))
    }

    /// Its stored bytes, whether it has a name or not.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(&self, blobs: &Blobs) -> Result<Box<dyn Read + Send>> {
        if let Some(made) = &*self.made.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Box::new(made.open()?));
        }
        let digest = self.shape.digest;
        let missing = || storekit::Error::Missing { digest, path: blobs.folder().to_owned() };
        Ok(Box::new(blobs.reader(&digest)?.ok_or_else(missing)?))
    }
}

/// Where bytes are in the archive file, and how they look.
#[derive(Clone, Copy, Debug)]
pub struct FileRange {
    /// In bytes, from the start of the file.
    pub offset: u64,
    /// In bytes.
    pub size: u64,
    /// By their first bytes.
    pub form: Form,
    /// Whether they look like a tar.
    pub tar: bool,
}

/// The entries of one archive.
pub struct Catalog<'a> {
    slots: BTreeMap<String, Slot>,
    documents: u64,
    /// Where layers go.
    pub blobs: &'a Blobs,
    /// The archive, where it is a file that can be read at any place.
    pub file: Option<&'a File>,
    /// What is told how far the work is.
    pub progress: &'a dyn Progress,
}

impl<'a> Catalog<'a> {
    /// A catalog without entries.
    #[must_use]
    pub fn new(blobs: &'a Blobs, file: Option<&'a File>, progress: &'a dyn Progress) -> Self {
        Self { slots: BTreeMap::new(), documents: 0, blobs, file, progress }
    }

    /// Takes an entry in: a document into memory; a layer into the store, or just its place where
    /// the archive is a file.
    ///
    /// # Errors
    /// A name that is there twice; bytes that do not hash to their name; I/O errors.
    pub fn take(&mut self, item: Item, input: &mut dyn Read) -> Result<()> {
        let Item { name, kind } = item;
        let slot = match kind {
            Kind::Link(target) => Slot::Link(target),
            Kind::File { size, offset } => self.take_file(&name, size, offset, input)?,
        };
        if self.slots.contains_key(&name) {
            return Err(Error::Hostile { entry: name, reason: "it is in the archive twice".to_owned() });
        }
        self.slots.insert(name, slot);
        Ok(())
    }

    fn take_file(&mut self, name: &str, size: u64, offset: u64, input: &mut dyn Read) -> Result<Slot> {
        let failed = |source| Error::read(name, source);
        let head = compression::read_head(input).map_err(failed)?;
        let digest = named(name);
        if compression::may_be_json(&head) && size <= DOCUMENT_CAP && self.documents + size <= DOCUMENTS {
            self.documents += size;
            let mut bytes = head;
            input.read_to_end(&mut bytes).map_err(failed)?;
            return check(&bytes, digest, name).map(|()| Slot::Document(bytes));
        }
        if self.file.is_some() {
            return Ok(Slot::InFile(FileRange {
                offset,
                size,
                form: Form::of(&head),
                tar: compression::is_tar(&head),
            }));
        }
        if size < 64 && !compression::is_tar(&head) && Form::of(&head) == Form::Plain {
            // `VERSION` and the like: nothing that an image is made of.
            check(&head, digest, name)?;
            return Ok(Slot::Document(head));
        }
        let announced = Announced { digest, size: Some(size), ..Announced::default() };
        let mut input = io::Cursor::new(head).chain(input);
        let made = layer::read(self.blobs, &mut input, announced, name, self.progress)?;
        Ok(Slot::Brought(Box::new(Brought::new(made))))
    }

    /// The slot that a name leads to, with its own name.
    ///
    /// # Errors
    /// Links that lead round in a circle.
    pub fn find(&self, name: &str) -> Result<Option<(&str, &Slot)>> {
        let mut name = name;
        for _ in 0..HOPS {
            match self.slots.get_key_value(name) {
                Some((_, Slot::Link(target))) => name = target,
                found => return Ok(found.map(|(name, slot)| (name.as_str(), slot))),
            }
        }
        Err(Error::Hostile { entry: name.to_owned(), reason: "its links form a circle".to_owned() })
    }

    /// How many bytes the entry has as it came. `None` for an entry that does not exist.
    ///
    /// # Errors
    /// As [`Catalog::find`].
    pub fn size(&self, name: &str) -> Result<Option<u64>> {
        let Some((own, slot)) = self.find(name)? else { return Ok(None) };
        Ok(match slot {
            Slot::Document(bytes) => Some(bytes.len() as u64),
            Slot::InFile(place) => Some(place.size),
            // What imgtar compressed itself was plain before.
            Slot::Brought(brought) if named(own) == Some(brought.shape.digest) => Some(brought.shape.size),
            Slot::Brought(brought) => Some(brought.shape.plain_size),
            Slot::Link(_) => None,
        })
    }

    /// The digest that the entry's own name announces for its bytes.
    ///
    /// # Errors
    /// As [`Catalog::find`].
    pub fn announced(&self, name: &str) -> Result<Option<Digest>> {
        Ok(self.find(name)?.and_then(|(own, _)| named(own)))
    }

    /// The bytes of a document, wherever they are. `None` for an entry that does not exist.
    ///
    /// # Errors
    /// A document of more than 20 MiB; bytes that do not hash to their name; I/O errors.
    pub fn document(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>> {
        let Some((own, slot)) = self.find(name)? else { return Ok(None) };
        let bytes = match slot {
            Slot::Document(bytes) => Cow::Borrowed(bytes.as_slice()),
            Slot::Brought(brought) => Cow::Owned(self.read_brought(brought, name)?),
            Slot::InFile(place) => {
                let bytes = self.read_place(*place, name)?;
                check(&bytes, named(own), own)?;
                Cow::Owned(bytes)
            }
            Slot::Link(_) => return Ok(None),
        };
        Ok(Some(bytes))
    }

    fn read_brought(&self, brought: &Brought, name: &str) -> Result<Vec<u8>> {
        if brought.shape.plain_size.max(brought.shape.size) > DOCUMENT_CAP {
            return Err(too_large(name));
        }
        let mut bytes = Vec::new();
        let read = brought.open(self.blobs)?.read_to_end(&mut bytes);
        read.map_err(|source| Error::read(name, source))?;
        Ok(bytes)
    }

    fn read_place(&self, place: FileRange, name: &str) -> Result<Vec<u8>> {
        if place.size > DOCUMENT_CAP {
            return Err(too_large(name));
        }
        let mut bytes = Vec::new();
        self.window(place).read_to_end(&mut bytes).map_err(|source| Error::read(name, source))?;
        Ok(bytes)
    }

    /// Reads a place of the archive file.
    #[must_use]
    pub fn window(&self, place: FileRange) -> Window<'a> {
        Window { file: self.file, at: place.offset, left: place.size }
    }
}

/// The digest in the name of a layout's blob.
fn named(name: &str) -> Option<Digest> {
    name.strip_prefix("blobs/sha256/").and_then(Digest::from_hex)
}

fn too_large(name: &str) -> Error {
    Error::BadDocument {
        what: format!("`{name}`"),
        reason: format!("it is larger than {}", ByteSize(DOCUMENT_CAP)),
    }
}

fn check(bytes: &[u8], announced: Option<Digest>, name: &str) -> Result<()> {
    match announced.map(|announced| (announced, Digest::of(bytes))) {
        Some((announced, found)) if announced != found => {
            Err(Error::Mismatch { what: format!("the entry `{name}`"), announced, found })
        }
        _ => Ok(()),
    }
}

/// A part of a file, read without moving the file's own position: many can be read at once.
pub struct Window<'a> {
    file: Option<&'a File>,
    at: u64,
    left: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(file) = self.file.filter(|_| wanted > 0) else { return Ok(0) };
        let count = file.read_at(&mut buffer[..wanted], self.at)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"));
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
