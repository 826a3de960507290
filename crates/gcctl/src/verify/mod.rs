//! Whether all that a store keeps is what it was: every file that has a digest in its name is read
//! through, by all processors, and what is said of others is compared with what is there.
//!
//! Without `repair` nothing is changed. With it, what is damaged is moved to trash/damaged, as the
//! tools do that come across it, entries that cannot be understood go, and what is derived is made
//! anew. An image that lacks a blob stays: the next save mends it.
//!
//! Deliberately absent: what the bytes of layers mean (`imgtar verify` compares them with what an
//! image's config says), and what an index announced of a package (`pkgcache verify`).

mod read;

use std::collections::{BTreeSet, HashSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::Serialize;
use storekit::error::At;
use storekit::files::replace;
use storekit::{Digest, FoundPackage, Images, PackageEntry, Store, oci, trash};

use crate::disk::{self, Apart, Place};
use crate::error::{Error, Result};
use crate::events::Told;
use crate::holds::Holds;
use crate::survey::survey;

/// Derived files, which their readers make anew.
const DERIVED: [&str; 6] = [".names", ".layers", ".packages", ".images", ".proved", ".indexed"];
/// How hashctx's files begin.
const STAT_CACHE: &[u8] = b"larder stat cache ";
/// No index.json is larger, in bytes.
const INDEX_CAP: u64 = 1 << 30;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of what kind it is.
    pub kind: Of,
    /// A path below the store.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What was done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<&'static str>,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// A blob of images.
    Blob,
    /// An image: its key file, or what it needs.
    Image,
    /// What is kept beside images.
    Beside,
    /// The pins.
    Pins,
    /// index.json.
    Index,
    /// The body of a package.
    Body,
    /// The entry of a package.
    Package,
    /// A file of hashctx's.
    Context,
    /// Something in the trash that could be brought back.
    Trash,
}

/// What was read, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many files were compared with their digests.
    pub files: u64,
    /// How many images and packages were looked at.
    pub images: u64,
    /// How many entries of packages were looked at.
    pub packages: u64,
    /// What is wrong, by kind and path.
    pub findings: Vec<Finding>,
}

/// Looks at everything.
///
/// # Errors
/// What cannot be read now, or is of a later version: that is not damage.
pub fn verify(store: &Store, repair: bool) -> Result<Report> {
    let store = if repair { store.clone() } else { store.clone().left_alone() };
    let mut verifier = Verifier {
        store: &store,
        repair,
        report: Report::default(),
        unfetched: HashSet::new(),
        damaged: HashSet::new(),
    };
    verifier.blobs()?;
    verifier.images()?;
    verifier.beside()?;
    verifier.pins()?;
    verifier.packages()?;
    verifier.trash_and_contexts()?;
    verifier.index()?;
    if repair {
        DERIVED.iter().try_for_each(|name| remove(&store.root().join(name)))?;
        // Makes those anew that are worth it; what stands in the way was found.
        let _ = survey(&store, &Told::default());
    }
    let mut report = verifier.report;
    report.findings.sort_by(|one, other| (one.kind, &one.path).cmp(&(other.kind, &other.path)));
    Ok(report)
}

struct Verifier<'a> {
    store: &'a Store,
    repair: bool,
    report: Report,
    /// Blobs that are pointers of Git LFS.
    unfetched: HashSet<Digest>,
    /// Blobs and bodies that do not match their digests.
    damaged: HashSet<Digest>,
}

