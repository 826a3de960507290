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
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::Serialize;
use storekit::error::At;
use storekit::files::replace;
use storekit::images::BESIDE;
use storekit::{Digest, FoundPackage, Images, Key, Listed, PackageEntry, Standing, Store, oci, trash};
use toolkit::words::count;

use crate::disk::{self, Apart, Place};
use crate::error::{Error, Result};
use crate::events::Told;
use crate::holds::Holds;
use crate::survey::{self, reach, survey};

/// Derived files, which their readers make anew.
const DERIVED: [&str; 6] = [".names", ".layers", ".packages", ".images", ".proved", ".indexed"];
/// How hashctx's files begin.
const STAT_CACHE: &[u8] = b"larder stat cache ";
/// What is done with what is damaged.
const ASIDE: &str = "moved to trash/damaged";
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
    /// Whether a repair puts it right.
    #[serde(skip)]
    pub can_be_mended: bool,
    /// Whether nothing is lost by it: it lies in the trash, or is made from the rest, and late.
    #[serde(skip)]
    pub is_harmless: bool,
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
    /// How many blobs were not fetched by Git LFS: pointers stand for them.
    pub unfetched: u64,
    /// What is wrong, by kind and path.
    pub findings: Vec<Finding>,
    /// What stands where only files of the store do and is not one, and is passed over: paths below
    /// the store, sorted.
    pub strays: Vec<String>,
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
        moved: false,
    };
    verifier.blobs()?;
    verifier.images()?;
    verifier.beside()?;
    verifier.pins()?;
    verifier.packages()?;
    verifier.trash_and_contexts()?;
    verifier.strays()?;
    verifier.index()?;
    if repair {
        DERIVED.iter().try_for_each(|name| remove(&store.root().join(name)))?;
        // Makes those anew that are worth it; what stands in the way was found.
        let _ = survey(&store, &Told::default());
    }
    let mut report = Report { unfetched: verifier.unfetched.len() as u64, ..verifier.report };
    report.findings.sort_by(|one, other| (one.kind, &one.path).cmp(&(other.kind, &other.path)));
    Ok(report)
}

/// So often an index is looked at before it is called out of date, and so long after the last time:
/// a second in all.
const LOOKS: u32 = 11;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

struct Verifier<'a> {
    store: &'a Store,
    repair: bool,
    report: Report,
    /// Blobs that are pointers of Git LFS.
    unfetched: HashSet<Digest>,
    /// Blobs and bodies that do not match their digests.
    damaged: HashSet<Digest>,
    /// Whether a key file was moved aside.
    moved: bool,
}

