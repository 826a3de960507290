//! From the store to an archive: a docker-archive that is an OCI layout too.
//!
//! Layers are plain (`blobs/sha256/<diffID>`) and are verified while they are written;
//! `manifest.json` comes last, so that a stream which breaks off loads nowhere. Same image, same
//! bytes. An image for several platforms keeps its blobs and documents as they are, since its index
//! names them by digest; so does an artifact, and an image that something in the store refers to,
//! such as a signature: that comes along.
//!
//! Source: OCI image-spec v1.1, image-layout.md; Docker's image spec v1.2.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::Serialize;
use storekit::{Blobs, Descriptor, Digest, Images, VerifiedReader};

use crate::archive::assemble::named;
use crate::error::{Error, Result};
use crate::format::compression::Form;
use crate::format::image_name;
use crate::format::oci::{self, Index, Manifest, Platform};
use crate::format::tar_writer::Tar;
use crate::image::referrers::{self, Referrer};
use crate::image::{Image, Layer, Stored, unreadable};
use crate::layer;
use crate::progress::Progress;

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

/// Writes the archive, not compressed: the images and artifacts of the key, and what in the store
/// refers to them. Returns the digests of referrers that were left out since the store does not
/// have all of them.
///
/// # Errors
/// Damaged blobs (they are moved aside, and the archive has no end then); I/O errors.
pub fn export(
    images: &Images,
    stored: &Stored,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Vec<Digest>> {
    let chosen = stored.select(options.platform.as_ref())?;
    if options.names.is_some() && chosen.len() > 1 {
        return Err(Error::several(&stored.key, chosen.len(), 0));
    }
    let blobs = images.blobs();
    let (content, absent) = if options.platform.is_some() {
        (Content::plain(&blobs, &chosen, options.names.as_deref())?, Vec::new())
    } else {
        Content::whole(images, stored, options.names.as_deref())?
    };
    content.write(&blobs, out, progress)?;
    Ok(absent)
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

/// Writes an archive of one image under these names, with plain layers, not compressed. The layers
/// that it is to be without are not read. Returns how many bytes of layers are in it.
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

/// Writes a docker-archive of one image without any layer. The names of the entries that it
/// announces for them tell their positions: what an engine misses first, it names.
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

/// The manifest that names this image in an archive of ours, where the sizes of its plain layers
/// are known without reading them.
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
    images: &Images,
    stored: &Stored,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Vec<Digest>> {
    let failed = |source| Error::write("-", source);
    let mut encoder = layer::encoder(out, None).map_err(failed)?;
    let absent = export(images, stored, options, &mut encoder, progress)?;
    encoder.finish().and_then(Write::flush).map_err(failed)?;
    Ok(absent)
}

/// What an archive is made of.
struct Content {
    parts: Vec<Part>,
    documents: Vec<(String, Vec<u8>)>,
    /// The index.json of an OCI layout; nothing in a mere docker-archive.
    index: Option<Vec<u8>>,
    /// The manifest.json of a docker-archive, where there is an image for it.
    manifest: Option<Vec<u8>>,
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

/// An archive in the making.
#[derive(Default)]
struct Archive {
    parts: Vec<Part>,
    /// The entries of the parts.
    entries: BTreeSet<String>,
    documents: Vec<(String, Vec<u8>)>,
    listed: Vec<Descriptor>,
    saved: Vec<Saved>,
}

impl Archive {
    /// An image with plain layers, and a manifest that says so.
    fn add_plain(&mut self, blobs: &Blobs, image: &Image, names: &[String]) -> Result<()> {
        let mut layers = Vec::new();
        for layer in image.layers() {
            let size = plain_size(blobs, &layer)?;
            layers.push(Descriptor::new(oci::LAYER, layer.diff_id, size));
            let (digest, form) = (layer.descriptor.digest, layer.form());
            self.add_part(Part { name: name(&layer.diff_id), size, digest, form });
        }
        self.saved.push(Saved::new(image, names, layers.iter().map(|layer| layer.digest)));
        let manifest = manifest_of(image, layers);
        let descriptor = Descriptor::new(oci::MANIFEST, Digest::of(&manifest), manifest.len() as u64);
        self.listed.extend(listed_as(&descriptor, names));
        for bytes in [image.config.clone(), manifest] {
            self.documents.push((name(&Digest::of(&bytes)), bytes));
        }
        Ok(())
    }

    /// What the descriptor names, with these blobs as they are stored. Docker finds the images in
    /// it by their stored layers; the one for this machine has the names.
    fn add_stored(
        &mut self,
        stored: &Stored,
        root: &Descriptor,
        names: &[String],
        blobs: BTreeMap<Digest, u64>,
    ) {
        let within = |image: &&Image| blobs.contains_key(&image.descriptor.digest);
        let images: Vec<_> = stored.images.iter().filter(within).collect();
        let platform = |(_, image): &(usize, &&Image)| Some(image.platform());
        let own = Platform::nearest(&Platform::host(), images.iter().enumerate(), platform);
        let named_image = own.first().map_or(0, |(at, _)| *at);
        for (at, image) in images.into_iter().enumerate() {
            let own = if at == named_image { names } else { &[] };
            self.saved.push(Saved::new(image, own, image.layers().map(|layer| layer.descriptor.digest)));
        }
        self.listed.extend(listed_as(root, names));
        for (digest, size) in blobs {
            self.add_part(Part { name: name(&digest), size, digest, form: Form::Plain });
        }
    }

    fn add_part(&mut self, part: Part) {
        if self.entries.insert(part.name.clone()) {
            self.parts.push(part);
        }
    }

    fn into_content(self) -> Content {
        let Self { mut parts, mut documents, listed, mut saved, .. } = self;
        // podman takes a name without a registry for one of `localhost/`, docker shows both alike.
        for name in saved.iter_mut().flat_map(|saved| &mut saved.repo_tags) {
            *name = image_name::whole(name);
        }
        // Two names may lead to one document, and what is stored may have it too.
        documents.sort();
        documents.dedup();
        parts.retain(|part| documents.binary_search_by(|(name, _)| name.cmp(&part.name)).is_err());
        let index = Some(oci::to_bytes(&Index::new(listed)));
        let manifest = (!saved.is_empty()).then(|| oci::to_bytes(&saved));
        Content { parts, documents, index, manifest }
    }
}

/// The manifests and indexes under the key.
fn documents_of(stored: &Stored) -> BTreeSet<Digest> {
    let listed = stored.index.iter().flat_map(|index| &index.manifests);
    let below = listed.filter(|child| child.is_document()).map(|child| child.digest);
    let images = stored.images.iter().map(|image| image.descriptor.digest);
    let artifacts = stored.artifacts.iter().map(|artifact| artifact.descriptor.digest);
    std::iter::once(stored.entry.descriptor.digest).chain(below).chain(images).chain(artifacts).collect()
}

/// What the archive's index.json lists of a key, each once, with its names: what is under the key,
/// or each of several.
fn roots(stored: &Stored, names: Option<&[String]>) -> Vec<(Descriptor, Vec<String>)> {
    let names = |own: &[String]| names.map_or_else(|| image_name::sorted_out(own).0, <[String]>::to_vec);
    let Some(index) = stored.several() else {
        return vec![(stored.entry.descriptor.clone(), names(&stored.entry.names))];
    };
    let mut roots: Vec<(Descriptor, Vec<String>)> = Vec::new();
    for child in &index.manifests {
        let own = child.annotations.get(oci::annotation::IMAGE_NAME).cloned();
        if let Some((_, known)) = roots.iter_mut().find(|(known, _)| known.digest == child.digest) {
            known.extend(own);
        } else {
            let mut bare = child.clone();
            bare.annotations.remove(oci::annotation::IMAGE_NAME);
            roots.push((bare, own.into_iter().collect()));
        }
    }
    let with_names = |(descriptor, own): (Descriptor, Vec<String>)| match &stored.sole {
        Some(sole) if sole.descriptor.digest == descriptor.digest => (descriptor, names(&sole.names)),
        Some(_) => (descriptor, image_name::sorted_out(&own).0),
        None => (descriptor, names(&own)),
    };
    roots.into_iter().map(with_names).collect()
}

impl Content {
    /// Images with plain layers, and manifests that say so.
    fn plain(blobs: &Blobs, images: &[&Image], names: Option<&[String]>) -> Result<Self> {
        let mut archive = Archive::default();
        for image in images {
            archive.add_plain(blobs, image, names.unwrap_or(&image.names))?;
        }
        Ok(archive.into_content())
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
        Ok(Self { parts, documents, index: None, manifest: Some(manifest) })
    }

    /// All that is under the key, and what refers to it. An image is made of plain layers, unless
    /// its manifest's bytes matter: those that an index or a referrer names by digest, and all
    /// artifacts, come as they are stored. With the referrers that are not all there.
    fn whole(images: &Images, stored: &Stored, names: Option<&[String]>) -> Result<(Self, Vec<Digest>)> {
        let mut walker = images.walker();
        let documents = documents_of(stored);
        let referrers = referrers::of(images, &documents)?;
        let pinned: BTreeSet<_> = referrers.iter().map(|one| one.subject).collect();
        let mut archive = Archive::default();
        for (descriptor, own) in roots(stored, names) {
            match stored.images.iter().find(|image| image.descriptor.digest == descriptor.digest) {
                Some(image) if !image.manifest.is_special() && !pinned.contains(&image.descriptor.digest) => {
                    archive.add_plain(&images.blobs(), image, &own)?;
                }
                _ => {
                    let present = walker.reach(&descriptor)?.present;
                    archive.add_stored(stored, &descriptor, &own, present);
                }
            }
        }
        let (mut absent, mut added) = (Vec::new(), documents);
        for Referrer { descriptor, .. } in referrers {
            let reach = walker.reach(&descriptor)?;
            if !reach.is_whole() {
                absent.push(descriptor.digest);
            } else if added.insert(descriptor.digest) {
                archive.add_stored(stored, &descriptor, &[], reach.present);
            }
        }
        Ok((archive.into_content(), absent))
    }

    fn write(&self, blobs: &Blobs, out: &mut dyn Write, progress: &dyn Progress) -> Result<()> {
        // All are opened before the first byte is written: what a collector takes later is still
        // read to its end.
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
        if let Some(manifest) = &self.manifest {
            tar.file("manifest.json", manifest)?;
        }
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
    /// Why a blob could not be read: most likely its bytes are damaged, which the decoder saw
    /// first.
    fn failed(&self, blobs: &Blobs, error: io::Error) -> Error {
        unreadable(blobs, &self.digest, error)
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

/// The number of a layer's plain bytes. Where no manifest of ours tells it, the layer is read
/// through.
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

/// Descriptors for an index.json: one for each name, whole as containerd needs it, with the tag
/// where other tools look for it.
fn listed_as(descriptor: &Descriptor, names: &[String]) -> Vec<Descriptor> {
    let mut listed = named(descriptor, &names.iter().map(|name| image_name::whole(name)).collect::<Vec<_>>());
    for (descriptor, name) in listed.iter_mut().zip(names) {
        let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
        descriptor.annotations.insert(oci::REF_NAME.to_owned(), tag.unwrap_or("latest").to_owned());
    }
    listed
}
