//! From the store to an archive: a docker-archive that is an OCI layout too.
//!
//! Layers are plain (`blobs/sha256/<diffID>`) and are verified while they are written; `manifest.json` comes
//! last, so that a stream which breaks off loads nowhere. Same image, same bytes. An image for several platforms
//! keeps its blobs and documents as they are, since its index names them by digest.
//!
//! Source: OCI image-spec v1.1, image-layout.md; Docker's image spec v1.2.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::Serialize;
use storekit::{Blobs, Descriptor, Digest, VerifiedReader};

use crate::assemble::named;
use crate::error::{Error, Result};
use crate::form::Form;
use crate::image::{Image, Layer, Stored};
use crate::layer;
use crate::name as image_name;
use crate::oci::{self, Index, Manifest, Platform};
use crate::progress::Progress;
use crate::tarball::Tar;

const CHUNK: usize = 256 << 10;
const QUEUE: usize = 16;

/// How an archive is written.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only the images for this platform.
    pub platform: Option<Platform>,
    /// Names instead of the stored ones; for one image only.
    pub names: Option<Vec<String>>,
}

/// Writes the archive, not compressed.
///
/// # Errors
/// Damaged blobs (they are moved aside, and the archive has no end then); I/O errors.
pub fn export(
    blobs: &Blobs,
    stored: &Stored,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    let images = stored.select(options.platform.as_ref())?;
    if options.names.is_some() && images.len() > 1 {
        return Err(Error::Several { key: stored.key.clone(), count: images.len() });
    }
    let verbatim = stored.index.is_some() && !stored.is_several() && options.platform.is_none();
    let content = if verbatim {
        Content::as_stored(stored)
    } else {
        Content::plain(blobs, &images, options.names.as_deref())?
    };
    content.write(blobs, out, progress)
}

/// How an archive for one engine looks where it lacks layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// A docker-archive that has no entries for them.
    NoEntries,
    /// A docker-archive with empty entries for them.
    EmptyEntries,
    /// An OCI layout without their blobs.
    NoBlobs,
}

