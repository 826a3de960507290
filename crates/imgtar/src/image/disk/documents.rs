//! The manifests that describe a disk, written and read back.
//!
//! They are not trusted when read: offsets, sizes and counts are checked first.

use serde_json::Value;
use storekit::{Blobs, Descriptor, Digest, Key};

use super::{CHUNK, Chunk, Disk, Format, PACKED, PART};
use crate::error::{Error, Result};
use crate::format::oci::{self, Annotations, DOCUMENT_CAP, EMPTY, Index, Manifest};

/// What artifact types of disks begin with; the format and the version follow.
const TYPE: &str = "application/vnd.larder.disk.";
const VERSION: &str = ".v1";
/// The media type of a chunk.
const CHUNK_TYPE: &str = "application/vnd.larder.disk.chunk.v1+zstd";
/// The bytes that stand where an artifact has no config, or no layer.
pub(crate) const EMPTY_BYTES: &[u8] = b"{}";

const SIZE: &str = "dev.larder.disk.size";
const VIRTUAL: &str = "dev.larder.disk.virtual-size";
const CHUNK_SIZE: &str = "dev.larder.disk.chunk-size";
const OFFSET: &str = "dev.larder.disk.offset";
const PLAIN: &str = "dev.larder.disk.digest";

/// The disk's documents; the last is the one that names them all. With their media types.
pub(crate) fn write(disk: &Disk) -> Vec<(&'static str, Vec<u8>)> {
    if disk.chunks.len() <= PART {
        return vec![(oci::MANIFEST, oci::to_bytes(&manifest(disk, &disk.chunks)))];
    }
    let mut documents = Vec::new();
    let mut listed = Vec::new();
    for part in disk.chunks.chunks(PART) {
        let bytes = oci::to_bytes(&manifest(disk, part));
        let mut descriptor = Descriptor::new(oci::MANIFEST, Digest::of(&bytes), bytes.len() as u64);
        descriptor.other.insert("artifactType".to_owned(), artifact_type(disk.format));
        listed.push(descriptor);
        documents.push((oci::MANIFEST, bytes));
    }
    let mut index = Index::new(listed);
    index.annotations = annotations(disk);
    index.rest.insert("artifactType".to_owned(), artifact_type(disk.format));
    documents.push((oci::INDEX, oci::to_bytes(&index)));
    documents
}

fn manifest(disk: &Disk, chunks: &[Chunk]) -> Manifest {
    let mut layers: Vec<Descriptor> = chunks.iter().map(described).collect();
    if layers.is_empty() {
        layers.push(empty());
    }
    let mut manifest = Manifest::new(empty(), layers);
    manifest.annotations = annotations(disk);
    manifest.rest.insert("artifactType".to_owned(), artifact_type(disk.format));
    manifest
}

fn artifact_type(format: Format) -> Value {
    format!("{TYPE}{}{VERSION}", format.name()).into()
}

fn annotations(disk: &Disk) -> Annotations {
    let numbers = [(SIZE, disk.size), (VIRTUAL, disk.virtual_size), (CHUNK_SIZE, CHUNK)];
    numbers.into_iter().map(|(name, number)| (name.to_owned(), number.to_string())).collect()
}

fn described(chunk: &Chunk) -> Descriptor {
    let mut descriptor = Descriptor::new(CHUNK_TYPE, chunk.packed, chunk.packed_size);
    descriptor.annotations.insert(OFFSET.to_owned(), chunk.offset.to_string());
    descriptor.annotations.insert(PLAIN.to_owned(), chunk.plain.to_string());
    descriptor
}

fn empty() -> Descriptor {
    let mut empty = Descriptor::new(EMPTY, Digest::of(EMPTY_BYTES), EMPTY_BYTES.len() as u64);
    empty.other.insert("data".to_owned(), "e30=".into());
    empty
}