impl Verifier<'_> {
    fn found(&mut self, kind: Of, path: &Utf8Path, problem: &impl ToString, done: &'static str) {
        let path = path.strip_prefix(self.store.root()).unwrap_or(path).to_string();
        let can_be_mended = !done.is_empty();
        let done = (self.repair && can_be_mended).then_some(done);
        let (problem, is_harmless) = (problem.to_string(), kind == Of::Trash);
        self.report.findings.push(Finding { kind, path, problem, done, can_be_mended, is_harmless });
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
                        self.found(kind, &blobs.path(&digest), &error, ASIDE);
                    }
                    error if error.is_unreadable() => {
                        self.found(kind, &blobs.path(&digest), &reason(&error), "");
                    }
                    error => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn images(&mut self) -> Result<()> {
        let images = self.store.images();
        let holds = Holds::read(&images, Timestamp::now())?;
        for key in images.keys()? {
            let path = images.folder().join("keys").join(key.as_str());
            let listed = match images.look_at(&key)? {
                None => continue,
                Some(Standing::Sound(listed)) => listed,
                Some(Standing::Damaged(damaged)) => {
                    // What is another user's is not damaged: it is not for this one to move.
                    let done = if damaged.reason.is_unreadable() { "" } else { ASIDE };
                    self.set_aside(&key, holds.damaged(&key, None), &reason(&damaged.reason), done)?;
                    continue;
                }
            };
            self.report.images += 1;
            let Some(lacking) = self.lacking(&listed)? else {
                let problem =
                    "it cannot be told what it needs: its manifest is missing or damaged; save it anew";
                self.set_aside(&key, holds.damaged(&key, Some(&listed.entry)), problem, ASIDE)?;
                continue;
            };
            let Some(first) = lacking.first() else { continue };
            let number = count(lacking.len() as u64, "blob");
            let is_back = self.repair && self.mends(&listed)?;
            let (save, done) =
                if is_back { ("", "brought back from the trash") } else { (": save it anew", "") };
            self.found(Of::Image, &path, &format!("it lacks {number}, such as {first}{save}"), done);
        }
        Ok(())
    }

    /// Whether the trash had what the image lacks.
    fn mends(&self, listed: &Listed) -> Result<bool> {
        match self.store.images().mend(&listed.entry) {
            // What stands in the way is passed over.
            Err(error) if error.is_unreadable() => Ok(false),
            mended => Ok(mended?),
        }
    }

    /// What the image lacks; `None` where that is not known.
    fn lacking(&self, listed: &Listed) -> Result<Option<BTreeSet<Digest>>> {
        let mut walker = self.store.images().walker();
        let mut reach = reach(&mut walker, &listed.entry.descriptor)?;
        // The trash may have the document.
        if self.repair && !reach.unknown.is_empty() && self.mends(listed)? {
            reach = survey::reach(&mut self.store.images().walker(), &listed.entry.descriptor)?;
        }
        let is_fetched = |digest: &&Digest| !self.unfetched.contains(*digest);
        if reach.unknown.iter().any(|digest| is_fetched(&digest)) {
            return Ok(None);
        }
        let missing = reach.missing.iter().filter(is_fetched);
        let damaged = reach.present.keys().filter(|it| self.damaged.contains(*it));
        Ok(Some(missing.chain(damaged).copied().collect()))
    }

    /// Moves the key file, and what is kept beside it, where it is not taken for an image. A pinned
    /// one stays: what a rebuild needs is held by what is kept beside it.
    fn set_aside(&mut self, key: &Key, is_held: bool, problem: &str, done: &'static str) -> Result<()> {
        let images = self.store.images();
        let path = images.folder().join("keys").join(key.as_str());
        if is_held {
            let pinned = format!(
                "{problem}; a pin holds it, or may, so that it is left: `gcctl info {key}`, and `gcctl unpin`"
            );
            self.found(Of::Image, &path, &pinned, "");
            return Ok(());
        }
        if self.repair && !done.is_empty() {
            self.moved = true;
            for folder in ["keys"].into_iter().chain(BESIDE) {
                self.store.trash().move_aside(&images.folder().join(folder).join(key.as_str()))?;
            }
        }
        self.found(Of::Image, &path, &problem, done);
        Ok(())
    }

    /// Manifests of inputs, and records of what was fetched: text, and of an image that is there.
    fn beside(&mut self) -> Result<()> {
        let images = self.store.images();
        for (folder, is_of_its_kind) in [("inputs", is_text as fn(&[u8]) -> bool), ("fetched", is_record)] {
            let folder = images.folder().join(folder);
            for name in replace::file_names(&folder)?.iter().filter(|name| !name.starts_with('.')) {
                let path = folder.join(name);
                let bytes = match replace::read_capped(&path, 1 << 30) {
                    Err(error) if error.is_unreadable() => {
                        self.found(Of::Beside, &path, &reason(&error), "");
                        continue;
                    }
                    bytes => bytes?,
                };
                let Some(bytes) = bytes else { continue };
                if !is_of_its_kind(&bytes) {
                    if self.repair {
                        self.store.trash().move_aside(&path)?;
                    }
                    self.found(Of::Beside, &path, &"it is not what belongs there", ASIDE);
                }
            }
        }
        Ok(())
    }

    fn pins(&mut self) -> Result<()> {
        let images = self.store.images();
        for name in images.all_pins()?.unread {
            let problem = "it cannot be told which images it holds, so it holds all: remove the file, and pin them anew";
            self.found(Of::Pins, &images.pins_folder().join(name), &problem, "");
        }
        Ok(())
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
                Err(error) if error.is_unreadable() => {
                    let is_too_large = is_too_large(&error);
                    if self.repair && is_too_large {
                        remove(&path)?;
                    }
                    let done = if is_too_large { "removed" } else { "" };
                    self.found(Of::Package, &path, &reason(&error), done);
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
            if error.is_unreadable() {
                self.found(Of::Trash, &path, &reason(&error), "");
                continue;
            }
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
            let begins = match read::begins_with(&path, STAT_CACHE) {
                Err(error) if error.is_unreadable() => {
                    self.found(Of::Context, &path, &reason(&error), "");
                    continue;
                }
                begins => begins?,
            };
            if !is_hidden && !begins {
                if self.repair {
                    remove(&path)?;
                }
                self.found(Of::Context, &path, &"it is not a file of hashctx's", "removed");
            }
        }
        Ok(())
    }

    fn strays(&mut self) -> Result<()> {
        let strays = &mut self.report.strays;
        disk::walk(self.store.root(), &Apart::default(), &mut |found: disk::Found<'_>| {
            if survey::is_stray(self.store, &found) {
                strays.push(survey::below_store(self.store, found.path));
            }
            Ok::<_, Error>(())
        })?;
        strays.sort_unstable();
        Ok(())
    }

    /// Whether index.json names the keys that are there, and no other of ours.
    fn index(&mut self) -> Result<()> {
        let images = self.store.images();
        let path = images.folder().join("index.json");
        if self.moved {
            images.sync_index()?;
        }
        let Some((problem, is_late)) = lasting_index_problem(&images, &path)? else { return Ok(()) };
        if self.repair {
            images.sync_index()?;
        }
        self.found(Of::Index, &path, &problem, "made anew");
        // Who was killed between a key and the index leaves it so.
        if let Some(found) = self.report.findings.last_mut() {
            found.is_harmless = is_late;
        }
        Ok(())
    }
}