/// Writes an archive of one image under these names, with plain layers, not compressed. The layers that it is to be
/// without are not read. Returns how many bytes of layers are in it.
///
/// # Errors
/// As [`export`].
pub fn export_image(
    blobs: &Blobs,
    image: &Image,
    names: &[String],
    without: Option<(&BTreeSet<Digest>, Left)>,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<u64> {
    let content = match without {
        None => Content::plain(blobs, &[image], Some(names))?,
        Some((layers, Left::NoBlobs)) => {
            let mut content = Content::plain(blobs, &[image], Some(names))?;
            content.parts.retain(|part| !layers.iter().any(|layer| name(layer) == part.name));
            content
        }
        Some((layers, left)) => Content::docker(blobs, image, names, layers, left == Left::EmptyEntries)?,
    };
    content.write(blobs, out, progress)?;
    Ok(content.parts.iter().map(|part| part.size).sum())
}

/// The folder of the layers that [`question`] announces and does not hold.
pub const ASKED: &str = "imgtar-asks";

/// Writes a docker-archive of one image without any layer. The names of the entries that it announces for them tell
/// their positions: what an engine misses first, it names.
///
/// # Errors
/// I/O errors.
pub fn question(image: &Image, names: &[String], out: &mut dyn Write) -> Result<()> {
    let mut saved = Saved::new(image, names, std::iter::empty());
    saved.layers = (0..image.manifest.layers.len()).map(|position| format!("{ASKED}/{position}")).collect();
    let mut tar = Tar { out };
    tar.file(&saved.config, &image.config)?;
    tar.file("manifest.json", &oci::to_bytes(&[saved]))?;
    tar.end()
}

/// The manifest that names this image in an archive of ours, where the sizes of its plain layers are known without
/// reading them.
#[must_use]
pub fn plain_manifest(image: &Image) -> Option<Vec<u8>> {
    let layer = |layer: Layer<'_>| Some(Descriptor::new(oci::LAYER, layer.diff_id, layer.plain_size()?));
    Some(manifest_of(image, image.layers().map(layer).collect::<Option<_>>()?))
}

fn manifest_of(image: &Image, layers: Vec<Descriptor>) -> Vec<u8> {
    let config = Descriptor::new(oci::CONFIG, image.id(), image.config.len() as u64);
    oci::to_bytes(&Manifest::new(config, layers))
}

/// Writes the archive compressed with zstd as a whole.
///
/// # Errors
/// As [`export`]; the stream has no end then, and no zstd reader takes it for whole.
pub fn export_zstd(
    blobs: &Blobs,
    stored: &Stored,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    let failed = |source| Error::write("-", source);
    let mut encoder = layer::encoder(out, None).map_err(failed)?;
    export(blobs, stored, options, &mut encoder, progress)?;
    encoder.finish().and_then(Write::flush).map_err(failed)
}

/// What an archive is made of.
struct Content {
    parts: Vec<Part>,
    documents: Vec<(String, Vec<u8>)>,
    /// The index.json of an OCI layout; nothing in a mere docker-archive.
    index: Option<Vec<u8>>,
    manifest: Vec<u8>,
}

/// A blob of the store on its way into an archive.
struct Part {
    name: String,
    size: u64,
    digest: Digest,
    form: Form,
}

/// One image of a docker-archive's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Content {
    /// Images with plain layers, and manifests that say so.
    fn plain(blobs: &Blobs, images: &[&Image], names: Option<&[String]>) -> Result<Self> {
        let (mut parts, mut seen) = (Vec::new(), BTreeSet::new());
        let (mut documents, mut listed, mut saved) = (Vec::new(), Vec::new(), Vec::new());
        for image in images {
            let mut layers = Vec::new();
            for layer in image.layers() {
                let size = plain_size(blobs, &layer)?;
                layers.push(Descriptor::new(oci::LAYER, layer.diff_id, size));
                if seen.insert(layer.diff_id) {
                    let (digest, form) = (layer.descriptor.digest, layer.form());
                    parts.push(Part { name: name(&layer.diff_id), size, digest, form });
                }
            }
            let names = names.unwrap_or(&image.names);
            saved.push(Saved::new(image, names, layers.iter().map(|layer| layer.digest)));
            let manifest = manifest_of(image, layers);
            let descriptor = Descriptor::new(oci::MANIFEST, Digest::of(&manifest), manifest.len() as u64);
            listed.extend(listed_as(&descriptor, names));
            for bytes in [image.config.clone(), manifest] {
                documents.push((name(&Digest::of(&bytes)), bytes));
            }
        }
        // Two names may lead to one document.
        documents.sort();
        documents.dedup();
        Ok(Self {
            parts,
            documents,
            index: Some(oci::to_bytes(&Index::new(listed))),
            manifest: oci::to_bytes(&saved),
        })
    }

    /// One image as a docker-archive without these layers, or with empty entries for them.
    fn docker(
        blobs: &Blobs,
        image: &Image,
        names: &[String],
        without: &BTreeSet<Digest>,
        empty: bool,
    ) -> Result<Self> {
        let (mut parts, mut seen) = (Vec::new(), BTreeSet::new());
        let mut documents = vec![(name(&image.id()), image.config.clone())];
        for layer in image.layers().filter(|layer| seen.insert(layer.diff_id)) {
            let name = name(&layer.diff_id);
            if without.contains(&layer.diff_id) {
                documents.extend(empty.then(|| (name, Vec::new())));
                continue;
            }
            let size = plain_size(blobs, &layer)?;
            parts.push(Part { name, size, digest: layer.descriptor.digest, form: layer.form() });
        }
        let manifest = oci::to_bytes(&[Saved::new(image, names, image.layers().map(|layer| layer.diff_id))]);
        Ok(Self { parts, documents, index: None, manifest })
    }

    /// Everything as it is stored, under an index.json that lists the one index.
    fn as_stored(stored: &Stored) -> Self {
        let part = |(digest, size): (&Digest, &u64)| Part {
            name: name(digest),
            size: *size,
            digest: *digest,
            form: Form::Plain,
        };
        let parts = stored.blobs.iter().map(part).collect();
        let (names, _) = image_name::sorted_out(&stored.entry.names);
        let listed = listed_as(&stored.entry.descriptor, &names);
        let mut saved = Vec::new();
        let mut names = names.as_slice();
        let host = Platform::host();
        let own =
            Platform::nearest(&host, stored.images.iter().enumerate(), |(_, image)| Some(image.platform()));
        let named_image = own.first().map_or(0, |(at, _)| *at);
        for (at, image) in stored.images.iter().enumerate() {
            let own = if at == named_image { std::mem::take(&mut names) } else { &[] };
            saved.push(Saved::new(image, own, image.layers().map(|layer| layer.descriptor.digest)));
        }
        let (index, manifest) = (Some(oci::to_bytes(&Index::new(listed))), oci::to_bytes(&saved));
        Self { parts, documents: Vec::new(), index, manifest }
    }

    fn write(&self, blobs: &Blobs, out: &mut dyn Write, progress: &dyn Progress) -> Result<()> {
        // All are opened before the first byte is written: what a collector takes later is still read to its end.
        let readers = self.parts.iter().map(|part| open(blobs, &part.digest)).collect::<Result<Vec<_>>>()?;
        progress.expect(self.parts.iter().map(|part| part.size).sum());
        let mut tar = Tar { out };
        if self.index.is_some() {
            tar.file("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
        }
        tar.folder("blobs/")?;
        tar.folder("blobs/sha256/")?;
        for (name, bytes) in &self.documents {
            tar.file(name, bytes)?;
        }
        self.write_parts(blobs, readers, &mut tar, progress)?;
        if let Some(index) = &self.index {
            tar.file("index.json", index)?;
        }
        tar.file("manifest.json", &self.manifest)?;
        tar.end()
    }

    /// Reads, verifies and decompresses in a thread of its own.
    fn write_parts(
        &self,
        blobs: &Blobs,
        readers: Vec<VerifiedReader>,
        tar: &mut Tar<'_>,
        progress: &dyn Progress,
    ) -> Result<()> {
        thread::scope(|scope| {
            let (send, chunks) = sync_channel(QUEUE);
            scope.spawn(move || self.read_parts(blobs, readers, &send));
            for part in &self.parts {
                tar.header(&part.name, part.size, tar::EntryType::Regular)?;
                let written = copy_part(&chunks, tar.out, progress)?;
                if written != part.size {
                    return Err(unsound(blobs, part));
                }
                tar.pad(part.size)?;
            }
            Ok(())
        })
    }

    fn read_parts(&self, blobs: &Blobs, readers: Vec<VerifiedReader>, to: &SyncSender<Message>) {
        for (part, reader) in self.parts.iter().zip(readers) {
            let read = part.form.decoder(reader).and_then(|mut plain| read_part(&mut plain, to));
            let end = read.map_err(|error| part.failed(blobs, error));
            let failed = end.is_err();
            if to.send(end.map(|()| None)).is_err() || failed {
                return;
            }
        }
    }
}

impl Part {
    /// Why a blob could not be read: most likely its bytes are damaged, which the decoder saw first.
    fn failed(&self, blobs: &Blobs, error: io::Error) -> Error {
        unreadable(blobs, &self.digest, error)
    }
}

/// Why a stored layer could not be read or unpacked: its own bytes decide.
pub(crate) fn unreadable(blobs: &Blobs, digest: &Digest, error: io::Error) -> Error {
    match Error::read(blobs.path(digest).as_str(), error) {
        error @ (Error::Read { .. } | Error::Damaged { .. }) => match blobs.verify(digest) {
            Err(damaged) if damaged.is_corrupt() => damaged.into(),
            _ => error,
        },
        error => error,
    }
}

impl Saved {
    fn new(image: &Image, names: &[String], layers: impl Iterator<Item = Digest>) -> Self {
        Self {
            config: name(&image.id()),
            repo_tags: names.to_vec(),
            layers: layers.map(|digest| name(&digest)).collect(),
        }
    }
}

/// Bytes of a part, or its end.
type Message = Result<Option<Vec<u8>>>;

fn read_part(plain: &mut dyn Read, to: &SyncSender<Message>) -> io::Result<()> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        plain.take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() || to.send(Ok(Some(chunk))).is_err() {
            return Ok(());
        }
    }
}

