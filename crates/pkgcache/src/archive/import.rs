//! An archive into the store. Nothing of it is believed but that it is a set of entries: bodies are
//! compared with their digests, entries stand where their URLs say.
//!
//! Each entry is stored as soon as it has come with its bodies. So an import that is stopped, or
//! whose archive is damaged further on, leaves whole objects alone, and the next one goes on there.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};

use camino::Utf8Path;
use storekit::error::At;
use storekit::packages::entry::CAP;
use storekit::{Digest, Lease, PackageEntry, Packages, Store, StoredResponse};
use tar::{Archive, Entries, EntryType};

use super::{BODIES, ENTRIES, Head, Line, MANIFEST, Unread, read_manifest};
use crate::commands::has_checksum;
use crate::error::{Error, Result};

/// An entry has no more bodies before it.
const HELD: usize = storekit::packages::entry::MOST_RESPONSES;
/// So many of what is missing are named.
const NAMED: usize = 1000;
/// A packed stream that wants more memory is refused: 2 to this many bytes, 16 MiB.
const WINDOW: u32 = 24;
/// What is said of any other file.
const NOT_ONE: &str = "it is not an export of pkgcache's";
/// What may follow an archive's end: tar fills up its last record.
const PADDING: u64 = 1 << 20;

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that were read.
    pub objects: u64,
    /// Bodies that were written.
    pub bodies: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bodies that were there already.
    pub present: u64,
    /// Bodies that an earlier archive carried, and that are not here.
    pub missing: u64,
    /// The URLs of some of them.
    pub named: Vec<String>,
}

/// An archive that is read.
struct Import<'a> {
    path: &'a Utf8Path,
    packages: Packages,
    head: Head,
    /// The bodies since the last entry.
    held: Vec<Lease>,
    /// Bodies and bytes that have come.
    come: (u64, u64),
    done: Imported,
}

/// Stores what the archive at the path has.
///
/// # Errors
/// [`Error::BadArchive`], which names what of it is damaged; [`Error::NewerArchive`];
/// [`Error::NoRoom`]; I/O errors. What had come whole by then stays.
pub fn import(store: &Store, path: &Utf8Path) -> Result<Imported> {
    let packages = store.packages();
    packages.prepare()?;
    let mut archive = Archive::new(open(path)?);
    let mut files = files(path, &mut archive)?;
    let (head, done) = manifest(&packages, path, &mut files)?;
    let mut import = Import { path, packages, head, held: Vec::new(), come: (0, 0), done };
    import.all(files)?;
    let mut rest = archive.into_inner();
    let behind = io::copy(&mut (&mut rest).take(PADDING), &mut io::sink()).map_err(|it| unread(path, it))?;
    if behind == PADDING {
        return Err(damaged(path, "more follows its end"));
    }
    Ok(import.done)
}

/// The bodies that an archive's manifest names, whether it carries them or an earlier one did.
///
/// # Errors
/// As [`import`].
pub fn named_in(path: &Utf8Path) -> Result<HashSet<Digest>> {
    let mut named = HashSet::new();
    let mut archive = Archive::new(open(path)?);
    first(path, &mut files(path, &mut archive)?, &mut |line| {
        named.insert(line.digest);
        Ok(())
    })?;
    Ok(named)
}

type Unpacked = zstd::Decoder<'static, BufReader<File>>;

fn open(path: &Utf8Path) -> Result<Unpacked> {
    let file = File::open(path).at("open", path)?;
    let mut unpacked = zstd::Decoder::new(file).at("read", path)?;
    unpacked.window_log_max(WINDOW).at("read", path)?;
    Ok(unpacked)
}

/// Each file as its header has it: nothing of tar's own, such as long names, is looked into.
fn files<'a>(path: &Utf8Path, archive: &'a mut Archive<Unpacked>) -> Result<Entries<'a, Unpacked>> {
    Ok(archive.entries().map_err(|error| unread(path, error))?.raw(true))
}