/// What is wrong with an index.
enum IndexProblem {
    Whole(&'static str),
    /// It does not name these keys, or no such keys are there.
    Off(BTreeSet<String>),
}

/// What stays wrong for a while, for who saves an image writes its key before it writes the index;
/// and whether it is late alone, and else an index.
fn lasting_index_problem(images: &Images, path: &Utf8Path) -> Result<Option<(String, bool)>> {
    let mut lasting: Option<BTreeSet<String>> = None;
    for look in 0..LOOKS {
        if look > 0 {
            thread::sleep(BETWEEN_LOOKS);
        }
        let off = match index_problem(images, path)? {
            None => return Ok(None),
            Some(IndexProblem::Whole(problem)) => return Ok(Some((problem.to_owned(), false))),
            Some(IndexProblem::Off(off)) => off,
        };
        let still =
            lasting.map_or_else(|| off.clone(), |before| before.intersection(&off).cloned().collect());
        if still.is_empty() {
            return Ok(None);
        }
        lasting = Some(still);
    }
    let number = lasting.map_or(0, |off| off.len() as u64);
    Ok(Some((format!("it is out of date by {}", count(number, "key")), true)))
}

fn index_problem(images: &Images, path: &Utf8Path) -> Result<Option<IndexProblem>> {
    // Of one that cannot be read, that is said.
    let (mut readable, mut damaged) = (BTreeSet::new(), BTreeSet::new());
    for key in images.keys()? {
        match images.look_at(&key)? {
            Some(Standing::Sound(listed)) => _ = readable.insert(listed.key.to_string()),
            Some(Standing::Damaged(it)) => _ = damaged.insert(it.key.to_string()),
            None => {}
        }
    }
    let Some(bytes) = replace::read_capped(path, INDEX_CAP)? else {
        return Ok((!readable.is_empty()).then_some(IndexProblem::Whole("it is not there")));
    };
    let Ok(index) = serde_json::from_slice::<oci::Links>(&bytes) else {
        return Ok(Some(IndexProblem::Whole("it is not an index")));
    };
    let named = index.manifests.into_iter().filter_map(|mut it| it.annotations.remove(oci::KEY_ANNOTATION));
    let named: BTreeSet<String> = named.collect();
    let off = named.symmetric_difference(&readable).filter(|key| !damaged.contains(*key));
    let off: BTreeSet<String> = off.cloned().collect();
    Ok((!off.is_empty()).then_some(IndexProblem::Off(off)))
}

/// What is wrong, with what the system said of it.
fn reason(error: &storekit::Error) -> String {
    match error {
        storekit::Error::Io { source, .. } => format!("it cannot be read: {source}"),
        error => error.to_string(),
    }
}

/// Whether it is larger than anything that is written there.
fn is_too_large(error: &storekit::Error) -> bool {
    let storekit::Error::Io { source, .. } = error else { return false };
    source.kind() == std::io::ErrorKind::FileTooLarge
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
