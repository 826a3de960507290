//! Writes what [`crate::archive::resolve`] has found into the store: layers that are not there,
//! then documents, bottom up.

use std::collections::HashMap;

use storekit::{Descriptor, Digest, Lease};

use crate::archive::catalog::{Brought, Catalog, FileRange, Slot};
use crate::archive::resolve::{Artifact, Branch, Image, Layer, Node, Plan};
use crate::error::{Error, Result};
use crate::format::compression::Form;
use crate::format::oci::{self, Index, Manifest, annotation};
use crate::layer::known::Known;
use crate::layer::{self, Announced, Shape, Stored};

/// Writes images, and keeps what it wrote leased.
pub struct Assembler<'a> {
    catalog: &'a Catalog<'a>,
    known: &'a Known,
    leases: Vec<Lease>,
    layers: HashMap<Digest, Descriptor>,
    /// How many layers were there already.
    pub reused: usize,
    /// How many layers were written.
    pub written: usize,
}

impl<'a> Assembler<'a> {
    /// One that has written nothing.
    #[must_use]
    pub fn new(catalog: &'a Catalog<'a>, known: &'a Known) -> Self {
        Self { catalog, known, leases: Vec::new(), layers: HashMap::new(), reused: 0, written: 0 }
    }

    /// The leases on all that was written or reused.
    #[must_use]
    pub fn into_leases(self) -> Vec<Lease> {
        self.leases
    }

    /// Writes all images of a plan. Returns what names them: a manifest, or an index where there
    /// are several.
    ///
    /// # Errors
    /// Layers that are not what the configs announce; I/O errors.
    pub fn plan(&mut self, plan: &Plan) -> Result<Descriptor> {
        self.reuse_places(plan)?;
        let mut roots = Vec::new();
        for root in &plan.roots {
            let descriptor = self.node(&root.node)?;
            if plan.roots.len() == 1 {
                return Ok(descriptor);
            }
            roots.extend(named(&descriptor, &root.names));
        }
        let mut index = Index::new(roots);
        index.annotations.insert(annotation::SEVERAL.to_owned(), "1".to_owned());
        self.put(oci::INDEX, &oci::to_bytes(&index))
    }

    fn node(&mut self, node: &Node) -> Result<Descriptor> {
        match node {
            Node::Image(image) => self.image(image),
            Node::Artifact(artifact) => self.artifact(artifact),
            Node::Blob(entry, digest) => {
                self.verbatim(entry, *digest)?;
                Ok(Descriptor::new("", *digest, 0))
            }
            Node::Index(branch) => self.branch(branch),
        }
    }

    fn image(&mut self, image: &Image) -> Result<Descriptor> {
        let layers = image.layers.iter().map(|layer| self.layer(layer)).collect::<Result<Vec<_>>>()?;
        let config = self.put(oci::CONFIG, &image.config)?;
        if let Some(kept) = &image.manifest {
            self.put(&kept.descriptor.media_type, &kept.bytes)?;
            return Ok(kept.descriptor.clone());
        }
        let mut manifest = Manifest::new(config, layers);
        manifest.annotations.clone_from(&image.annotations);
        let mut descriptor = self.put(oci::MANIFEST, &oci::to_bytes(&manifest))?;
        let platform = serde_json::to_value(image.parsed.platform()).unwrap_or_default();
        descriptor.other.insert("platform".to_owned(), platform);
        Ok(descriptor)
    }

    fn artifact(&mut self, artifact: &Artifact) -> Result<Descriptor> {
        for (entry, digest) in &artifact.blobs {
            self.verbatim(entry, *digest)?;
        }
        self.put(&artifact.manifest.descriptor.media_type, &artifact.manifest.bytes)?;
        Ok(artifact.manifest.descriptor.clone())
    }

    fn branch(&mut self, branch: &Branch) -> Result<Descriptor> {
        let mut descriptors = Vec::new();
        for (descriptor, node) in &branch.nodes {
            self.node(node)?;
            descriptors.push(descriptor.clone());
        }
        let kept = &branch.index;
        if branch.whole {
            self.put(&kept.descriptor.media_type, &kept.bytes)?;
            return Ok(kept.descriptor.clone());
        }
        let mut index: Index = oci::parse(&kept.bytes, "the index")?;
        index.manifests = descriptors;
        self.put(&kept.descriptor.media_type, &oci::to_bytes(&index))
    }

    fn put(&mut self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let lease = self.catalog.blobs.put(bytes)?;
        let descriptor = Descriptor::new(media_type, lease.digest(), lease.size());
        self.leases.push(lease);
        Ok(descriptor)
    }

