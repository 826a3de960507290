//! What is stored, into an archive: the same bytes for the same objects.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use camino::Utf8Path;
use storekit::error::At;
use storekit::files::output;
use storekit::files::replace::{Durability, Staged};
use storekit::{Digest, Fetched, FoundPackage, Given, PackageEntry, Packages};
use tar::Header;

use super::{BODIES, ENTRIES, Head, Line, MANIFEST, VERSION};
use crate::commands::Selection;
use crate::error::{Error, Result};
use crate::store::replayed;

/// How much is spent on packing: most bodies are packed by themselves.
const LEVEL: i32 = 3;
/// Every file in the archive has this mode, and the time 0.
const MODE: u32 = 0o644;

/// What is to be exported: chosen first, then written.
#[derive(Debug)]
pub struct Export {
    packages: Packages,
    /// The entries' texts and the manifest's lines, which may be many.
    entries: Spool,
    lines: Spool,
    items: Vec<Item>,
    /// Bodies that were chosen already, and those that an earlier archive carried.
    seen: HashSet<Digest>,
    earlier: HashSet<Digest>,
    head: Head,
    /// What belongs to an account is left out without `private`.
    private: bool,
    left_out: u64,
}

/// An entry, and its bodies that come before it.
#[derive(Debug)]
struct Item {
    path: String,
    size: u64,
    bodies: Vec<(Digest, u64)>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Entries.
    pub objects: u64,
    /// Bodies in the archive.
    pub bodies: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bodies that an earlier archive carried.
    pub expected: u64,
    /// Entries that were left out, since they belong to an account.
    pub left_out: u64,
    /// The size of the archive.
    pub size: u64,
}

impl Export {
    /// Nothing yet. Bodies of `earlier` are not written.
    ///
    /// # Errors
    /// I/O errors: what is chosen is noted in files without a name.
    pub fn new(packages: Packages, earlier: HashSet<Digest>, private: bool) -> Result<Self> {
        packages.prepare()?;
        let folder = packages.folder();
        let (entries, lines) = (Spool::new(&folder)?, Spool::new(&folder)?);
        let (items, seen, head) = (Vec::new(), HashSet::new(), Head { version: VERSION, ..Head::default() });
        Ok(Self { packages, entries, lines, items, seen, earlier, head, private, left_out: 0 })
    }

    /// Chooses what is stored of these URLs. Returns how many there are.
    ///
    /// # Errors
    /// Entries that cannot be read; I/O errors.
    pub fn add_selection(&mut self, which: &Selection) -> Result<u64> {
        let before = self.head.objects + self.left_out;
        let packages = self.packages.clone();
        packages.each(&mut |found: FoundPackage| match found.entry {
            Ok(entry) if which.is_of(&entry) => self.add(entry),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        })?;
        Ok(self.head.objects + self.left_out - before)
    }

    /// Chooses what the records name, as it was given; where the upstream may change that, also as
    /// what stands under its URL. Returns what is not stored any more, with the reason.
    ///
    /// # Errors
    /// Entries that cannot be read; I/O errors.
    pub fn add_records(&mut self, records: &[Fetched]) -> Result<Vec<(Given, &'static str)>> {
        let (mut chosen, mut missing) = (BTreeMap::<String, PackageEntry>::new(), Vec::new());
        for given in records.iter().flat_map(|record| record.objects.values()) {
            let Some(digest) = given.digest.filter(|_| given.status.is_none()) else { continue };
            let (entry, stored) = match replayed::found(&self.packages, given, &digest)? {
                Ok(found) => found,
                Err(why) => {
                    missing.push((given.clone(), why));
                    continue;
                }
            };
            let kept = given.kept.as_ref().map(|_| entry.key.given(&digest));
            for key in kept.into_iter().chain([entry.key.clone()]) {
                let standing = chosen.entry(key.path());
                let standing =
                    standing.or_insert_with(|| PackageEntry { key, responses: Vec::new(), ..entry.clone() });
                if !standing.responses.contains(&stored) {
                    standing.responses.push(stored.clone());
                }
            }
        }
        chosen.into_values().try_for_each(|entry| self.add(entry))?;
        Ok(missing)
    }

