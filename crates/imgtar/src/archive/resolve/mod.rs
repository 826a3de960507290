//! Finds the images in an archive's entries. Decides; writes nothing.
//!
//! An `index.json` (OCI layout, Docker from 25 on) goes before a `manifest.json` (docker-archive),
//! which then only adds names. One that lists nothing, as that of Docker's `save` of an ID, leaves
//! the images to it.
//!
//! Source: OCI image-spec v1.1, image-layout.md; Docker's image spec v1.2, "Combined Image JSON +
//! Filesystem Changeset Format".

mod layout;

use std::collections::HashMap;

use serde::Deserialize;
use storekit::{Descriptor, Digest};

use crate::archive::catalog::Catalog;
use crate::error::{Error, Result};
use crate::format::image_name::{self, familiar};
use crate::format::oci::{self, Config};

/// The most names that an archive may list.
const NAMES: usize = 10_000;
/// The most bytes that the configs of a docker-archive may have together: each image of it has one,
/// however many share it.
const CONFIGS: u64 = 64 << 20;

/// Names of entries, with the digests of their bytes.
pub type Misnamed = Vec<(String, Digest)>;

/// What is in an archive.
#[derive(Debug, Default)]
pub struct Plan {
    /// What its index lists, each with the names that it has.
    pub roots: Vec<Root>,
    /// What an index lists and the archive does not hold.
    pub absent: Vec<Descriptor>,
    /// Names that no engine takes.
    pub bad_names: Vec<String>,
    /// Configs whose entries are named by another digest than theirs: the entries' names, the
    /// digests.
    pub misnamed: Misnamed,
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
    /// An image of the archive.
    Image(Image),
    /// A manifest that is not an image, such as an attestation.
    Artifact(Artifact),
    /// What an index lists and is not a document, such as the layers in an index of BuildKit's
    /// cache: the entry and the digest of its very bytes.
    Blob(String, Digest),
    /// An image for several platforms.
    Index(Branch),
}

/// An image of the archive.
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

/// A layer of an image in the archive.
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
    /// The document's bytes, as in the archive.
    pub bytes: Vec<u8>,
}

/// A manifest that is not an image.
#[derive(Debug)]
pub struct Artifact {
    /// The artifact's manifest.
    pub manifest: Kept,
    /// Its blobs, config included: the entries and the digests of their very bytes.
    pub blobs: Vec<(String, Digest)>,
}

/// An index inside an index.
#[derive(Debug)]
pub struct Branch {
    /// The index itself.
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
/// [`Error::NoImage`] where no image is complete; documents that cannot be understood.
pub fn resolve(catalog: &Catalog<'_>) -> Result<Plan> {
    let saved = match catalog.document("manifest.json")? {
        Some(bytes) => oci::parse::<Option<Vec<Saved>>>(&bytes, "`manifest.json`")?.unwrap_or_default(),
        None => Vec::new(),
    };
    at_most_names(saved.iter().flat_map(|image| &image.repo_tags).map(Vec::len).sum(), "`manifest.json`")?;
    let mut plan = match catalog.document("index.json")? {
        Some(bytes) => layout::read(catalog, &bytes)?,
        None => Plan::default(),
    };
    if plan.roots.is_empty() {
        (plan.roots, plan.misnamed) = archive(catalog, &saved)?;
    } else {
        add_names(catalog, &mut plan.roots, &saved)?;
    }
    for root in &mut plan.roots {
        let (good, bad) = image_name::sorted_out(&root.names);
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
fn add_names(catalog: &Catalog<'_>, roots: &mut [Root], saved: &[Saved]) -> Result<()> {
    let mut digests = HashMap::new();
    for Saved { config, repo_tags, .. } in saved.iter().filter(|saved| saved.repo_tags.is_some()) {
        // What the entry is called need not be its digest.
        if !digests.contains_key(config) {
            let bytes = catalog.document(&entry_name(config)?)?;
            digests.insert(config, bytes.map(|bytes| Digest::of(&bytes)));
        }
        let Some(Some(digest)) = digests.get(config) else { continue };
        for root in roots.iter_mut().filter(|root| root.node.has_config(digest)) {
            add_new(&mut root.names, repo_tags.iter().flatten().map(|name| familiar(name).to_owned()));
        }
    }
    Ok(())
}

/// Each name is compared with each other one.
fn at_most_names(count: usize, what: &str) -> Result<()> {
    if count <= NAMES {
        return Ok(());
    }
    let reason = format!("it has {count} names, and {NAMES} are the most that are read");
    Err(Error::BadDocument { what: what.to_owned(), reason })
}

fn add_new(names: &mut Vec<String>, new: impl Iterator<Item = String>) {
    for name in new.filter(|name| !name.is_empty()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

/// The images of a `manifest.json`, and the configs that are named by another digest than theirs.
fn archive(catalog: &Catalog<'_>, saved: &[Saved]) -> Result<(Vec<Root>, Misnamed)> {
    let (mut roots, mut misnamed, mut bytes): (Vec<Root>, Vec<_>, u64) = (Vec::new(), Vec::new(), 0);
    for one in saved {
        let image = archived(catalog, one)?;
        bytes += image.config.len() as u64;
        if bytes > CONFIGS {
            let most = storekit::ByteSize(CONFIGS);
            let reason = format!("the configs of its images have more than {most} together");
            return Err(Error::BadDocument { what: "`manifest.json`".to_owned(), reason });
        }
        misnamed.extend(other_digest(&one.config, &image.config).map(|found| (one.config.clone(), found)));
        let names = one.repo_tags.iter().flatten().map(|name| familiar(name).to_owned()).collect();
        roots.push(Root { node: Node::Image(image), names });
    }
    misnamed.dedup();
    Ok((roots, misnamed))
}

/// The digest of the config's bytes, where the name of its entry is another digest. Docker's and
/// podman's readers do not look at that name either: the image's ID is the digest of the bytes.
fn other_digest(name: &str, config: &[u8]) -> Option<Digest> {
    let announced = Digest::from_hex(name.trim_end_matches(".json").rsplit('/').next()?)?;
    let found = Digest::of(config);
    (announced != found).then_some(found)
}

fn archived(catalog: &Catalog<'_>, saved: &Saved) -> Result<Image> {
    let missing =
        |name: &str| Error::NoImage { reason: format!("the entry `{}` is missing", name.escape_debug()) };
    let name = entry_name(&saved.config)?;
    let config = catalog.document(&name)?.ok_or_else(|| missing(&name))?.into_owned();
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
    crate::format::entry_path::normalize(name.as_bytes()).map_err(|reason| Error::Hostile {
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

impl Node {
    fn has_config(&self, digest: &Digest) -> bool {
        match self {
            Self::Image(image) => Digest::of(&image.config) == *digest,
            Self::Artifact(_) | Self::Blob(..) => false,
            Self::Index(branch) => branch.nodes.iter().any(|(_, node)| node.has_config(digest)),
        }
    }

    /// Whether something below is not an image.
    #[must_use]
    pub fn has_artifact(&self) -> bool {
        match self {
            Self::Image(_) | Self::Blob(..) => false,
            Self::Artifact(_) => true,
            Self::Index(branch) => branch.nodes.iter().any(|(_, node)| node.has_artifact()),
        }
    }

    /// All images below, in order.
    #[must_use]
    pub fn images(&self) -> Vec<&Image> {
        match self {
            Self::Image(image) => vec![image],
            Self::Artifact(_) | Self::Blob(..) => Vec::new(),
            Self::Index(branch) => branch.nodes.iter().flat_map(|(_, node)| node.images()).collect(),
        }
    }
}
