//! Finds the images in an archive's entries. Decides; writes nothing.
//!
//! An `index.json` (OCI layout, Docker from 25 on) goes before a `manifest.json` (docker-archive), which then
//! only adds names.
//!
//! Source: OCI image-spec v1.1, image-layout.md; Docker's image spec v1.2, "Combined Image JSON + Filesystem
//! Changeset Format".

use serde::Deserialize;
use storekit::{Descriptor, Digest};

use crate::catalog::{Catalog, Slot};
use crate::error::{Error, Result};
use crate::form::Form;
use crate::name::{self, familiar};
use crate::oci::{self, Config, Index, Manifest};

/// Indexes may stand in indexes this deep.
const DEPTH: usize = 4;

/// What is in an archive.
#[derive(Debug, Default)]
pub struct Plan {
    /// What its index lists, each with the names that it has.
    pub roots: Vec<Root>,
    /// What an index lists and the archive does not hold.
    pub absent: Vec<Descriptor>,
    /// Names that no engine takes.
    pub bad_names: Vec<String>,
}

/// Something that an archive's index lists.
#[derive(Debug)]
pub struct Root {
    /// What it is.
    pub node: Node,
    /// Names such as `app:latest`.
    pub names: Vec<String>,
}

/// A manifest or an index.
#[derive(Debug)]
pub enum Node {
    /// An image.
    Image(Image),
    /// A manifest that is no image, such as an attestation.
    Artifact(Artifact),
    /// An image for several platforms.
    Index(Branch),
}

/// An image.
#[derive(Debug)]
pub struct Image {
    /// The config's very bytes.
    pub config: Vec<u8>,
    /// The config, understood.
    pub parsed: Config,
    /// The layers, from the base upward.
    pub layers: Vec<Layer>,
    /// The manifest that came with it, where that is to be kept as it is.
    pub manifest: Option<Kept>,
    /// Its descriptor's annotations and platform, its manifest's annotations.
    pub annotations: oci::Annotations,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The entry with its bytes.
    pub entry: String,
    /// The digest of its tar.
    pub diff_id: Digest,
    /// The digest of its very bytes, where the manifest is kept.
    pub verbatim: Option<Digest>,
}

/// A document with its descriptor, kept byte for byte.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What names it.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A manifest that is no image.
#[derive(Debug)]
pub struct Artifact {
    /// The manifest.
    pub manifest: Kept,
    /// Its blobs, config included: the entries and the digests of their very bytes.
    pub blobs: Vec<(String, Digest)>,
}

/// An index inside an index.
#[derive(Debug)]
pub struct Branch {
    /// The index.
    pub index: Kept,
    /// What is there of what it lists.
    pub nodes: Vec<(Descriptor, Node)>,
    /// Whether all is there.
    pub whole: bool,
}

/// One image of a docker-archive's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds the images.
///
/// # Errors
/// [`Error::NoImage`] where there is none, or none whole; documents that cannot be understood.
pub fn resolve(catalog: &Catalog<'_>) -> Result<Plan> {
    let saved = match catalog.document("manifest.json")? {
        Some(bytes) => oci::parse::<Vec<Saved>>(&bytes, "`manifest.json`")?,
        None => Vec::new(),
    };
    let mut plan = match catalog.document("index.json")? {
        Some(bytes) => Resolver { catalog, absent: Vec::new() }.layout(&bytes)?,
        None => Plan { roots: archive(catalog, &saved)?, ..Plan::default() },
    };
    add_names(&mut plan.roots, &saved);
    for root in &mut plan.roots {
        let (good, bad) = name::sorted_out(&root.names);
        root.names = good;
        plan.bad_names.extend(bad);
    }
    match (plan.roots.is_empty(), plan.absent.first()) {
        (false, _) => Ok(plan),
        (true, Some(absent)) => Err(Error::NoImage { reason: format!("`{}` is missing", absent.digest) }),
        (true, None) => Err(Error::NoImage { reason: nothing_in(catalog)?.to_owned() }),
    }
}

