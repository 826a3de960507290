//! What is stored, for people and programs: one record for each key.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use storekit::{Descriptor, Digest, Images, Key, Listed, Origin};

use crate::error::{Error, Result};
use crate::format::oci;
use crate::image::disk::Disk;
use crate::image::{Artifact, Image, Stored};
use crate::parallel;

/// A key, as `ls --json` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Row {
    /// The key that the image is stored under.
    pub key: Key,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// The names that the image has in engines.
    pub names: Vec<String>,
    /// The IDs of its images (config digests), in the order of the index.
    pub ids: Vec<Digest>,
    /// Their platforms.
    pub platforms: Vec<String>,
    /// The stored bytes, every blob once. Blobs that other keys share are counted here too.
    pub bytes: u64,
    /// When it was saved.
    pub saved: Timestamp,
    /// When it was last used.
    pub used: Timestamp,
    /// How long its build took.
    pub build_seconds: Option<f64>,
    /// Where it came from: `image`, `host`, `commit` and `project`, as far as they are known.
    #[serde(flatten)]
    pub origin: Origin,
    /// What the artifacts in it are, such as `application/vnd.cncf.helm.config.v1+json`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifact_types: Vec<String>,
    /// The disk, where it is one and no container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskInfo>,
    /// What is wrong with it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether that is only that Git LFS has not fetched its blobs.
    #[serde(skip)]
    pub not_fetched: bool,
}

/// What is shown of a disk image.
#[derive(Clone, Debug, Serialize)]
pub struct DiskInfo {
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// The size of the disk that a machine sees, in bytes.
    pub virtual_bytes: u64,
    /// The size of the file, holes included, in bytes.
    pub file_bytes: u64,
    /// In how many chunks it is stored; those of zeros are not.
    pub chunks: usize,
    /// The file that has what is not in this one, which is not stored; only told by [`info`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing_file: Option<String>,
    /// The file with the disk's bytes, which is not stored: empty where its name is not known; only
    /// told by [`info`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_file: Option<String>,
}

/// A key in every detail, as `info --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// What `ls` says of it.
    #[serde(flatten)]
    pub row: Row,
    /// What the digest names.
    pub media_type: String,
    /// The container images under the key.
    pub images: Vec<ImageInfo>,
    /// What is not an image in it, such as a chart or a signature.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactInfo>,
}

/// A manifest that is not an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArtifactInfo {
    /// The digest of its manifest.
    pub manifest: Digest,
    /// What kind it is: by its own word, or by its config's type.
    pub artifact_type: String,
    /// What it refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The files that the artifact consists of.
    pub files: Vec<FileInfo>,
}

/// A file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileInfo {
    /// Its name, where the manifest tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// The file's size in bytes.
    pub bytes: u64,
}

/// What is shown of a container image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageInfo {
    /// The image's ID: the digest of its config.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// For which machine.
    pub platform: String,
    /// When it was made, as its config says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The names that the image has in engines.
    pub names: Vec<String>,
    /// Its layers, from the base upward.
    pub layers: Vec<LayerInfo>,
}

/// What is shown of a layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerInfo {
    /// The digest of its plain bytes.
    pub diff_id: Digest,
    /// The digest of its stored form.
    pub digest: Digest,
    /// How it is stored.
    pub media_type: String,
    /// How many bytes it takes in the store.
    pub bytes: u64,
    /// Its plain bytes, where its manifest tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
}

/// All keys, sorted. One that is damaged is listed with what is wrong.
///
/// # Errors
/// Key files that cannot be read; I/O errors.
pub fn list(images: &Images) -> Result<Vec<Row>> {
    let rows = parallel::map(&images.list()?, |listed| Ok::<_, Error>(row(images, listed)))?;
    Ok(rows.into_iter().flatten().collect())
}

/// `None` where the key is gone meanwhile.
fn row(images: &Images, Listed { key, entry, used }: &Listed) -> Option<Row> {
    let empty = Row {
        key: key.clone(),
        digest: entry.descriptor.digest,
        names: entry.names.clone(),
        ids: Vec::new(),
        platforms: Vec::new(),
        bytes: 0,
        saved: entry.saved,
        used: timestamp(*used),
        build_seconds: entry.build_seconds,
        origin: entry.origin.clone(),
        artifact_types: Vec::new(),
        disk: None,
        problem: None,
        not_fetched: false,
    };
    let filled = Stored::open(images, key)
        .and_then(|stored| stored.map(|stored| filled(empty.clone(), images, &stored)).transpose());
    filled.unwrap_or_else(|error| {
        let not_fetched = matches!(error, Error::Store(storekit::Error::NotFetched { .. }));
        Some(Row { problem: Some(error.to_string()), not_fetched, ..empty })
    })
}