/// Reads the disk that a descriptor names; `None` where it names something else.
///
/// # Errors
/// Missing or damaged documents; those that contradict themselves, or are of a later version.
pub(crate) fn read(blobs: &Blobs, key: &Key, root: &Descriptor) -> Result<Option<Disk>> {
    let corrupt = |reason: &str| Error::Corrupt { key: key.clone(), reason: reason.to_owned() };
    let document = |descriptor: &Descriptor| Ok::<_, Error>(blobs.read(&descriptor.digest, DOCUMENT_CAP)?);
    let understood = |error: Error| corrupt(&format!("a document {error}"));
    let root_bytes = document(root)?;
    let mut chunks = Vec::new();
    let (kind, annotations) = if root.is_index() {
        let index: Index = oci::parse(&root_bytes, "").map_err(understood)?;
        let Some(kind) = kind(&index.rest) else { return Ok(None) };
        for part in &index.manifests {
            let (part, before): (Manifest, _) =
                (oci::parse(&document(part)?, "").map_err(understood)?, chunks.len());
            add_chunks(&mut chunks, &part).map_err(corrupt)?;
            // One that is named twice has its chunks twice, which is no order; without any, it
            // could go on for ever.
            if chunks.len() == before {
                return Err(corrupt("one of its parts has no chunk"));
            }
        }
        (kind, index.annotations)
    } else {
        let manifest: Manifest = oci::parse(&root_bytes, "").map_err(understood)?;
        let Some(kind) = kind(&manifest.rest) else { return Ok(None) };
        add_chunks(&mut chunks, &manifest).map_err(corrupt)?;
        (kind, manifest.annotations)
    };
    let format = match kind.strip_suffix(VERSION) {
        Some("raw") => Format::Raw,
        Some("qcow2") => Format::Qcow2,
        _ => return Err(Error::NewerDisk { key: key.clone(), kind }),
    };
    let number = |name: &str| annotations.get(name).and_then(|number| number.parse::<u64>().ok());
    if number(CHUNK_SIZE) != Some(CHUNK) {
        return Err(corrupt("its chunks have another size than those of this version"));
    }
    let (Some(size), Some(virtual_size)) = (number(SIZE), number(VIRTUAL)) else {
        return Err(corrupt("its manifest does not say how large it is"));
    };
    let disk = Disk { format, size, virtual_size, chunks };
    check(&disk).map_err(corrupt)?;
    Ok(Some(disk))
}

/// `raw.v1` and the like.
fn kind(rest: &serde_json::Map<String, Value>) -> Option<String> {
    rest.get("artifactType")?.as_str()?.strip_prefix(TYPE).map(str::to_owned)
}

fn add_chunks(chunks: &mut Vec<Chunk>, manifest: &Manifest) -> Result<(), &'static str> {
    for layer in manifest.layers.iter().filter(|layer| layer.media_type != EMPTY) {
        let next = chunk(layer).ok_or("its manifest lists something that is not a chunk")?;
        // An index may name one manifest any number of times: this ends before memory does.
        if chunks.last().is_some_and(|last| last.offset >= next.offset) {
            return Err("two of its chunks have one place, or they are in no order");
        }
        chunks.push(next);
    }
    Ok(())
}

fn chunk(layer: &Descriptor) -> Option<Chunk> {
    let annotation = |name: &str| layer.annotations.get(name);
    (layer.media_type == CHUNK_TYPE).then_some(())?;
    Some(Chunk {
        offset: annotation(OFFSET)?.parse().ok()?,
        plain: annotation(PLAIN)?.parse().ok()?,
        packed: layer.digest,
        packed_size: layer.size,
    })
}