impl Verifier<'_> {
    fn found(&mut self, kind: Of, path: &Utf8Path, problem: &impl ToString, done: &'static str) {
        let path = path.strip_prefix(self.store.root()).unwrap_or(path).to_string();
        let done = (self.repair && !done.is_empty()).then_some(done);
        self.report.findings.push(Finding { kind, path, problem: problem.to_string(), done });
    }

    /// Every blob of images and every body of packages. Those that are damaged move aside.
    fn blobs(&mut self) -> Result<()> {
        let stores = [(Of::Blob, self.store.images().blobs()), (Of::Body, self.store.packages().blobs())];
        for (kind, blobs) in stores {
            let digests = blobs.list()?;
            self.report.files += digests.len() as u64;
            for (digest, error) in read::each(&digests, |digest| blobs.verify(digest)) {
                match error {
                    // It went meanwhile.
                    storekit::Error::Missing { .. } => {}
                    storekit::Error::NotFetched { .. } => drop(self.unfetched.insert(digest)),
                    error if error.is_corrupt() => {
                        self.damaged.insert(digest);
                        self.found(kind, &blobs.path(&digest), &error, "moved to trash/damaged");
                    }
                    error => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn images(&mut self) -> Result<()> {
        let images = self.store.images();
        let mut walker = images.walker();
        for key in images.keys()? {
            let path = images.folder().join("keys").join(key.as_str());
            let listed = match images.peek(&key) {
                Err(error) if error.is_corrupt() => {
                    if self.repair {
                        self.store.trash().move_aside(&path)?;
                    }
                    self.found(Of::Image, &path, &error, "moved to trash/damaged");
                    continue;
                }
                listed => listed?,
            };
            let Some(listed) = listed else { continue };
            self.report.images += 1;
            let reach = match walker.reach(&listed.entry.descriptor) {
                Err(error) if error.is_corrupt() => {
                    self.found(Of::Image, &path, &error, "");
                    continue;
                }
                reach => reach?,
            };
            let missing = reach.missing.iter().filter(|it| !self.unfetched.contains(*it));
            let damaged = reach.present.keys().filter(|it| self.damaged.contains(*it));
            let lacking: BTreeSet<_> = missing.chain(damaged).collect();
            if let Some(first) = lacking.first() {
                let problem =
                    format!("it lacks {} of its blobs, such as {first}: save it anew", lacking.len());
                self.found(Of::Image, &path, &problem, "");
            }
        }
        Ok(())
    }

    /// Manifests of inputs, and records of what was fetched: text, and of an image that is there.
    fn beside(&mut self) -> Result<()> {
        let images = self.store.images();
        for (folder, is_of_its_kind) in [("inputs", is_text as fn(&[u8]) -> bool), ("fetched", is_record)] {
            let folder = images.folder().join(folder);
            for name in replace::names(&folder)?.iter().filter(|name| !name.starts_with('.')) {
                let path = folder.join(name);
                let Some(bytes) = replace::read_capped(&path, 1 << 30)? else { continue };
                if !is_of_its_kind(&bytes) {
                    if self.repair {
                        self.store.trash().move_aside(&path)?;
                    }
                    self.found(Of::Beside, &path, &"it is not what belongs there", "moved to trash/damaged");
                }
            }
        }
        Ok(())
    }

    fn pins(&mut self) -> Result<()> {
        match Holds::read(&self.store.images(), Timestamp::now()) {
            Err(Error::Store(error)) if error.is_corrupt() => {
                let path = self.store.images().folder().join("pins");
                self.found(Of::Pins, &path, &error, "");
                Ok(())
            }
            read => read.map(drop),
        }
    }

    fn packages(&mut self) -> Result<()> {
        let (packages, store) = (self.store.packages(), self.store);
        let blobs = packages.blobs();
        packages.each(&mut |found: FoundPackage| {
            self.report.packages += 1;
            let FoundPackage { path, entry, used } = found;
            let entry = match entry {
                Err(error) if error.is_corrupt() => {
                    if self.repair {
                        remove(&path)?;
                    }
                    self.found(Of::Package, &path, &error, "removed");
                    return Ok(());
                }
                entry => entry?,
            };
            let lacking = entry
                .bodies()
                .into_iter()
                .filter(|body| self.damaged.contains(body) || !blobs.contains(body))
                .count();
            if lacking > 0 {
                let problem = format!("{lacking} of its bodies are not there, or were damaged");
                if self.repair {
                    take_out(store, &entry, &path, used)?;
                }
                self.found(Of::Package, &path, &problem, "taken out of the entry");
            }
            Ok::<_, Error>(())
        })
    }

    /// What could be brought back, by the digests in names; and whether hashctx's files are its
    /// own.
    fn trash_and_contexts(&mut self) -> Result<()> {
        let (mut removed, mut contexts) = (Vec::new(), Vec::new());
        let mut apart = Apart::default();
        for name in ["images", "packages", "events"] {
            apart.without(&self.store.root().join(name));
        }
        disk::walk(self.store.root(), &apart, &mut |found: disk::Found<'_>| {
            let Some(path) = Utf8Path::from_path(found.path).filter(|_| found.metadata.is_file()) else {
                return Ok::<_, Error>(());
            };
            match found.place {
                Place::Trash(name) if !trash::is_damaged(&name) && !trash::is_doomed(&name) => {
                    let digest = path.file_name().and_then(Digest::from_hex);
                    let is_blob = path.parent().is_some_and(|parent| parent.ends_with("blobs/sha256"));
                    removed.extend(digest.filter(|_| is_blob).map(|digest| (digest, path.to_owned())));
                }
                Place::Context => contexts.push(path.to_owned()),
                _ => {}
            }
            Ok(())
        })?;
        self.report.files += removed.len() as u64;
        for ((_, path), error) in read::each(&removed, |(digest, path)| read::compare(path, digest)) {
            if !error.is_corrupt() {
                return Err(error.into());
            }
            if self.repair {
                remove(&path)?;
            }
            self.found(Of::Trash, &path, &error, "removed");
        }
        for path in contexts {
            let is_hidden = path.file_name().is_some_and(|name| name.starts_with('.'));
            if !is_hidden && !read::begins_with(&path, STAT_CACHE)? {
                if self.repair {
                    remove(&path)?;
                }
                self.found(Of::Context, &path, &"it is not a file of hashctx's", "removed");
            }
        }
        Ok(())
    }

    /// Whether index.json names the keys that are there, and no other of ours.
    fn index(&mut self) -> Result<()> {
        let images = self.store.images();
        let path = images.folder().join("index.json");
        let Some(problem) = index_problem(&images, &path)? else { return Ok(()) };
        if self.repair {
            images.sync_index()?;
        }
        self.found(Of::Index, &path, &problem, "made anew");
        Ok(())
    }
}

fn index_problem(images: &Images, path: &Utf8Path) -> Result<Option<String>> {
    let mut readable = BTreeSet::new();
    for key in images.keys()? {
        match images.peek(&key) {
            Err(error) if error.is_corrupt() => {}
            listed => readable.extend(listed?.map(|listed| listed.key.to_string())),
        }
    }
    let Some(bytes) = replace::read_capped(path, INDEX_CAP)? else {
        return Ok((!readable.is_empty()).then(|| "it is not there".to_owned()));
    };
    let Ok(index) = serde_json::from_slice::<oci::Links>(&bytes) else {
        return Ok(Some("it is not an index".to_owned()));
    };
    let named = index.manifests.into_iter().filter_map(|mut it| it.annotations.remove(oci::KEY_ANNOTATION));
    let named: BTreeSet<String> = named.collect();
    let off = named.symmetric_difference(&readable).count();
    Ok((off > 0).then(|| format!("it is out of date by {off} keys")))
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

fn is_record(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(first).is_ok()
}

/// Takes responses whose bodies are gone out of an entry. That is not a use of it.
fn take_out(
    store: &Store,
    entry: &PackageEntry,
    path: &Utf8PathBuf,
    used: std::time::SystemTime,
) -> Result<()> {
    match store.packages().put(entry, &[]) {
        Err(storekit::Error::Missing { .. }) => remove(path),
        put => {
            put?;
            match fs::File::options().append(true).open(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                file => Ok(file.and_then(|file| file.set_modified(used)).at("write", path)?),
            }
        }
    }
}

fn remove(path: &Utf8Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.at("remove", path)?),
    }
}
