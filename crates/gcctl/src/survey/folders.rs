//! The folders of a store in which there may be a million files, blobs of images and all of
//! packages: they are read side by side, and the entry of a package is only opened where the index
//! does not know it as it is.
//!
//! The index is written anew before anything else of the store is looked at, so that it is counted
//! as it is from then on.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use rustix::fs::Stat;
use storekit::digest::DigestMap;
use storekit::files::look::Seen;
use storekit::files::state::FileState;
use storekit::files::{look, replace};
use storekit::packages::index::{Index, Looked, Looking, Summary, Update};
use storekit::{At, Digest, PackageId, Store};

use super::entry_at;
use crate::disk::Apart;
use crate::error::{Error, Result};
use crate::packages::{Body, Gathered, Joined};

/// What these folders hold.
#[derive(Default)]
pub(super) struct Found {
    /// The blobs of images, with what the system says of each.
    pub(super) blobs: DigestMap<Seen>,
    /// The entries, in the order of their paths.
    pub(super) entries: Joined,
    pub(super) bodies: Vec<Body>,
    /// What else lies there.
    pub(super) aside: Aside,
    /// What is to be looked at as the rest of the store is.
    pub(super) apart: Apart,
}

/// What lies in a folder and is nothing that it is for.
#[derive(Default)]
pub(super) struct Aside {
    /// The bytes of unfinished files, and these files.
    pub(super) unfinished: u64,
    pub(super) temporary: Vec<Utf8PathBuf>,
    /// The bytes of all else.
    pub(super) other: u64,
    /// Files with several names, and folders: they are looked at as the rest of the store is.
    pub(super) rest: Vec<PathBuf>,
}

/// A folder that is read.
struct Job {
    folder: Utf8PathBuf,
    of: Of,
}

/// What a folder is for.
enum Of {
    /// One share of so many: there are few folders of blobs, and many blobs in one.
    Blobs {
        share: usize,
        of: usize,
    },
    Bodies,
    /// Entries of packages, by the name of the folder: `SOURCE/XX`.
    Entries(String),
}

impl Job {
    fn has_entries(&self) -> bool {
        matches!(self.of, Of::Entries(_))
    }
}

/// What was found in one folder.
#[derive(Default)]
struct Part {
    entries: Gathered,
    looked: Option<Looked>,
    bodies: Vec<Body>,
    blobs: Vec<(Digest, Seen)>,
    aside: Aside,
}

/// Reads all of it.
pub(super) fn read(store: &Store) -> Result<Found> {
    let packages = store.packages();
    let mut found = Found::default();
    let jobs = jobs(store, &mut found.apart)?;
    let index = packages.index();
    let mut update = Update::new(&packages, &index);
    // What is ahead of its turn.
    let (mut ahead, mut turn) = (BTreeMap::new(), jobs.iter().take_while(|job| !job.has_entries()).count());
    side_by_side(&jobs, &index, &mut |number, part: Part| {
        let Part { entries: gathered, looked, bodies, blobs, aside } = part;
        match (looked, &jobs[number].of) {
            (Some(looked), _) => {
                update.add(looked);
                ahead.insert(number, gathered);
                while let Some(gathered) = ahead.remove(&turn) {
                    found.entries.append(gathered);
                    turn += 1;
                }
            }
            (None, Of::Bodies) => found.bodies = bodies,
            (None, _) => found.blobs.extend(blobs),
        }
        found.aside.append(aside);
        Ok(())
    })?;
    update.finish();
    found.apart.rest.append(&mut found.aside.rest);
    Ok(found)
}

impl Aside {
    /// Adds what lies in another folder.
    pub(super) fn append(&mut self, other: Self) {
        self.unfinished += other.unfinished;
        self.temporary.extend(other.temporary);
        self.other += other.other;
        self.rest.extend(other.rest);
    }

    /// What is not to be read: files with several names, folders, pipes, unfinished files. Returns
    /// the name of anything else.
    pub(super) fn sort_out<'a>(&mut self, folder: &Utf8Path, name: &'a CStr, stat: &Stat) -> Option<&'a str> {
        if !look::may_be_read(stat) || stat.st_nlink > 1 {
            self.rest.push(folder.as_std_path().join(OsStr::from_bytes(name.to_bytes())));
            return None;
        }
        // None of ours has another name.
        let Ok(name) = name.to_str() else {
            self.other += bytes_of(stat);
            return None;
        };
        if name.starts_with(replace::TEMPORARY) {
            self.unfinished += bytes_of(stat);
            self.temporary.push(folder.join(name));
            return None;
        }
        Some(name)
    }
}

/// The largest come first. Those of the entries are in order.
fn jobs(store: &Store, apart: &mut Apart) -> Result<Vec<Job>> {
    let packages = store.packages();
    let mut jobs = Vec::new();
    let mut is_new = |metadata: &Metadata| apart.folders.insert((metadata.dev(), metadata.ino()));
    // These may be links; what is wrong with one is said where the store is walked.
    let behind = |folder: &Utf8Path| fs::metadata(folder).ok().filter(Metadata::is_dir);
    let bodies = packages.blobs().folder().to_owned();
    if behind(&bodies).is_some_and(|metadata| is_new(&metadata)) {
        jobs.push(Job { folder: bodies, of: Of::Bodies });
    }
    let blobs = store.images().blobs().folder().to_owned();
    if behind(&blobs).is_some_and(|metadata| is_new(&metadata)) {
        let of = thread::available_parallelism().map_or(1, usize::from);
        jobs.extend((0..of).map(|share| Job { folder: blobs.clone(), of: Of::Blobs { share, of } }));
    }
    let entries = packages.entries();
    if !entries.is_dir() {
        return Ok(jobs);
    }
    for source in replace::names_if_folder(&entries)? {
        let folder = entries.join(&source);
        if folder_itself(&folder)?.is_none() {
            continue;
        }
        for shard in replace::names(&folder)? {
            let path = folder.join(&shard);
            if folder_itself(&path)?.is_some_and(|metadata| is_new(&metadata)) {
                jobs.push(Job { folder: path, of: Of::Entries(format!("{source}/{shard}")) });
            }
        }
    }
    Ok(jobs)
}