    /// A layer in whichever form; or in the very form that a kept manifest names.
    fn layer(&mut self, layer: &Layer) -> Result<Descriptor> {
        if let Some(digest) = layer.verbatim {
            let found = self.verbatim(&layer.entry, digest)?;
            check(layer, found)?;
            self.count(self.known.holds(&digest));
            return Ok(Descriptor::new(oci::LAYER, digest, 0));
        }
        if let Some(written) = self.layers.get(&layer.diff_id) {
            return Ok(written.clone());
        }
        let descriptor = match self.slot(&layer.entry)? {
            Slot::Brought(brought) => {
                check(layer, brought.shape.diff_id)?;
                self.brought_layer(layer, brought)?
            }
            _ => self.fresh_layer(layer)?,
        };
        self.layers.insert(layer.diff_id, descriptor.clone());
        Ok(descriptor)
    }

    /// A layer that a pipe brought: it needs no place in the store where it has one in an older
    /// form.
    fn brought_layer(&mut self, layer: &Layer, brought: &Brought) -> Result<Descriptor> {
        let Brought { shape, .. } = brought;
        if let Some((descriptor, lease)) =
            self.known.other(self.catalog.blobs, &layer.diff_id, &shape.digest)?
        {
            self.leases.push(lease);
            self.count(true);
            return Ok(again(&descriptor, shape.plain_size));
        }
        self.count(self.known.has(self.catalog.blobs, &layer.diff_id, shape));
        self.leases.extend(brought.publish()?);
        Ok(describe(shape))
    }

    fn count(&mut self, reused: bool) {
        *(if reused { &mut self.reused } else { &mut self.written }) += 1;
    }

    fn fresh_layer(&mut self, layer: &Layer) -> Result<Descriptor> {
        let stored = self.store(&layer.entry, None)?;
        check(layer, stored.shape.diff_id)?;
        let descriptor = describe(&stored.shape);
        self.leases.push(stored.lease);
        self.written += 1;
        Ok(descriptor)
    }

    /// A blob with its very bytes. Returns the digest of its plain bytes.
    fn verbatim(&mut self, entry: &str, digest: Digest) -> Result<Digest> {
        if let Slot::Brought(brought) = self.slot(entry)?
            && brought.shape.digest == digest
        {
            self.leases.extend(brought.publish()?);
            return Ok(brought.shape.diff_id);
        }
        let stored = self.store(entry, Some(digest))?;
        self.leases.push(stored.lease);
        Ok(stored.shape.diff_id)
    }

    fn slot(&self, entry: &str) -> Result<&'a Slot> {
        let missing = || Error::NoImage { reason: format!("the entry `{entry}` is missing") };
        self.catalog.find(entry)?.map(|(_, slot)| slot).ok_or_else(missing)
    }

    /// Writes an entry's bytes: with `verbatim` as they came, else plain tars compressed.
    fn store(&self, entry: &str, verbatim: Option<Digest>) -> Result<Stored> {
        let Catalog { blobs, progress, .. } = *self.catalog;
        let digest = verbatim.or(self.catalog.announced(entry)?);
        let announced =
            |size| Announced { digest, size: Some(size), verbatim: verbatim.is_some(), tar: false };
        match self.slot(entry)? {
            Slot::Document(bytes) => {
                layer::store(blobs, &mut bytes.as_slice(), announced(bytes.len() as u64), entry, &())
            }
            Slot::InFile(place) => {
                layer::store(blobs, &mut self.catalog.window(*place), announced(place.size), entry, progress)
            }
            // It came through a pipe and was compressed, and a manifest needs it as it came.
            Slot::Brought(brought) => {
                let Shape { form, plain_size, .. } = brought.shape;
                let packed = brought.open(blobs)?;
                let mut plain = form.decoder(packed).map_err(|source| Error::read(entry, source))?;
                layer::store(blobs, &mut plain, announced(plain_size), entry, &())
            }
            Slot::Link(_) => Err(Error::NoImage { reason: format!("the entry `{entry}` is missing") }),
        }
    }

    /// Layers of a file that are stored already are only hashed, by all processors at once.
    fn reuse_places(&mut self, plan: &Plan) -> Result<()> {
        let mut jobs = Vec::new();
        for layer in plan.roots.iter().flat_map(|root| root.node.images()).flat_map(|image| &image.layers) {
            let Slot::InFile(place) = self.slot(&layer.entry)? else { continue };
            // What also has to match another digest than the diffID is read in full.
            let other = self.catalog.announced(&layer.entry)?.is_some_and(|digest| digest != layer.diff_id);
            if layer.verbatim.is_some()
                || other
                || jobs.iter().any(|job: &StoredLayer<'_>| job.layer == layer)
            {
                continue;
            }
            if let Some((descriptor, lease)) = self.known.lease(self.catalog.blobs, &layer.diff_id)? {
                jobs.push(StoredLayer { layer, place: *place, descriptor, lease });
            }
        }
        // Both the bytes that came and those that are stored are read, by all processors at once.
        let mut reads: Vec<_> =
            jobs.iter().flat_map(|job| [Reading::Given(job), Reading::Stored(job)]).collect();
        // The largest first, so that none is left to one processor at the end.
        reads.sort_by_key(Reading::size);
        let found = crate::parallel::map(&reads, |read| read.run(self.catalog, self.known))?;
        let damaged: Vec<_> = reads
            .iter()
            .zip(&found)
            .filter(|(_, plain)| plain.is_none())
            .map(|(read, _)| read.digest())
            .collect();
        let given = reads.iter().zip(&found).filter_map(|(read, found)| read.given().zip(*found));
        let sizes: HashMap<Digest, u64> = given.collect();
        for job in jobs.into_iter().filter(|job| !damaged.contains(&job.descriptor.digest)) {
            let size = sizes.get(&job.layer.diff_id).copied().unwrap_or(job.place.size);
            self.layers.insert(job.layer.diff_id, again(&job.descriptor, size));
            self.leases.push(job.lease);
            self.reused += 1;
        }
        Ok(())
    }
}

