//! Finds the images of an OCI layout: what its `index.json` lists, and what that names in turn.
//!
//! Source: OCI image-spec v1.1, image-layout.md.

use std::collections::BTreeSet;

use storekit::{Descriptor, Digest};

use crate::archive::catalog::{Catalog, Slot};
use crate::archive::resolve::{
    Artifact, Branch, Image, Kept, Layer, Node, Plan, Root, add_new, at_most_names, same_count,
};
use crate::error::{Error, Result};
use crate::format::compression::Form;
use crate::format::image_name::familiar;
use crate::format::oci::{self, Config, Index, Manifest};
use crate::image::referrers;

/// Indexes may stand in indexes this deep, and name so many documents in all. One that is named
/// again counts again: a few indexes that name one another over and over would be a tree without
/// end.
const DEPTH: usize = 4;
const DOCUMENTS: usize = 10_000;
/// All of them together, in bytes.
const TOGETHER: u64 = 64 << 20;
/// What the `index.json` of these bytes lists.
///
/// # Errors
/// Documents that cannot be understood, contradict each other or have no end; bytes that are not
/// what names them.
pub(crate) fn read(catalog: &Catalog<'_>, index: &[u8]) -> Result<Plan> {
    Resolver { catalog, absent: Vec::new(), documents: 0, bytes: 0, subjects: BTreeSet::new() }.layout(index)
}

/// Follows an OCI layout.
struct Resolver<'a> {
    catalog: &'a Catalog<'a>,
    absent: Vec<Descriptor>,
    /// How many were read so far, and their bytes.
    documents: usize,
    bytes: u64,
    /// What the documents of the archive refer to by digest.
    subjects: BTreeSet<Digest>,
}