    /// Chooses an entry, with those of its responses whose bodies are there.
    fn add(&mut self, mut entry: PackageEntry) -> Result<()> {
        if entry.key.scope.is_some() && !self.private {
            self.left_out += 1;
            return Ok(());
        }
        let blobs = self.packages.blobs();
        let mut lost = Ok(());
        entry.responses.retain(|it| match blobs.size(&it.digest) {
            Ok(size) => size == Some(it.size),
            Err(error) => {
                lost = Err(error);
                false
            }
        });
        lost?;
        if entry.responses.is_empty() {
            return Ok(());
        }
        let mut bodies = Vec::new();
        for stored in &entry.responses {
            if !self.seen.insert(stored.digest) {
                continue;
            }
            let expected = self.earlier.contains(&stored.digest);
            if expected {
                self.head.expected += 1;
            } else {
                bodies.push((stored.digest, stored.size));
                self.head.bodies += 1;
                self.head.bytes = self.head.bytes.saturating_add(stored.size);
            }
            let url: String = entry.key.of_given().url.chars().take(4096).collect();
            let line = Line { digest: stored.digest, size: stored.size, expected, url };
            self.lines.add(&line_of(&line)?)?;
        }
        let text = entry.to_text();
        self.entries.add(text.as_bytes())?;
        self.items.push(Item { path: entry.key.path(), size: text.len() as u64, bodies });
        self.head.objects += 1;
        Ok(())
    }

    /// Writes the archive: a file whole or not at all; a pipe or a device as it is.
    ///
    /// # Errors
    /// Bodies that are damaged, or went meanwhile; I/O errors.
    pub fn write(self, path: &Utf8Path) -> Result<Carried> {
        if output::is_device(path) {
            return self.pack(&output::open_device(path)?, path);
        }
        let folder = path.parent().filter(|it| !it.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
        let mut staged = Staged::new(folder)?;
        let carried = self.pack(staged.file(), path)?;
        staged.publish(path, Durability::Synced)?;
        Ok(carried)
    }

    fn pack(self, to: &File, path: &Utf8Path) -> Result<Carried> {
        let to = Counted { of: to, count: 0 };
        let mut packed =
            zstd::Encoder::new(BufWriter::with_capacity(256 << 10, to), LEVEL).at("write", path)?;
        // Bodies have their digests; this sees what else is damaged on the way.
        packed.include_checksum(true).at("write", path)?;
        let mut tar = tar::Builder::new(packed);
        let Head { objects, bodies, bytes, expected, .. } = self.head;
        let left_out = self.left_out;
        self.write_to(&mut tar, path)?;
        let written = tar.into_inner().and_then(zstd::Encoder::finish);
        let written = written.and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error));
        let size = written.at("write", path)?.count;
        Ok(Carried { objects, bodies, bytes, expected, left_out, size })
    }

    fn write_to(mut self, tar: &mut tar::Builder<impl Write>, path: &Utf8Path) -> Result<()> {
        let head = line_of(&self.head)?;
        let (lines, size) = self.lines.read()?;
        let manifest = head.as_slice().chain(lines);
        append(tar, MANIFEST, head.len() as u64 + size, manifest).at("write", path)?;
        let (mut entries, _) = self.entries.read()?;
        let blobs = self.packages.blobs();
        for Item { path: entry, size, bodies } in &self.items {
            for (digest, size) in bodies {
                let missing =
                    || storekit::Error::Missing { digest: *digest, path: blobs.folder().to_owned() };
                let mut reader = blobs.reader(digest)?.ok_or_else(missing)?;
                append(tar, &format!("{BODIES}{}", digest.hex()), *size, (&mut reader).take(*size))
                    .at("write", path)?;
                // It is compared at its end, behind the last byte.
                reader.read(&mut [0]).at("read", &blobs.path(digest))?;
            }
            append(tar, &format!("{ENTRIES}{entry}"), *size, (&mut entries).take(*size)).at("write", path)?;
        }
        Ok(())
    }
}

fn line_of(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value).map_err(|error| Error::Output(error.into()))?;
    line.push(b'\n');
    Ok(line)
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, size: u64, from: impl Read) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(MODE);
    header.set_mtime(0);
    header.set_cksum();
    let mut counted = Counted { of: from, count: 0 };
    tar.append(&header, &mut counted)?;
    // What has become shorter meanwhile would move all that follows.
    if counted.count == size {
        Ok(())
    } else {
        Err(io::Error::other(format!("`{name}` was changed meanwhile")))
    }
}

/// Counts the bytes that are read or written.
struct Counted<T> {
    of: T,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.of.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.of.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.of.flush()
    }
}

/// A file without a name, written first and read then.
#[derive(Debug)]
struct Spool {
    file: BufWriter<File>,
    size: u64,
}

impl Spool {
    fn new(folder: &Utf8Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).at("write in", folder)?;
        Ok(Self { file: BufWriter::new(file), size: 0 })
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).map_err(Error::Output)
    }

    fn read(&mut self) -> Result<(io::BufReader<File>, u64)> {
        let begin = |spool: &mut BufWriter<File>| {
            spool.flush()?;
            let mut file = spool.get_ref().try_clone()?;
            file.seek(SeekFrom::Start(0))?;
            Ok(io::BufReader::new(file))
        };
        Ok((begin(&mut self.file).map_err(Error::Output)?, self.size))
    }
}