/// A layer of a file that is stored already.
struct StoredLayer<'p> {
    layer: &'p Layer,
    place: FileRange,
    descriptor: Descriptor,
    lease: Lease,
}

/// One of the two things to be read before a stored layer is reused.
enum Reading<'j> {
    /// The layer as it came: it must be what the config announces.
    Given(&'j StoredLayer<'j>),
    /// The layer as it is stored.
    Stored(&'j StoredLayer<'j>),
}

impl Reading<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Given(job) => job.place.size,
            Self::Stored(job) => job.lease.size(),
        }
    }

    fn digest(&self) -> Digest {
        match self {
            Self::Given(job) | Self::Stored(job) => job.descriptor.digest,
        }
    }

    fn given(&self) -> Option<Digest> {
        match self {
            Self::Given(job) => Some(job.layer.diff_id),
            Self::Stored(_) => None,
        }
    }

    /// The number of bytes; `None` where the stored ones are damaged.
    fn run(&self, catalog: &Catalog<'_>, known: &Known) -> Result<Option<u64>> {
        match self {
            Self::Given(StoredLayer { layer, place, .. }) => {
                let (found, size) = layer::hash(&mut catalog.window(*place), &layer.entry, catalog.progress)?;
                check(layer, found)?;
                Ok(Some(size))
            }
            Self::Stored(job) => {
                let sound = known.is_sound(catalog.blobs, &job.descriptor.digest)?;
                Ok(sound.then(|| job.lease.size()))
            }
        }
    }
}

fn check(layer: &Layer, found: Digest) -> Result<()> {
    if found == layer.diff_id {
        return Ok(());
    }
    let what = format!("the layer `{}`", layer.entry);
    Err(Error::Mismatch { what, announced: layer.diff_id, found })
}

/// The descriptor of a layer that is written now.
pub(crate) fn describe(shape: &Shape) -> Descriptor {
    plain_named(&Descriptor::new("", shape.digest, shape.size), shape.form, shape.plain_size)
}

/// The descriptor of a layer that was there already.
pub(crate) fn again(known: &Descriptor, plain_size: u64) -> Descriptor {
    plain_named(known, Form::named(&known.media_type), plain_size)
}

/// The same where the number of its plain bytes is not known.
pub(crate) fn unsized_again(known: &Descriptor) -> Descriptor {
    let media_type = format!("{}{}", oci::LAYER, Form::named(&known.media_type).suffix());
    Descriptor::new(media_type, known.digest, known.size)
}

/// The descriptor of a stored layer for a manifest of ours.
fn plain_named(stored: &Descriptor, form: Form, plain_size: u64) -> Descriptor {
    let media_type = format!("{}{}", oci::LAYER, form.suffix());
    let mut descriptor = Descriptor::new(media_type, stored.digest, stored.size);
    descriptor.annotations.insert(annotation::PLAIN_SIZE.to_owned(), plain_size.to_string());
    descriptor
}

/// One descriptor for each name, since a descriptor has room for one; at least one.
pub(crate) fn named(descriptor: &Descriptor, names: &[String]) -> Vec<Descriptor> {
    let with_name = |name: &String| {
        let mut descriptor = descriptor.clone();
        descriptor.annotations.insert(annotation::IMAGE_NAME.to_owned(), name.clone());
        descriptor
    };
    if names.is_empty() { vec![descriptor.clone()] } else { names.iter().map(with_name).collect() }
}