impl Resolver<'_> {
    fn layout(mut self, bytes: &[u8]) -> Result<Plan> {
        let index: Index = oci::parse(bytes, "`index.json`")?;
        at_most_names(index.manifests.len(), "`index.json`")?;
        self.subjects = self.subjects(&index.manifests)?;
        let mut roots: Vec<(Digest, Root)> = Vec::new();
        for descriptor in &index.manifests {
            let names = names(descriptor);
            if let Some((_, root)) = roots.iter_mut().find(|(digest, _)| *digest == descriptor.digest) {
                add_new(&mut root.names, names.into_iter());
            } else if let Some(node) = self.node(descriptor, 0)? {
                roots.push((descriptor.digest, Root { node, names }));
            }
        }
        Ok(Plan {
            roots: roots.into_iter().map(|(_, root)| root).collect(),
            absent: self.absent,
            ..Plan::default()
        })
    }

    /// What the documents in the archive refer to: manifests that keep their bytes. Stops where
    /// [`Resolver::document`] will refuse them all.
    fn subjects(&self, listed: &[Descriptor]) -> Result<BTreeSet<Digest>> {
        let (mut below, mut seen, mut subjects) = (listed.to_vec(), BTreeSet::new(), BTreeSet::new());
        let mut bytes = 0;
        while let Some(descriptor) = below.pop().filter(|_| bytes <= TOGETHER) {
            if !descriptor.is_document() || !seen.insert(descriptor.digest) {
                continue;
            }
            let Some(document) = self.catalog.document(&blob(&descriptor.digest))? else { continue };
            subjects.extend(referrers::tagged(&descriptor));
            bytes += document.len() as u64;
            subjects.extend(referrers::subject(&document));
            if descriptor.is_index() {
                below.extend(
                    oci::parse::<Index>(&document, "").map(|index| index.manifests).unwrap_or_default(),
                );
            }
        }
        Ok(subjects)
    }

    /// What the descriptor names; nothing where parts of it are not in the archive.
    fn node(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<Node>> {
        let entry = blob(&descriptor.digest);
        if self.catalog.find(&entry)?.is_none() {
            self.absent.push(descriptor.clone());
            return Ok(None);
        }
        self.check_size(descriptor)?;
        if depth > 0 && !descriptor.is_document() {
            return Ok(Some(Node::Blob(entry, descriptor.digest)));
        }
        let missing = || Error::NoImage { reason: format!("the entry `{entry}` is missing") };
        let bytes = self.document(&entry)?.ok_or_else(missing)?;
        let mut kept = Kept { descriptor: descriptor.clone(), bytes };
        if descriptor.is_index() {
            return self.branch(kept, depth);
        }
        let what = format!("the manifest `{}`", descriptor.digest);
        let manifest: Manifest = oci::parse(&kept.bytes, &what)?;
        oci::subject(&kept.bytes, &what)?;
        if !descriptor.is_manifest() {
            // Whatever it is called: by its type, readers and collectors know that there is more
            // below it.
            manifest_type(&manifest).clone_into(&mut kept.descriptor.media_type);
        }
        let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
        let blobs: Vec<_> = blobs.cloned().collect();
        for descriptor in &blobs {
            if self.catalog.find(&blob(&descriptor.digest))?.is_none() {
                self.absent.push(Descriptor::new("", descriptor.digest, 0));
                return Ok(None);
            }
        }
        blobs.iter().try_for_each(|descriptor| self.check_size(descriptor))?;
        let blobs: Vec<_> = blobs.iter().map(|named| (blob(&named.digest), named.digest)).collect();
        if manifest.is_image() {
            let config = self.config(&manifest)?;
            if !config.1.rootfs.diff_ids.is_empty() || manifest.layers.is_empty() {
                return self.image(kept, &manifest, config, depth > 0).map(|image| Some(Node::Image(image)));
            }
            // An artifact that borrows the config's type.
        }
        Ok(Some(Node::Artifact(Artifact { manifest: kept, blobs })))
    }

    /// The bytes of a document, counted. `None` where it is not in the archive.
    fn document(&mut self, entry: &str) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.catalog.document(entry)? else { return Ok(None) };
        self.documents += 1;
        self.bytes += bytes.len() as u64;
        if self.documents > DOCUMENTS || self.bytes > TOGETHER {
            let most = storekit::ByteSize(TOGETHER);
            let reason = format!("it names more than {DOCUMENTS} documents, or {most} of them");
            return Err(Error::BadDocument { what: "`index.json`".to_owned(), reason });
        }
        Ok(Some(bytes.into_owned()))
    }

    /// Readers allocate and stop by the sizes that documents announce.
    fn check_size(&self, descriptor: &Descriptor) -> Result<()> {
        let Descriptor { digest, size, .. } = descriptor;
        match self.catalog.size(&blob(digest))? {
            Some(found) if found != *size => {
                let reason = format!("a document announces {size} bytes of it, and it has {found}");
                Err(Error::BadDocument { what: format!("`{digest}`"), reason })
            }
            _ => Ok(()),
        }
    }

    /// The config's bytes, and what they say.
    fn config(&mut self, manifest: &Manifest) -> Result<(Vec<u8>, Config)> {
        let entry = blob(&manifest.config.digest);
        let missing = || Error::NoImage { reason: format!("the entry `{entry}` is missing") };
        let config = self.document(&entry)?.ok_or_else(missing)?;
        let parsed = oci::parse(&config, &format!("the config `{entry}`"))?;
        Ok((config, parsed))
    }

    fn image(
        &mut self,
        kept: Kept,
        manifest: &Manifest,
        (config, parsed): (Vec<u8>, Config),
        nested: bool,
    ) -> Result<Image> {
        same_count(manifest.layers.len(), &parsed, &blob(&manifest.config.digest))?;
        // A manifest that something else names by its digest, or whose layers are all kept as they
        // are, stays.
        let named = nested || self.subjects.contains(&kept.descriptor.digest);
        let keep = named || manifest.is_special() || self.all_compressed(manifest)?;
        if keep {
            self.check_forms(manifest)?;
        }
        let layer = |(layer, diff_id): (&Descriptor, &Digest)| Layer {
            entry: blob(&layer.digest),
            diff_id: *diff_id,
            verbatim: keep.then_some(layer.digest),
        };
        let layers = manifest.layers.iter().zip(&parsed.rootfs.diff_ids).map(layer).collect();
        let annotations = manifest.annotations.clone();
        Ok(Image { config, parsed, layers, manifest: keep.then_some(kept), annotations })
    }

    fn all_compressed(&self, manifest: &Manifest) -> Result<bool> {
        for layer in &manifest.layers {
            let found = self.form(layer)?;
            if found == Form::Plain || found != Form::named(&layer.media_type) {
                return Ok(false);
            }
        }
        Ok(!manifest.layers.is_empty())
    }

    /// A manifest that is kept must name its layers' forms rightly: readers go by it.
    fn check_forms(&self, manifest: &Manifest) -> Result<()> {
        for layer in &manifest.layers {
            let (found, named) = (self.form(layer)?, Form::named(&layer.media_type));
            if found != named && layer.media_type.contains(".tar") {
                let what = format!("the layer `{}`", layer.digest);
                let reason = format!("its media type is `{}`, and it is {found:?}", layer.media_type);
                return Err(Error::BadDocument { what, reason: reason.to_lowercase() });
            }
        }
        Ok(())
    }

    /// How the layer is compressed in the archive.
    fn form(&self, layer: &Descriptor) -> Result<Form> {
        Ok(match self.catalog.find(&blob(&layer.digest))? {
            // What imgtar compressed itself has another digest than its entry.
            Some((_, Slot::Brought(brought))) if brought.shape.digest == layer.digest => brought.shape.form,
            Some((_, Slot::InFile(place))) => place.form,
            _ => Form::Plain,
        })
    }

    fn branch(&mut self, index: Kept, depth: usize) -> Result<Option<Node>> {
        let what = format!("the index `{}`", index.descriptor.digest);
        if depth == DEPTH {
            return Err(Error::BadDocument { what, reason: "its indexes are nested too deep".to_owned() });
        }
        let parsed: Index = oci::parse(&index.bytes, &what)?;
        oci::subject(&index.bytes, &what)?;
        let mut nodes = Vec::new();
        for descriptor in &parsed.manifests {
            nodes.extend(self.node(descriptor, depth + 1)?.map(|node| (descriptor.clone(), node)));
        }
        let whole = nodes.len() == parsed.manifests.len();
        // One that lists nothing may be what refers to an image.
        let kept = !nodes.is_empty() || whole && referrers::subject(&index.bytes).is_some();
        Ok(kept.then_some(Node::Index(Branch { index, nodes, whole })))
    }
}

/// The type of a manifest, by its own word where that is one.
fn manifest_type(manifest: &Manifest) -> &'static str {
    match manifest.media_type.as_deref() {
        Some(oci::DOCKER_MANIFEST) => oci::DOCKER_MANIFEST,
        _ => oci::MANIFEST,
    }
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The names on an `index.json`'s descriptor. A mere tag is not a name.
fn names(descriptor: &Descriptor) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(name) = descriptor.annotations.get(oci::annotation::IMAGE_NAME) {
        names.push(familiar(name).to_owned());
    } else if let Some(name) =
        descriptor.annotations.get(oci::REF_NAME).filter(|name| name.contains([':', '/']))
    {
        names.push(familiar(name).to_owned());
    }
    names
}