/// A folder, and no link to one.
fn folder_itself(path: &Utf8Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => Ok(Some(metadata.at("read", path)?).filter(Metadata::is_dir)),
    }
}

/// Does the jobs on all processors, and hands on what each finds.
fn side_by_side(jobs: &[Job], index: &Index, take: &mut dyn FnMut(usize, Part) -> Result<()>) -> Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let next = AtomicUsize::new(0);
    // No more wait to be taken than are being read.
    let (sender, receiver) = mpsc::sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || work(jobs, index, next, &sender));
        }
        drop(sender);
        let receiver: Receiver<(usize, Result<Part>)> = receiver;
        // Where this ends early, nobody receives any more, and that ends the threads.
        receiver.into_iter().try_for_each(|(number, part)| take(number, part?))
    })
}

fn work(jobs: &[Job], index: &Index, next: &AtomicUsize, sender: &SyncSender<(usize, Result<Part>)>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(job) = jobs.get(number) else { return };
        let part = match &job.of {
            Of::Blobs { share, of } => Part::of_blobs(&job.folder, *share, *of),
            Of::Bodies => Part::of_bodies(&job.folder),
            Of::Entries(below) => Part::of_entries(&job.folder, below, index),
        };
        if sender.send((number, part)).is_err() {
            return;
        }
    }
}

/// An entry's file, by its name.
struct File {
    name: String,
    /// The digest in its name.
    digest: Option<Digest>,
    state: FileState,
    bytes: u64,
}

impl Part {
    fn of_blobs(folder: &Utf8Path, share: usize, of: usize) -> Result<Self> {
        let mut part = Self::default();
        let is_mine = |name: &CStr| name.to_bytes().last().map_or(0, |last| usize::from(*last)) % of == share;
        look::each_of(folder, &is_mine, &mut |name, stat| {
            if let Some(name) = part.aside.sort_out(folder, name, stat) {
                match Digest::from_hex(name).filter(|_| look::is_file(stat)) {
                    Some(digest) => part.blobs.push((digest, Seen::of(stat))),
                    None => part.aside.other += bytes_of(stat),
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(part)
    }

    fn of_bodies(folder: &Utf8Path) -> Result<Self> {
        let mut part = Self::default();
        look::each(folder, &mut |name, stat| {
            if let Some(name) = part.aside.sort_out(folder, name, stat) {
                match Digest::from_hex(name).filter(|_| look::is_file(stat)) {
                    Some(digest) => part.bodies.push(Body::there(digest, bytes_of(stat))),
                    None => part.aside.other += bytes_of(stat),
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(part)
    }

    fn of_entries(folder: &Utf8Path, below: &str, index: &Index) -> Result<Self> {
        let (mut part, mut files) = (Self::default(), Vec::new());
        look::each(folder, &mut |name, stat| {
            let Some(name) = part.aside.sort_out(folder, name, stat) else { return Ok(()) };
            match name.strip_suffix(".toml").filter(|_| look::is_file(stat)) {
                None => part.aside.other += bytes_of(stat),
                Some(stem) => files.push(File {
                    digest: Digest::from_hex(stem),
                    name: name.to_owned(),
                    state: FileState::of(stat),
                    bytes: bytes_of(stat),
                }),
            }
            Ok::<_, Error>(())
        })?;
        files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let mut looking = Looking::at(index, below);
        for file in files {
            part.entry(folder, &file, &mut looking)?;
        }
        part.entries.shrink();
        part.looked = Some(looking.done());
        Ok(part)
    }

    /// Adds what stands in the file of an entry, where it is understood, and that of its own URL.
    fn entry(&mut self, folder: &Utf8Path, file: &File, looking: &mut Looking) -> Result<()> {
        let used = Timestamp::from_nanosecond(file.state.modified()).unwrap_or(Timestamp::MAX);
        if let Some((name, summary)) = file.digest.and_then(|it| Some((it, looking.known(&it, &file.state)?)))
        {
            self.entries.push(PackageId::of(&name), &summary, used, file.bytes);
            return Ok(());
        }
        let entry = entry_at(&folder.join(&file.name))?;
        let (Some(digest), Some(entry)) = (file.digest, entry.filter(|it| is_at(&it.key, folder, file)))
        else {
            self.aside.other += file.bytes;
            return Ok(());
        };
        let summary = Summary::of(&entry);
        looking.read(&digest, &file.state, &summary);
        self.entries.push(PackageId::of(&digest), &summary, used, file.bytes);
        Ok(())
    }
}

/// Whether the entry with this key has its place there.
fn is_at(key: &storekit::PackageKey, folder: &Utf8Path, file: &File) -> bool {
    folder.join(&file.name).ends_with(key.path())
}

fn bytes_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}