fn check(disk: &Disk) -> Result<(), &'static str> {
    if i64::try_from(disk.size).is_err() {
        return Err("it is larger than any file");
    }
    if disk.chunks.iter().any(|chunk| chunk.offset % CHUNK != 0 || chunk.offset >= disk.size) {
        return Err("one of its chunks has no place in it");
    }
    if disk.chunks.iter().any(|chunk| chunk.packed_size > PACKED) {
        return Err("one of its chunks is larger than any");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(count: u64) -> Disk {
        let chunk = |at: u64| Chunk {
            offset: at * CHUNK,
            plain: Digest::of(&at.to_be_bytes()),
            packed: Digest::of(b"x"),
            packed_size: 10,
        };
        let chunks = (0..count).map(chunk).collect();
        Disk { format: Format::Raw, size: count * CHUNK + 1, virtual_size: 7, chunks }
    }

    #[test]
    fn manifests_stay_small() {
        // 100 GB without a single hole.
        let documents = write(&disk(25_000));
        assert_eq!(documents.len(), 8);
        // Registries take no manifest of more than 4 MiB.
        assert!(documents.iter().all(|(_, bytes)| bytes.len() < 2 << 20));
        assert_eq!(write(&disk(4096)).len(), 1);
    }

    /// Reads documents back, the last of which names the others.
    fn read_back(documents: &[(&str, Vec<u8>)]) -> Result<Option<Disk>> {
        let dir = tempfile::tempdir().unwrap();
        let folder = camino::Utf8Path::from_path(dir.path()).unwrap().join("store");
        let store = storekit::Store::open_or_create(&folder).unwrap();
        store.images().prepare().unwrap();
        let blobs = store.images().blobs();
        for (_, bytes) in documents {
            drop(blobs.put(bytes).unwrap());
        }
        let (media_type, bytes) = documents.last().unwrap();
        let root = Descriptor::new(*media_type, Digest::of(bytes), bytes.len() as u64);
        read(&blobs, &"k".parse().unwrap(), &root)
    }

    #[test]
    fn a_disk_of_several_manifests_is_read_as_it_was_written() {
        let disk = disk(10_000);
        assert_eq!(read_back(&write(&disk)).unwrap(), Some(disk));
    }

    #[test]
    fn parts_that_say_nothing_or_the_same_again_are_refused() {
        let disk = disk(10);
        let bytes = |chunks: &[Chunk]| oci::to_bytes(&manifest(&disk, chunks));
        let (low, high, none) = (bytes(&disk.chunks[..6]), bytes(&disk.chunks[6..]), bytes(&[]));
        let overlapping = bytes(&disk.chunks[5..]);
        let of = |parts: &[&Vec<u8>]| {
            let listed =
                parts.iter().map(|part| Descriptor::new(oci::MANIFEST, Digest::of(part), part.len() as u64));
            let mut index = Index::new(listed.collect());
            index.annotations = annotations(&disk);
            index.rest.insert("artifactType".to_owned(), artifact_type(disk.format));
            let documents = parts.iter().map(|part| (oci::MANIFEST, (*part).clone()));
            read_back(&documents.chain([(oci::INDEX, oci::to_bytes(&index))]).collect::<Vec<_>>())
        };
        assert_eq!(of(&[&low, &high]).unwrap().as_ref(), Some(&disk));
        let refused = |parts: &[&Vec<u8>], why: &str| {
            let error = of(parts).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused(&[&low, &none, &high], "one of its parts has no chunk");
        refused(&[&none; 2000], "one of its parts has no chunk");
        for parts in [&[&low, &low][..], &[&high, &low], &[&low, &overlapping], &[&low, &high, &low]] {
            refused(parts, "two of its chunks have one place, or they are in no order");
        }
    }

    #[test]
    fn chunks_come_in_order_and_once() {
        let disk = disk(3);
        let listed = |chunks: &[Chunk]| add_chunks(&mut Vec::new(), &manifest(&disk, chunks));
        let [one, two, three] = [disk.chunks[0], disk.chunks[1], disk.chunks[2]];
        assert!(listed(&[one, two, three]).is_ok());
        assert!(listed(&[one, three, two]).is_err());
        assert!(listed(&[one, one]).is_err());
        let mut all = Vec::new();
        add_chunks(&mut all, &manifest(&disk, &[one, two])).unwrap();
        assert!(add_chunks(&mut all, &manifest(&disk, &[one, two])).is_err());
    }

    #[test]
    fn disks_that_lie_are_refused() {
        let refused = |change: &dyn Fn(&mut Disk)| {
            let mut disk = disk(3);
            change(&mut disk);
            assert!(check(&disk).is_err());
        };
        check(&disk(3)).unwrap();
        refused(&|disk| disk.size = u64::MAX);
        refused(&|disk| disk.size = CHUNK);
        refused(&|disk| disk.chunks[1].offset += 1);
        refused(&|disk| disk.chunks[2].packed_size = u64::MAX);
    }
}