fn damaged(path: &Utf8Path, reason: impl Into<String>) -> Error {
    Error::BadArchive { path: path.to_owned(), reason: reason.into() }
}

/// A read that failed: by the system, or since the stream is not what it should be.
fn unread(path: &Utf8Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(_) => storekit::Error::io("read", path, error).into(),
        None => damaged(path, error.to_string()),
    }
}

/// Reads the manifest, which has to be the first file.
fn first(
    path: &Utf8Path,
    files: &mut Entries<'_, Unpacked>,
    each: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<Head> {
    let unread = |error| unread(path, error);
    let entry = files.next().ok_or_else(|| damaged(path, "it is empty"))?;
    let entry = entry.map_err(|error| match unread(error) {
        Error::BadArchive { reason, .. } => {
            damaged(path, format!("{NOT_ONE}, or its beginning is damaged ({reason})"))
        }
        error => error,
    })?;
    if &*entry.path_bytes() != MANIFEST.as_bytes() || entry.header().entry_type() != EntryType::Regular {
        return Err(damaged(path, format!("it does not begin with a manifest: {NOT_ONE}")));
    }
    read_manifest(entry, each).map_err(|error| match error {
        Unread::Newer(found) => Error::NewerArchive { path: path.to_owned(), found },
        Unread::Bad(reason) => damaged(path, reason),
        Unread::Io(error) => unread(error),
    })
}

/// The head of the manifest, and what is known by it: which bodies are missing. What is to be
/// written must have room.
fn manifest(
    packages: &Packages,
    path: &Utf8Path,
    files: &mut Entries<'_, Unpacked>,
) -> Result<(Head, Imported)> {
    let (blobs, mut done, mut needed) = (packages.blobs(), Imported::default(), 0_u64);
    let head = first(path, files, &mut |line| {
        if blobs.contains(&line.digest) {
            return Ok(());
        }
        if line.expected {
            done.missing += 1;
            if done.named.len() < NAMED {
                done.named.push(line.url);
            }
        } else {
            needed = needed.saturating_add(line.size);
        }
        Ok(())
    })?;
    let system = rustix::fs::statvfs(blobs.folder().as_std_path()).map_err(io::Error::from);
    let system = system.at("look at", blobs.folder())?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if needed > free {
        return Err(Error::NoRoom { path: blobs.folder().to_owned(), needed, free });
    }
    Ok((head, done))
}

impl Import<'_> {
    fn damaged(&self, reason: impl Into<String>) -> Error {
        damaged(self.path, reason)
    }

    fn all(&mut self, files: Entries<'_, Unpacked>) -> Result<()> {
        for entry in files {
            let mut entry = entry.map_err(|error| unread(self.path, error))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let size = entry.size();
            if entry.header().entry_type() != EntryType::Regular {
                return Err(self.damaged(format!("`{name}` is not a plain file")));
            }
            if let Some(hex) = name.strip_prefix(BODIES) {
                let digest = Digest::from_hex(hex);
                let digest = digest.ok_or_else(|| self.damaged(format!("`{name}` names no digest")))?;
                self.body(&digest, size, &mut entry)?;
            } else if let Some(place) = name.strip_prefix(ENTRIES) {
                self.object(place, size, &mut entry)?;
            } else {
                return Err(self.damaged(format!("`{name}` has no place in it")));
            }
        }
        let come = (self.done.objects, self.come.0, self.come.1);
        if come != (self.head.objects, self.head.bodies, self.head.bytes) {
            return Err(self.damaged("it ends before all that its manifest names has come"));
        }
        Ok(())
    }

    /// A body: written, unless it is there.
    fn body(&mut self, digest: &Digest, size: u64, from: &mut impl Read) -> Result<()> {
        self.come = (self.come.0 + 1, self.come.1.saturating_add(size));
        if self.come.0 > self.head.bodies || self.come.1 > self.head.bytes || self.held.len() >= HELD {
            return Err(self.damaged(format!("{digest} is more than its manifest names")));
        }
        let blobs = self.packages.blobs();
        if let Some(lease) = blobs.lease(digest)? {
            if lease.size() == size {
                self.done.present += 1;
                self.held.push(lease);
                return Ok(());
            }
            drop(lease);
            blobs.move_aside(digest)?;
        }
        let mut writer = self.packages.body()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match from.read(&mut buffer).map_err(|error| unread(self.path, error))? {
                0 => break,
                count => writer.write(buffer.get(..count).unwrap_or_default())?,
            }
        }
        if writer.size() != size {
            return Err(self.damaged(format!("{digest} is cut off")));
        }
        let found = writer.digest();
        if found != *digest {
            return Err(self.damaged(format!("the body that should be {digest} is {found}")));
        }
        self.held.push(writer.finish(Some(digest))?);
        (self.done.bodies, self.done.bytes) = (self.done.bodies + 1, self.done.bytes + size);
        Ok(())
    }

    /// An entry: what it says is added to what is stored under its URL.
    fn object(&mut self, place: &str, size: u64, from: &mut impl Read) -> Result<()> {
        self.done.objects += 1;
        if size > CAP || self.done.objects > self.head.objects {
            return Err(self.damaged(format!("`{place}` is more than its manifest names, or too large")));
        }
        let mut text = Vec::new();
        from.take(CAP).read_to_end(&mut text).map_err(|error| unread(self.path, error))?;
        let bad = |why: &dyn std::fmt::Display| self.damaged(format!("`{place}`: {why}"));
        let entry = match PackageEntry::parse(&text, Utf8Path::new(place)) {
            Err(error @ storekit::Error::Newer { .. }) => return Err(error.into()),
            entry => entry.map_err(|error| bad(&error))?,
        };
        if entry.key.path() != place {
            return Err(bad(&"it does not stand where its URL says"));
        }
        for stored in &entry.responses {
            self.is_as_announced(&entry.key.url, stored)?;
        }
        let standing = self.packages.get(&entry.key).ok().flatten();
        match self.packages.put(&merged(standing, entry), &self.held) {
            // Its bodies are among those that are missing, or nowhere.
            Err(storekit::Error::Missing { .. }) if self.done.missing > 0 => {}
            Err(storekit::Error::Missing { digest, .. }) => {
                return Err(bad(&format!("it has a body that nothing names: {digest}")));
            }
            put => put?,
        }
        self.held.clear();
        Ok(())
    }

    /// A body that an index announced by another algorithm than the store's has to be it.
    fn is_as_announced(&self, url: &str, stored: &StoredResponse) -> Result<()> {
        let Some(announced) = stored.announced else { return Ok(()) };
        let is_it = if let Some(named) = announced.digest() {
            named == stored.digest
        } else {
            let path = self.packages.blobs().path(&stored.digest);
            !path.exists() || has_checksum(&path, announced)?
        };
        if is_it {
            return Ok(());
        }
        Err(self.damaged(format!("{url} was announced as {announced}, and its body is another")))
    }
}

/// What stands under a URL, with what comes: the newest first, each answer once.
fn merged(standing: Option<PackageEntry>, coming: PackageEntry) -> PackageEntry {
    let Some(mut entry) = standing else { return coming };
    for stored in coming.responses {
        let is_it = |it: &StoredResponse| {
            it.digest == stored.digest && it.selecting == stored.selecting && it.part == stored.part
        };
        match entry.responses.iter_mut().find(|it| is_it(it)) {
            // The upstream said so once more; and somebody vouches for it who did not before.
            Some(same) if stored.received > same.received && stored.level >= same.level => *same = stored,
            Some(_) => {}
            None => entry.responses.push(stored),
        }
    }
    entry.responses.sort_by_key(|it| std::cmp::Reverse(it.received));
    entry.name = entry.name.or(coming.name);
    entry.package_version = entry.package_version.or(coming.package_version);
    entry.architecture = entry.architecture.or(coming.architecture);
    entry
}