/// Why an archive in which nothing is missing has no image.
fn nothing_in(catalog: &Catalog<'_>) -> Result<&'static str> {
    Ok(match (catalog.find("index.json")?, catalog.find("manifest.json")?) {
        (Some(_), _) => "its index.json lists none",
        (None, Some(_)) => "its manifest.json lists none",
        (None, None) => "it has no index.json and no manifest.json",
    })
}

/// Names that only `manifest.json` has go to the images with the same configs.
fn add_names(roots: &mut [Root], saved: &[Saved]) {
    for Saved { config, repo_tags, .. } in saved {
        let hex = config.trim_end_matches(".json").rsplit('/').next().unwrap_or_default();
        let Some(digest) = Digest::from_hex(hex) else { continue };
        for root in roots.iter_mut().filter(|root| root.node.has_config(&digest)) {
            add_new(&mut root.names, repo_tags.iter().flatten().map(|name| familiar(name).to_owned()));
        }
    }
}

fn add_new(names: &mut Vec<String>, new: impl Iterator<Item = String>) {
    for name in new.filter(|name| !name.is_empty()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

/// The images of a `manifest.json`.
fn archive(catalog: &Catalog<'_>, saved: &[Saved]) -> Result<Vec<Root>> {
    let mut roots: Vec<Root> = Vec::new();
    for image in saved {
        let names = image.repo_tags.iter().flatten().map(|name| familiar(name).to_owned()).collect();
        roots.push(Root { node: Node::Image(archived(catalog, image)?), names });
    }
    Ok(roots)
}

fn archived(catalog: &Catalog<'_>, saved: &Saved) -> Result<Image> {
    let missing =
        |name: &str| Error::NoImage { reason: format!("the entry `{}` is missing", name.escape_debug()) };
    let name = entry_name(&saved.config)?;
    let config = catalog.document(&name)?.ok_or_else(|| missing(&name))?.into_owned();
    if let Some(announced) = name.strip_suffix(".json").and_then(Digest::from_hex) {
        let found = Digest::of(&config);
        if announced != found {
            return Err(Error::Mismatch { what: format!("the entry `{name}`"), announced, found });
        }
    }
    let parsed: Config = oci::parse(&config, &format!("`{name}`"))?;
    let entries = saved.layers.iter().flatten().map(|layer| entry_name(layer)).collect::<Result<Vec<_>>>()?;
    same_count(entries.len(), &parsed, &name)?;
    if let Some(entry) = absent(catalog, &entries)? {
        return Err(missing(&entry));
    }
    let layer = |(entry, diff_id): (String, &Digest)| Layer { entry, diff_id: *diff_id, verbatim: None };
    let layers = entries.into_iter().zip(&parsed.rootfs.diff_ids).map(layer).collect();
    Ok(Image { config, parsed, layers, manifest: None, annotations: oci::Annotations::new() })
}

fn entry_name(name: &str) -> Result<String> {
    crate::path::normalize(name.as_bytes()).map_err(|reason| Error::Hostile {
        entry: format!("manifest.json: {}", name.escape_debug()),
        reason: reason.to_owned(),
    })
}

fn same_count(layers: usize, config: &Config, what: &str) -> Result<()> {
    let diff_ids = config.rootfs.diff_ids.len();
    if layers == diff_ids {
        return Ok(());
    }
    let reason = format!("it has {diff_ids} diff_ids, and its manifest has {layers} layers");
    Err(Error::BadDocument { what: format!("the config `{what}`"), reason })
}

fn absent(catalog: &Catalog<'_>, entries: &[String]) -> Result<Option<String>> {
    for entry in entries {
        if catalog.find(entry)?.is_none() {
            return Ok(Some(entry.clone()));
        }
    }
    Ok(None)
}

/// Follows an OCI layout.
struct Resolver<'a> {
    catalog: &'a Catalog<'a>,
    absent: Vec<Descriptor>,
}

impl Resolver<'_> {
    fn layout(mut self, bytes: &[u8]) -> Result<Plan> {
        let index: Index = oci::parse(bytes, "`index.json`")?;
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

    /// What the descriptor names; nothing where parts of it are not in the archive.
    fn node(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<Node>> {
        let entry = blob(&descriptor.digest);
        let Some(bytes) = self.catalog.document(&entry)? else {
            self.absent.push(descriptor.clone());
            return Ok(None);
        };
        self.check_size(descriptor)?;
        let kept = Kept { descriptor: descriptor.clone(), bytes: bytes.into_owned() };
        if descriptor.is_index() {
            return self.branch(kept, depth);
        }
        let manifest: Manifest = oci::parse(&kept.bytes, &format!("the manifest `{}`", descriptor.digest))?;
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
            return self.image(kept, &manifest, depth > 0).map(|image| Some(Node::Image(image)));
        }
        Ok(Some(Node::Artifact(Artifact { manifest: kept, blobs })))
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

    fn image(&self, kept: Kept, manifest: &Manifest, nested: bool) -> Result<Image> {
        let entry = blob(&manifest.config.digest);
        let missing = || Error::NoImage { reason: format!("the entry `{entry}` is missing") };
        let config = self.catalog.document(&entry)?.ok_or_else(missing)?.into_owned();
        let parsed: Config = oci::parse(&config, &format!("the config `{entry}`"))?;
        same_count(manifest.layers.len(), &parsed, &entry)?;
        // A manifest that something else names by its digest, or whose layers are all kept as they are, stays.
        let keep = nested || manifest.has_subject() || self.all_compressed(manifest)?;
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
            Some((_, Slot::Stored(stored))) if stored.lease.digest() == layer.digest => stored.form,
            Some((_, Slot::Place(place))) => place.form,
            _ => Form::Plain,
        })
    }

    fn branch(&mut self, index: Kept, depth: usize) -> Result<Option<Node>> {
        let what = format!("the index `{}`", index.descriptor.digest);
        if depth == DEPTH {
            return Err(Error::BadDocument { what, reason: "indexes stand in it too deep".to_owned() });
        }
        let parsed: Index = oci::parse(&index.bytes, &what)?;
        let mut nodes = Vec::new();
        for descriptor in &parsed.manifests {
            nodes.extend(self.node(descriptor, depth + 1)?.map(|node| (descriptor.clone(), node)));
        }
        let whole = nodes.len() == parsed.manifests.len();
        Ok((!nodes.is_empty()).then_some(Node::Index(Branch { index, nodes, whole })))
    }
}

impl Node {
    fn has_config(&self, digest: &Digest) -> bool {
        match self {
            Self::Image(image) => Digest::of(&image.config) == *digest,
            Self::Artifact(_) => false,
            Self::Index(branch) => branch.nodes.iter().any(|(_, node)| node.has_config(digest)),
        }
    }

    /// All images below, in order.
    #[must_use]
    pub fn images(&self) -> Vec<&Image> {
        match self {
            Self::Image(image) => vec![image],
            Self::Artifact(_) => Vec::new(),
            Self::Index(branch) => branch.nodes.iter().flat_map(|(_, node)| node.images()).collect(),
        }
    }
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The names on an `index.json`'s descriptor. A mere tag is none.
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