fn filled(row: Row, images: &Images, stored: &Stored) -> Result<Row> {
    let disk = disk(images, stored)?;
    let artifacts = if disk.is_some() { Vec::new() } else { artifacts(stored) };
    Ok(Row {
        artifact_types: artifacts.into_iter().map(|artifact| artifact.artifact_type).collect(),
        ids: stored.ids(),
        platforms: stored.images.iter().map(|image| image.platform().to_string()).collect(),
        bytes: stored.size(),
        disk,
        ..row
    })
}

fn disk(images: &Images, stored: &Stored) -> Result<Option<DiskInfo>> {
    if !stored.images.is_empty() {
        return Ok(None);
    }
    let disk = Disk::read(&images.blobs(), &stored.key, &stored.entry.descriptor)?;
    Ok(disk.map(|disk| DiskInfo {
        format: disk.format.name(),
        virtual_bytes: disk.virtual_size,
        file_bytes: disk.size,
        chunks: disk.chunks.len(),
        backing_file: None,
        data_file: None,
    }))
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// One key in every detail. `None` where nothing is stored under it.
///
/// # Errors
/// Damaged or missing blobs; I/O errors.
pub fn info(images: &Images, key: &Key) -> Result<Option<Info>> {
    let Some(stored) = Stored::open(images, key)? else { return Ok(None) };
    let used = images.last_use(key)?.unwrap_or_else(SystemTime::now);
    let row = Row {
        key: key.clone(),
        digest: stored.entry.descriptor.digest,
        names: stored.entry.names.clone(),
        ids: Vec::new(),
        platforms: Vec::new(),
        bytes: 0,
        saved: stored.entry.saved,
        used: timestamp(used),
        build_seconds: stored.entry.build_seconds,
        origin: stored.entry.origin.clone(),
        artifact_types: Vec::new(),
        disk: None,
        problem: None,
        not_fetched: false,
    };
    let media_type = stored.entry.descriptor.media_type.clone();
    let mut row = filled(row, images, &stored)?;
    if let Some(disk) = &mut row.disk {
        add_files(disk, images, &stored)?;
    }
    let artifacts = if row.disk.is_some() { Vec::new() } else { artifacts(&stored) };
    Ok(Some(Info { row, artifacts, media_type, images: stored.images.iter().map(image_info).collect() }))
}

/// The files that a disk needs beside its own: the header of a qcow2 names them.
fn add_files(info: &mut DiskInfo, images: &Images, stored: &Stored) -> Result<()> {
    let blobs = images.blobs();
    let Some(disk) = Disk::read(&blobs, &stored.key, &stored.entry.descriptor)? else { return Ok(()) };
    if let Some(header) = disk.header(&blobs, &stored.key)? {
        info.backing_file = header.backing;
        info.data_file = header.external.then(|| header.data_file.unwrap_or_default());
    }
    Ok(())
}

/// What is stored and is not an image.
#[must_use]
pub fn artifacts(stored: &Stored) -> Vec<ArtifactInfo> {
    stored.artifacts.iter().map(artifact_info).collect()
}

fn artifact_info(Artifact { descriptor, manifest }: &Artifact) -> ArtifactInfo {
    let file = |layer: &Descriptor| FileInfo {
        name: layer.annotations.get(oci::annotation::TITLE).cloned(),
        digest: layer.digest,
        media_type: layer.media_type.clone(),
        bytes: layer.size,
    };
    let subject = manifest.rest.get("subject").and_then(|subject| subject.get("digest")?.as_str());
    ArtifactInfo {
        manifest: descriptor.digest,
        artifact_type: manifest.artifact_type().to_owned(),
        subject: subject.map(str::to_owned),
        files: manifest.layers.iter().filter(|layer| layer.media_type != oci::EMPTY).map(file).collect(),
    }
}

fn image_info(image: &Image) -> ImageInfo {
    let layer = |layer: crate::image::Layer<'_>| LayerInfo {
        diff_id: layer.diff_id,
        digest: layer.descriptor.digest,
        media_type: layer.descriptor.media_type.clone(),
        bytes: layer.descriptor.size,
        plain_bytes: layer.plain_size(),
    };
    ImageInfo {
        id: image.id(),
        manifest: image.descriptor.digest,
        platform: image.platform().to_string(),
        created: image.parsed.created.clone(),
        names: image.names.clone(),
        layers: image.layers().map(layer).collect(),
    }
}