fn copy_part(chunks: &Receiver<Message>, out: &mut dyn Write, progress: &dyn Progress) -> Result<u64> {
    let mut written = 0;
    // The sender is gone only after it has sent an error, or the last part's end.
    while let Ok(message) = chunks.recv() {
        let Some(chunk) = message? else { break };
        out.write_all(&chunk).map_err(|source| Error::write("-", source))?;
        written += chunk.len() as u64;
        progress.add(chunk.len() as u64);
    }
    Ok(written)
}

fn unsound(blobs: &Blobs, part: &Part) -> Error {
    let reason = format!("it does not have the {} bytes that its manifest announces", part.size);
    storekit::Error::BadFile { path: blobs.path(&part.digest), reason }.into()
}

fn open(blobs: &Blobs, digest: &Digest) -> Result<VerifiedReader> {
    let missing = || storekit::Error::Missing { digest: *digest, path: blobs.folder().to_owned() };
    Ok(blobs.reader(digest)?.ok_or_else(missing)?)
}

/// The number of a layer's plain bytes. Where no manifest of ours tells it, the layer is read through.
fn plain_size(blobs: &Blobs, layer: &Layer<'_>) -> Result<u64> {
    if let Some(size) = layer.plain_size() {
        return Ok(size);
    }
    let part = Part { name: String::new(), size: 0, digest: layer.descriptor.digest, form: layer.form() };
    let counted = part
        .form
        .decoder(open(blobs, &part.digest)?)
        .and_then(|mut plain| io::copy(&mut plain, &mut io::sink()));
    counted.map_err(|error| part.failed(blobs, error))
}

fn name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Descriptors for an index.json: one for each name, whole as containerd needs it, with the tag where other tools look
/// for it.
fn listed_as(descriptor: &Descriptor, names: &[String]) -> Vec<Descriptor> {
    let mut listed = named(descriptor, &names.iter().map(|name| image_name::whole(name)).collect::<Vec<_>>());
    for (descriptor, name) in listed.iter_mut().zip(names) {
        let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
        descriptor.annotations.insert(oci::REF_NAME.to_owned(), tag.unwrap_or("latest").to_owned());
    }
    listed
}
